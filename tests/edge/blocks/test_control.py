"""The control kinds against the numbers of the domain reference, and how they behave at edges."""

from __future__ import annotations

from math import exp, isnan, nan
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from edge.blocks.conditioning import Conditioning
from edge.blocks.pid import PID
from edge.image.quality import BAD, COMM, CONFIG, HELD, NEVER, RANGE, SENSOR, SIMULATED, UNCERTAIN
from tests.support.rules import CONTROL, Bench, site_of

HUNTING = 7  # the state of a loop's gain
LOOP: dict[str, Any] = {
    "input": "b.pressure", "setpoint": "b.setpoint", "output": "b.speed", "kp": 400.0, "ti": "6s",
    "low": 70.0, "high": 100.0,
}  # fmt: skip


class Loop:
    """A PI loop at 0.5 s; `run` gives the request."""

    def __init__(self, speed: float = 85.0, **options: Any) -> None:
        self.bench = Bench(site_of({"loop": ("pid", LOOP | options)}))
        self.bench["b.speed"], self.bench["b.setpoint"] = speed, 0.4
        self.now = 0.0

    def run(self, pressure: float, steps: int = 1) -> float:
        self.bench["b.pressure"] = pressure
        for _ in range(steps):
            self.bench.step(self.now)
            self.now += 0.5
        return self.bench.request("b.speed", CONTROL)

    @property
    def integral(self) -> float:
        return float(self.bench.programs.control.state[0])


def test_pi_vector() -> None:
    """Domain §1.2: the output and the I after each step, to the last printed digit."""
    integrals = [85.0, 85.0, 85.167, 85.5, 86.0, 86.667, 87.333, 88.333, 89.306, 90.197, 91.014,
                 91.347, 91.347]  # fmt: skip
    loop = Loop()
    for k, (_, inputs, expected) in enumerate(PID.examples[0].steps):
        before = loop.integral if k else 85.0
        assert before == pytest.approx(integrals[k], abs=5.1e-4)
        request = loop.run(inputs["booster.pressure"])
        assert request == pytest.approx(expected["booster.speed"], abs=5.1e-4)


def test_a_reset_of_the_gain_moves_nothing() -> None:
    """A loop at a quarter of its gain has it back: the output goes on from where it is."""
    loop = Loop(low=0.0, ti="600s")
    loop.run(0.4)
    loop.bench.programs.control.state[HUNTING] = 0.25
    before = loop.run(0.41, 20)
    loop.bench["reset"] = 1.0
    assert loop.run(0.41) == pytest.approx(before, abs=0.1)
    assert loop.bench["loop.gain_factor"] == 1.0
    assert loop.run(0.41) == pytest.approx(before, abs=0.1)


@pytest.mark.parametrize("most", [88.0, 95.0])
def test_what_the_arbiter_holds_back_does_not_wind_up(most: float) -> None:
    """A valve that nobody sees goes no further than its bound: the loop leaves it as it would leave
    a limit of its own, at once when the error turns."""
    loop = Loop()
    target = loop.bench.image.target
    for _ in range(600):
        loop.run(0.38)
        target[:] = np.minimum(target, most)
    assert loop.run(0.405) < most


def test_a_rate_of_the_output_does_not_wind_the_loop_up() -> None:
    """On its way down at 0.4 %/s the integral is never far from what goes out: when the error turns
    the output turns, too."""
    loop = Loop(speed=100.0)
    image, goes = loop.bench.image, 100.0
    for _ in range(60):
        goes = max(loop.run(0.41), goes - 0.2)
        image.target[:] = goes
    assert goes > 85.0
    assert loop.run(0.395) > goes


def test_the_deadband_zeroes_the_error_and_keeps_the_integral() -> None:
    """Inside it nothing moves; outside the whole error counts."""
    loop = Loop(deadband=0.002)
    loop.run(0.4)
    assert loop.run(0.3985, 20) == 85.0
    assert loop.run(0.3975) == pytest.approx(86.0)


def test_direct_action_lowers_the_output() -> None:
    """Direct: a value below its setpoint lowers the output, one above raises it."""
    loop = Loop(action="direct")
    loop.run(0.4)
    assert loop.run(0.41) == pytest.approx(89.0)
    assert loop.run(0.39) < 85.0


def test_the_setpoint_ramp_begins_at_the_measured_value() -> None:
    """0.02 MPa/s from 0.30: after one second the loop works towards 0.32."""
    loop = Loop(setpoint_ramp=0.02)
    assert loop.run(0.30) == 85.0
    assert loop.run(0.30) == pytest.approx(85.0 + 400 * 0.01)


def test_the_slew_limits_the_output_and_does_not_wind_up() -> None:
    """10 %/s moves 5 % per step; the tracking term uses the slewed value."""
    loop = Loop(slew=10.0, speed=70.0)
    loop.run(0.4)
    assert loop.run(0.36) == pytest.approx(75.0)
    assert loop.integral == pytest.approx(70 + 400 / 6 * 0.04 * 0.5 + (75 - 86) * 0.5 / 6)
    assert loop.run(0.36) == pytest.approx(80.0)


def test_the_derivative_sees_the_measured_value_only() -> None:
    """A step of the setpoint gives no kick; a falling value raises the output at once."""
    loop = Loop(td="2s")
    loop.run(0.4, 4)
    loop.bench["b.setpoint"] = 0.401
    assert loop.run(0.4) == pytest.approx(85.4)
    plain, rated = Loop(), Loop(td="2s")
    for it in (plain, rated):
        it.run(0.4, 4)
    assert rated.run(0.399) > plain.run(0.399) + 1


def test_it_starts_where_the_output_is() -> None:
    """The first request equals the read-back, whatever the error is."""
    assert Loop(speed=91.5).run(0.2) == 91.5
    assert Loop(speed=nan).run(0.2) == 70.0


def test_it_tracks_while_another_slot_holds_the_output() -> None:
    """While a person holds 78 % it follows; on release it goes on from there."""
    loop = Loop()
    loop.run(0.4, 4)
    loop.bench.taken = {"b.speed": (8, 78.0)}
    loop.run(0.38, 200)
    assert loop.run(0.38) == 78.0
    loop.bench.taken = {}
    loop.bench.step(loop.now)
    released = loop.run(0.38)
    assert abs(released - 78.0) < 2.0


def test_a_bad_input_is_held_then_released_and_the_return_is_bumpless() -> None:
    """S18: held for 30 s to the tick, then nothing is asked; back within 2 %."""
    loop = Loop()
    loop.run(0.4, 4)
    held = loop.run(0.395)
    loop.bench.image.quality[loop.bench.index["b.pressure"]] = COMM
    for _ in range(60):
        loop.bench.step(loop.now)
        loop.now += 0.5
        assert loop.bench.request("b.speed", CONTROL) == held
    loop.bench.step(loop.now)
    assert isnan(loop.bench.request("b.speed", CONTROL))
    loop.now += 0.5
    loop.bench.taken = {"b.speed": (16, 75.0)}
    loop.bench.step(loop.now)
    loop.now += 0.5
    assert abs(loop.run(0.3) - 75.0) <= 2.0


def test_a_long_gap_starts_anew() -> None:
    """After ten minutes without a run it adopts what the output does, and integrates no gap."""
    loop = Loop()
    loop.run(0.38, 10)
    loop.now += 600
    before = loop.bench["b.speed"]
    assert loop.run(0.38) == before


def test_a_simulated_input_marks_the_request() -> None:
    """What is not real can be seen at the request, for those who write outputs."""
    loop = Loop()
    loop.run(0.4)
    loop.bench.image.quality[loop.bench.index["b.pressure"]] = SIMULATED
    loop.now += 0.5
    loop.bench.step(loop.now)
    at = loop.bench.programs.control.requests[0]
    assert loop.bench.image.quality[at] == SIMULATED


def test_limits_that_leave_nothing_are_refused() -> None:
    """low must be below high."""
    with pytest.raises(ValidationError, match="low must be below high"):
        PID.model(**(LOOP | {"low": 100.0, "high": 70.0}))


# --- conditioning

SPAN: dict[str, Any] = {"input": "s.a", "low": 0.0, "high": 1.0, "every": "1s"}


class Sensors:
    """Up to three sensors; `read` gives value and quality of the conditioned point."""

    def __init__(self, **options: Any) -> None:
        self.bench = Bench(site_of({"c": ("conditioning", SPAN | options)}))
        self.now = -1.0

    def read(self, *values: float, after: float = 1.0) -> tuple[float, int]:
        self.now += after
        for name, value in zip(("s.a", "s.b", "s.c"), values, strict=False):
            self.bench[name] = value
        self.bench.step(self.now)
        return self.bench["c"], self.bench.bits("c")


def test_the_filter_is_exact_for_any_dt() -> None:
    """One step of 2 s or two of 1 s give the same; tau later 63.2 % of a step is there."""
    coarse, fine = Sensors(filter="2s"), Sensors(filter="2s")
    for it in (coarse, fine):
        assert it.read(0.4) == (0.4, 0)
    fine.read(0.5)
    value = fine.read(0.5)[0]
    assert value == pytest.approx(coarse.read(0.5, after=2.0)[0], abs=1e-12)
    assert value == pytest.approx(0.4 + 0.1 * (1 - exp(-1)), abs=1e-12)


def test_the_spike_gate_counts_samples_in_a_row() -> None:
    """Two are replaced and marked HELD, the third is a step; a normal one starts the count anew."""
    it = Sensors()
    it.read(0.4)
    assert it.read(0.9) == (0.4, HELD)
    assert it.read(0.9) == (0.4, HELD)
    assert it.read(0.4) == (0.4, 0)
    assert it.read(0.9) == (0.4, HELD)
    assert it.read(0.8) == (0.4, HELD)
    assert it.read(0.9) == (0.9, 0)
    assert it.read(0.71) == (0.71, 0)


def test_a_lost_answer_does_not_open_the_gate() -> None:
    """After one missing sample a spike is still a spike; after a long gap there is no memory."""
    it = Sensors()
    it.read(0.4)
    assert it.read(nan)[1] == COMM
    assert it.read(0.9) == (0.4, HELD)
    it.read(nan, after=10.0)
    assert it.read(0.9, after=10.0) == (0.9, 0)


def test_out_of_range_and_its_bits() -> None:
    """Outside the physical range is RANGE; the limits themselves are inside."""
    it = Sensors(spike=100.0)
    assert it.read(1.0) == (1.0, 0)
    value, bits = it.read(1.0001)
    assert isnan(value)
    assert bits == RANGE
    assert it.read(0.0, after=100.0) == (0.0, 0)


def test_a_flat_line_counts_only_while_the_device_runs() -> None:
    """Less than 0.01 % of span for the time: SENSOR; any movement or a standing pump ends it."""
    it = Sensors(flatline="5s", running="s.run")
    it.bench["s.run"] = 1.0
    for _ in range(6):
        assert it.read(0.5)[1] == 0
    assert it.read(0.50005)[1] == SENSOR
    assert it.read(0.5002)[1] == 0
    it.bench["s.run"] = 0.0
    for _ in range(10):
        assert it.read(0.5002)[1] == 0


@pytest.mark.parametrize(
    ("vote", "values", "value", "bits"),
    [
        ("median3", (0.40, 0.50, 0.41), 0.41, 0),
        ("median3", (0.50, 0.41, 0.40), 0.41, 0),
        ("median3", (0.41, 0.40, 0.50), 0.41, 0),
        ("median3", (0.40, nan, 0.44), 0.42, 0),
        ("median3", (0.40, 0.46, nan), 0.43, UNCERTAIN),
        ("median3", (nan, nan, 0.46), 0.46, UNCERTAIN),
        ("median3", (nan, nan, nan), nan, COMM),
        ("max", (0.40, 0.42, 0.38), 0.42, 0),
        ("max", (0.40, nan, 0.38), 0.40, UNCERTAIN),
        ("max", (0.40, 0.42), 0.42, 0),
        ("min", (0.40, 0.42, 0.38), 0.38, 0),
        ("min", (nan, 0.42), 0.42, UNCERTAIN),
        ("avg2", (0.40, 0.44), 0.42, 0),
        ("avg2", (0.40, 0.50), 0.45, UNCERTAIN),
        ("avg2", (nan, 0.50), 0.50, UNCERTAIN),
        ("avg2", (nan, nan), nan, COMM),
    ],
)  # fmt: skip
def test_votes(vote: str, values: tuple[float, ...], value: float, bits: int) -> None:
    """Value and quality of each vote with all, some and none of its sensors."""
    names = dict(zip(("second", "third"), ("s.b", "s.c"), strict=False))
    used = dict(list(names.items())[: len(values) - 1])
    got = Sensors(vote=vote, **used).read(*values)
    assert got[0] == pytest.approx(value, nan_ok=True)
    assert got[1] == bits


@pytest.mark.parametrize(
    "options",
    [
        {"vote": "median3", "second": "s.b"}, {"vote": "single", "second": "s.b"},
        {"vote": "avg2"}, {"vote": "max", "third": "s.c"}, {"low": 1.0}, {"every": 0.0},
    ],
)  # fmt: skip
def test_votes_without_their_sensors_are_refused(options: dict[str, Any]) -> None:
    """Too few, too many or oddly numbered sensors, no span, no period: said at load."""
    with pytest.raises(ValidationError):
        Conditioning(**({"input": "s.a", "low": 0.0, "high": 1.0} | options))


# --- the simple kinds


def test_the_ramp_has_two_rates_and_follows_a_foreign_owner() -> None:
    """5 %/s up and 1 %/s down; while a person holds the output, it stands where the output is."""
    rule = {"input": "h.wanted", "up": 5.0, "down": 1.0, "output": "h.level", "unit": "%"}
    it = Bench(site_of({"r": ("ramp", rule)}))
    it["h.wanted"], it["h.level"] = 100.0, 20.0
    for k in range(5):
        it.step(0.5 * k)
    assert it["r"] == 30.0
    it["h.wanted"] = 0.0
    for k in range(5, 7):
        it.step(0.5 * k)
    assert it["r"] == 29.0
    it.taken = {"h.level": (8, 80.0)}
    for k in range(7, 12):
        it.step(0.5 * k)
    assert it["r"] == 79.5
    it.taken = {}
    it.step(6.0)
    assert abs(it.asked("h.level") - 80.0) <= 1.0


def test_a_ramp_without_output_starts_at_its_input() -> None:
    """There is nothing to adopt: the first result is the input."""
    it = Bench(site_of({"r": ("ramp", {"input": "h.wanted", "up": 5.0, "down": 1.0})}))
    it["h.wanted"] = 42.0
    it.step(0.0)
    assert it["r"] == 42.0


@pytest.mark.parametrize(("on_at", "off_at"), [(0.9, 0.4), (0.4, 0.9)])
def test_hysteresis_in_both_directions(on_at: float, off_at: float) -> None:
    """High- and low-acting are mirror images; a flicker resets the delay."""
    options = {"input": "s.level", "on_at": on_at, "off_at": off_at, "on_delay": "2s",
               "off_delay": "1s"}  # fmt: skip
    it = Bench(site_of({"h": ("hysteresis", options)}))
    sign = 1.0 if on_at > off_at else -1.0
    trace = [(0.0, 0.0), (0.3, 0.0), (0.2, 0.0), (0.3, 0.0), (0.25, 0.0), (0.3, 1.0), (-0.2, 1.0),
             (-0.25, 1.0), (-0.2, 1.0), (-0.25, 1.0), (-0.3, 0.0)]  # fmt: skip
    for now, (offset, wanted) in enumerate(trace):
        it["s.level"] = 0.65 + sign * offset
        it.step(float(now))
        assert it["h"] == wanted, now


def test_hysteresis_adopts_a_running_pump() -> None:
    """Between its thresholds a restarted rule leaves the output as it is."""
    options = {"input": "s.level", "on_at": 0.9, "off_at": 0.4, "output": "s.pump"}
    it = Bench(site_of({"h": ("hysteresis", options)}))
    it["s.level"], it["s.pump"] = 0.6, 1.0
    it.step(0.0)
    assert it.asked("s.pump") == 1.0


def test_a_threshold_may_be_a_point() -> None:
    """A setpoint that is lost makes the result bad, like a lost input."""
    options = {"input": "s.level", "on_at": "s.high", "off_at": "s.high - 0.5"}
    it = Bench(site_of({"h": ("hysteresis", options)}))
    it["s.level"], it["s.high"] = 0.95, 0.9
    it.step(0.0)
    assert it["h"] == 1.0
    it["s.high"] = nan
    it.step(0.1)
    assert it.bits("h") & BAD


def test_for_t_seconds_begins_with_the_first_true_scan() -> None:
    """0.1 s scans: true first at 0.3, fires at 1.3 in spite of the sums' rounding, not at 1.2."""
    it = Bench(site_of({"d": ("delay", {"input": "s.x", "on_delay": "1s"})}))
    now, fired = 0.0, nan
    for k in range(20):
        it["s.x"] = 1.0 if k >= 3 else 0.0
        it.step(now)
        if it["d"] == 1.0 and isnan(fired):
            fired = k
        now += 0.1
    assert fired == 13


def test_a_bad_input_resets_a_delay() -> None:
    """What was not seen did not last; nothing has ever arrived: the result is bad."""
    it = Bench(site_of({"d": ("delay", {"input": "s.x", "on_delay": "2s"})}))
    it.step(0.0)
    assert it.bits("d") & NEVER
    for now, value, wanted in ((1, 1.0, 0.0), (2, nan, nan), (3, 1.0, 0.0), (4, 1.0, 0.0),
                               (5, 1.0, 1.0)):  # fmt: skip
        it["s.x"] = value
        it.step(float(now))
        assert it["d"] == wanted or (isnan(wanted) and isnan(it["d"]))


def test_scale_beyond_its_ends() -> None:
    """Clamped unless told not to; a falling line is a line."""
    options = {"input": "s.x", "input_low": 4.0, "input_high": 20.0, "low": 100.0, "high": 0.0}
    clamped = Bench(site_of({"r": ("scale", options)}))
    free = Bench(site_of({"r": ("scale", options | {"clamp": False})}))
    for it, wanted in ((clamped, 0.0), (free, -25.0)):
        it["s.x"] = 24.0
        it.step(0.0)
        assert it["r"] == wanted


def test_a_loop_whose_valve_was_lost_goes_on_from_where_the_valve_is() -> None:
    """An hour without the output's device winds nothing up; its fail-safe position is adopted."""
    loop = Loop(ti="600s")
    asked = loop.run(0.4, 4)
    loop.bench.image.quality[loop.bench.index["b.speed"]] = COMM
    assert loop.run(0.38, 7200) == asked
    loop.bench["b.speed"] = 75.0
    assert loop.run(0.4) == 75.0
    assert abs(loop.run(0.4) - 75.0) < 0.5


def test_a_loop_drives_an_output_that_cannot_be_read() -> None:
    """A register that the device refuses to read back is driven all the same."""
    loop = Loop()
    loop.run(0.4, 4)
    loop.bench.image.quality[loop.bench.index["b.speed"]] = CONFIG
    assert loop.run(0.38) != loop.run(0.38)


def test_a_ramp_goes_on_from_what_a_lost_device_does() -> None:
    """While the dimmer is silent the ramp stands, then begins at the dimmer's own level."""
    rule = {"input": "h.wanted", "up": 5.0, "down": 1.0, "output": "h.level", "unit": "%"}
    it = Bench(site_of({"r": ("ramp", rule)}))
    it["h.wanted"], it["h.level"] = 100.0, 20.0
    it.step(0.0)
    it["h.level"] = nan
    for k in range(1, 9):
        it.step(0.5 * k)
    assert it["r"] == 20.0
    it["h.level"] = 50.0
    it.step(4.5)
    assert it["r"] == 52.5


def test_a_switch_by_hand_stays_between_the_thresholds() -> None:
    """A person stops a pump and lets go: it starts again at its threshold, not at once."""
    options = {"input": "s.level", "on_at": 0.9, "off_at": 0.4, "output": "s.pump"}
    it = Bench(site_of({"h": ("hysteresis", options)}))
    it["s.level"], it["s.pump"] = 0.95, 0.0
    it.step(0.0)
    it["s.level"] = 0.6
    it.step(0.1)
    assert it.asked("s.pump") == 1.0
    it.taken = {"s.pump": (6, 1.0)}
    it.step(0.2)
    it.taken = {"s.pump": (8, 0.0)}
    it.step(0.3)
    it.step(0.4)
    it.taken = {}
    it.step(0.5)
    it.step(0.6)
    assert it.asked("s.pump") == 0.0
    it["s.level"] = 0.9
    it.step(0.7)
    assert it.asked("s.pump") == 1.0


def test_a_sensor_that_is_flat_while_its_device_runs_is_found_by_itself() -> None:
    """Where `running` is given the flat line needs no option, and `null` switches it off."""
    options = {"input": "p.raw", "low": 0.0, "high": 1.0}
    assert Conditioning.model_validate(options).flatline is None
    assert Conditioning.model_validate(options | {"running": "pump.run"}).flatline == 600.0
    off = Conditioning.model_validate(options | {"running": "pump.run", "flatline": None})
    assert off.flatline is None
