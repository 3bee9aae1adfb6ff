"""Data against a model: the frozen record, or every problem with its place and both texts.

Not the models themselves and not what only the whole site can know (`edge/site/checks.py`). Called
by `edge/site` for each part of a site.
"""

from __future__ import annotations

import types
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edge.schema.loader import Loc
from edge.schema.model import Refusal, keys
from edge.schema.problem import Mark, Problem
from edge.schema.sentences import TYPES, sentence
from edge.schema.syntax import full_width
from edge.text import Text

M = TypeVar("M", bound=BaseModel)


class Marks(Protocol):
    """Knows where values and keys of some data stand; `Document` does."""

    def value(self, loc: Loc) -> Mark: ...

    def key(self, loc: Loc) -> Mark: ...


def validate(
    model: type[M], data: object, marks: Marks, loc: Loc = (), also: Collection[str] = ()
) -> tuple[M | None, list[Problem]]:
    """Make a `model` of `data`, which stands at `loc` within `marks`.

    `also` are keys of the same mapping that belong to somebody else; they are suggested when an
    unknown key is close to one of them.
    """
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    problems = []
    for found in _one_per_place(details, data):
        where = [*loc, *found.loc]
        if found.detail["type"] == "extra_forbidden":
            choices = keys_at(model, found.loc[:-1])
            others = () if found.loc[:-1] else also
            problems.append(unknown_key(where, marks, {*choices, *others}))
        else:
            code, text = found.problem()
            problems.append(Problem(code, _mark(marks, where, found), text))
    return None, problems


def _mark(marks: Marks, where: Loc, found: _Found) -> Mark:
    return marks.key(where) if found.detail["type"] == "missing" else marks.value(where)


def unknown_key(where: Loc, marks: Marks, choices: Iterable[str]) -> Problem:
    """The problem of a key that nobody knows, with the nearest one that exists."""
    key = str(where[-1])
    hint = did_you_mean(key, choices)
    if slip := full_width(key):
        hint = Text(f"; {slip[1].zh}", f"; {slip[1].en}")
    text = Text(f'没有选项 "{key}"{hint.zh}', f'no option "{key}"{hint.en}')
    return Problem("unknown-key", marks.key(where), text)


def did_you_mean(word: str, choices: Iterable[str], listed: int = 8, near: float = 0.6) -> Text:
    """`; did you mean "…"?`, else what there is to choose from when it is not much.

    `near` is how alike they must be, 1 being equal: more for names that begin alike.
    """
    known = sorted({c for c in choices if c})
    folded = {c.lower(): c for c in known}
    close = get_close_matches(word.lower(), folded, 1, near)
    if close:
        best = folded[close[0]]
        return Text(f'; 是不是 "{best}"?', f'; did you mean "{best}"?')
    if 0 < len(known) <= listed:
        return Text(f"; 可用: {', '.join(known)}", f"; possible: {', '.join(known)}")
    return Text("", "")


class _Found:
    """One error of pydantic, with the part of its path that exists in the data."""

    def __init__(self, detail: ErrorDetails, data: object) -> None:
        self.detail = detail
        self.loc = _written(detail, data)
        self.wanted: tuple[Text, ...] = (TYPES[detail["type"]],) if detail["type"] in TYPES else ()

    def problem(self) -> tuple[str, Text]:
        cause = self.detail.get("ctx", {}).get("error")
        if isinstance(cause, Refusal):
            return cause.code, cause.text
        if self.detail["type"] == "literal_error":
            return "wrong-choice", self._choice()
        return sentence(self.detail, self.wanted)

    def _choice(self) -> Text:
        value = self.detail["input"]
        expected = str(self.detail.get("ctx", {}).get("expected", ""))
        choices = [word.strip(" '\"") for word in expected.replace(" or ", ", ").split(",")]
        hint = did_you_mean(str(value), choices, listed=20)
        return Text(f'"{value}" 不可用{hint.zh}', f'"{value}" is not possible{hint.en}')


def _written(detail: ErrorDetails, data: object) -> tuple[str | int, ...]:
    """The path without what pydantic adds to it: members of a union, names of validators."""
    path: list[str | int] = []
    here: Any = data
    for part in detail["loc"]:
        if _holds(here, part):
            here = here[part]
            path.append(part)
    return tuple(path)


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)


def _one_per_place(details: list[ErrorDetails], data: object) -> list[_Found]:
    """Merge what the members of a union say about the same value.

    Members that want another type altogether are joined into one sentence; a member that took the
    type and refuses the content knows better than they.
    """
    merged: dict[tuple[object, ...], _Found] = {}
    for detail in details:
        found = _Found(detail, data)
        key = (found.loc, detail["loc"][-1]) if detail["type"] == "missing" else (found.loc, None)
        first = merged.get(key)
        if first is None or (first.wanted and not found.wanted):
            merged[key] = found
        elif first.wanted and found.wanted:
            first.wanted = tuple(dict.fromkeys((*first.wanted, *found.wanted)))
    return [found for found in merged.values() if not _taken(found, merged.values())]


def _taken(found: _Found, others: Iterable[_Found]) -> bool:
    """Whether another member took the type and refuses something within the value; a list that is
    too short counted only the items that nothing is wrong with."""
    size = len(found.loc)
    return (bool(found.wanted) or found.detail["type"] == "too_short") and any(
        len(other.loc) > size and other.loc[:size] == found.loc for other in others
    )


def keys_at(model: type[BaseModel], loc: Loc) -> set[str]:
    """The keys that the model at `loc` below `model` accepts."""
    here: list[Any] = [model]
    for part in loc:
        here = [inner for kind in here for inner in _inside(kind, part)]
    return {key for kind in here for key in (keys(kind) if _is_model(kind) else ())}


def _inside(kind: Any, part: str | int) -> list[Any]:
    """The types that a value at `part` of a value of type `kind` may have."""
    if _is_model(kind):
        fields = {f.alias or name: f.annotation for name, f in kind.model_fields.items()}
        return _members(fields[str(part)]) if str(part) in fields else []
    arguments = get_args(kind)
    if not arguments or get_origin(kind) is Literal:
        return []
    return _members(arguments[0] if isinstance(part, int) else arguments[-1])


def _members(annotation: Any) -> list[Any]:
    """The members of a union; of anything else, itself."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [inner for member in get_args(annotation) for inner in _members(member)]
    return [annotation]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
