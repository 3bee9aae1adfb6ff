"""What a device refuses, found out and remembered: for any map, any hole, any change of the map."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.modbus import MODBUS
from drivers.modbus.codec import Type, registers
from drivers.modbus.config import DeviceConfig, PointConfig
from drivers.modbus.dividing import PROBES
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.parts import RETRY
from edge.driver import FieldDevice, FieldPoint, Poll
from edge.errors import DeviceRefused
from edge.image import quality
from edge.proof.virtual_loop import run_virtual
from tests.contract.drivers import field_point
from tests.drivers.modbus.direct import Direct, direct
from tests.support.modbus_units import Unit
from tests.support.told import Told

REGISTERS = 60
Where = tuple[int, Type]

WHERE = st.tuples(st.integers(0, REGISTERS - 3), st.sampled_from(["u16", "u32", "bool"]))
MAPS = st.sets(WHERE, min_size=1, max_size=40)
MISSING = st.sets(st.integers(0, REGISTERS), max_size=12)


def made(where: set[Where]) -> list[FieldPoint]:
    """Points named after where they lie; a bool is bit 0."""
    return [
        field_point(f"{kind}@{at}", PointConfig(holding=at, type=kind, bit=bit))
        for at, kind in sorted(where)
        for bit in [0 if kind == "bool" else None]
    ]


def unit(missing: set[int], shift: int = 0) -> Unit:
    return Unit(holding={n: n * 7 + shift for n in range(REGISTERS) if n not in missing})


def expected(where: Where, holding: dict[int, int]) -> float | None:
    """What a point must read; None where a register of it is missing."""
    at, kind = where
    words = [holding.get(at + i) for i in range(registers(kind))]
    if None in words:
        return None
    number = 0
    for word in words:
        number = number << 16 | (word or 0)
    return float(number & 1 if kind == "bool" else number)


async def read(driver: ModbusDriver, polls: list[Poll]) -> dict[str, float | None]:
    """One round of all polls: value by point, None where it cannot be read."""
    seen: dict[str, float | None] = {}
    for poll in polls:
        try:
            sample = await driver.read(poll)
        except DeviceRefused:
            seen |= dict.fromkeys(poll.points)
            continue
        for point, value, bits in zip(
            poll.points, sample.values.tolist(), sample.quality.tolist(), strict=True
        ):
            assert bits in (quality.GOOD, quality.CONFIG)
            seen[point] = value if bits == quality.GOOD else None
    return seen


@settings(max_examples=150, deadline=None)
@given(MAPS, MISSING, st.sets(st.integers(1, REGISTERS), max_size=2), st.integers(2, 125))
def test_any_device_is_found_out(
    where: set[Where], missing: set[int], borders: set[int], most: int
) -> None:
    """Whatever a device refuses, exactly what cannot be read is CONFIG, and nothing bad is asked
    for any more: not later, not after a reconnect."""
    link = Direct(unit(missing), most=most)
    link.code = lambda pdu: crosses(pdu, borders)
    wanted = {
        f"{kind}@{at}": None
        if any(at < b < at + registers(kind) for b in borders)
        else expected((at, kind), link.unit.holding)
        for at, kind in where
    }

    async def main() -> None:
        host = Told()
        driver, polls = direct(link, made(where), host)
        for _ in range(12):
            seen = await read(driver, polls)
            assert all(value in (None, wanted[point]) for point, value in seen.items())
        assert seen == wanted
        for one, asked in ((driver, polls), direct(link, made(where), host)):
            link.refused = 0
            assert await read(one, asked) == wanted
            hopeless = [p for p in polls if all(wanted[name] is None for name in p.points)]
            assert bool(link.refused) == bool(hopeless)

    asyncio.run(main())


def crosses(pdu: bytes, borders: set[int]) -> int:
    """Exception 2 for a request that reaches over one of the borders."""
    first, count = int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5])
    return 2 if any(first < border < first + count for border in borders) else 0


@settings(max_examples=150, deadline=None)
@given(MAPS, MAPS, MISSING, MISSING, st.booleans())
def test_knowledge_of_another_map_does_no_harm(
    before: set[Where], change: set[Where], missing: set[int], later: set[int], small: bool
) -> None:
    """After any change of points and device no value is wrong, and soon all are there."""
    after = before ^ set(sorted(change)[:2]) if small else change
    host, old = Told(), Direct(unit(missing))
    new = Direct(unit(later, shift=3))

    async def main() -> None:
        driver, polls = direct(old, made(before), host)
        for _ in range(6):
            await read(driver, polls)
        driver, polls = direct(new, made(after), host)
        wanted = {f"{kind}@{at}": expected((at, kind), new.unit.holding) for at, kind in after}
        for _ in range(3):
            seen = await read(driver, polls)
            assert all(value in (None, wanted[point]) for point, value in seen.items())
        await asyncio.sleep(RETRY)
        rounds = 0
        while seen != wanted:  # one of the bad ones is tried at each read
            seen, rounds = await read(driver, polls), rounds + 1
            assert rounds < 40, seen

    if after:
        run_virtual(main)


@pytest.mark.parametrize(
    "kept",
    [
        {"blocks": "?"},
        {"blocks": [{"table": "holding"}]},
        {"version": 7},
        {"program": [1]},
        {"blocks": [{"unit": 1, "table": "holding", "address": 0, "count": 10, "parts": [],
                     "bad": [], "joins": True}]},
        {"blocks": [{"unit": 1, "table": "holding", "address": 0, "count": 10,
                     "parts": [[0, 5, 5], [5, 9, 5]], "bad": [], "joins": True}]},
        {"blocks": [{"unit": 1, "table": "holding", "address": 0, "count": 10,
                     "parts": [[0, 5, 5]], "bad": [[7, 1, 0.0]], "joins": True}]},
        {"blocks": [{"unit": 1, "table": "holding", "address": 0, "count": 10,
                     "parts": [[0, 5, 50]], "bad": [], "joins": True}]},
        {"blocks": [{"unit": 1, "table": "holding", "address": 0, "count": 10,
                     "parts": [[0, 0, -1], [0, 5, 5]], "bad": [], "joins": True}]},
        {"blocks": [{"unit": 2, "table": "holding", "address": 0, "count": 10,
                     "parts": [[0, 5, 5], [6, 4, 4]], "bad": [[5, 1, 0.0]], "joins": True}]},
    ],
)  # fmt: skip
def test_what_does_not_fit_is_ignored(kept: dict[str, Any]) -> None:
    """Knowledge of another version, of another unit or of other blocks changes nothing."""

    async def main() -> None:
        link, host = Direct(unit(set())), Told(memory={"d": kept})
        driver, polls = direct(link, made({(n, "u16") for n in range(10)}), host)
        assert None not in (await read(driver, polls)).values()
        assert link.asked == [(3, 0, 10)]
        assert not list(MODBUS.learned(FieldDevice("d", DeviceConfig(), ()), kept))  # type: ignore[misc]

    asyncio.run(main())


def test_isolation_is_told_once() -> None:
    """One bad register among fifty: one sentence with its number in the manual's counting, its
    points and what to do; after a restart nothing bad is asked and nothing is told again."""
    points = [
        *made({(n, "u16") for n in range(1, 51)}),
        field_point("door", PointConfig(holding=38, bit=2)),
    ]
    link, host = Direct(unit({37})), Told()

    async def main() -> None:
        driver, polls = direct(link, points, host, base=1)
        seen = await read(driver, polls)
        assert [p for p, value in seen.items() if value is None] == ["u16@38", "door"]
        assert link.refused <= 2 * 6 + 1
        for _ in range(3):
            await read(driver, polls)
        ((code, text),) = host.told
        assert code == "register-refused"
        assert "device d has no holding 38 (u16@38, door)" in text
        assert "remove the point" in text
        assert "holding 38" in host.zh[0]
        assert host.kept == 1
        link.asked.clear()
        driver, polls = direct(link, points, host, base=1)
        assert await read(driver, polls) == seen
        assert link.asked == [(3, 0, 37), (3, 38, 12)]
        assert len(host.told) == 1
        field = FieldDevice("d", DeviceConfig(base=1), tuple(points))
        assert [t.en for t in MODBUS.learned(field, host.recall("d"))] == [text]  # type: ignore[misc]

    asyncio.run(main())


def test_learned_of_a_changed_device_is_silent() -> None:
    """What was learned of points that are gone is not said any more."""
    points = made({(n, "u16") for n in range(10)})
    link, host = Direct(unit({4})), Told()

    async def main() -> None:
        driver, polls = direct(link, points, host)
        await read(driver, polls)

    asyncio.run(main())
    learned = MODBUS.learned
    assert learned is not None
    kept = host.recall("d")
    assert len(list(learned(FieldDevice("d", DeviceConfig(), tuple(points)), kept))) == 1
    fewer = tuple(p for p in points if p.id != "u16@4")
    assert not list(learned(FieldDevice("d", DeviceConfig(), fewer), kept))
    assert not list(learned(FieldDevice("d", DeviceConfig(unit=2), tuple(points)), kept))


@pytest.mark.parametrize(
    ("missing", "most", "where", "words"),
    [
        ({6, 7}, 125, [*range(6), *range(8, 12)], ["holding 0-5, holding 8-11", "max_gap: 0"]),
        (set(), 30, list(range(50)), ["does not give holding 0-49", "max_regs: 25"]),
    ],
)
def test_division_is_told(missing: set[int], most: int, where: list[int], words: list[str]) -> None:
    """A block that is only divided loses no point; it is said with the option that plans it so."""
    link, host = Direct(unit(missing), most=most), Told()

    async def main() -> None:
        driver, polls = direct(link, made({(n, "u16") for n in where}), host)
        for _ in range(2):
            assert None not in (await read(driver, polls)).values()

    asyncio.run(main())
    ((code, text),) = host.told
    assert code == "block-divided"
    assert all(word in text for word in words)


def test_border_between_two_answers() -> None:
    """A device that refuses to read over a border is read in two requests, on either side of it."""
    link, host = Direct(unit(set())), Told()
    link.code = lambda pdu: crosses(pdu, {33})

    async def main() -> None:
        driver, polls = direct(link, made({(n, "u16") for n in range(50)}), host)
        assert None not in (await read(driver, polls)).values()
        link.asked.clear()
        await read(driver, polls)
        assert link.asked == [(3, 0, 33), (3, 33, 17)]

    asyncio.run(main())
    assert host.codes == ["block-divided"]


def test_bad_register_is_tried_again_alone() -> None:
    """Once an hour one small request asks for it; when it is answered all is one request again."""
    link, host = Direct(unit({4})), Told()

    async def main() -> None:
        driver, polls = direct(link, made({(n, "u16") for n in range(10)}), host)
        await read(driver, polls)
        await asyncio.sleep(RETRY - 1)
        link.asked.clear()
        await read(driver, polls)
        assert link.asked == [(3, 0, 4), (3, 5, 5)]
        await asyncio.sleep(1)
        for _ in range(2):
            link.asked.clear()
            assert (await read(driver, polls))["u16@4"] is None
        assert link.asked == [(3, 0, 4), (3, 5, 5)]
        link.unit.holding[4] = 44
        await asyncio.sleep(RETRY)
        link.asked.clear()
        assert (await read(driver, polls))["u16@4"] == 44
        assert link.asked == [(3, 0, 4), (3, 5, 5), (3, 4, 1)]
        link.asked.clear()
        assert None not in (await read(driver, polls)).values()
        assert link.asked == [(3, 0, 10)]
        assert host.codes == ["register-refused", "register-accepted"]
        assert host.recall("d") == {}

    run_virtual(main)


def test_hour_goes_on_over_reconnects() -> None:
    """A line that breaks every half hour does not keep a bad register from being tried."""
    link, host = Direct(unit({4})), Told()

    async def main() -> None:
        for _ in range(3):
            driver, polls = direct(link, made({(n, "u16") for n in range(10)}), host)
            link.asked.clear()
            await read(driver, polls)
            await asyncio.sleep(RETRY / 2)
        assert (3, 4, 1) in link.asked

    run_virtual(main)


def test_hour_of_another_boot_is_an_hour_at_most() -> None:
    """The clock that times the trials begins anew with the machine: the next is within an hour."""
    link, host = Direct(unit({4})), Told()

    async def learn() -> None:
        await asyncio.sleep(1e5)
        driver, polls = direct(link, made({(n, "u16") for n in range(10)}), host)
        await read(driver, polls)

    async def after() -> None:
        for wait in (0.0, RETRY / 2, RETRY / 2):
            await asyncio.sleep(wait)
            driver, polls = direct(link, made({(n, "u16") for n in range(10)}), host)
            link.asked.clear()
            await read(driver, polls)
        assert (3, 4, 1) in link.asked

    run_virtual(learn)
    run_virtual(after)


def test_refusal_of_all_forgets_nothing() -> None:
    """A gateway that refuses everything for a while is a failed poll; what was known stays."""
    link, host = Direct(unit({4})), Told()

    async def main() -> None:
        driver, polls = direct(link, made({(n, "u16") for n in range(10)}), host)
        seen = await read(driver, polls)
        link.code = lambda _pdu: 2
        with pytest.raises(DeviceRefused):
            await driver.read(polls[0])
        link.code = lambda _pdu: 0
        link.asked.clear()
        assert await read(driver, polls) == seen
        assert link.asked == [(3, 0, 4), (3, 5, 5)]
        assert len(host.told) == 1

    asyncio.run(main())


def test_bits_of_a_missing_register_cost_one_request() -> None:
    """Points in one place are refused together: they are not asked for one by one."""
    bits = [field_point(f"b{i}", PointConfig(holding=3, bit=i)) for i in range(16)]
    link, host = Direct(unit({3})), Told()

    async def main() -> None:
        driver, polls = direct(link, bits, host)
        with pytest.raises(DeviceRefused) as caught:
            await driver.read(polls[0])
        assert (caught.value.permanent, caught.value.rest) == (True, 600.0)
        assert link.asked == [(3, 3, 1)]

    asyncio.run(main())


def test_one_read_asks_a_bounded_number() -> None:
    """However wrong the map, one read has at most `PROBES` refused requests and the whole."""
    link, host = Direct(unit(set(range(0, REGISTERS, 2)))), Told()

    async def main() -> None:
        driver, polls = direct(link, made({(n, "u16") for n in range(50)}), host)
        for _ in range(5):
            link.refused = 0
            await read(driver, polls)
            assert link.refused <= PROBES + 1
        assert [value is None for value in (await read(driver, polls)).values()] == [
            True,
            False,
        ] * 25

    asyncio.run(main())
