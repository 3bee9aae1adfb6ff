"""What a block kind is: one model, one step function, and what both bring with them.

A kind is declared once; the YAML schema, the checks, the instructions, the alarms it raises, its
documentation and its tests all come from the declaration. The step function is compiled by numba
in `edge/rules/kernel.py` and runs as plain Python as well.

Fields and what they are, by their annotation:

    Annotated[Source, Input(unit)]          an input; `Source | None` with default None: optional
    Annotated[str, Target(unit)]            a target; `str | None` with default None: optional
    Annotated[tuple[str, ...], Trips()]     the points that the block protects (see `Trips`)
    tuple[M, ...] with M a Model            a list: pumps, zones; its elements hold no lists
    float, int, bool, Literal, or None      a parameter
    anything else                           for the kind's own functions only (texts, calendars)

A field `every: float` overrides the kind's period for the instance.

Step contract: `step(v, q, ops, o, n, par, p, st, s, now, dt)`. `v` and `q` are the image's flat
values and quality bits; `ops[o:o+n]` are operand indices into both; `par[p:]` parameters; `st[s:]`
state (all NaN before the first run); `now` site time, `dt` the measured seconds since the last run,
already clamped to 0.2-3 x nominal, and 0 on the first run or after a longer gap (re-initialise, do
not integrate). A kind that runs every scan gets dt as it was, at most 3 s. No exceptions for data:
NaN and a quality bit instead; ask `usable` before an input is used. A step function may call other
functions of `edge.blocks` by their bare names: the kernel compiles them with it. A request is
withdrawn by writing NaN.

Both layouts follow from the model, in its order of declaration:

    ops   each `Target` field: 4 operands (request cell at the kind's slot, the arbiter's target,
            the owner's slot number, the point itself: what the device reads back); an optional one
            left out: a cell that nobody reads, then three absent cells
          each published point: 1, in the order of `publishes(model)`
          each `Input` field: 1 (an optional one left out: the absent cell, NaN with quality NEVER)
          the agenda cell, when the kind has an agenda: 1
        the reset cell, when the kind is resettable: 1 (ask `reset_asked`)
          each list-of-models field, element by element: its targets (4 each), then its inputs
    par   the number of elements of each list field
          each parameter field: float as is (None: NaN), bool 0/1, Literal its place in the choices
          each list field, element by element: the parameters of the element
          what the kind derives from the model
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from edge.image.image import Bits, Floats
from edge.image.quality import BAD
from edge.schema.model import Model
from edge.text import Text

NOTHING = Text("", "")
_POINT = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+")
TARGET_OPERANDS = 4  # request, target, owner, read-back


@dataclass(frozen=True, slots=True)
class Input:
    """Marks a field that reads: a point, an expression over points, or a value. None: any unit."""

    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Marks a field that names the commandable point which a block drives. None: any unit."""

    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Trips:
    """Marks the commandable points that a block protects: it publishes `tripped` (0 or 1), runs
    in the `protect` program, and while it is tripped each of them is asked for 0 at slot 5. Such a
    kind has the slot PROTECT and no targets.
    """


Source = str | float
"""What an input field holds: "booster.pressure", "a.x > 3 and b.y", "0.40 MPa" or 0.4.

Used as `pressure: Annotated[Source, Input("MPa")]`, optional ones as
`flow: Annotated[Source | None, Input("m³/h")] = None`; a target is
`output: Annotated[str, Target("%")]`.
"""

AnyInput = Annotated[Source, Input()]

Known = Callable[[Source, str], float | None]
"""Tells the number behind an input in a unit, None where only the plant knows it."""


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
    """A result shown as the virtual point `<rule>.<name>`, or `<rule>` when the name is "".

    `told`: `edge explain` of what the rule drives shows it among what the rule reads.
    """

    name: str
    unit: str
    text: Text
    labels: Mapping[int, Text] = field(default_factory=dict)
    told: bool = False


@dataclass(frozen=True, slots=True)
class AlarmTemplate:
    """An alarm that every instance of a kind brings; `{rule}` and `{RULE}` are its id.

    `id` becomes for example ZONE3_VALVE_DEVIATION, without the rule's name where it begins with it
    already (a rule `fire` and {RULE}_FIRE_PUMP_NOT_AUTO: FIRE_PUMP_NOT_AUTO); `when` and
    `suppressed_by` are expressions over points and over what the rule publishes, `shows` are such
    points. `about` is the commandable point whose fault it tells: suppressed while another kind of
    rule explains it (`explains` of `Kind`). A site may override it under `alarms:` by the same id.
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
    about: str = ""
    cause: Text = NOTHING
    consequence: Text = NOTHING


@dataclass(frozen=True, slots=True)
class Urge:
    """While the rule's published `when` is 1, `point` is asked for `value` at slot 5.

    For what a block must start or stop past minimum times and whoever holds it by hand; a tripped
    interlock goes before it.
    """

    point: str
    when: str
    value: float = 1.0


@dataclass(frozen=True, slots=True)
class Reference:
    """A place in a rule's model that names points: `loc` is its path for error messages.

    `role` "input" may be any expression; "output" and "trip" must be one commandable point: driven
    by the block, or protected by it. `unit` is what the block expects there, None for any.
    """

    loc: tuple[str | int, ...]
    text: str
    role: Literal["input", "output", "trip"]
    unit: str | None


@dataclass(frozen=True, slots=True)
class Example:
    """Operands over time and what comes out: executed by the tests, shown in the docs.

    `options` as in YAML. The kernel runs once per step, at time `t`; an input keeps its value until
    a later step gives another. Inputs are keyed by the point ids that `options` uses (NaN: bad; of
    an output: what the device reads back; "agenda": its cell; "reset": 1 for a person's reset).
    Expected are, by published name (""
    for the rule itself), the result, and by an output's point id, the request; NaN: bad, none.
    Outputs follow their requests.
    """

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
    while the wall clock is not trusted). A `resettable` one gets a cell for a person's reset; where
    it publishes `tripped`, above 0 while something is locked out, the panel's button resets it,
    too. `advice` says what will work badly: warnings of `edge check`.

    `keeps` gives names to the numbers of the state that outlive a change of the options: hours,
    counts, lockouts, what was learnt. A name says what the number is of (a pump is known by its
    output), so that one pump more or less leaves the others theirs; two kinds that use the same
    name mean the same. Timers and integrals have none.

    `explains` names commandable points whose fault the rule has a better word for, each with the
    expression that says when: the alarms `about` such a point that other kinds and its device bring
    are suppressed then, so that a fault is told once. `shared` is a published name: that point of
    every instance of the kind, its own among them, is given to each as the last operands (what all
    share is then a sum that nobody keeps). `audited` are some too: each change of one is an event,
    a record of the journal, and has the rule's state kept at once: a kill must not undo it.
    `derived` are parameters that are computed from the whole model; they come last. `positions`
    names commandable points that move valves, each with what says where it stands: while that is
    bad, no automatic request moves it far.
    """

    name: str
    model: type[Model]
    step: Callable[..., None]
    text: Text
    every: float
    slot: int
    publishes: Callable[[Any], tuple[Published, ...]]
    states: Callable[[Any], int]
    keeps: Callable[[Any], Mapping[str, int]] = lambda _: {}
    alarms: Callable[[Any], tuple[AlarmTemplate, ...]] = lambda _: ()
    urges: Callable[[Any], tuple[Urge, ...]] = lambda _: ()
    agenda: Callable[[Any, Place, float], Agenda] | None = None  # (model, place, wall), pure
    resettable: Callable[[Any], bool] = lambda _: False
    advice: Callable[[Any, Known], tuple[Text, ...]] = lambda *_: ()
    explains: Callable[[Any], Mapping[str, str]] = lambda _: {}
    positions: Callable[[Any], Mapping[str, Source | None]] = lambda _: {}
    shared: str = ""
    audited: Callable[[Any], tuple[str, ...]] = lambda _: ()
    derived: Callable[[Any], Iterable[float]] = lambda _: ()
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Operand:
    """One item of the operand layout: `count` indices. `loc` is its path in the model.

    `source` is what the input reads or the point that the target drives, None when left out; of a
    published point it is the name.
    """

    role: Literal["target", "published", "input", "agenda", "reset"]
    loc: tuple[str | int, ...]
    source: Source | None
    unit: str | None

    @property
    def count(self) -> int:
        """How many operand indices it takes."""
        return TARGET_OPERANDS if self.role == "target" else 1


@dataclass(frozen=True, slots=True)
class Layout:
    """A model as the kernel sees it: its operands and parameters in the order of this module."""

    operands: tuple[Operand, ...]
    parameters: tuple[float, ...]


def usable(v: Floats, q: Bits, index: int) -> bool:
    """Whether the value at `index` may be used: no BAD bit and a number. For step functions."""
    return bool((q[index] & BAD) == 0 and v[index] == v[index])


def is_on(v: Floats, q: Bits, index: int) -> bool:
    """Whether a contact is read as made; a bad one is neither on nor off. For step functions."""
    return bool(usable(v, q, index) and v[index] != 0.0)


def is_off(v: Floats, q: Bits, index: int) -> bool:
    """Whether a contact is read as open. For step functions."""
    return bool(usable(v, q, index) and v[index] == 0.0)


def reset_asked(v: Floats, index: int) -> bool:
    """Whether a person resets the block; taken by asking. For step functions, once in every run."""
    asked = bool(v[index] == 1.0)
    v[index] = 0.0
    return asked


def layout(kind: Kind, model: Model) -> Layout:
    """Lay `model` out in the order that the module docstring gives."""
    operands = [*_operands(model, Target)]
    operands += [Operand("published", (), p.name, p.unit) for p in kind.publishes(model)]
    operands += _operands(model, Input)
    if kind.agenda is not None:
        operands.append(Operand("agenda", (), None, None))
    if kind.resettable(model):
        operands.append(Operand("reset", (), None, None))
    lists = [(name, getattr(model, name)) for name in _fields(type(model), "list")]
    parameters = [float(len(elements)) for _, elements in lists]
    parameters += _parameters(model)
    for name, elements in lists:
        for i, element in enumerate(elements):
            operands += _operands(element, Target, (name, i))
            operands += _operands(element, Input, (name, i))
            parameters += _parameters(element)
    parameters += kind.derived(model)
    return Layout(tuple(operands), tuple(parameters))


def references(model: Model) -> Iterator[Reference]:
    """Every place in `model` that names points. Plain numbers and what is left out are not among
    them; a quantity such as "0.40 MPa" is: only its unit tells it from an expression.
    """
    places: list[tuple[Model, tuple[str | int, ...]]] = [(model, ())]
    for name in _fields(type(model), "list"):
        places += [(element, (name, i)) for i, element in enumerate(getattr(model, name))]
    for part, loc in places:
        for operand in (*_operands(part, Target, loc), *_operands(part, Input, loc)):
            if isinstance(operand.source, str):
                role: Literal["input", "output"] = "input" if operand.role == "input" else "output"
                yield Reference(operand.loc, operand.source, role, operand.unit)
    for name, info in type(model).model_fields.items():
        if any(isinstance(mark, Trips) for mark in info.metadata):
            for i, point in enumerate(getattr(model, name)):
                yield Reference((name, i), point, "trip", None)


def points_of(*sources: Source | None) -> tuple[str, ...]:
    """The inputs that are nothing but a point of a device or rule: what an alarm can show."""
    return tuple(s for s in sources if isinstance(s, str) and _POINT.fullmatch(s))


def trips(model: Model) -> tuple[str, ...]:
    """The points that a block protects, each once."""
    found = (r.text for r in references(model) if r.role == "trip")
    return tuple(dict.fromkeys(found))


_Role = Literal["target", "input", "list", "parameter", "other"]


@cache
def _fields(model: type[Model], role: _Role) -> tuple[str, ...]:
    return tuple(name for name, info in model.model_fields.items() if _role(info) == role)


def _operands(
    model: Model, marker: type[Input] | type[Target], loc: tuple[str | int, ...] = ()
) -> Iterator[Operand]:
    for name, info in type(model).model_fields.items():
        for mark in info.metadata:
            if isinstance(mark, marker):
                role: Literal["target", "input"] = "target" if marker is Target else "input"
                yield Operand(role, (*loc, name), getattr(model, name), mark.unit)


def _parameters(model: Model) -> Iterator[float]:
    for name in _fields(type(model), "parameter"):
        value = getattr(model, name)
        choices = _choices(type(model).model_fields[name].annotation)
        if value is None:
            yield float("nan")
        else:
            yield float(choices.index(value) if choices else value)


def _role(info: FieldInfo) -> _Role:
    for mark in info.metadata:
        if isinstance(mark, Input | Target):
            return "input" if isinstance(mark, Input) else "target"
    options = _options(info.annotation)
    if any(get_origin(option) is Annotated for option in options):
        raise TypeError(f"{info.annotation}: put the marker around the whole union")
    if len(options) == 1 and get_origin(options[0]) in (tuple, list):
        element = get_args(options[0])[0]
        return "list" if isinstance(element, type) and issubclass(element, Model) else "other"
    numeric = all(o in (float, int, bool) or get_origin(o) is Literal for o in options)
    return "parameter" if numeric and options else "other"


def _options(annotation: Any) -> list[Any]:
    """The members of a union without None; numbers lose what validates them."""
    union = get_origin(annotation) in (Union, types.UnionType)
    members = get_args(annotation) if union else (annotation,)
    return [_bare(member) for member in members if member is not type(None)]


def _bare(annotation: Any) -> Any:
    if get_origin(annotation) is not Annotated:
        return annotation
    base, *marks = get_args(annotation)
    return annotation if any(isinstance(m, Input | Target) for m in marks) else base


def _choices(annotation: Any) -> tuple[Any, ...]:
    options = _options(annotation)
    return get_args(options[0]) if options and get_origin(options[0]) is Literal else ()
