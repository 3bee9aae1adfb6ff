"""Units: one per quantity inside the controller, and what people and devices write instead.

Points, expressions and parameters hold the canonical units only; conversion happens once, here, at
the boundary. Used by every model through `Quantity` and `Duration`, by profiles through
`conversion`, by commands and the command line through `parse_quantity`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from edge.schema.model import Refusal
from edge.text import Text

Factor = tuple[float, float]
"""(scale, offset): canonical = written * scale + offset."""


def _scales(**units: float) -> dict[str, Factor]:
    return {unit: (scale, 0.0) for unit, scale in units.items()}


# Canonical unit -> what converts into it, both in normal form (`_normal`). 1 psi = 6894.757 Pa,
# 1 mH2O = 9806.65 Pa by definition of the kilogram-force, 1 hp = 745.7 W, 1 US gpm = 0.2271 m3/h.
_TABLE: dict[str, dict[str, Factor]] = {
    "MPa": _scales(
        MPa=1, kPa=1e-3, hPa=1e-4, Pa=1e-6, bar=0.1, mbar=1e-4, psi=6.894757293168e-3,
        mH2O=9.80665e-3, atm=0.101325,
    ) | {"kgf/cm2": (0.0980665, 0.0)},
    "m³/h": {
        "m3/h": (1, 0), "m3/min": (60, 0), "m3/s": (3600, 0), "l/s": (3.6, 0), "l/min": (0.06, 0),
        "l/h": (1e-3, 0), "gpm": (0.2271247, 0),
    },
    "m³": {"m3": (1, 0), "l": (1e-3, 0), "dm3": (1e-3, 0)},
    "m": _scales(m=1, cm=1e-2, mm=1e-3, μm=1e-6, km=1e3, ft=0.3048),
    "°C": {"°C": (1, 0), "K": (1, -273.15), "°F": (5 / 9, -160 / 9)},
    "K": {"K": (1, 0), "°C": (1, 0), "°F": (5 / 9, 0)},  # differences
    "lx": _scales(lx=1, klx=1e3),
    "%": {"%": (1, 0), "‰": (0.1, 0)},
    "kW": _scales(kW=1, W=1e-3, MW=1e3, hp=0.7457),
    "kvar": _scales(kvar=1, var=1e-3, Mvar=1e3),
    "kVA": _scales(kVA=1, VA=1e-3, MVA=1e3),
    "kWh": _scales(kWh=1, Wh=1e-3, MWh=1e3, kJ=1 / 3600, MJ=1 / 3.6, GJ=1 / 0.0036),
    "kvarh": _scales(kvarh=1, varh=1e-3, Mvarh=1e3),
    "mm/s": {"mm/s": (1, 0), "cm/s": (10, 0), "m/s": (1e3, 0)},
    "m/s²": {"m/s2": (1, 0), "mm/s2": (1e-3, 0), "g": (9.80665, 0)},
    "A": _scales(A=1, mA=1e-3, kA=1e3),
    "V": _scales(V=1, mV=1e-3, kV=1e3),
    "Hz": _scales(Hz=1, kHz=1e3),
    "r/min": {"r/min": (1, 0), "r/s": (60, 0)},
    "h": _scales(h=1, min=1 / 60, s=1 / 3600, d=24),  # running hours
    "s": _scales(s=1, ms=1e-3, min=60, h=3600, d=86400),
    "1/h": {"1/h": (1, 0), "1/min": (60, 0), "1/d": (1 / 24, 0)},
    "ppm": _scales(ppm=1),
    "µg/m³": {"μg/m3": (1, 0), "mg/m3": (1e3, 0)},
    "°": {"°": (1, 0)},
    "": {"": (1, 0)},  # booleans, counts, enumerations
}  # fmt: skip

UNITS: tuple[str, ...] = tuple(_TABLE)
"""The canonical units."""

_DIFFERENCES = {"°C": "K"}

_VARIANTS = {
    "C": "°C", "degC": "°C", "F": "°F", "degF": "°F", "degree": "°", "deg": "°", "lux": "lx",
    "rpm": "r/min", "um": "μm", "sec": "s", "hr": "h", "hour": "h", "hours": "h", "day": "d",
    "days": "d", "mWC": "mH2O", "lps": "l/s", "lpm": "l/min", "%RH": "%",
    "%rh": "%", "ug/m3": "μg/m3", "/h": "1/h", "/min": "1/min", "/d": "1/d",
    "分": "min", "分钟": "min", "秒": "s", "小时": "h", "天": "d",
}  # fmt: skip

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*([^\d\s+\-.*()<>=][^\s+*()<>=]*)?\s*", re.ASCII)
_DURATION = re.compile(r"(?:\s*(\d+(?:\.\d+)?)\s*([^\W\d_]+))+\s*")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([^\W\d_]+)")


def _normal(unit: str) -> str:
    """One spelling per unit: m³/h and m3/h, ℃ and degC, L/s and l/s become the same."""
    text = unicodedata.normalize("NFKC", unit).strip().replace(" ", "").replace("^", "")
    text = re.sub(r"\bL\b", "l", text)
    return _VARIANTS.get(text, text)


_CANONICAL = {_normal(unit): unit for unit in UNITS}
_KNOWN: frozenset[str] = frozenset(written for table in _TABLE.values() for written in table)


def canonical(unit: str) -> str:
    """The canonical spelling of `unit`. Raises `Refusal` when points are not held in it."""
    normal = _normal(unit)
    if normal in _CANONICAL:
        return _CANONICAL[normal]
    homes = [home for home, table in _TABLE.items() if normal in table]
    if homes:
        raise Refusal(
            Text(
                f'点的单位应为 "{homes[0]}"; 设备用 "{unit}" 时写 '
                f'"unit: {homes[0]}, device_unit: {unit}"',
                f'points are held in "{homes[0]}"; for a device that uses "{unit}" write '
                f'"unit: {homes[0]}, device_unit: {unit}"',
            ),
            "wrong-unit",
        )
    raise _unknown(unit, UNITS)


def conversion(written: str, unit: str, *, difference: bool = False) -> Factor:
    """(scale, offset) from the unit `written` to the canonical `unit`; `Refusal` if there is none.

    A difference (a deadband, a tolerance) takes no offset: 2 °F are 1.1 K.
    """
    table = _TABLE[_DIFFERENCES.get(unit, unit) if difference else unit]
    factor = table.get(_normal(written))
    if factor is not None:
        return factor
    if _normal(written) not in _KNOWN:
        raise _unknown(written, tuple(table))
    raise Refusal(
        Text(
            f'单位 "{written}" 不能换算为 {_spoken(unit).zh}',
            f'unit "{written}" cannot be converted to {_spoken(unit).en}',
        ),
        "wrong-unit",
    )


def split_quantity(text: str) -> tuple[float, str] | None:
    """Number and unit of a text like "0.40 MPa" or "12"; None if it is something else."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    return float(match[1]), match[2] or ""


def parse_quantity(text: str, unit: str, *, difference: bool = False) -> float:
    """What `text` says in the canonical `unit`; a bare number is in that unit already."""
    parts = split_quantity(text)
    if parts is None:
        raise Refusal(_wanted(text, unit), "wrong-value")
    number, written = parts
    if not written:
        return number
    scale, offset = conversion(written, unit, difference=difference)
    return _tidy(number * scale + offset)


def parse_duration(text: str) -> float:
    """Seconds in a text like "5s", "250ms" or "1h 30min"."""
    if _DURATION.fullmatch(text) is None:
        raise Refusal(_duration_wanted(text), "wrong-value")
    seconds = 0.0
    for number, written in _DURATION_PART.findall(text):
        scale, _ = conversion(written, "s")
        seconds += float(number) * scale
    return _tidy(seconds)


def _tidy(value: float) -> float:
    """Drop the last bits that a conversion factor adds: 400 kPa are 0.4 MPa, not 0.4 + 5e-17."""
    return float(f"{value:.14g}")


def _spoken(unit: str) -> Text:
    return Text(f'"{unit}"', f'"{unit}"') if unit else Text("无单位的数", "a number without a unit")


def _unknown(unit: str, choices: tuple[str, ...]) -> Refusal:
    lower = unit.lower()
    close = [c for c in choices if c and c.lower() == lower] or get_close_matches(
        unit, [c for c in choices if c], 1, 0.5
    )
    zh = f'; 是不是 "{close[0]}"?' if close else ""
    en = f'; did you mean "{close[0]}"?' if close else ""
    return Refusal(Text(f'没有单位 "{unit}"{zh}', f'no unit "{unit}"{en}'), "unknown-unit")


def _wanted(value: object, unit: str) -> Text:
    example = f"1.5 {unit}".strip()
    return Text(
        f'"{value}" 不是数; 应写如 "{example}"',
        f'"{value}" is not a number; write it like "{example}"',
    )


def _duration_wanted(value: object) -> Text:
    return Text(
        f'"{value}" 不是时长; 应写如 5s, 250ms, 30min',
        f'"{value}" is not a duration; write it like 5s, 250ms, 30min',
    )


@dataclass(frozen=True, slots=True)
class Quantity:
    """Marks a number field that holds a quantity: `Annotated[float, Quantity("MPa")]`.

    Takes a bare number in that unit or a text with any unit of the same quantity.
    """

    unit: str
    difference: bool = False

    def __post_init__(self) -> None:
        if self.unit not in _TABLE:
            raise TypeError(f"{self.unit!r} is not a canonical unit")

    def _parse(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        return parse_quantity(value, self.unit, difference=self.difference)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._parse, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        number = handler(schema)
        text = {"type": "string", "examples": [f"1 {self.unit}".strip()]}
        return {"anyOf": [number, text]}


def _seconds(value: object) -> object:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Refusal(
            Text(
                f"时长要带单位: {value:g}s 还是 {value:g}min?",
                f"a duration needs its unit: {value:g}s or {value:g}min?",
            ),
            "wrong-value",
        )
    raise Refusal(_duration_wanted(value), "wrong-type")


class _DurationSchema:
    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "examples": ["5s", "250ms", "30min"]}


# No bound here: pydantic would let it override the bound of a field's own default.
Duration = Annotated[float, BeforeValidator(_seconds), _DurationSchema()]
"""A field in seconds, written with its unit and never negative: "5s", "250ms", "1h 30min"."""
