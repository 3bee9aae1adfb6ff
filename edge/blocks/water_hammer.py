"""Water hammer: what pressure a closing valve makes in a pipe, and how slow it must be (§1.3).

Joukowsky's surge for a sudden stop, the rigid column for a slow one. For the checks of a config:
nothing here runs in a scan.
"""

from __future__ import annotations

from edge.schema.model import Refusal
from edge.text import Text

DENSITY = 1000.0  # kg/m³
WAVE_SPEED = 1000.0  # m/s, of a pressure wave in a water main
PERIODS = 4.0  # of the pipe, that a full stroke takes at least


def sudden_surge(speed: float) -> float:
    """MPa when water of `speed` m/s is stopped at once."""
    return DENSITY * WAVE_SPEED * speed / 1e6


def pipe_period(length: float) -> float:
    """Seconds in which a wave runs along `length` metres and back: 2L/a."""
    return 2 * length / WAVE_SPEED


def slow_surge(length: float, speed: float, time: float) -> float:
    """MPa when the water in `length` metres is stopped evenly in `time` seconds, far above 2L/a."""
    return DENSITY * length * speed / time / 1e6


def least_stroke(length: float) -> float:
    """Seconds that a full stroke must take at least: 4·2L/a."""
    return PERIODS * pipe_period(length)


def too_fast(stroke: float, length: float) -> Text | None:
    """Why a full stroke in `stroke` seconds is too fast for `length` metres of pipe, or None."""
    least = least_stroke(length)
    if stroke >= least - 1e-9:
        return None
    return Text(
        f"全行程 {stroke:g} s 太快: {length:g} m 管道的水锤要求至少 {least:g} s, "
        f"即每秒最多 {100 / least:.3g} %",
        f"a full stroke in {stroke:g} s is too fast: water hammer in {length:g} m of pipe asks for "
        f"at least {least:g} s, which is at most {100 / least:.3g} % per second",
    )


def refuse_fast(stroke: float, length: float | None) -> None:
    """Refuse such a stroke; without a length nobody can tell."""
    if length is not None and (text := too_fast(stroke, length)) is not None:
        raise Refusal(text, "water-hammer")
