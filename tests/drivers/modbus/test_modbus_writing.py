"""How values get into a device, whether it holds them, and the smallest question to ask it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.config import PointConfig
from drivers.modbus.driver import ModbusDriver
from edge.driver import FieldPoint, Poll, Write
from edge.errors import DeviceRefused, DeviceTimeout
from tests.contract.drivers import field_point
from tests.drivers.modbus.direct import Direct, direct
from tests.support.modbus_units import Unit
from tests.support.told import Told

Test = Callable[[ModbusDriver, Direct, list[Poll], Told], Awaitable[None]]


def serve(
    test: Test, points: Sequence[FieldPoint], unit: Unit | None = None, **device: Any
) -> None:
    """Run a test with a driver whose device holds 0x1000 and the number in each register."""
    known = unit or Unit({n: 0x1000 + n for n in range(20)}, coil=dict.fromkeys(range(8), 0))
    link, host = Direct(known), Told()

    async def main() -> None:
        driver, polls = direct(link, points, host, **device)
        await test(driver, link, polls, host)

    asyncio.run(main())


def point(id: str = "p", *, scale: float = 1.0, readable: bool = True, **where: Any) -> FieldPoint:
    return field_point(id, PointConfig(**where), writable=True, scale=scale, readable=readable)


def wrote(value: float, name: str = "p") -> Write:
    return Write("d", name, value, 14)


@pytest.mark.parametrize(
    ("device", "where", "value", "asked"),
    [
        ({"write": "read_write"}, {"holding": 4}, 7.0, [(23, 4, 1)]),
        ({"write": "read_write"}, {"holding": 4, "type": "f32"}, 1.5, [(23, 4, 2)]),
        ({"write": "read_write"}, {"coil": 4}, 1.0, [(5, 4, 0xFF00)]),
        ({"mask_write": True}, {"holding": 4, "bit": 3}, 1.0, [(22, 4, 0xFFF7)]),
        (
            {"mask_write": True, "read_modify_write": True},
            {"holding": 4, "bit": 4, "length": 3},
            5.0,
            [(22, 4, 0xFF8F)],
        ),
        (
            {"read_modify_write": True, "write": "read_write"},
            {"holding": 4, "bit": 3},
            1.0,
            [(3, 4, 1), (23, 4, 1)],
        ),
        ({"mask_write": True}, {"holding": 4, "bit": 3, "order": "BADC"}, 1.0, [(22, 4, 0xF7FF)]),
    ],
)
def test_functions(
    device: dict[str, Any], where: dict[str, Any], value: float, asked: list[tuple[int, int, int]]
) -> None:
    """A value is written by the functions that the device is said to know, and is then held."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        await driver.write([wrote(value)])
        assert link.asked == asked
        assert await driver.holds(wrote(value)) is True
        assert (await driver.read(polls[0])).values.tolist() == [value]

    serve(test, [point(**where)], **device)


@given(st.integers(0, 0xFFFF), st.integers(0, 15), st.data(), st.sampled_from(["ABCD", "BADC"]))
def test_mask_write_leaves_the_rest(
    present: int, bit: int, data: st.DataObject, order: str
) -> None:
    """Whatever stands in the register, only the point's bits change."""
    length = data.draw(st.integers(1, 16 - bit))
    value = data.draw(st.integers(0, (1 << length) - 1))

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        await driver.write([wrote(value)])
        found = link.unit.holding[4]
        swap = (lambda n: (n & 0xFF) << 8 | n >> 8) if order == "BADC" else (lambda n: n)
        mask = ((1 << length) - 1) << bit
        assert swap(found) == (swap(present) & ~mask) | value << bit

    where = {"holding": 4, "bit": bit, "length": length, "type": "bitfield", "order": order}
    serve(test, [point(**where)], Unit({4: present}), mask_write=True)


def test_difference_read_back_is_no_success() -> None:
    """A device that clamps what it acknowledges is refused with what it holds."""

    class Clamped(dict[int, int]):
        def update(self, *new: Any) -> None:
            super().update({at: min(value, 100) for at, value in new[0]})

    unit = Unit(Clamped({4: 0}))

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        await driver.write([wrote(100.0)])
        with pytest.raises(DeviceRefused) as caught:
            await driver.write([wrote(200.0)])
        error = caught.value
        assert (error.code, error.permanent, error.unsure) == ("readback", False, True)
        assert "holds 00 64 instead of 00 C8" in error.reason.en

    serve(test, [point(holding=4)], unit, write="read_write")


@pytest.mark.parametrize("write", ["single", "multiple", "read_write"])
@pytest.mark.parametrize("where", [{"holding": 4}, {"coil": 4}, {"holding": 4, "bit": 1}])
def test_acknowledge_is_a_success(write: str, where: dict[str, Any]) -> None:
    """Exception 5 to a write says that it is being done: it is not sent again."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        link.code = lambda pdu: 5 if pdu[0] > 4 else 0
        await driver.write([wrote(1.0)])
        assert len(link.asked) == 1
        link.code = lambda _pdu: 5
        with pytest.raises(DeviceRefused):
            await driver.read(polls[0])

    serve(test, [point(**where)], write=write, mask_write=True)


@pytest.mark.parametrize(
    ("code", "permanent", "unsure"), [(3, True, False), (4, False, True), (6, False, False)]
)
def test_refused_write(code: int, permanent: bool, unsure: bool) -> None:
    """What became of a refused write follows from its code."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        link.code = lambda pdu: code if pdu[0] > 4 else 0
        with pytest.raises(DeviceRefused) as caught:
            await driver.write([wrote(1.0)])
        assert (caught.value.permanent, caught.value.unsure) == (permanent, unsure)

    serve(test, [point(holding=4)])


@pytest.mark.parametrize(
    ("where", "stands", "value", "held"),
    [
        ({"holding": 4}, "0007", 7.0, True),
        ({"holding": 4}, "0008", 7.0, False),
        ({"holding": 4, "type": "i16"}, "FFF9", -7.0, True),
        ({"holding": 4, "scale": 0.1}, "0046", 7.04, True),
        ({"holding": 4, "bit": 3}, "FFFF", 1.0, True),
        ({"holding": 4, "bit": 3}, "FFF7", 1.0, False),
        ({"holding": 4, "bit": 3}, "FFF7", 0.0, True),
        ({"holding": 4, "bit": 3, "order": "BADC"}, "0800", 1.0, True),
        ({"holding": 4, "bit": 4, "length": 3}, "0057", 5.0, True),
        ({"holding": 4, "type": "f32"}, "43663333", 230.2, True),
        ({"holding": 4, "type": "f32"}, "43663334", 230.2, False),
        ({"holding": 4, "type": "f32", "order": "CDAB"}, "33334366", 230.2, True),
        ({"holding": 4, "type": "f32"}, "80000000", 0.0, True),
        ({"holding": 4, "type": "f32"}, "7FC00000", 0.0, False),
        ({"holding": 4, "type": "u32"}, "00010000", 65536.0, True),
        ({"holding": 4, "type": "bcd16"}, "0042", 42.0, True),
        ({"holding": 4, "sentinel": [0xFFFF]}, "FFFF", 7.0, False),
        ({"holding": 4}, "0007", math.nan, None),
        ({"holding": 4, "access": "write", "readable": False}, "0007", 7.0, None),
        ({"holding": 4, "clears": True}, "0007", 7.0, None),
        ({"holding": 19}, "", 7.0, None),
    ],
)
def test_holds(where: dict[str, Any], stands: str, value: float, held: bool | None) -> None:
    """A device holds a value when its registers are those that the write would leave."""
    unit = Unit()
    unit.put("holding", 4, bytes.fromhex(stands))

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        assert await driver.holds(wrote(value)) is held
        assert not link.written

    serve(test, [point(**where)], unit, mask_write=True)


def test_holds_asks_again_when_it_must() -> None:
    """A device that is busy or silent has not said what it holds: that is an error, not a None."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        link.code = lambda _pdu: 6
        with pytest.raises(DeviceRefused):
            await driver.holds(wrote(7.0))
        link.silent = True
        with pytest.raises(DeviceTimeout):
            await driver.holds(wrote(7.0))
        link.silent, link.code = False, lambda _pdu: 0
        with pytest.raises(DeviceRefused) as caught:
            await driver.holds(wrote(70_000.0))
        assert caught.value.code == "value"

    serve(test, [point(holding=4)])


@pytest.mark.parametrize(
    ("points", "asked"),
    [
        ([{"holding": 4, "type": "f64"}, {"input": 9}, {"holding": 2, "type": "f32"}], (4, 9, 1)),
        ([{"holding": 4, "type": "f64"}], (3, 4, 4)),
        ([{"coil": 4}, {"holding": 2}], (3, 2, 1)),
        ([{"holding": 4, "clears": True}, {"holding": 6, "type": "u32"}], (3, 6, 2)),
        ([{"holding": 1, "access": "write"}, {"holding": 6, "type": "u32"}], (3, 6, 2)),
        ([{"holding": 1, "access": "write"}], (3, 1, 1)),
        ([{"holding": 4, "clears": True}], (0x2B, 0x0E01, 0)),
    ],
)
def test_probe(points: list[dict[str, Any]], asked: tuple[int, int, int]) -> None:
    """A probe is the smallest request that harms nothing; a refusal is an answer too."""
    fields = [
        field_point(f"p{i}", PointConfig(**where), readable=where.get("access") != "write")
        for i, where in enumerate(points)
    ]

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        for code in (0, 1, 2, 3, 4, 6):
            link.code = lambda _pdu, code=code: code  # type: ignore[misc]
            await driver.probe("d")
        assert link.asked == [asked] * 6
        link.code = lambda _pdu: 11
        with pytest.raises(DeviceTimeout):
            await driver.probe("d")
        link.silent = True
        with pytest.raises(DeviceTimeout):
            await driver.probe("d")

    serve(test, fields)


def test_probe_avoids_what_is_known_bad() -> None:
    """A register that the device does not have is not what it is asked for."""
    fields = [field_point(f"p{n}", PointConfig(holding=n)) for n in (3, 4, 5)]

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        await driver.read(polls[0])
        link.asked.clear()
        await driver.probe("d")
        assert link.asked == [(3, 4, 1)]

    serve(test, fields, Unit({4: 4, 5: 5}))


def test_damage_is_told_once() -> None:
    """Damaged memory is told once, and again only after the device was switched off and on."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        link.code = lambda _pdu: 8
        for _ in range(3):
            with pytest.raises(DeviceRefused) as caught:
                await driver.read(polls[0])
            assert not caught.value.permanent
            with pytest.raises(DeviceRefused):
                await driver.write([wrote(1.0)])
        ((code, text),) = host.told
        assert code == "device-damaged"
        assert "device d" in text
        assert "replace it" in text
        link.silent = True
        with pytest.raises(DeviceTimeout):
            await driver.read(polls[0])
        link.silent = False
        with pytest.raises(DeviceRefused):
            await driver.read(polls[0])
        assert len(host.told) == 2

    serve(test, [point(holding=4)])
