"""A plant as YAML: which models there are, how they are coupled, and what stands behind each point.

    models:  {supply: {model: booster, pumps: 3}, zones: {model: zones}}
    connect: {zones.supply: supply.pressure, supply.draw: zones.flow}
    devices: {booster: supply, v3: {model: zones, points: {position: v3_command}}}

Needs no controller: `Field` puts it behind a site's points in-process, `Equipment` on real sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field as Option

from drivers.sim.field import Cell
from drivers.sim.models import MODELS
from drivers.sim.models.model import Model as Equipment
from drivers.sim.rig import Rig
from edge.schema.arguments import arguments, given
from edge.schema.loader import Document, Loc, load_file, load_text
from edge.schema.model import Model, Refusal
from edge.schema.problem import Problem
from edge.schema.units import conversion
from edge.schema.validate import Marks, did_you_mean, validate
from edge.text import Text

OURS = frozenset({"self", "dt", "active", "noise"})  # arguments that are no parameters of a plant
STARTS, MINUTE = "run_at", "minute"


class BehindPoint(Model):
    """The variable behind a point; `unit` is the model's where it is not the point's."""

    variable: str
    unit: str = ""


class BehindDevice(Model):
    """The model behind a device. Points that are not named take the variable of their own name with
    `_` for `.`; what the model does not know is a plain cell."""

    model: str
    points: Mapping[str, str | BehindPoint] = {}


class Plant(Model):
    """A plant file. `connect` says what a model is given (its attribute) of another's variable."""

    models: Mapping[str, Mapping[str, Any]] = {}
    connect: Mapping[
        Annotated[str, Option(pattern=r"^[^.]+\.[^.]+$")],
        Annotated[str, Option(pattern=r"^[^.]+\.[^.]+$")],
    ] = {}
    devices: Mapping[str, str | BehindDevice] = {}


@dataclass(frozen=True, slots=True)
class Place:
    """A point of the site: its unit, whether it is read and written, its value without a model."""

    unit: str
    readable: bool
    writable: bool
    value: float


class PlantFile:
    """A plant file that was read, or none (`Plant()`); collects what is wrong with it."""

    def __init__(self, plant: Plant, marks: Document, problems: list[Problem]) -> None:
        self.plant, self.marks, self.problems = plant, marks, problems

    def rig(
        self,
        more: Mapping[str, Mapping[str, Any]],
        marks: Marks,
        needed: set[str],
        minute: float = 0.0,
    ) -> Rig:
        """The models, with `more` options that a scenario gives, and those `needed` by kind.

        It is `minute` of the day where the sun shines and nobody says anything else.
        """
        models: dict[str, Equipment] = {}
        for name in (*self.plant.models, *sorted(needed - self.plant.models.keys())):
            options = self.plant.models.get(name, {"model": name})
            kind = options.get("model")
            if not isinstance(kind, str) or kind not in MODELS:
                self._tell(("models", name, "model"), unknown(MODEL, str(kind), MODELS))
                continue
            made = self._make(name, options, more.get(name, {}), marks, minute)
            if made is not None:
                models[name] = made
        for name in sorted(more.keys() - {*self.plant.models, *needed}):
            refusal = unknown(MODEL, name, {*self.plant.models, *needed})
            mark = marks.key(("given", "equipment", name))
            self.problems.append(Problem(refusal.code, mark, refusal.text))
        couplings = [
            c for target, source in self.plant.connect.items()
            if not self._missing(models, target, source)
            and (c := self._couple(models, target, source)) is not None
        ]  # fmt: skip
        for couple in couplings:
            couple()
        coupled: dict[str, set[str]] = {}
        for target, source in self.plant.connect.items():
            coupled.setdefault(target.partition(".")[0], set()).add(source.partition(".")[0])
        return Rig(models, couplings=couplings, coupled=coupled)

    def _make(
        self,
        name: str,
        options: Mapping[str, Any],
        more: Mapping[str, Any],
        marks: Marks,
        minute: float,
    ) -> Equipment | None:
        kind = options["model"]
        model = arguments(MODELS[kind], OURS)
        place: Loc = ("models", name)
        filled, problems = validate(
            model, _without(options), self.marks, place, ("model", STARTS)
        )  # fmt: skip
        if filled is not None and more:
            place, whole = ("given", "equipment", name), {**options, **more}
            filled, problems = validate(model, _without(whole), marks, place, (STARTS,))
        self.problems += problems
        if filled is None:
            return None
        own = given(filled)
        if MINUTE in own and MINUTE not in filled.model_fields_set:
            own[MINUTE] = minute
        made = MODELS[kind](**own)
        if (starts := {**options, **more}.get(STARTS)) is not None:
            self._start(made, name, starts)
        return made

    def _start(self, made: Equipment, name: str, speeds: object) -> None:
        start = getattr(made, STARTS, None)
        numbers = isinstance(speeds, list) and all(isinstance(s, int | float) for s in speeds)
        if start is None or not numbers:
            text = Text(
                f"{STARTS} 应为水泵转速的列表 (%), 只用于水泵模型",
                f"{STARTS} is a list of pump speeds in %, for models of pumps",
            )
            self._tell(("models", name, STARTS), Refusal(text))
        else:
            start(*speeds)  # type: ignore[misc]

    def _missing(self, models: Mapping[str, Equipment], *places: str) -> bool:
        """Whether a model of this file is not there: its problem has been told."""
        names = {place.partition(".")[0] for place in places}
        return bool(names & self.plant.models.keys() - models.keys())

    def _couple(
        self, models: Mapping[str, Equipment], target: str, source: str
    ) -> Callable[[], None] | None:
        loc, there, here = ("connect", target), target.partition(".")[2], source.partition(".")[2]
        try:
            to, of = _model(models, target), _model(models, source)
            put, get = writer(to, there), reader(of, here)
        except Refusal as refusal:
            self._tell(loc, refusal)
            return None
        if there in to.commands or here not in _numbers(of):
            return lambda: put(get())
        return lambda: setattr(to, there, float(getattr(of, here)))  # the same without two calls

    def cells(self, rig: Rig, places: Mapping[str, Mapping[str, Place]]) -> dict[str, Cell]:
        """The cells behind the points of a site, given by device and by the point's name in it."""
        for device in self.plant.devices.keys() - places.keys():
            self._tell(("devices", device), unknown(DEVICE, device, places), key=True)
        found = {}
        for device, points in places.items():
            behind = self._behind(device, rig)
            variables = behind.points if behind else {}
            for name in variables.keys() - points.keys():
                loc = ("devices", device, "points", name)
                self._tell(loc, unknown(POINT, name, points), key=True)
            for name, place in points.items():
                cell = Cell(value=place.value, rest=place.value)
                if behind is not None:
                    cell = self._cell(device, name, place, behind, rig) or cell
                found[f"{device}.{name}"] = cell
        return found

    def _behind(self, device: str, rig: Rig) -> BehindDevice | None:
        written = self.plant.devices.get(device)
        if written is None:
            return None
        behind = BehindDevice(model=written) if isinstance(written, str) else written
        if behind.model in rig.models:
            return behind
        if behind.model not in self.plant.models:  # else it has its problem already
            loc = ("devices", device) if isinstance(written, str) else ("devices", device, "model")
            self._tell(loc, unknown(MODEL, behind.model, rig.models))
        return None

    def _cell(
        self, device: str, name: str, place: Place, behind: BehindDevice, rig: Rig
    ) -> Cell | None:
        """None where the model does not know the point and nobody says that it should."""
        model = rig.models[behind.model]
        written = behind.points.get(name)
        named = BehindPoint(variable=written) if isinstance(written, str) else written
        variable = named.variable if named else name.replace(".", "_")
        seen = model.readings()
        loc = ("devices", device, "points", name)
        if variable not in seen:
            if named is not None:
                what = Text(f"{behind.model} 的变量", f"variable of {behind.model}")
                self._tell(loc, unknown(what, variable, seen))
            return None
        if place.writable and variable not in model.commands:
            self._tell(loc, _no_command(device, name, behind.model, variable, model.commands))
            return None
        cell = Cell(behind.model, variable, rest=model.commands.get(variable, seen[variable]))
        if named is not None and named.unit:
            try:
                cell.scale, cell.offset = conversion(named.unit, place.unit)
            except Refusal as refusal:
                self._tell((*loc, "unit"), refusal)
            cell.rest = cell.rest * cell.scale + cell.offset
        return cell

    def _tell(self, loc: Loc, refusal: Refusal, *, key: bool = False) -> None:
        mark = self.marks.key(loc) if key else self.marks.value(loc)
        self.problems.append(Problem(refusal.code, mark, refusal.text))


def read_plant(path: Path) -> PlantFile:
    """Read a plant file; where there is none, a plant without models."""
    if path.exists():
        document, problems, _ = load_file(path)
    else:
        document, problems = load_text("{}", str(path))
    if document is None:
        empty, _ = load_text("{}", str(path))
        assert empty is not None
        return PlantFile(Plant(), empty, problems)
    plant, problems = validate(Plant, document.data, document)
    return PlantFile(plant or Plant(), document, problems)


def reader(model: Equipment, name: str) -> Callable[[], float]:
    """What gives a variable of a model: its attribute, which is cheap, else its reading."""
    if name in _numbers(model):
        return lambda: float(getattr(model, name))
    if name in model.readings():
        return lambda: model.readings()[name]
    raise unknown(VARIABLE, name, {*_numbers(model), *model.readings()})


def writer(model: Equipment, name: str) -> Callable[[float], None]:
    """What gives a model a value: an attribute of it, or a command."""
    if name in model.commands:
        return lambda value: model.commands.__setitem__(name, value)
    settable = {n for n in _numbers(model) if not _fixed(model, n)}
    if name not in settable:
        raise unknown(VARIABLE, name, {*settable, *model.commands})
    return lambda value: setattr(model, name, value)


def _numbers(model: Equipment) -> set[str]:
    """The attributes that hold a number, or None for one that is not used."""
    public = (name for name in dir(model) if not name.startswith("_") and name not in OURS)
    return {
        name for name in public
        if isinstance(value := getattr(model, name), float | int | None)
        and not isinstance(value, bool)
    }  # fmt: skip


def _fixed(model: Equipment, name: str) -> bool:
    found = getattr(type(model), name, None)
    return isinstance(found, property) and found.fset is None


def _model(models: Mapping[str, Equipment], place: str) -> Equipment:
    name = place.partition(".")[0]
    if name not in models:
        raise unknown(MODEL, name, models)
    return models[name]


def _without(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in ("model", STARTS)}


def _no_command(
    device: str, name: str, model: str, variable: str, commands: Iterable[str]
) -> Refusal:  # fmt: skip
    hint = did_you_mean(variable, commands, near=0.75)
    option = f"points: {{{name}: …}}"
    return Refusal(
        Text(
            f"{device}.{name} 要写, 而 {model} 的 {variable} 不是命令; 请写 {option}{hint.zh}",
            f"{device}.{name} is written, and {variable} of {model} is no command; "
            f"say {option}{hint.en}",
        ),
        "no-command",
    )


def unknown(what: Text, name: str, known: Iterable[str]) -> Refusal:
    """A name that does not exist, with the nearest one that does."""
    hint = did_you_mean(name, known)
    space = " " if what.zh[0].isascii() else ""
    text = Text(f'没有{space}{what.zh} "{name}"{hint.zh}', f'no {what.en} "{name}"{hint.en}')
    return Refusal(text, "unknown-name")


MODEL, DEVICE = Text("模型", "model"), Text("设备", "device")
POINT, VARIABLE = Text("点", "point"), Text("变量", "variable")
