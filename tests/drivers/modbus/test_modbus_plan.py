"""How points become requests: golden cases, and what holds for any device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus import pdu
from drivers.modbus.config import BusConfig, DeviceConfig, PointConfig
from drivers.modbus.plan import Block, Unit, check, plan
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
    polls = plan(BUS, device(document.data["device"], document.data["points"]))
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
        "max_gap": st.integers(0, 30),
    }
)


def blocks(polls: tuple[Poll, ...]) -> list[tuple[Poll, Block]]:
    return [(poll, poll.request) for poll in polls]


@given(DEVICES, st.lists(OPTIONS, max_size=60))
def test_any_device(config: dict[str, Any], options: list[dict[str, Any]]) -> None:
    """Each readable point is covered once, whole and within the limits, and nothing is mixed."""
    it = device(config, {f"p{i}": o for i, o in enumerate(options)})
    if list(check(BUS, it)):
        return
    by_id = {p.id: p for p in it.points}
    polls = plan(BUS, it)
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
        gap = config["max_gap"] * (16 if block.bits else 1)
        holes = sorted(set(span) - covered)
        assert all(any(h + k in covered for k in range(gap + 1)) for h in holes)


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


def test_check_accepts_permitted_bits() -> None:
    """Bits may be written where the device permits reading and writing back."""
    assert not list(
        check(
            BUS,
            device({"read_modify_write": True}, {"a": {"holding": 0, "bit": 3, "output": True}}),
        )
    )
