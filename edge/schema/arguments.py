"""The arguments of a function as a model, so that YAML can fill them and mistakes have their place.

Not for the site's own records: those are models by themselves. Used where a table of plain
functions or classes is the vocabulary: words of a scenario, equipment of a plant.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from inspect import Parameter, signature
from typing import Any

from pydantic import create_model

from edge.schema.model import Model


@lru_cache(maxsize=256)
def arguments(function: Callable[..., Any], skip: Collection[str] = ("self",)) -> type[Model]:
    """A frozen model with a field for each named parameter of `function` but those in `skip`.

    Parameters without an annotation or with one that no YAML can fill are a bug of ours.
    """
    found = {
        name: (parameter.annotation, ... if parameter.default is Parameter.empty
               else parameter.default)
        for name, parameter in signature(function, eval_str=True).parameters.items()
        if name not in skip
    }  # fmt: skip
    fields: dict[str, Any] = found
    return create_model(function.__name__, __base__=Model, **fields)


def given(filled: Model) -> dict[str, Any]:
    """What was filled in, by parameter name, as the function takes it."""
    return {name: getattr(filled, name) for name in type(filled).model_fields}
