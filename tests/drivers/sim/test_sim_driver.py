"""The in-process driver runs models on the loop's time and fails as a real bus does."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from drivers.sim.config import SimBus, SimDevice, SimPoint
from drivers.sim.driver import Line, SimDriver, plan, sim_kind
from drivers.sim.models.booster import Booster
from drivers.sim.models.zones import ZoneNetwork
from drivers.sim.rig import Rig
from edge.bus.host import BusHost
from edge.driver import FieldDevice, FieldPoint, Poll, Write
from edge.errors import BadAnswer, DeviceRefused, DeviceTimeout, LinkDown
from edge.image import quality
from edge.proof.virtual_loop import run_virtual
from edge.schema.model import Refusal

GOOD = quality.SIMULATED


def point(name: str, variable: str, **options: Any) -> FieldPoint:
    values = {
        "id": f"v3.{name}", "config": SimPoint(variable=variable), "scale": 1.0, "offset": 0.0,
        "low": -1e9, "high": 1e9, "period": 1.0, "readable": True, "writable": False,
    }  # fmt: skip
    return FieldPoint(**(values | options))


VALVE = FieldDevice(
    "v3",
    SimDevice(model="zones"),
    (
        point("position", "v3_position"),
        point("pressure", "z3_pressure", scale=1000.0, low=0.0, high=600.0),
        point("command", "v3_command", writable=True),
        point("other", "discharge_pressure"),
        point("volume", "z3_volume", period=60.0),
        point("hidden", "z3_flow", readable=False),
    ),
)


def on_bus(
    act: Callable[[SimDriver, Rig, Line], Awaitable[None]], *, line: Line | None = None
) -> None:
    """Run `act` with a connected driver over an exact rig, in virtual time."""
    rig, line = Rig({"zones": ZoneNetwork()}), line or Line()

    async def main() -> None:
        bus = SimBus()
        async with sim_kind(rig, line).connect(
            bus, (VALVE,), plan(bus, VALVE), BusHost()
        ) as driver:
            assert isinstance(driver, SimDriver)
            await act(driver, rig, line)

    run_virtual(main)


POLL, SLOW = plan(SimBus(), VALVE)


def test_plan_has_one_poll_per_period() -> None:
    """Readable points of one period come together, each once."""
    assert POLL.points == ("v3.position", "v3.pressure", "v3.command", "v3.other")
    assert (SLOW.points, SLOW.period) == (("v3.volume",), 60.0)


def test_values_are_scaled_and_marked_as_simulated() -> None:
    """A value comes in the point's unit with SIMULATED; what the model has not is CONFIG."""

    async def act(driver: SimDriver, _: Rig, __: Line) -> None:
        sample = await driver.read(POLL)
        assert list(sample.values[:3]) == pytest.approx([80.0, 400.0, 80.0], abs=0.1)
        assert list(sample.quality) == [GOOD, GOOD, GOOD, GOOD | quality.CONFIG]

    on_bus(act)


def test_models_run_on_the_loops_time() -> None:
    """Ten virtual seconds after a command the valve has moved by its 2 %/s."""

    async def act(driver: SimDriver, _: Rig, __: Line) -> None:
        await driver.read(POLL)
        await driver.write([Write("v3", "v3.command", 40.0, 14)])
        await asyncio.sleep(10.0)
        sample = await driver.read(POLL)
        assert list(sample.values[:1]) == pytest.approx([60.0])
        assert sample.values[2] == 40.0

    on_bus(act)


def test_a_bus_can_run_faster_than_time() -> None:
    """With `speed: 60` a second brings a minute of the model."""

    async def main() -> None:
        bus = SimBus(speed=60)
        async with sim_kind().connect(bus, (VALVE,), (POLL, SLOW), BusHost()) as driver:
            await driver.read(SLOW)
            await asyncio.sleep(60.0)
            assert (await driver.read(SLOW)).values[0] == pytest.approx(6.0, rel=1e-3)

    run_virtual(main)


def test_faults_show_as_quality() -> None:
    """A bad sensor is SENSOR, a value beyond the physical range RANGE, a refused point CONFIG."""

    async def act(driver: SimDriver, rig: Rig, line: Line) -> None:
        rig.start("zones", "sensor_bad:v3_position")
        rig.models["zones"].supply = 0.7  # type: ignore[attr-defined]
        line.refused.add("v3.command")
        await driver.read(POLL)
        await asyncio.sleep(0.1)
        bits = list((await driver.read(POLL)).quality)
        assert bits[:3] == [GOOD | quality.SENSOR, GOOD | quality.RANGE, GOOD | quality.CONFIG]
        with pytest.raises(DeviceRefused):
            await driver.write([Write("v3", "v3.command", 50.0, 14)])

    on_bus(act)


def test_commands_beyond_the_device_are_refused() -> None:
    """A measurement and a value above 100 are refused; NaN has nothing to relinquish."""

    async def act(driver: SimDriver, rig: Rig, _: Line) -> None:
        with pytest.raises(DeviceRefused, match="120"):
            await driver.write([Write("v3", "v3.command", 120.0, 14)])
        with pytest.raises(DeviceRefused, match="written"):
            await driver.write([Write("v3", "v3.position", 50.0, 14)])
        await driver.write([Write("v3", "v3.command", float("nan"), 14)])
        assert rig.read("zones", "v3_command") == 80.0

    on_bus(act)


def test_a_silent_device_times_out() -> None:
    """Silence and an answer later than the time-out are `DeviceTimeout`, after the time-out."""

    async def act(driver: SimDriver, _: Rig, line: Line) -> None:
        loop = asyncio.get_running_loop()
        line.silent.add("v3")
        began = loop.time()
        with pytest.raises(DeviceTimeout):
            await driver.read(POLL)
        assert loop.time() - began == pytest.approx(0.3)
        line.silent.clear()
        line.delay = 0.5
        with pytest.raises(DeviceTimeout):
            await driver.write([Write("v3", "v3.command", 50.0, 14)])
        line.delay = 0.2
        assert (await driver.read(POLL)).values[2] == 80.0

    on_bus(act)


def test_a_lost_answer_is_a_write_that_was_carried_out() -> None:
    """The device does what was asked, the answer never comes, and reading shows that it did."""

    async def act(driver: SimDriver, rig: Rig, line: Line) -> None:
        line.lost.add("v3.command")
        write = Write("v3", "v3.command", 50.0, 14)
        assert await driver.holds(write) is False
        with pytest.raises(DeviceTimeout):
            await driver.write([write])
        assert rig.read("zones", "v3_command") == 50.0
        assert await driver.holds(write) is True
        line.lost.clear()
        await driver.write([write])

    on_bus(act)


def test_a_damaged_answer_brings_nothing_and_undoes_nothing() -> None:
    """`BadAnswer` to reads, writes, probes and read-backs alike; the write was carried out."""

    async def act(driver: SimDriver, rig: Rig, line: Line) -> None:
        line.corrupted.add("v3")
        write = Write("v3", "v3.command", 50.0, 14)
        for request in (
            lambda: driver.read(POLL),
            lambda: driver.write([write]),
            lambda: driver.probe("v3"),
            lambda: driver.holds(write),
            lambda: driver.raw("v3", "v3.command"),
        ):
            with pytest.raises(BadAnswer):
                await request()
        assert rig.read("zones", "v3_command") == 50.0

    on_bus(act)


def test_a_busy_device_says_so_a_few_times_and_is_there() -> None:
    """It asks for patience so often as was said; a probe takes that for an answer."""

    async def act(driver: SimDriver, _: Rig, line: Line) -> None:
        line.busy["v3"] = 3
        with pytest.raises(DeviceRefused) as refused:
            await driver.read(POLL)
        assert refused.value.again == (1.0, 1.0, 1.0)
        with pytest.raises(DeviceRefused):
            await driver.write([Write("v3", "v3.command", 50.0, 14)])
        await driver.probe("v3")
        assert (await driver.read(POLL)).values[2] == 80.0
        assert (line.requests["v3"], line.probes["v3"]) == (4, 1)

    on_bus(act)


@pytest.mark.parametrize("scale", [1.0, 0.1, 3.0, 1e-3])
def test_what_a_write_would_bring_is_told_from_what_is_there(scale: float) -> None:
    """A command is held exactly when writing it would change nothing; unknown where it cannot be
    read; and there is nothing that a relinquish would have to let go of."""
    device = replace(
        VALVE,
        points=(
            point("command", "v3_command", scale=scale, writable=True),
            point("blind", "v3_command", scale=scale, writable=True, readable=False),
            point("broken", "discharge_pressure", writable=True),
        ),
    )

    async def main() -> None:
        bus, line = SimBus(), Line()
        rig = Rig({"zones": ZoneNetwork()})
        connect = sim_kind(rig, line).connect
        async with connect(bus, (device,), plan(bus, device), BusHost()) as driver:
            for value in (33.3, 0.1, 70.0):
                write = Write("v3", "v3.command", value * scale, 14)
                assert await driver.holds(write) is False
                await driver.write([write])
                assert await driver.holds(write) is True
                assert await driver.holds(replace(write, value=value * scale + 0.01)) is False
                assert await driver.holds(replace(write, value=float("nan"))) is True
            for name in ("v3.blind", "v3.broken"):
                assert await driver.holds(Write("v3", name, 50.0, 14)) is None
            line.refused.add("v3.command")
            assert await driver.holds(Write("v3", "v3.command", 50.0, 14)) is None

    run_virtual(main)


def test_a_lost_line_is_link_down() -> None:
    """While the line is down nothing answers and nobody can connect."""

    async def act(driver: SimDriver, _: Rig, line: Line) -> None:
        line.down = True
        with pytest.raises(LinkDown):
            await driver.read(POLL)
        with pytest.raises(LinkDown):
            await driver.write([Write("v3", "v3.command", 50.0, 14)])
        with pytest.raises(LinkDown):
            await driver.raw("v3", "v3.command")
        line.down = False
        assert (await driver.read(POLL)).values[2] == 80.0

    on_bus(act)
    with pytest.raises(LinkDown):
        on_bus(act, line=Line(down=True))


def test_raw_is_the_models_own_number() -> None:
    """There is no wire: the bytes are a big-endian double, unscaled."""

    async def act(driver: SimDriver, _: Rig, __: Line) -> None:
        assert await driver.raw("v3", "v3.command") == struct.pack(">d", 80.0)
        with pytest.raises(DeviceRefused):
            await driver.raw("v3", "v3.other")

    on_bus(act)


def test_connections_do_not_share_models_unless_a_rig_is_given() -> None:
    """Two buses of the default kind are two plants."""

    async def main() -> None:
        kind, bus = sim_kind(), SimBus()
        one = kind.connect(bus, (VALVE,), (POLL,), BusHost())
        two = kind.connect(bus, (VALVE,), (POLL,), BusHost())
        async with one as first, two as second:
            await first.write([Write("v3", "v3.command", 50.0, 14)])
            assert (await second.read(POLL)).values[2] == 80.0
            assert (await first.read(POLL)).values[2] == 50.0

    run_virtual(main)


def test_an_unknown_name_is_refused_with_what_would_be_right() -> None:
    """A misspelt model or variable is refused in both languages."""
    with pytest.raises(ValueError, match="booster") as model:
        SimDevice(model="boster")
    with pytest.raises(ValueError, match="discharge_pressure") as variable:
        SimPoint(variable="discharge_presure")
    for found in (model, variable):
        error = found.value.errors()[0]["ctx"]["error"]  # type: ignore[attr-defined]
        assert isinstance(error, Refusal)
        assert error.text.zh != error.text.en


def test_the_whole_booster_is_reachable() -> None:
    """Every reading of a model can be a point of a site."""
    for variable in Booster().readings():
        SimPoint(variable=variable)


def test_cancellation_frees_the_bus() -> None:
    """A cancelled read leaves nothing behind: the next one answers at once."""

    async def act(driver: SimDriver, _: Rig, line: Line) -> None:
        line.delay = 0.25
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await driver.read(POLL)
        line.delay = 0.0
        before = asyncio.get_running_loop().time()
        poll: Poll = POLL
        assert (await driver.read(poll)).values[2] == 80.0
        assert asyncio.get_running_loop().time() == before

    on_bus(act)
