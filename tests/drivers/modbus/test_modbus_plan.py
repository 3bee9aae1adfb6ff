"""How points become requests: golden cases, and what holds for any device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus import pdu
from drivers.modbus.bus import BusConfig
from drivers.modbus.config import DeviceConfig, PointConfig
from drivers.modbus.plan import Block, Unit, check, cost, gap_of, plan
from edge.driver import FieldDevice, Poll
from edge.schema.loader import load_file
from tests.contract.drivers import field_point

CASES = Path(__file__).parents[2] / "cases" / "plan"
BUS = BusConfig(tcp="192.0.2.1", timeout="700ms", gap="20ms")


def device(config: dict[str, Any], points: dict[str, dict[str, Any]]) -> FieldDevice:
    made = []
    for name, options in points.items():
        period = options.get("period", 1.0)
        writable = options.get("output", False)
        where = PointConfig(**{k: v for k, v in options.items() if k not in ("period", "output")})
        made.append(
            field_point(
                name, where, period=period, writable=writable, readable=where.access != "write"
            )
        )
    return FieldDevice("d", DeviceConfig(**config), tuple(made))


@pytest.mark.parametrize("folder", sorted(CASES.iterdir()), ids=lambda f: f.name)
def test_case(folder: Path) -> None:
    """Each case folder gives exactly its blocks."""
    document, problems, _ = load_file(folder / "points.yaml")
    assert document is not None, problems
    bus = BusConfig(**document.data["bus"]) if "bus" in document.data else BUS
    polls = plan(bus, device(document.data["device"], document.data["points"]))
    lines = [f"{p.label} | {p.period:g} s | {' '.join(p.points)}" for p in polls]
    assert lines == (folder / "blocks.txt").read_text().splitlines()


OPTIONS = st.one_of(
    st.fixed_dictionaries(
        {
            "holding": st.integers(1, 400),
            "type": st.sampled_from(["u16", "i16", "u32", "f32", "f64", "mod10k"]),
            "period": st.sampled_from([1.0, 5.0]),
            "access": st.sampled_from(["read", "read_write", "write"]),
        }
    ),
    st.fixed_dictionaries(
        {"input": st.integers(1, 400), "clears": st.booleans(), "bit": st.integers(0, 15)}
    ),
    st.fixed_dictionaries({"coil": st.integers(1, 5000)}),
    st.fixed_dictionaries(
        {"discrete": st.integers(1, 5000), "period": st.sampled_from([1.0, 5.0])}
    ),
)
DEVICES = st.fixed_dictionaries(
    {
        "unit": st.integers(0, 255),
        "base": st.integers(0, 1),
        "max_regs": st.integers(4, 125),
        "max_gap": st.none() | st.integers(0, 30),
    }
)
LINES = st.builds(lambda baud: BusConfig(serial="/dev/ttyS1", baud=baud),
                  st.sampled_from([1200, 9600, 19200, 115200]))  # fmt: skip


def blocks(polls: tuple[Poll, ...]) -> list[tuple[Poll, Block]]:
    return [(poll, poll.request) for poll in polls]


@given(st.just(BUS) | LINES, DEVICES, st.lists(OPTIONS, max_size=60))
def test_any_device(bus: BusConfig, config: dict[str, Any], options: list[dict[str, Any]]) -> None:
    """Each readable point is covered once, whole and within the limits, and nothing is mixed."""
    it = device(config, {f"p{i}": o for i, o in enumerate(options)})
    if list(check(bus, it)):
        return
    by_id = {p.id: p for p in it.points}
    polls = plan(bus, it)
    assert sorted(p.id for p in it.points if p.readable) == sorted(
        name for poll in polls for name in poll.points
    )
    clearing = {(p.config.table, p.config.address - config["base"]): p.id
                for p in it.points if p.config.clears}  # fmt: skip
    for poll, block in blocks(polls):
        span = range(block.address, block.address + block.count)
        assert block.count <= (pdu.MAX_READ_BITS if block.bits else config["max_regs"])
        covered = set()
        for name, cell in zip(poll.points, block.cells(), strict=True):
            where = by_id[name].config
            assert where.table == block.table
            assert by_id[name].period == poll.period
            assert cell.at == where.address - config["base"]
            own = range(cell.at, cell.at + where.size)
            assert set(own) <= set(span)
            covered |= set(own)
        for address in set(span):
            owner = clearing.get((block.table, address))
            assert owner is None or by_id[poll.points[0]].config.clears
        assert not any(by_id[n].config.clears for n in poll.points) or covered == set(span)
        gap = gap_of(bus, it.config) * (16 if block.bits else 1)
        holes = sorted(set(span) - covered)
        assert poll.spare == len(holes)
        assert all(any(h + k in covered for k in range(gap + 1)) for h in holes)


@pytest.mark.parametrize(
    ("bus", "options", "gap"),
    [
        ({"serial": "/dev/ttyS1", "baud": 9600}, {}, 12),
        ({"serial": "/dev/ttyS1", "baud": 19200}, {}, 14),
        ({"serial": "/dev/ttyS1", "baud": 115200}, {}, 51),
        ({"serial": "/dev/ttyS1", "baud": 115200}, {"max_regs": 32}, 32),
        ({"serial": "/dev/ttyS1", "baud": 9600}, {"max_gap": 3}, 3),
        ({"serial": "/dev/ttyS1", "baud": 9600}, {"max_gap": 0}, 0),
        ({"tcp": "h"}, {}, 8),
        ({"tcp": "h"}, {"max_gap": 20}, 20),
        ({"rtu_tcp": "h:4001"}, {}, 8),
    ],
)
def test_gap(bus: dict[str, Any], options: dict[str, Any], gap: int) -> None:
    """A gap is worth its time on a line, 8 elsewhere; what is given is taken."""
    assert gap_of(BusConfig(**bus), DeviceConfig(**options)) == gap


@pytest.mark.parametrize(
    ("baud", "ten", "most"),
    [
        (1200, 371.7, 2480.0), (2400, 188.3, 1243.0), (4800, 96.7, 624.0), (9600, 50.8, 314.0),
        (19200, 27.9, 160.0), (38400, 18.0, 83.8), (57600, 14.8, 58.7), (115200, 11.7, 33.6),
    ],
)  # fmt: skip
def test_cost(baud: int, ten: float, most: float) -> None:
    """Milliseconds of 10 and of 125 registers on a serial line, as in every table of RS-485."""
    line = BusConfig(serial="/dev/ttyS1", baud=baud, parity="even")
    for count, milliseconds in ((10, ten), (125, most)):
        (poll,) = plan(line, device({}, {f"p{i}": {"holding": i} for i in range(count)}))
        seconds = cost(line, poll)
        assert seconds is not None
        assert seconds * 1000 == pytest.approx(milliseconds, rel=0.005)


def test_cost_is_known_of_lines_only() -> None:
    """Bits take an eighth of a byte each and a pause of the device counts; TCP has no cost."""
    line = BusConfig(serial="/dev/ttyS1", baud=9600)
    (bits,) = plan(line, device({"max_gap": 124}, {"a": {"coil": 0}, "b": {"coil": 79}}))
    assert cost(line, bits) == pytest.approx(
        (8 + 5 + 10) * 11 / 9600 + 2 * 0.00401 + 0.005, abs=1e-5
    )
    (slow,) = plan(line, device({"delay": "20ms"}, {"a": {"coil": 0}, "b": {"coil": 79}}))
    assert (cost(line, slow) or 0) - (cost(line, bits) or 0) == pytest.approx(0.02)
    (poll,) = plan(BUS, device({}, {"a": {"coil": 1}}))
    assert cost(BUS, poll) is None


def test_unit_and_times() -> None:
    """A device's own timeout and pause stand before those of its bus."""
    (own,) = plan(BUS, device({"unit": 7, "timeout": "2s", "delay": "50ms"}, {"a": {"coil": 1}}))
    (bus,) = plan(BUS, device({"unit": 8}, {"a": {"coil": 1}}))
    assert own.request.unit == Unit(7, 2.0, 0.05)
    assert bus.request.unit == Unit(8, 0.7, 0.02)


@pytest.mark.parametrize(
    ("config", "options", "words"),
    [
        ({"base": 1}, {"holding": 0}, "first register is 1"),
        ({}, {"holding": 65535, "type": "f32"}, "past the last register, 65535"),
        ({"base": 1}, {"holding": 65536, "type": "f32"}, "past the last register, 65536"),
        ({"max_regs": 2}, {"holding": 0, "type": "f64"}, "max_regs is 2"),
        ({}, {"input": 0, "output": True}, "input"),
        ({}, {"holding": 0, "access": "read", "output": True}, "access"),
        ({}, {"holding": 0, "bit": 3, "output": True}, "read_modify_write: true"),
        ({}, {"holding": 0, "bit": 3, "output": True}, "mask_write: true"),
        (
            {"read_modify_write": True},
            {"holding": 0, "bit": 3, "output": True, "access": "write"},
            "read_write",
        ),
    ],
)
def test_check_refuses(config: dict[str, Any], options: dict[str, Any], words: str) -> None:
    """What cannot work with this device is one sentence in both languages."""
    ((point, text),) = check(BUS, device(config, {"a": options}))
    assert point == "a"
    assert words in text.en
    assert text.zh


@pytest.mark.parametrize(
    ("a", "b", "refused"),
    [
        ({"coil": 2}, {"coil": 2}, True),
        ({"holding": 0, "type": "f32"}, {"holding": 1}, True),
        ({"holding": 0, "bit": 3}, {"holding": 0}, True),
        ({"holding": 0, "bit": 2, "length": 2}, {"holding": 0, "bit": 3}, True),
        ({"holding": 0, "bit": 2}, {"holding": 0, "bit": 3}, False),
        ({"holding": 0}, {"holding": 1}, False),
        ({"coil": 2}, {"holding": 2}, False),
    ],
)
def test_check_refuses_two_outputs_in_one_place(
    a: dict[str, Any], b: dict[str, Any], refused: bool
) -> None:
    """Two ladders that write the same coil or register would undo each other; an input may look."""
    both = {"a": a | {"output": True}, "b": b | {"output": True}}
    found = list(check(BUS, device({"read_modify_write": True}, both)))

    assert [(point, "output a" in text.en) for point, text in found] == [("b", True)] * refused
    watched = {"a": a | {"output": True}, "b": b}
    assert not list(check(BUS, device({"read_modify_write": True}, watched)))


def test_check_refuses_reading_along_what_clears() -> None:
    """A point in the same register as one that reading clears is refused."""
    options = {"a": {"holding": 4, "type": "u32", "clears": True}, "b": {"holding": 5}}
    ((point, text),) = check(BUS, device({}, options))
    assert (point, "a" in text.en) == ("b", True)


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({"read_modify_write": True}, {}),
        ({"mask_write": True}, {}),
        ({"mask_write": True}, {"access": "write"}),
    ],
)
def test_check_accepts_permitted_bits(config: dict[str, Any], options: dict[str, Any]) -> None:
    """Bits may be written where the device knows function 22 or may be read and written back."""
    bit = {"holding": 0, "bit": 3, "output": True} | options
    assert not list(check(BUS, device(config, {"a": bit})))


PLATE = {"length": 8, "text": "EM-40"}


@pytest.mark.parametrize(
    ("config", "points", "words"),
    [
        (
            {"base": 1, "identity": {"registers": {"holding": 0, **PLATE}}},
            {},
            "first register is 1",
        ),
        ({"identity": {"registers": {"holding": 65530, **PLATE}}}, {}, "past the last register"),
        (
            {"max_regs": 6, "identity": {"registers": {"input": 0, **PLATE}}},
            {},
            "takes 8 registers",
        ),
        (
            {"identity": {"registers": {"holding": 0, **PLATE}}},
            {"n": {"holding": 7, "clears": True}},
            "shares a register with n",
        ),
        ({"program": {"x": {"holding": 65536, "value": 1}}}, {}, "past the last register"),
        (
            {"program": {"x": {"holding": 4, "type": "u32", "value": 1}}},
            {"o": {"holding": 5, "output": True}},
            "program.x writes where o writes",
        ),
        (
            {"program": {"x": {"holding": 4, "value": 1}, "y": {"holding": 4, "value": 2}}},
            {},
            "program.y writes where program.x writes",
        ),
    ],
)
def test_check_refuses_at_the_device(
    config: dict[str, Any], points: dict[str, Any], words: str
) -> None:
    """What an identity or a setting cannot do in this device is a problem of the device."""
    ((place, text),) = check(BUS, device(config, points))
    assert place == "d"
    assert words in text.en
    assert text.zh != text.en


def test_check_accepts_settings_beside_points() -> None:
    """A setting may be watched by a point, and may stand beside an output."""
    config = {"program": {"x": {"holding": 4, "value": 1}},
              "identity": {"vendor": "A", "registers": {"input": 4, "value": 3}}}  # fmt: skip
    points = {"a": {"holding": 4}, "b": {"holding": 5, "output": True}}
    assert not list(check(BUS, device(config, points)))


@pytest.mark.parametrize("unit", [0, 1, 247, 248, 255])
def test_units_of_a_line(unit: int) -> None:
    """On a line 0 is a broadcast, which nobody answers, and 248 to 255 are reserved; not on TCP."""
    buses = ({"serial": "/dev/ttyUSB0"}, {"rtu_tcp": "h:1"}, {"tcp": "h"})
    found = [list(check(BusConfig(**bus), device({"unit": unit}, {}))) for bus in buses]
    assert [len(wrong) for wrong in found] == ([0, 0, 0] if unit in (1, 247) else [1, 1, 0])
    assert all(f"1 to 247; {unit} is" in text.en for wrong in found for _, text in wrong)
