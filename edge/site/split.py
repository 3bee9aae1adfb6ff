"""Records whose keys belong to two models: the site's own options and those of a driver.

Called by `edge/site/parts.py` and `edge/site/profiles.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edge.schema.model import Model, keys
from edge.schema.problem import Problem
from edge.schema.validate import validate
from edge.site.files import Source
from edge.text import Text

O = TypeVar("O", bound=Model)  # noqa: E741


@dataclass(frozen=True, slots=True)
class Pair(Generic[O]):
    """Both halves of one record; `config` is an instance of the driver's or kind's model."""

    options: O
    config: Any


def validate_pair(
    own: type[O], other: type[Model], data: object, source: Source
) -> tuple[Pair[O] | None, list[Problem]]:
    """Give `own` the keys it has and `other` the rest; unknown keys are judged against both."""
    if not isinstance(data, Mapping):
        text = Text("应为映射 (键: 值)", "should be a mapping (key: value)")
        return None, [Problem("wrong-type", source.value(), text)]
    known = keys(own)
    mine = {key: value for key, value in data.items() if key in known}
    rest = {key: value for key, value in data.items() if key not in mine}
    options, problems = validate(own, mine, source)
    config, others = validate(other, rest, source, also=known)
    if options is None or config is None:
        return None, problems + others
    return Pair(options, config), []
