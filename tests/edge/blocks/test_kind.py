"""Operand layout and references, from the markers in a model."""

from __future__ import annotations

from math import isnan, nan
from typing import Annotated, Literal

import numpy as np
import pytest

from edge.blocks.kind import (
    AnyInput,
    Input,
    Kind,
    Published,
    Source,
    Target,
    layout,
    references,
    usable,
)
from edge.image.quality import COMM, UNCERTAIN
from edge.schema.model import Model
from edge.schema.units import Duration
from edge.text import Text


class Pump(Model):
    run: Annotated[str, Target("")]
    speed: Annotated[str | None, Target("%")] = None
    fault: Annotated[Source | None, Input("")] = None
    rating: float = 1.0


class Group(Model):
    name: str = ""
    pressure: Annotated[Source, Input("MPa")]
    flow: Annotated[Source | None, Input("m³/h")] = None
    output: Annotated[str, Target("%")]
    mode: Literal["one", "two", "three"] = "two"
    active: bool = True
    limit: float | None = None
    wait: Duration | None = None
    pumps: tuple[Pump, ...] = ()
    days: tuple[str, ...] = ()
    count: int = 3


KIND = Kind(
    name="group", model=Group, step=lambda *_: None, text=Text("组", "group"), every=0.5, slot=14,
    publishes=lambda _: (Published("state", "", Text("状态", "state")),), states=lambda _: 0,
    agenda=lambda *_: None,  # type: ignore[arg-type]
)  # fmt: skip

OPTIONS = {
    "pressure": "b.pressure", "output": "b.speed", "wait": "5s",
    "pumps": [{"run": "b.p1", "fault": "b.f1 or b.g1"}, {"run": "b.p2", "speed": "b.s2",
               "rating": 2.0}],
}  # fmt: skip


def test_operands_are_in_the_order_of_the_contract() -> None:
    """Targets, published, inputs, agenda; then element by element targets and inputs."""
    plan = layout(KIND, Group.model_validate(OPTIONS))
    assert [(o.role, o.loc, o.source, o.count) for o in plan.operands] == [
        ("target", ("output",), "b.speed", 4),
        ("published", (), "state", 1),
        ("input", ("pressure",), "b.pressure", 1),
        ("input", ("flow",), None, 1),
        ("agenda", (), None, 1),
        ("target", ("pumps", 0, "run"), "b.p1", 4),
        ("target", ("pumps", 0, "speed"), None, 4),
        ("input", ("pumps", 0, "fault"), "b.f1 or b.g1", 1),
        ("target", ("pumps", 1, "run"), "b.p2", 4),
        ("target", ("pumps", 1, "speed"), "b.s2", 4),
        ("input", ("pumps", 1, "fault"), None, 1),
    ]


def test_parameters_are_in_the_order_of_the_contract() -> None:
    """Counts of the lists, then fields in order, then those of the elements; text is none."""
    parameters = layout(KIND, Group.model_validate(OPTIONS)).parameters
    assert parameters[:3] == (2.0, 1.0, 1.0)
    assert isnan(parameters[3])
    assert parameters[4:] == (5.0, 3.0, 1.0, 2.0)


def test_references_have_the_way_to_their_place() -> None:
    """Texts only, elements of lists included, what is left out not; with role and unit."""
    found = {r.loc: (r.text, r.role, r.unit) for r in references(Group.model_validate(OPTIONS))}
    assert found == {
        ("pressure",): ("b.pressure", "input", "MPa"),
        ("output",): ("b.speed", "output", "%"),
        ("pumps", 0, "run"): ("b.p1", "output", ""),
        ("pumps", 0, "fault"): ("b.f1 or b.g1", "input", ""),
        ("pumps", 1, "run"): ("b.p2", "output", ""),
        ("pumps", 1, "speed"): ("b.s2", "output", "%"),
    }


def test_a_number_is_no_reference() -> None:
    """A plain number names no point."""
    assert "pressure" not in {
        r.loc[0] for r in references(Group.model_validate(OPTIONS | {"pressure": 0.4}))
    }


def test_a_marker_inside_a_union_is_refused() -> None:
    """It would be overlooked, so it is an error of the kind's author."""

    class Wrong(Model):
        flow: AnyInput | None = None

    with pytest.raises(TypeError, match="around the whole union"):
        list(references(Wrong()))


def test_usable_means_no_bad_bit_and_a_number() -> None:
    """A note is no reason not to use a value; NaN is, whatever its quality says."""
    values, bits = np.array([1.0, 1.0, nan]), np.array([UNCERTAIN, COMM, 0], np.uint16)
    assert [usable(values, bits, i) for i in range(3)] == [True, False, False]
