"""Device profiles: register maps apart from sites, each with bytes that prove it.

`generic/valve-actuator` is `generic/valve-actuator.yaml` in the site's own `profiles/`, else in
`config/profiles/` beside the packages, where they are installed editable (as we install). Called
by `edge/site/parts.py`; read once each, however many devices have it.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edge
from edge.blocks.dali import arc_level, arc_percent
from edge.driver import DriverKind
from edge.errors import DriverError
from edge.schema.model import Refusal
from edge.schema.problem import Mark, Problem
from edge.schema.units import conversion, parse_quantity
from edge.schema.validate import did_you_mean, validate
from edge.site.files import Files, Source
from edge.site.model import PointOptions, Profile, ProfileVector
from edge.site.split import Pair, validate_pair
from edge.text import Text

SHIPPED = Path(edge.__file__).resolve().parents[1] / "config" / "profiles"
TOLERANCE = 1e-6  # relative; a 32-bit float read back

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True)
class Map:
    """A profile, read and proved; `points` are its own, as its driver sees them."""

    profile: Profile
    points: Mapping[str, Pair[PointOptions]]
    source: Source


class Profiles:
    """Finds and reads the profiles of one site; a bad one is reported once."""

    def __init__(self, files: Files, drivers: Mapping[str, DriverKind]) -> None:
        self._files = files
        self._drivers = drivers
        self._known: dict[str, Map | None] = {}
        self._folders = (files.folder / "profiles", SHIPPED)
        self.problems: list[Problem] = []

    def get(self, name: str, mark: Mark) -> Map | None:
        """The profile called `name`; `mark` is who asks, for the problem that there is none."""
        path = self._find(name)
        if path is None:
            hint = did_you_mean(name, self._names())
            text = Text(f'没有设备模板 "{name}"{hint.zh}', f'no profile "{name}"{hint.en}')
            self.problems.append(Problem("unknown-profile", mark, text))
            return None
        if name not in self._known:
            self._known[name] = self._read(path)
        return self._known[name]

    def _find(self, name: str) -> Path | None:
        if not _NAME.fullmatch(name):
            return None
        paths = (folder / f"{name}.yaml" for folder in self._folders)
        return next((path for path in paths if path.is_file()), None)

    def _names(self) -> list[str]:
        return [
            str(path.relative_to(folder).with_suffix(""))
            for folder in self._folders
            for path in folder.rglob("*.yaml")
        ]

    def _read(self, path: Path) -> Map | None:
        document = self._files.load(path)
        if document is None:
            return None
        source = Source(((document, ()),))
        profile, problems = validate(Profile, document.data, source)
        self.problems += problems
        if profile is None:
            return None
        kind = self._drivers.get(profile.driver)
        if kind is None:
            self.problems.append(unknown_driver(profile.driver, source, self._drivers))
            return None
        points: dict[str, Pair[PointOptions]] = {}
        problems = [*_read_points(profile, kind, source, points)]
        if not problems:
            problems = [*_prove_all(profile, points, kind, source)]
        self.problems += problems
        failed = any(problem.level == "error" for problem in problems)
        return None if failed else Map(profile, points, source)


def unknown_driver(name: str, source: Source, drivers: Mapping[str, DriverKind]) -> Problem:
    """The problem of a driver that is not in the table."""
    hint = did_you_mean(name, drivers)
    text = Text(f'没有驱动 "{name}"{hint.zh}', f'no driver "{name}"{hint.en}')
    return Problem("unknown-driver", source.value(["driver"]), text)


def _read_points(
    profile: Profile, kind: DriverKind, source: Source, points: dict[str, Pair[PointOptions]]
) -> Iterator[Problem]:
    for id, data in profile.points.items():
        pair, problems = validate_pair(PointOptions, kind.point, data, source.below("points", id))
        yield from problems
        if pair is not None:
            points[id] = pair


def _prove_all(
    profile: Profile, points: Mapping[str, Pair[PointOptions]], kind: DriverKind, source: Source
) -> Iterator[Problem]:
    """Run every vector, then name the points that have none."""
    for i, vector in enumerate(profile.tests):
        where = source.below("tests", i)
        if vector.point not in points:
            hint = did_you_mean(vector.point, points)
            text = Text(f'没有点 "{vector.point}"{hint.zh}', f'no point "{vector.point}"{hint.en}')
            yield Problem("unknown-point", where.value(["point"]), text)
        elif kind.vector is not None:
            point = points[vector.point]
            yield from _prove(vector, point, kind.vector, profile.device, where)
    yield from _unproved(profile, points, source)


def _prove(
    vector: ProfileVector,
    point: Pair[PointOptions],
    decode: Any,
    device: Mapping[str, Any],
    where: Source,
) -> Iterator[Problem]:
    """Decode the bytes with the driver's codec alone and compare."""
    options = point.options
    try:
        raw = bytes.fromhex(vector.raw)
    except ValueError:
        text = Text(
            f'"{vector.raw}" 不是十六进制字节, 应写如 "4366 3333"',
            f'"{vector.raw}" are no hexadecimal bytes; write them like "4366 3333"',
        )
        yield Problem("profile-vector", where.value(["raw"]), text)
        return
    try:
        scale, offset = device_scale(options)
        value = decode(point.config, raw, device) * scale + offset
        wanted = amount(vector.value, options.unit)
    except Refusal as refusal:
        yield Problem(refusal.code, where.value(["value"]), refusal.text)
        return
    except (ValueError, ArithmeticError, LookupError, struct.error, DriverError):
        text = Text(
            f'"{vector.raw}" 的长度或内容与 {vector.point} 的类型不符',
            f'"{vector.raw}" does not have the length or content of the type of {vector.point}',
        )
        yield Problem("profile-vector", where.value(["raw"]), text)
        return
    if options.curve == "dali":  # proved by the level: light of a level is no round number
        same, value = value == arc_level(wanted), arc_percent(value)
    else:
        same = math.isclose(value, wanted, rel_tol=TOLERANCE, abs_tol=1e-9)
    if not same:
        unit = f" {options.unit}" if options.unit else ""
        text = Text(
            f"{vector.point}: {vector.raw} 解码为 {value:.9g}{unit}, 模板写的是 {wanted:.9g}{unit}",
            f"{vector.point}: {vector.raw} decodes to {value:.9g}{unit}, "
            f"the profile says {wanted:.9g}{unit}",
        )
        yield Problem("profile-vector", where.value(["value"]), text)


def _unproved(
    profile: Profile, points: Mapping[str, Pair[PointOptions]], source: Source
) -> Iterator[Problem]:
    proved = {vector.point for vector in profile.tests}
    for id, point in points.items():
        analog = bool(point.options.unit)
        if analog and getattr(point.config, "readable", True) and id not in proved:
            text = Text(
                f"{id} 没有测试向量 (tests); 请从实物或手册抄一组字节和读数",
                f"{id} has no test vector; take bytes and reading from a device or its manual",
            )
            yield Problem("no-vector", source.key(["points", id]), text, "warning")


def amount(value: float | str, unit: str, *, difference: bool = False) -> float:
    """A quantity as written, in the canonical `unit`; raises `Refusal`."""
    if isinstance(value, str):
        return parse_quantity(value, unit, difference=difference)
    return float(value)


def device_scale(options: PointOptions) -> tuple[float, float]:
    """(scale, offset) from the raw number to the point's unit; raises `Refusal`."""
    if options.device_unit is None:
        return options.scale, options.offset
    scale, offset = conversion(options.device_unit, options.unit)
    return options.scale * scale, options.offset * scale + offset
