"""A compiled site: instructions over the flat image, their parameters and their state.

What `edge/rules/compile.py` makes and `edge/rules/kernel.py` runs. Frozen but for two arrays: the
state of the rules, and when each instruction ran last. Knows neither YAML nor numba.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.blocks.kind import Agenda
from edge.errors import EdgeError
from edge.image import quality
from edge.image.image import Floats, Index, ProcessImage
from edge.text import Text

OPCODES: tuple[str, ...] = (
    "and", "or", "not", "certain", "if", "lt", "le", "gt", "ge", "eq", "ne", "add", "sub", "mul",
    "div", "neg", "abs", "min", "max",
    "value", "delay", "hysteresis", "scale", "conditioning", "ramp", "pid",
    "interlock", "trip", "limit", "condition", "schedule", "daylight", "valve",
    "booster", "zone_loss", "sump", "dry_run", "irrigation",
    "calendar", "clock", "daylight_open", "photocell", "occupancy",
    "dali", "analog_dimmer", "lamp_power",
    "permissive", "first_out",
    "correction", "valve_exercise",
    "cooling_tower", "tower_guard",
    "rotation", "fire_water", "lift",
)  # fmt: skip
"""An operator's or kind's place is its opcode; the kernel's chain has the same numbers."""

OPCODE: dict[str, int] = {name: i for i, name in enumerate(OPCODES)}
FIRST_KIND = OPCODE["value"]  # before it: operators, without period, parameters and state

OP, FIRST_OPERAND, OPERANDS, FIRST_PARAMETER, FIRST_STATE = range(5)  # columns of `code`
EVERY, LAST = range(2)  # columns of `timing`


class CompileError(EdgeError):
    """The site cannot become a program. The checks of `edge/site` say so before, with a place."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text


@dataclass(frozen=True, slots=True)
class Program:
    """Instructions in their order. `code` is (n, 5) int32, `timing` (n, 2): period and last run.

    `owners[i]` is the way to what instruction i belongs to: "rules.supply",
    "interlocks.tank_low", "permissives.damper", "first_out.tank_low", "alarms.zone3_low",
    "trips.<point>". `requests` are the flat indices that the program writes on the ladder:
    withdrawn when it fails.
    """

    name: str
    code: NDArray[np.int32]
    timing: NDArray[np.float64]
    ops: Index
    par: Floats
    state: Floats
    owners: tuple[str, ...]
    requests: Index

    def restart(self, owners: Set[str]) -> None:
        """Let these run at the next step as if for the first time, from what the field does now."""
        at = [i for i, owner in enumerate(self.owners) if owner in owners]
        self.timing[at, LAST] = np.nan


@dataclass(frozen=True, slots=True)
class StateSlice:
    """Where the state of a rule lies; `digest` is of its kind and options.

    `names` are the numbers that outlive other options, by where they lie in the slice.
    """

    program: str
    offset: int
    length: int
    digest: str
    names: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class AgendaCell:
    """A cell that the scan fills from `at(wall)` whenever its time has come."""

    index: int
    owner: str
    at: Callable[[float], Agenda]


Kept = tuple[str, tuple[float, ...], dict[str, float]]
Retained = Mapping[str, Kept]
"""State by owner: the digest of kind and options, the numbers (NaN among them), and those of them
that have names."""


@dataclass(frozen=True, slots=True)
class Programs:
    """All that runs of a site. Indices are into the flat image.

    `commandable[c]` is the point index of commandable c. `initial` are cells that begin with a good
    value: literals, resets, alarm conditions; `absent` is the cell of inputs that were left out.
    `resets` by the id of an interlock or rule: 1 resets it. `tripped` by the id of all that
    protects: the point that says so. `active[k]` and `suppressed[k]` belong to alarm k of the site.
    `published` are the virtual points, `slices` say where state lies.
    """

    protect: Program
    control: Program
    alarm: Program
    points: int
    commandable: tuple[int, ...]
    cells: int
    initial: tuple[tuple[int, float], ...]
    absent: int
    agendas: tuple[AgendaCell, ...]
    resets: Mapping[str, int]
    tripped: Mapping[str, int]
    active: tuple[int, ...]
    suppressed: tuple[int, ...]
    published: tuple[int, ...]
    slices: Mapping[str, StateSlice]

    def __iter__(self) -> Iterator[Program]:
        return iter((self.protect, self.control, self.alarm))

    def image(self) -> ProcessImage:
        """A fresh image for these programs, literals in place."""
        image = ProcessImage(self.points, self.commandable, self.cells)
        image.value[image.first_cell :] = np.nan
        image.quality[image.first_cell :] = quality.NEVER
        for index, value in self.initial:
            image.value[index] = value
            image.quality[index] = quality.GOOD
        return image

    def retained(self, *, latches: bool = False, also: Set[str] = frozenset()) -> dict[str, Kept]:
        """The state of every owner that has one, to be kept over a restart; with `latches` only
        of what protects or waits for a person's reset, and of the owners in `also`."""
        return {
            owner: (
                s.digest,
                tuple(state),
                {name: float(state[at]) for name, at in s.names.items()},
            )
            for owner, s, state in self._states()
            if not latches
            or s.program == "protect"
            or owner.partition(".")[2] in self.resets
            or owner in also
        }

    def restore(self, saved: Retained) -> None:
        """Take over the state of rules whose kind and options are still the same; of others what
        has kept its name."""
        for owner, s, state in self._states():
            digest, numbers, *named = saved.get(owner, ("", ()))
            if digest == s.digest and len(numbers) == s.length:
                state[:] = numbers
                continue
            known = named[0] if named else {}  # a former version kept none
            for name in s.names.keys() & known.keys():
                state[s.names[name]] = known[name]

    def _states(self) -> Iterator[tuple[str, StateSlice, Floats]]:
        programs = {program.name: program for program in self}
        for owner, s in self.slices.items():
            yield owner, s, programs[s.program].state[s.offset : s.offset + s.length]

    def set_active(self, alarm: str, active: bool) -> None:
        """Let an alarm's condition go on as the journal last told it.

        State is kept each minute, alarms with each transition: the older one must not clear an
        alarm that stands, nor raise it again. Timers that belong to another state are void.
        """
        s = self.slices.get(f"alarms.{alarm}")
        if s is not None and (self.alarm.state[s.offset] == 1.0) != active:
            self.alarm.state[s.offset : s.offset + s.length] = math.nan
            self.alarm.state[s.offset] = float(active)


def check_ranges(program: Program, total: int) -> None:
    """Refuse a program with an index out of range: the kernel does not look."""
    code, sizes = program.code, (len(program.ops), len(program.par), len(program.state))
    first, count = code[:, FIRST_OPERAND], code[:, OPERANDS]
    sound = (
        bool(np.all((code[:, OP] >= 0) & (code[:, OP] < len(OPCODES))))
        and bool(np.all((first >= 0) & (count > 0) & (first + count <= sizes[0])))
        and bool(np.all((program.ops >= 0) & (program.ops < total)))
        and bool(np.all((code[:, FIRST_PARAMETER] >= 0) & (code[:, FIRST_PARAMETER] <= sizes[1])))
        and bool(np.all((code[:, FIRST_STATE] >= 0) & (code[:, FIRST_STATE] <= sizes[2])))
        and len(code) == len(program.timing) == len(program.owners)
        and all(math.isfinite(every) and every >= 0 for every in program.timing[:, EVERY])
    )
    if not sound:
        raise CompileError(
            Text(
                f"程序 {program.name} 含有越界的索引",
                f"the {program.name} program has an index out of range",
            )
        )
