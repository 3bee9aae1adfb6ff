"""Shutting a zone by itself after a burst: when, how slowly, what forbids it (domain §1.12, S05).

Only a zone that says `auto_isolate`. Never the last open supply of a consumer that must have water:
a path whose valve nobody sees counts as shut. Once begun it stays until a person resets the rule;
nothing opens by itself. Called by the step of `zone_loss` and the checks of its model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isnan, nan
from typing import Annotated

from pydantic import Field

from edge.blocks.correct import stronger
from edge.blocks.kind import TARGET_OPERANDS, Input, Source, usable
from edge.blocks.output import OWNER, ask, present
from edge.blocks.timing import lasted
from edge.blocks.zone_layout import (
    AUTO,
    BRANCHES,
    BURST,
    DECIDED,
    EVENT_H,
    EVENT_P,
    GROUP_POINTS,
    GROUP_STATES,
    ISOLATE_AFTER,
    ISOLATE_CONFIDENCE,
    ISOLATE_POSITION,
    KEPT,
    KEPT_CONFIDENCE,
    KEPT_FALL,
    KEPT_R,
    PATHS,
    TRAVEL,
    ZONE_OPERANDS,
    ZONE_POINTS,
    ZONE_STATES,
    ZONES,
    derived,
    inputs_of,
    parameters_of,
    read,
    state_of,
)
from edge.blocks.zone_verdict import bursts
from edge.image.image import Bits, Floats, Index
from edge.image.quality import GOOD
from edge.schema.model import Model, Refusal
from edge.text import Text

# before it begins, and from then on until the reset
READY, WAITING, NO_OTHER_PATH, UNSEEN, TAKEN = range(5)
CLOSING, CLOSED, HALTED_NO_PATH, HALTED_UNSEEN, HALTED_TAKEN, STUCK, STOPPED = range(5, 12)
HALTED = HALTED_NO_PATH - NO_OTHER_PATH

SLOWEST = 50.0  # s that a closure takes at least, wherever it begins (§1.3)
SHUT = 3.0  # %, to be seen shut; twice that to be open again
OPEN = 20.0  # %: less is no supply
LATE = 1.3  # x the closure after which it should have been seen shut

ISOLATION_STATES = 6
_LATCHED, _ASKED, _PACE, _SURE_AT, _LATE_AT, _SHUT = range(ISOLATION_STATES)


class Path(Model):
    """One way in which water reaches a consumer that must always have some. `through` are the
    commandable points of the valves on it ([]: none of ours), `position` how far it is open (of
    several valves the least: "min(v2.feedback, v5.feedback)"). A consumer with two supplies stands
    here twice.
    """

    consumer: Annotated[str, Field(min_length=1)]
    through: tuple[str, ...]
    position: Annotated[Source, Input("%")]


def numbers(paths: Sequence[Path], isolating: Sequence[str | None]) -> Iterator[float]:
    """For the kernel: the consumer of each path, then for each zone which paths it would shut."""
    consumers = [path.consumer for path in paths]
    for path in paths:
        yield float(consumers.index(path.consumer))
    for valve in isolating:
        for path in paths:
            yield float(valve in path.through)


def check_paths(paths: Sequence[Path], isolating: Sequence[str]) -> None:
    """Refuse to shut automatically what is the only supply of somebody."""
    for valve in isolating:
        for consumer in dict.fromkeys(path.consumer for path in paths):
            ways = [path for path in paths if path.consumer == consumer]
            if all(valve in path.through for path in ways):
                raise Refusal(
                    Text(
                        f"{valve} 是 {consumer} 唯一的供水路径, 不能 auto_isolate",
                        f"{valve} is the only supply of {consumer}: auto_isolate would cut it off",
                    )
                )


def memory(zones: Sequence[tuple[str, str | None]]) -> dict[str, int]:
    """What is kept of the zones (id, valve to shut) under other options: that it was shut, and the
    event it was shut for. Without them the valve would open by itself, or stop in the middle."""
    event = {
        "verdict": KEPT, "confidence": KEPT_CONFIDENCE, "ratio": KEPT_R, "fall": KEPT_FALL,
        "pressure before": EVENT_P, "header before": EVENT_H, "decided": DECIDED,
    }  # fmt: skip
    isolations = GROUP_STATES + len(zones) * ZONE_STATES
    names = {}
    for k, (zone, valve) in enumerate(zones):
        if valve is not None:
            names[f"isolation by {valve}"] = isolations + k * ISOLATION_STATES + _LATCHED
            first = GROUP_STATES + k * ZONE_STATES
            names |= {f"{what} of {zone}": first + at for what, at in event.items()}
    return names


def latched(par: Floats, p: int, st: Floats, s: int, k: int) -> bool:
    """Whether zone k is being shut, or is."""
    if par[parameters_of(p, k) + AUTO] != 1.0:
        return False
    return bool(st[isolation_state(par, p, s, k) + _LATCHED] == 1.0)


def isolation_state(par: Floats, p: int, s: int, k: int) -> int:
    return state_of(s, int(par[p + ZONES])) + k * ISOLATION_STATES


def isolate(
    v: Floats, q: Bits, ops: Index, o: int, first: int,
    par: Floats, p: int, st: Floats, s: int, k: int, reset: bool, now: float, dt: float,
) -> None:  # fmt: skip
    """Shut zone k when its burst has stood for long enough, and keep it shut until the reset."""
    zp = parameters_of(p, k)
    if par[zp + AUTO] != 1.0:
        return
    a, z, i = isolation_state(par, p, s, k), state_of(s, k), inputs_of(first, k)
    target = i - TARGET_OPERANDS
    if isnan(st[a + _LATCHED]) or reset:
        st[a + _LATCHED] = 0.0
    if reset or dt == 0.0:
        st[a + _ASKED], st[a + _SURE_AT], st[a + _LATE_AT] = nan, nan, nan
    burst = st[z + KEPT] == BURST and st[z + KEPT_CONFIDENCE] >= par[p + ISOLATE_CONFIDENCE]
    sure = burst and bursts(v, q, ops, i, par, zp)
    due = lasted(st, a + _SURE_AT, sure, now, par[p + ISOLATE_AFTER])
    shown = WAITING if burst else READY  # not by the flow, whose noise would fill the record
    if due and st[a + _LATCHED] == 0.0:
        shown = obstacle(v, q, ops, first, par, p, st, s, k)
        st[a + _LATCHED] = 1.0 if shown == READY else 0.0
    if st[a + _LATCHED] == 1.0:
        shown = close(v, q, ops, first, par, p, st, s, k, now, dt)
    else:
        ask(v, q, ops, target, nan, GOOD)
    publish(v, q, ops, o, par, p, st, s, k, shown)


def obstacle(
    v: Floats, q: Bits, ops: Index, first: int, par: Floats, p: int, st: Floats, s: int, k: int
) -> int:  # fmt: skip
    """What forbids to shut zone k, READY for nothing."""
    i = inputs_of(first, k)
    if stronger(v[ops[i - TARGET_OPERANDS + OWNER]]):
        return TAKEN
    if not usable(v, q, ops[i + ISOLATE_POSITION]):
        return UNSEEN
    return READY if others_open(v, q, ops, first, par, p, st, s, k) else NO_OTHER_PATH


def others_open(
    v: Floats, q: Bits, ops: Index, first: int, par: Floats, p: int, st: Floats, s: int, k: int
) -> bool:  # fmt: skip
    """Whether every consumer behind zone k's valve has another path that is seen to be open, and
    that no other zone's isolation shuts."""
    paths, count = int(par[p + PATHS]), int(par[p + ZONES])
    consumer = derived(par, p) + int(par[p + BRANCHES]) + count
    shuts = consumer + paths
    way_operand = first - TARGET_OPERANDS + count * ZONE_OPERANDS  # after the zones
    for lost in range(paths):
        if par[shuts + k * paths + lost] != 1.0:
            continue
        fed = False
        for way in range(paths):
            is_open = read(v, q, ops, way_operand + way) >= OPEN
            same = par[consumer + way] == par[consumer + lost]
            for j in range(count):
                if par[shuts + j * paths + way] == 1.0 and (j == k or latched(par, p, st, s, j)):
                    is_open = False
            fed = fed or (same and is_open)
        if not fed:
            return False
    return True


def close(
    v: Floats, q: Bits, ops: Index, first: int,
    par: Floats, p: int, st: Floats, s: int, k: int, now: float, dt: float,
) -> int:  # fmt: skip
    """One step towards shut, from what the valve does now; stops where something forbids it."""
    a, i = isolation_state(par, p, s, k), inputs_of(first, k)
    target, f = i - TARGET_OPERANDS, read(v, q, ops, i + ISOLATE_POSITION)
    time = max(SLOWEST, par[parameters_of(p, k) + TRAVEL])
    hindered = obstacle(v, q, ops, first, par, p, st, s, k)
    if isnan(st[a + _ASKED]) or hindered == TAKEN:
        now_at = present(v, q, ops, target)
        st[a + _ASKED] = f if isnan(now_at) else now_at
        st[a + _PACE] = st[a + _ASKED] / time
        st[a + _LATE_AT] = nan
    elif st[a + _ASKED] > 0.0 and hindered == READY and st[state_of(s, k) + KEPT] == BURST:
        st[a + _ASKED] = max(0.0, st[a + _ASKED] - st[a + _PACE] * dt)
    ask(v, q, ops, target, st[a + _ASKED], GOOD)
    shutting = st[a + _ASKED] > 0.0
    if hindered in (TAKEN, UNSEEN) or (hindered == NO_OTHER_PATH and shutting):
        return hindered + HALTED
    if shutting and st[state_of(s, k) + KEPT] != BURST:
        return STOPPED
    shut = not shutting and f <= (2.0 * SHUT if st[a + _SHUT] == 1.0 else SHUT)
    st[a + _SHUT] = 1.0 if shut else 0.0
    if shut:
        st[a + _LATE_AT] = nan
        return CLOSED
    late = lasted(st, a + _LATE_AT, not shutting, now, (LATE - 1.0) * time + 5.0)
    return STUCK if late else CLOSING


def publish(
    v: Floats, q: Bits, ops: Index, o: int,
    par: Floats, p: int, st: Floats, s: int, k: int, shown: int,
) -> None:  # fmt: skip
    """The state of zone k's isolation, and whether any waits for a person's reset."""
    isolated = o + GROUP_POINTS + ZONE_POINTS * int(par[p + ZONES])
    before, any_latched = 0, 0.0
    for j in range(int(par[p + ZONES])):
        if latched(par, p, st, s, j):
            any_latched = 1.0
        if j < k:
            before += int(par[parameters_of(p, j) + AUTO])
    v[ops[isolated]], q[ops[isolated]] = any_latched, GOOD
    v[ops[isolated + 1 + before]], q[ops[isolated + 1 + before]] = shown, GOOD
