"""The sites of the benchmarks, written as YAML like anybody's."""

from __future__ import annotations

from pathlib import Path

from bench.farm import REGISTERS, TOGGLED


def plain(directory: Path, port: int, devices: int, *, period: str) -> Path:
    """`devices` of 100 registers each and one rule: the way of a value into the image, no more."""
    lines = [
        "site: {id: bench, timezone: Asia/Shanghai}", "clock: {trust: always}",
        "scan: {startup_delay: 0s}", "buses:",
    ]  # fmt: skip
    lines += [f'  b{k}: {{driver: modbus, tcp: "127.0.0.1:{port + k}"}}' for k in range(devices)]
    lines.append("devices:")
    for k in range(devices):
        lines += [f"  d{k}:", f"    bus: b{k}", f"    poll: {period}", "    points:"]
        lines += [f"      r{i}: {{holding: {i}}}" for i in range(REGISTERS)]
    lines += ["rules:", "  sum: {value: d0.r0 + d1.r0}"]
    path = directory / "site.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def polled(
    directory: Path, port: int, devices: int, *, broker: int | None, bacnet: int | None = None,
    period: str = "100ms",
) -> Path:  # fmt: skip
    """`devices` of 100 registers each, shipped defaults; device 0 drives a coil from register 99.

    With an alarm per device and a virtual point per device, so that rules and alarms are at work.
    """
    lines = [
        "site: {id: bench, timezone: Asia/Shanghai}", "clock: {trust: always}",
        "scan: {startup_delay: 0s}", "buses:",
    ]  # fmt: skip
    lines += [f'  b{k}: {{driver: modbus, tcp: "127.0.0.1:{port + k}"}}' for k in range(devices)]
    if bacnet is not None:
        lines.append('  bms: {driver: bacnet, address: "127.0.0.1/32:47899"}')
    lines.append("devices:")
    for k in range(devices):
        lines += [f"  d{k}:", f"    bus: b{k}", "    unit: 1", f"    poll: {period}", "    points:"]
        lines += [f"      r{i}: {{holding: {i}}}" for i in range(REGISTERS)]
        if k == 0:
            lines.append("      relay: {coil: 0, access: write, output: true, write_interval: 0s}")
    if bacnet is not None:
        lines += [
            "  plant:", "    bus: bms", "    device: 4001", f'    address: "127.0.0.1:{bacnet}"',
            "    poll: 1s", "    points:",
        ]  # fmt: skip
        lines += [f'      ai{i}: {{object: "analog-input,{i}", unit: °C}}' for i in range(4)]
    lines.append("rules:")
    lines.append(
        f"  reaction: {{block: hysteresis, input: d0.r{TOGGLED}, on_at: 1, off_at: 0,"
        " output: d0.relay}"
    )
    lines += [f"  sum{k}: {{value: d{k}.r1 + d{k}.r2}}" for k in range(devices)]
    lines.append("alarms:")
    for k in range(devices):
        lines += [
            f"  HIGH{k}:", f"    point: d{k}.r3", "    above: 40000", "    deadband: 10",
            "    text: {zh: 高, en: high}", "    checks: {zh: [看], en: [look]}",
        ]  # fmt: skip
    if broker is not None:
        lines += ["uplink:", f'  cloud: {{mqtt: "127.0.0.1:{broker}"}}']
    path = directory / "site.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path
