"""What a block kind is: one model, one step function, and what both bring with them.

A kind is declared once; the YAML schema, the checks, the instructions, the alarms it raises, its
documentation and its tests all come from the declaration. The step function is compiled by numba
in `edge/rules/kernel.py` and runs as plain Python as well.

Step contract: `step(v, q, ops, o, n, par, p, st, s, now, dt)`. `v` and `q` are the image's flat
values and quality bits; `ops[o:o+n]` are operand indices into both; `par[p:]` parameters; `st[s:]`
state (all NaN before the first run); `now` site time, `dt` the measured seconds since the last run,
already clamped to 0.2-3 x nominal, and 0 on the first run or after a longer gap (re-initialise, do
not integrate). No exceptions for data: NaN and a quality bit instead.

Both layouts follow from the model, in its order of declaration:

    ops   each `Target` field: 4 operands (request cell at the kind's slot, the arbiter's target,
            the owner's slot number, the point itself: what the device reads back)
          each published point: 1
          each `Input` field: 1 (an optional one left out: a cell that is NaN with quality NEVER)
          the agenda cell, when the kind has an agenda: 1
          each list-of-models field, element by element: its targets (4 each), then its inputs
    par   the number of elements of each list field
          each parameter field: float as is (None: NaN), bool 0/1, Literal its place in the choices
          each list field, element by element: the parameters of the element

A parameter is any field that is neither input nor target nor list nor str nor Text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from edge.schema.model import Model
from edge.text import Text

NOTHING = Text("", "")
TARGET_OPERANDS = 4  # request, target, owner, read-back


@dataclass(frozen=True, slots=True)
class Input:
    """Marks a field that reads: a point, an expression over points, or a value. None: any unit."""

    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Marks a field that names the commandable point which a block drives. None: any unit."""

    unit: str | None = None


Source = str | float
"""What an input field holds: "booster.pressure", "a.x > 3 and b.y", "0.40 MPa" or 0.4.

Used as `pressure: Annotated[Source, Input("MPa")]`, optional ones as
`flow: Annotated[Source | None, Input("m³/h")] = None`; a target is
`output: Annotated[str, Target("%")]`.
"""

AnyInput = Annotated[Source, Input()]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a site is, for what depends on local time and the sun."""

    timezone: str
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Agenda:
    """What a time-driven rule says at a moment: a value (NaN: nothing), and until when it holds."""

    value: float
    until: float  # Unix seconds of the next change, inf for never


@dataclass(frozen=True, slots=True)
class Published:
    """A result that a block shows as the virtual point `<rule>.<name>`."""

    name: str
    unit: str
    text: Text
    labels: Mapping[int, Text] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlarmTemplate:
    """An alarm that every instance of a kind brings; `{rule}` and `{RULE}` are its id.

    `id` becomes for example ZONE3_VALVE_DEVIATION; `when` and `suppressed_by` are expressions over
    points and over what the rule publishes, `shows` are such points. A site may override it under
    `alarms:` by the same id.
    """

    id: str
    when: str
    priority: int
    text: Text
    checks: tuple[Text, ...]
    on_delay: float = 0.0
    off_delay: float = 0.0
    latch: bool = False
    suppressed_by: str = ""
    shows: tuple[str, ...] = ()
    cause: Text = NOTHING
    consequence: Text = NOTHING


@dataclass(frozen=True, slots=True)
class Reference:
    """A place in a rule's model that names points: `loc` is its path for error messages.

    `role` "input" may be any expression; "output" must be one commandable point. `unit` is what the
    block expects there, None for any.
    """

    loc: tuple[str | int, ...]
    text: str
    role: Literal["input", "output"]
    unit: str | None


@dataclass(frozen=True, slots=True)
class Example:
    """Operands over time and what comes out: executed by the tests, shown in the docs."""

    title: str
    options: Mapping[str, Any]
    steps: Sequence[tuple[float, Mapping[str, float], Mapping[str, float]]]  # (t, inputs, expected)
    tolerance: float = 1e-9


@dataclass(frozen=True, slots=True)
class Kind:
    """A block kind. `slot` is where its requests stand on the ladder.

    `every` is its own period in seconds, 0 for every scan. `publishes`, `states` and `alarms` may
    depend on the instance (pumps, zones), so they are functions of the model. A kind with an
    `agenda` gets one more operand, a cell that the scan fills from it when it is due (quality NEVER
    while the wall clock is not trusted).
    """

    name: str
    model: type[Model]
    step: Callable[..., None]
    text: Text
    every: float
    slot: int
    publishes: Callable[[Any], tuple[Published, ...]]
    states: Callable[[Any], int]
    alarms: Callable[[Any], tuple[AlarmTemplate, ...]] = lambda _: ()
    agenda: Callable[[Any, Place, float], Agenda] | None = None  # (model, place, wall), pure
    examples: tuple[Example, ...] = ()
