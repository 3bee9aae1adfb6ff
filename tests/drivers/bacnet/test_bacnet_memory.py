"""What the driver keeps of a device, and what it does with a write of which nobody knows."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bacpypes3.apdu import AbortPDU
from bacpypes3.errors import PropertyError

from drivers.bacnet import codec
from drivers.sim.serve_bacnet import ObjectSpec, _Served
from edge.driver import Write
from edge.errors import DeviceRefused, DeviceTimeout
from edge.events import LEFTOVERS
from edge.image.slots import Slot
from tests.drivers.bacnet.test_bacnet_driver import (
    DIMMER,
    TABLE,
    Bench,
    Listener,
    bench,
    driver_for,
    points,
    refuse_more_than,
    run,
)

LAMP, PLAIN, COMMANDED = "binary-output,1", "analog-value,1", "analog-value,2"


@asynccontextmanager
async def reopened(b: Bench, objects: Sequence[str], **options: Any) -> AsyncIterator[Bench]:
    """The same device seen by a driver of its own, whose host remembers what was on the disk."""
    host = Listener(memory=json.loads(json.dumps(b.host.memory)), writes=b.host.writes)
    driver, polls = driver_for(b.relay.address, points(objects), host=host, **options)
    b.relay.requests.clear()
    async with driver:
        yield Bench(b.device, b.relay, driver, polls, host)


OBJECTS = [spec.object for spec in TABLE]
IDENTITY = 3  # requests that ask who it is


# ── what is kept ──────────────────────────────────────────────────────────────────────────────────


def test_a_device_without_read_property_multiple_is_not_asked_for_it_again() -> None:
    """The successor of a driver begins with ReadProperty; so does every other poll at once."""

    async def test() -> None:
        async with bench(batch=2) as b:
            b.device.faults.no_multiple = True
            first = await b.read()
            assert b.reads().count(codec.READ_PROPERTY_MULTIPLE) == 1
            async with reopened(b, OBJECTS, batch=3) as again:
                assert await again.read() == first
                assert codec.READ_PROPERTY_MULTIPLE not in again.reads()

    run(test)


@pytest.mark.parametrize(("most", "how"), [(1, "abort"), (3, "abort"), (3, "error")])
def test_the_size_that_a_device_can_answer_is_not_tried_anew(
    most: int, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart no request is refused: the parts are those that were learned."""
    refused = []
    limited = refuse_more_than(most, how)

    async def counted(app: Any, apdu: Any) -> None:
        if len(apdu.listOfReadAccessSpecs) > most:
            refused.append(apdu)
        await limited(app, apdu)

    monkeypatch.setattr(_Served, "do_ReadPropertyMultipleRequest", counted)

    async def test() -> None:
        async with bench() as b:
            first = await b.read()
            assert refused
            refused.clear()
            async with reopened(b, OBJECTS) as again:
                assert await again.read() == first
            assert refused == []

    run(test)


def test_a_shortage_of_the_moment_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that had no room once is asked for whole polls by the next driver."""
    short = [True]
    taken = _Served.do_ReadPropertyMultipleRequest

    async def sometimes(app: Any, apdu: Any) -> None:
        if short[0] and len(apdu.listOfReadAccessSpecs) > 3:
            await app.response(AbortPDU(srv=True, reason=9, context=apdu))  # out of resources
        else:
            await taken(app, apdu)

    monkeypatch.setattr(_Served, "do_ReadPropertyMultipleRequest", sometimes)

    async def test() -> None:
        async with bench() as b:
            await b.read()
            assert b.reads().count(codec.READ_PROPERTY_MULTIPLE) > 1
            short[0] = False
            async with reopened(b, OBJECTS) as again:
                await again.read()
                assert again.reads().count(codec.READ_PROPERTY_MULTIPLE) == 1

    run(test)


def test_what_can_be_commanded_is_known_at_once_and_its_array_still_looked_at() -> None:
    """Of a value without priorities nothing is asked before a write; of one with them the array:
    an earlier run may have left something there."""

    async def test() -> None:
        async with bench() as b:
            await b.read()
            assert (b.commandable(PLAIN), b.commandable(COMMANDED)) == (False, True)
            b.device.command(COMMANDED, 8, 70.0)
            async with reopened(b, OBJECTS) as again:
                await again.write(33.0, point=PLAIN)
                introduction = 1
                assert again.reads() == [codec.READ_PROPERTY] * (introduction + IDENTITY) + [
                    codec.WRITE_PROPERTY
                ]
                again.relay.requests.clear()
                await again.write(34.0, point=COMMANDED)
                assert again.reads() == [codec.READ_PROPERTY] + [codec.WRITE_PROPERTY] * 2
                assert b.device.priorities(COMMANDED) == {14: 34.0}

    run(test)


def test_a_healthy_device_is_written_to_the_disk_once() -> None:
    """Polls and writes that bring nothing new keep nothing new."""
    kept = []

    async def test() -> None:
        host = Listener(changed=lambda: kept.append(1))
        async with bench(host=host) as b:
            await b.read()
            for value in (1.0, 2.0, 3.0):
                await b.write(value)
                await b.read()
            assert len(kept) == 1

    run(test)


@pytest.mark.parametrize("change", ["model", "firmware"])
def test_of_another_device_everything_is_learned_anew(change: str) -> None:
    """A new firmware may know the service, another model may lack the priority array."""

    async def test() -> None:
        async with bench() as b:
            b.device.faults.no_multiple = True
            await b.read()
            assert b.device._stack is not None
            name = {"model": "modelName", "firmware": "firmwareRevision"}[change]
            setattr(b.device._stack.device_object, name, "another")
            b.device.faults.no_multiple = False
            async with reopened(b, OBJECTS) as again:
                await again.read()
                assert codec.READ_PROPERTY_MULTIPLE in again.reads()
                kept = again.host.recall("lobby")
                assert "another" in kept["identity"]
                assert "multiple" not in kept

    run(test)


def test_after_a_silence_the_firmware_is_compared_again() -> None:
    """A device that was updated while the controller ran is not asked as the old one was."""

    async def test() -> None:
        async with bench() as b:
            b.device.faults.no_multiple = True
            await b.read()
            b.device.faults.silent = True
            with pytest.raises(DeviceTimeout):
                await b.read()
            assert b.device._stack is not None
            b.device._stack.device_object.firmwareRevision = "2.0"
            b.device.faults.silent = b.device.faults.no_multiple = False
            await b.driver.probe("lobby")
            b.relay.requests.clear()
            await b.read()
            assert codec.READ_PROPERTY_MULTIPLE in b.reads()

    run(test)


def test_a_device_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vendor, model and firmware; one that tells nothing refuses."""

    async def test() -> None:
        async with bench() as b:
            assert await b.driver.identify("lobby") == {
                "vendor": "Simulated Equipment", "model": "simulated", "firmware": "1.0",
            }  # fmt: skip

            async def unknown(app: Any, apdu: Any) -> None:
                raise PropertyError("unknownProperty")

            monkeypatch.setattr(_Served, "do_ReadPropertyRequest", unknown)
            with pytest.raises(DeviceRefused):
                await b.driver.identify("lobby")

    run(test)


# ── a probe ───────────────────────────────────────────────────────────────────────────────────────


def test_a_probe_is_one_small_request() -> None:
    """Before and after the device is known; it brings no value and changes nothing."""

    async def test() -> None:
        async with bench() as b:
            for _ in range(2):
                await b.driver.probe("lobby")
            assert b.reads() == [codec.READ_PROPERTY] * 2
            assert max(map(len, b.relay.requests)) < 20

    run(test)


@pytest.mark.parametrize("instance", [1001, 1007])
def test_a_refusal_is_an_answer_to_a_probe(instance: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that refuses everything is there, and so is one of another instance."""

    async def refuse(app: Any, apdu: Any) -> None:
        raise PropertyError("readAccessDenied")

    async def test() -> None:
        async with bench(instance=instance) as b:
            if instance == 1001:
                monkeypatch.setattr(_Served, "do_ReadPropertyRequest", refuse)
            for _ in range(2):
                await b.driver.probe("lobby")

    run(test)


def test_a_probe_of_a_silent_device_times_out_and_finds_it_again() -> None:
    """Silence is DeviceTimeout; the first answer after it is enough."""

    async def test() -> None:
        async with bench() as b:
            await b.read()
            b.device.faults.silent = True
            for _ in range(2):
                b.relay.requests.clear()
                with pytest.raises(DeviceTimeout):
                    await b.driver.probe("lobby")
                assert len(b.relay.requests) == 1
            b.device.faults.silent = False
            await b.driver.probe("lobby")
            await b.read()

    run(test)


# ── a write of which nobody knows ─────────────────────────────────────────────────────────────────


async def lost(b: Bench, value: float, slot: int = Slot.CONTROL, point: str = DIMMER) -> Write:
    """Write; the device carries it out and its answer is lost."""
    write = Write("lobby", point, value, slot)
    answers = b.relay._answer
    b.relay._answer = lambda data, asker: (  # type: ignore[method-assign]
        None if data[8] == codec.WRITE_PROPERTY else answers(data, asker)
    )
    with pytest.raises(DeviceTimeout):
        await b.driver.write([write])
    b.relay._answer = answers  # type: ignore[method-assign]
    return write


@pytest.mark.parametrize(
    ("point", "value"),
    [(DIMMER, 33.3), (LAMP, 1.0), (PLAIN, 66.6), (COMMANDED, 12.5), ("multi-state-output,1", 2.0)],
)
def test_a_write_whose_answer_was_lost_is_found_on_the_device(point: str, value: float) -> None:
    """Analogue, binary and multi-state, with and without priorities: it holds what was written,
    and nothing else."""
    table = (*TABLE, ObjectSpec("multi-state-output,1", "mode", default=1.0))

    async def test() -> None:
        async with bench(table=table) as b:
            other = 3.0 if point.startswith("multi") else 0.0
            await b.read()
            assert await b.driver.holds(Write("lobby", point, value, Slot.CONTROL)) is False
            write = await lost(b, value, point=point)
            assert await b.driver.holds(write) is True
            assert await b.driver.holds(Write("lobby", point, other, Slot.CONTROL)) is False

    run(test)


def test_a_write_that_never_arrived_is_not_held() -> None:
    """A silent device took nothing: the present value alone would not tell where it is the same."""

    async def test() -> None:
        async with bench() as b:
            await b.read()
            b.device.command(DIMMER, 3, 60.0)
            b.device.faults.silent = True
            with pytest.raises(DeviceTimeout):
                await b.write(60.0)
            b.device.faults.silent = False
            assert b.device.value(DIMMER) == 60.0
            assert await b.driver.holds(Write("lobby", DIMMER, 60.0, Slot.CONTROL)) is False

    run(test)


def test_a_stronger_hand_does_not_hide_that_we_hold_our_priority() -> None:
    """Overridden from outside, the write is at its place all the same."""

    async def test() -> None:
        async with bench() as b:
            await b.read()
            write = await lost(b, 60.0)
            b.device.command(DIMMER, 2, 0.0)
            assert await b.driver.holds(write) is True

    run(test)


def test_a_change_of_priority_is_held_when_the_old_one_is_gone() -> None:
    """The NULL to the old priority belongs to the write: as long as that is stronger, the output
    does not follow."""

    async def test() -> None:
        async with bench() as b:
            await b.write(80.0, Slot.REMOTE)
            write = await lost(b, 60.0, Slot.CONTROL)
            assert b.device.priorities(DIMMER) == {8: 80.0, 14: 60.0}
            assert await b.driver.holds(write) is False
            await b.driver.write([write])
            assert b.device.priorities(DIMMER) == {14: 60.0}
            assert await b.driver.holds(write) is True

    run(test)


def test_minimum_times_are_held_at_five() -> None:
    """As they are written."""

    async def test() -> None:
        async with bench() as b:
            await b.read()
            write = await lost(b, 60.0, Slot.MIN_TIME)
            assert await b.driver.holds(write) is True
            assert b.device.priorities(DIMMER) == {5: 60.0}

    run(test)


def test_a_relinquish_is_held_when_nothing_of_ours_is_left() -> None:
    """Foreign priorities may stay; a value without priorities has nothing to let go of."""

    async def test() -> None:
        async with bench() as b:
            await b.write(60.0)
            b.device.command(DIMMER, 3, 90.0)
            nothing = Write("lobby", DIMMER, math.nan, Slot.CONTROL)
            assert await b.driver.holds(nothing) is False
            await lost(b, math.nan)
            assert b.device.priorities(DIMMER) == {3: 90.0}
            assert await b.driver.holds(nothing) is True
            await b.read()
            assert await b.driver.holds(Write("lobby", PLAIN, math.nan, Slot.CONTROL)) is True

    run(test)


def test_where_the_array_cannot_be_read_the_value_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where that cannot either, nobody knows."""
    taken = _Served.do_ReadPropertyRequest
    hidden = {"priority-array"}

    async def hide(app: Any, apdu: Any) -> None:
        if str(apdu.propertyIdentifier) in hidden:
            raise PropertyError("readAccessDenied")
        await taken(app, apdu)

    async def test() -> None:
        async with bench() as b:
            await b.write(60.0)
            monkeypatch.setattr(_Served, "do_ReadPropertyRequest", hide)
            for value, held in ((60.0, True), (61.0, False), (math.nan, None)):
                assert await b.driver.holds(Write("lobby", DIMMER, value, 14)) is held
            hidden.add("present-value")
            assert await b.driver.holds(Write("lobby", DIMMER, 60.0, 14)) is None

    run(test)


# ── what an earlier run left ──────────────────────────────────────────────────────────────────────


def test_what_an_earlier_run_left_is_told_when_it_is_cleared() -> None:
    """Once per point, with priorities and values; what is only overwritten is no news."""

    async def test() -> None:
        async with bench() as b:
            b.device.command(DIMMER, 8, 55.0)
            b.device.command(DIMMER, 5, 66.0)
            b.device.command(COMMANDED, 14, 20.0)
            await b.read()
            assert b.host.told == []
            await b.write(66.0)
            await b.write(67.0)
            await b.write(21.0, point=COMMANDED)
            assert [code for code, _ in b.host.told] == [LEFTOVERS.code]
            assert b.host.told[0][1].endswith("5 = 66, 8 = 55")
            assert DIMMER in b.host.told[0][1]

    run(test)


def test_while_observing_nothing_that_was_left_is_cleared() -> None:
    """Nothing is written but what was asked for, and nothing is told."""

    async def test() -> None:
        async with bench(host=Listener(writes=False)) as b:
            b.device.command(DIMMER, 8, 55.0)
            await b.read()
            assert codec.WRITE_PROPERTY not in b.reads()
            await b.write(60.0)
            await b.write(math.nan)
            assert b.device.priorities(DIMMER) == {8: 55.0}
            assert b.host.told == []

    run(test)


def test_what_was_learned_while_the_device_fell_silent_is_kept_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It must say who it is before anything is kept of it: when that fails, after the next poll."""
    taken = _Served.do_ReadPropertyRequest
    mute = [True]

    async def ask(app: Any, apdu: Any) -> None:
        identity = str(apdu.propertyIdentifier) in ("vendor-name", "model-name")
        if not (identity and mute[0]):
            await taken(app, apdu)

    monkeypatch.setattr(_Served, "do_ReadPropertyRequest", ask)

    async def test() -> None:
        async with bench(OBJECTS[:1]) as b:
            b.device.faults.no_multiple = True
            first = await b.read()
            assert b.host.memory == {}
            mute[0] = False
            assert await b.read() == first
            assert b.host.recall("lobby")["multiple"] is False

    run(test)
