"""The first contact: who a device is, and what it is set to, before anything else of it is used."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.config import PointConfig
from drivers.modbus.contact import REST
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.parts import RETRY
from edge.driver import Poll, Write
from edge.errors import DeviceRefused, DeviceTimeout
from edge.proof.virtual_loop import run_virtual
from edge.text import Text
from tests.contract.drivers import field_point
from tests.drivers.modbus.direct import Direct, direct
from tests.support.modbus_units import Unit
from tests.support.told import Told

IDENTIFY = 0x2B
OBJECTS = {0: b"ACME", 1: b"PUMP", 2: b"V2.11", 4: b"Booster", 5: b"BX-3/20", 6: b"plant"}
Test = Callable[[ModbusDriver, Direct, list[Poll], Told], Awaitable[None]]


def meet(test: Test, *, unit: Unit | None = None, writes: bool = True, **device: Any) -> Told:
    """Run a test with a driver of one device that has two registers and its objects."""
    link = Direct(unit or Unit(holding={n: n for n in range(200)}, identity=dict(OBJECTS)))
    host = Told(writes=writes)

    async def main() -> None:
        points = [field_point(f"r{n}", PointConfig(holding=n), writable=True) for n in (10, 30)]
        driver, polls = direct(link, points, host, **device)
        await test(driver, link, polls, host)

    run_virtual(main)
    return host


@pytest.mark.parametrize(
    "identity",
    [
        {"vendor": "ACME"},
        {"vendor": "AC*", "product": "PUMP", "revision": "V2.*"},
        {"vendor": "*", "product_name": "Booster", "model": "BX-3/20"},
        {"registers": {"holding": 100, "length": 3, "text": "EM-40"}},
        {"registers": {"input": 7, "value": 1234}},
        {"registers": {"holding": 103, "type": "u32", "value": 70000}},
        {"vendor": "ACME", "registers": {"holding": 103, "type": "u32", "value": 70000}},
    ],
)
@pytest.mark.parametrize("room", [253, 12])
def test_right_device(identity: dict[str, Any], room: int) -> None:
    """The expected device is asked who it is once, before all else, and then used."""
    unit = Unit({10: 10, 30: 30}, {7: 1234}, identity=dict(OBJECTS), room=room)
    unit.put("holding", 100, b"EM-40\0" + (70000).to_bytes(4))

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        assert (await driver.read(polls[0])).values.tolist() == [10.0]
        first = link.asked[0]
        assert first[0] == IDENTIFY or first[1] in (7, 100, 103)
        link.asked.clear()
        await driver.read(polls[0])
        await driver.write([Write("d", "r30", 4.0, 14)])
        assert link.asked == [(3, 10, 1), (6, 30, 4)]
        assert not host.told

    meet(test, unit=unit, identity=identity)


@pytest.mark.parametrize(
    ("identity", "expected", "found"),
    [
        ({"vendor": "ACMEE"}, "vendor ACMEE", "vendor ACME"),
        ({"vendor": "CME*"}, "vendor CME*", "vendor ACME"),
        ({"vendor": "acme"}, "vendor acme", "vendor ACME"),
        ({"vendor": "ACME", "model": "BX-4*"}, "expected model BX-4*", "model BX-3/20"),
        ({"registers": {"holding": 10, "value": 11}}, "holding 10 = 11", "holding 10 = 10"),
        ({"registers": {"holding": 500, "value": 11}}, "holding 500 = 11", "no holding 500"),
        (
            {"registers": {"holding": 65, "length": 1, "text": "AB"}},
            "holding 65 = AB",
            "found holding 65 = ",
        ),
    ],
)
def test_wrong_device(identity: dict[str, Any], expected: str, found: str) -> None:
    """Another device is neither read nor written, and both names are said once.

    A write is not refused for good: the bus task would let it lie when the right one is back.
    """

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        calls: list[tuple[bool, Callable[[], Awaitable[object]]]] = [
            (True, lambda: driver.read(polls[0])),
            (True, lambda: driver.read(polls[1])),
            (False, lambda: driver.write([Write("d", "r30", 4.0, 14)])),
            (False, lambda: driver.holds(Write("d", "r30", 4.0, 14))),
            (True, lambda: driver.raw("d", "r30")),
        ]
        for permanent, call in calls:
            with pytest.raises(DeviceRefused) as caught:
                await call()
            error = caught.value
            assert (error.code, error.permanent, error.rest) == ("WRONG_DEVICE", permanent, REST)
            assert expected in error.reason.en
            assert found in error.reason.en
        assert not link.written
        assert all(request[1:] not in ((10, 1), (30, 1)) for request in link.asked[1:])
        ((code, text),) = host.told
        assert code == "wrong-device"
        assert expected in text
        assert found in text

    meet(test, identity=identity)


def test_exchanged_device_is_found_after_silence() -> None:
    """After a time-out the device is asked again; one of another kind is refused, until it is the
    right one again: told when it begins and when it ends."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        await driver.read(polls[0])
        link.silent = True
        with pytest.raises(DeviceTimeout):
            await driver.read(polls[0])
        link.silent = False
        link.unit.identity[0] = b"OTHER"
        for _ in range(3):
            with pytest.raises(DeviceRefused):
                await driver.read(polls[0])
        link.unit.identity[0] = b"ACME"
        link.asked.clear()
        with pytest.raises(DeviceRefused):
            await driver.read(polls[1])
        assert not link.asked
        await asyncio.sleep(REST)
        await driver.read(polls[1])
        assert host.codes == ["wrong-device", "right-device"]

    meet(test, identity={"vendor": "ACME"})


def test_device_without_identification() -> None:
    """Who cannot say who it is is refused with what to write instead."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        with pytest.raises(DeviceRefused) as caught:
            await driver.read(polls[0])
        assert caught.value.code == "WRONG_DEVICE"
        assert "registers under identity" in caught.value.reason.en
        assert "registers" in caught.value.reason.zh
        assert host.codes == ["wrong-device"]

    meet(test, unit=Unit({10: 1, 30: 2}), identity={"vendor": "ACME"})


def test_basic_device_has_no_model() -> None:
    """A device with the mandatory objects only is compared in these and has no model."""
    unit = Unit({10: 1, 30: 2}, identity={n: OBJECTS[n] for n in (0, 1, 2)})

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        with pytest.raises(DeviceRefused) as caught:
            await driver.read(polls[0])
        assert "found model not given" in caught.value.reason.en

    meet(test, unit=unit, identity={"vendor": "ACME", "model": "BX*"})


def test_regular_stream_is_refused() -> None:
    """Where only the basic stream is known, its objects are taken from there."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        link.code = lambda pdu: 3 if pdu[:3] == bytes((IDENTIFY, 14, 2)) else 0
        with pytest.raises(DeviceRefused) as caught:
            await driver.read(polls[0])
        assert "expected model BX*; found model not given" in caught.value.reason.en

    meet(test, identity={"vendor": "ACME", "model": "BX*"})


def test_silent_on_identification() -> None:
    """A device that says nothing to the question is a time-out that names the question."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        link.silent = True
        with pytest.raises(DeviceTimeout) as caught:
            await driver.read(polls[0])
        assert "2B/0E" in caught.value.reason.en

    meet(test, identity={"vendor": "ACME"})


def test_busy_is_not_wrong() -> None:
    """A device that is busy when it is asked who it is is not another one."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        link.code = lambda _pdu: 6
        with pytest.raises(DeviceRefused) as caught:
            await driver.read(polls[0])
        assert caught.value.code == "06"
        link.code = lambda _pdu: 0
        await driver.read(polls[0])
        assert not host.told

    meet(test, identity={"vendor": "ACME"})


def test_text_in_swapped_registers() -> None:
    """A nameplate in a device with swapped bytes is read as its other registers are."""
    unit = Unit({10: 1, 30: 2})
    unit.put("holding", 100, b"ME4-\x000")

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        await driver.read(polls[0])

    plate = {"holding": 100, "length": 3, "text": "EM-40"}
    meet(test, unit=unit, order="BADC", identity={"registers": plate})


def test_text_in_chinese() -> None:
    """A vendor may write its name in UTF-8 or in GBK; what is no text is shown as bytes."""
    for name in ("上海水泵".encode(), "上海水泵".encode("gbk")):
        unit = Unit({10: 1, 30: 2}, identity={0: name})

        async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
            await driver.read(polls[0])

        meet(test, unit=unit, identity={"vendor": "上海水泵"})


@given(st.binary(min_size=1, max_size=40), st.integers(0, 255), st.sampled_from([0, 0xFF]))
def test_any_identification(data: bytes, following: int, more: int) -> None:
    """Whatever objects a device says, in whatever order and for ever: an answer or a refusal."""

    class Odd(Direct):
        async def ask(self, unit: int, request: Any, timeout: float) -> bytes:
            assert len(self.asked) < 300
            if request.pdu[0] != IDENTIFY:
                return await super().ask(unit, request, timeout)
            self.asked.append((IDENTIFY, 0, 0))
            objects = b"".join(bytes((n % 7, 1, n)) for n in data)
            return bytes((*request.head, 0x83, more, following, len(data))) + objects

    link, host = Odd(Unit({10: 1, 30: 2})), Told()

    async def main() -> None:
        points = [field_point("r10", PointConfig(holding=10))]
        driver, polls = direct(link, points, host, identity={"vendor": "A", "model": "B*"})
        try:
            await driver.read(polls[0])
        except DeviceRefused as error:
            assert error.code == "WRONG_DEVICE"  # noqa: PT017

    asyncio.run(main())


PROGRAM = {"bus_failure": {"holding": 109, "value": 1}}


def test_setting_is_written_once_and_told() -> None:
    """What differs is written, read back and told with both values; what holds is left alone."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        await driver.read(polls[0])
        assert link.asked == [(3, 109, 1), (6, 109, 1), (3, 109, 1), (3, 10, 1)]
        link.silent = True
        with pytest.raises(DeviceTimeout):
            await driver.read(polls[0])
        link.silent = False
        link.asked.clear()
        await driver.read(polls[0])
        assert link.asked == [(3, 109, 1), (3, 10, 1)]
        ((code, text),) = host.told
        assert code == "device-programmed"
        assert "bus_failure (holding 109) was 109 and is now 1" in text

    meet(test, program=PROGRAM)


def test_identity_comes_before_settings() -> None:
    """Another device is not set."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        with pytest.raises(DeviceRefused):
            await driver.read(polls[0])
        assert not link.written
        assert link.unit.holding[109] == 109

    meet(test, program=PROGRAM, identity={"vendor": "OTHER"})


def test_observer_sets_nothing() -> None:
    """A controller that only observes leaves the settings as they are."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        await driver.read(polls[0])
        assert link.asked == [(3, 10, 1)]
        assert not host.told

    meet(test, writes=False, program=PROGRAM)


@pytest.mark.parametrize(("write", "function"), [("multiple", 16), ("read_write", 23)])
def test_setting_is_written_as_the_device_wants(write: str, function: int) -> None:
    """The functions for writing are those of the device; values are raw, in its word order."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        await driver.read(polls[0])
        assert [function for function, _ in link.written] == [function]
        assert (link.unit.holding[120], link.unit.holding[121]) == (0x0000, 0x3F80)

    setting = {"holding": 121, "type": "f32", "value": 1.0}
    meet(test, base=1, order="CDAB", write=write, program={"limit": setting})


def test_setting_that_is_not_taken() -> None:
    """A setting that the device refuses or forgets is told once, tried again after an hour, over
    reconnects too, and does not stop reading."""

    class Stubborn(Direct):
        stubborn = True

        async def ask(self, unit: int, request: Any, timeout: float) -> bytes:
            answer = await super().ask(unit, request, timeout)
            if self.stubborn:
                self.unit.holding[109] = 109
            return answer

    link = Stubborn(Unit(holding={n: n for n in range(108)} | {109: 109}))
    host = Told()
    program = PROGRAM | {"absent": {"holding": 150, "value": 1}}

    async def main() -> None:
        points = [field_point("r10", PointConfig(holding=10))]
        for _ in range(3):
            driver, polls = direct(link, points, host, program=program)
            for _ in range(3):
                assert (await driver.read(polls[0])).values.tolist() == [10.0]
        assert link.written == [(6, 109)]
        assert host.codes == ["device-not-programmed", "device-not-programmed"]
        assert "reads 109 after 1 was written" in host.told[0][1]
        assert "absent (holding 150) could not be set to 1: unit 1 has no such" in host.told[1][1]
        link.stubborn = False
        await asyncio.sleep(RETRY)
        await driver.read(polls[0])
        assert host.codes[2:] == ["device-programmed"]
        assert link.unit.holding[109] == 1
        await asyncio.sleep(RETRY)
        await driver.read(polls[0])
        assert set(host.recall("d")["program"]) == {"absent"}

    run_virtual(main)


def test_setting_of_another_boot_is_tried_within_an_hour() -> None:
    """The clock of the trials begins anew with the machine."""
    link = Direct(Unit(holding={n: n for n in range(200)}))
    host = Told(memory={"d": {"program": {"bus_failure": {"value": 1, "until": 1e9}}}})

    async def main() -> None:
        points = [field_point("r10", PointConfig(holding=10))]
        driver, polls = direct(link, points, host, program=PROGRAM)
        await driver.read(polls[0])
        assert link.unit.holding[109] == 109
        await asyncio.sleep(RETRY)
        await driver.read(polls[0])
        assert link.unit.holding[109] == 1
        await asyncio.sleep(RETRY)
        await driver.read(polls[0])
        assert host.recall("d") == {}

    run_virtual(main)


def test_silence_while_setting_is_silence() -> None:
    """A device that falls silent while it is set is a time-out, and is set when it is back."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        link.silent = True
        for _ in range(2):
            with pytest.raises(DeviceTimeout):
                await driver.read(polls[0])
        link.silent = False
        await driver.read(polls[0])
        assert host.codes == ["device-programmed"]

    meet(test, program=PROGRAM)


def test_a_setting_is_written_once_an_hour_whoever_undoes_it() -> None:
    """Another master, or somebody on site: told once, and the register outlives the quarrel."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        for _ in range(2):
            for _ in range(20):
                await driver.read(polls[0])
                link.unit.holding[109] = 5
                link.silent = True
                with pytest.raises(DeviceTimeout):
                    await driver.read(polls[0])
                link.silent = False
            await asyncio.sleep(RETRY)
        assert link.written == [(6, 109)] * 2
        assert host.codes == ["device-programmed", "device-not-programmed"] * 2
        assert "written within the hour and is 5" in host.told[1][1]

    meet(test, program=PROGRAM)


def test_an_unanswered_setting_is_not_written_again_and_again() -> None:
    """A device that says nothing to the writing is read all the same, and written once an hour."""

    class Mute(Direct):
        async def ask(self, unit: int, request: Any, timeout: float) -> bytes:
            if request.pdu[0] == 6:
                self.written.append((6, 109))
                raise DeviceTimeout(Text("无应答", "no answer"))
            return await super().ask(unit, request, timeout)

    link = Mute(Unit(holding={n: n for n in range(200)}))
    host = Told()

    async def main() -> None:
        points = [field_point("r10", PointConfig(holding=10))]
        for attempt in range(3):  # over reconnects too
            driver, polls = direct(link, points, host, program=PROGRAM)
            if not attempt:
                with pytest.raises(DeviceTimeout):
                    await driver.read(polls[0])
            for _ in range(3):
                assert (await driver.read(polls[0])).values.tolist() == [10.0]
        assert link.written == [(6, 109)]
        assert host.codes == ["device-not-programmed"]
        other = PROGRAM["bus_failure"] | {"value": 2}
        driver, polls = direct(link, points, host, program={"bus_failure": other})
        with pytest.raises(DeviceTimeout):  # what the site wants is new
            await driver.read(polls[0])

    run_virtual(main)


def test_reads_at_the_same_time_meet_once() -> None:
    """With several requests under way the device is asked once; the others wait for the answer."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        await asyncio.gather(*(driver.read(poll) for poll in polls))
        assert [function for function, _, _ in link.asked] == [IDENTIFY, 3, 6, 3, 3, 3]

    meet(test, identity={"vendor": "ACME"}, program=PROGRAM)


def test_nothing_to_meet() -> None:
    """A device without identity and settings is asked for its points only."""

    async def test(driver: ModbusDriver, link: Direct, polls: list[Poll], host: Told) -> None:
        await driver.read(polls[0])
        await driver.write([Write("d", "r30", math.nan, 14)])
        assert link.asked == [(3, 10, 1)]

    meet(test)
