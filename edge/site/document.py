"""The JSON schema of a site file, for editors: options of drivers and block kinds included.

Made from the same models that read a site, so it cannot say anything else. Called by `edge schema`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edge.blocks.kind import Kind
from edge.driver import DriverKind
from edge.schema.model import Model
from edge.site.files import INCLUDE
from edge.site.model import SINGLE, TABLES, DeviceOptions, PointOptions, ValueRule
from edge.site.parts import VALUE

Json = dict[str, Any]
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_DEFS = "#/$defs/{model}"


def site_schema(drivers: Mapping[str, DriverKind], kinds: Mapping[str, Kind]) -> Json:
    """The whole schema; `$defs` hold each model once, under a name of its own."""
    defs: Json = {}
    properties: Json = {name: _named(defs, name, model) for name, model in SINGLE.items()}
    for name, model in TABLES.items():
        properties[name] = _table(_named(defs, name, model))
    properties["buses"] = _table(_buses(defs, drivers))
    properties["devices"] = _table(_devices(defs, drivers))
    properties["rules"] = _table(_rules(defs, kinds))
    properties[INCLUDE] = {"type": "array", "items": {"type": "string"}}
    return {
        "$schema": _DRAFT,
        "title": "edge controller site",
        "type": "object",
        "properties": properties,
        "required": ["site"],
        "additionalProperties": False,
        "$defs": defs,
    }


def _table(record: Json) -> Json:
    return {"type": "object", "additionalProperties": record}


def _model(defs: Json, prefix: str, model: type[Model]) -> Json:
    """A model's schema; models within it go to `defs` under `prefix`."""
    schema = model.model_json_schema(
        by_alias=True,
        ref_template=f"#/$defs/{prefix}.{{model}}",
    )
    for name, inner in schema.pop("$defs", {}).items():
        defs[f"{prefix}.{name}"] = inner
    return schema


def _named(defs: Json, name: str, model: type[Model]) -> Json:
    defs[name] = _model(defs, name, model)
    return {"$ref": _DEFS.format(model=name)}


def _joined(parts: Iterable[Json], fixed: Json, required: Iterable[str]) -> Json:
    """One closed object with the properties of all `parts`, in which `fixed` are constant."""
    properties: Json = {}
    needed: list[str] = []
    for part in parts:
        properties |= part.get("properties", {})
        needed += part.get("required", [])
    properties |= {key: {"const": value} for key, value in fixed.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": sorted({*needed, *fixed, *required}),
        "additionalProperties": False,
    }


def _buses(defs: Json, drivers: Mapping[str, DriverKind]) -> Json:
    found = []
    for name, kind in drivers.items():
        options = _model(defs, f"bus.{name}", kind.bus)
        found.append(_joined([options], {"driver": name}, ()))
    return {"oneOf": found}


def _devices(defs: Json, drivers: Mapping[str, DriverKind]) -> Json:
    """A device shows its driver by its bus only, and its profile may give what else is required."""
    found = []
    for name, kind in drivers.items():
        own = _model(defs, "device", DeviceOptions)
        options = _model(defs, f"device.{name}", kind.device)
        options.pop("required", None)
        generic = _model(defs, "point", PointOptions)
        special = _model(defs, f"point.{name}", kind.point)
        special.pop("required", None)
        device = _joined([own, options], {}, ("bus",))
        defs[f"point.{name}"] = _joined([generic, special], {}, ())
        device["properties"]["points"] = _table({"$ref": _DEFS.format(model=f"point.{name}")})
        found.append(device)
    return {"anyOf": found}


def _rules(defs: Json, kinds: Mapping[str, Kind]) -> Json:
    found = [_named(defs, "rule.value", ValueRule)]
    for name, kind in kinds.items():
        if name == VALUE:
            continue
        rule = _joined([_model(defs, f"rule.{name}", kind.model)], {"block": name}, ())
        rule["description"] = f"{kind.text.zh} · {kind.text.en}"
        defs[f"rule.{name}"] = rule
        found.append({"$ref": _DEFS.format(model=f"rule.{name}")})
    return {"anyOf": found}
