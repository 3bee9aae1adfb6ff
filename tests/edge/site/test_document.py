"""The JSON schema for editors: closed, complete, every reference resolved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from edge.schema.model import keys
from edge.site.document import site_schema
from edge.site.model import SINGLE, TABLES
from tests.support.bench_site import DRIVERS, KINDS, BenchBus, BenchPoint, Follow

SCHEMA = site_schema(DRIVERS, KINDS)


def every(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
        for inner in part.values():
            yield from every(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from every(inner)


def test_references_resolve() -> None:
    """Each `$ref` names something in `$defs`."""
    references = {part["$ref"] for part in every(SCHEMA) if isinstance(part.get("$ref"), str)}
    assert references
    assert {reference.removeprefix("#/$defs/") for reference in references} <= set(SCHEMA["$defs"])


def test_sections() -> None:
    """All sections, and nothing else."""
    assert set(SCHEMA["properties"]) == {*SINGLE, *TABLES, "include"}
    assert SCHEMA["additionalProperties"] is False
    assert SCHEMA["required"] == ["site"]


def test_options_of_drivers_and_blocks_are_in_it() -> None:
    """A bus offers its driver's options, a rule its kind's, a point its own and the driver's."""
    buses = SCHEMA["properties"]["buses"]["additionalProperties"]["oneOf"]
    bench = next(bus for bus in buses if bus["properties"]["driver"]["const"] == "bench")
    assert set(bench["properties"]) == {"driver", *keys(BenchBus)}
    assert bench["required"] == ["driver", "port"]
    assert set(SCHEMA["$defs"]["rule.follow"]["properties"]) == {"block", *keys(Follow)}
    point = SCHEMA["$defs"]["point.bench"]
    assert {"unit", "failsafe", *keys(BenchPoint)} <= set(point["properties"])
    assert "required" not in point or point["required"] == []
    assert "for" in SCHEMA["$defs"]["interlocks"]["properties"]


def test_it_is_json() -> None:
    """It can be written to a file."""
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
