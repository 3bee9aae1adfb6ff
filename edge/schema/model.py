"""The base of every model that YAML or the network fills: frozen, strict, no unknown keys.

Strict means that a scalar is what it says: "12" is no number, 1 is no boolean; a whole number is
fine where any number is, a list where a tuple is. Not here: finding where in a file a value stands
(`edge/schema/validate.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, PlainValidator, WithJsonSchema
from pydantic_core import CoreSchema

from edge.text import Text

_SCALARS = frozenset({"int", "float", "bool", "str"})


class Refusal(ValueError):
    """What a validator raises: the sentence a person reads, and the code of the problem."""

    def __init__(self, text: Text, code: str = "wrong-value") -> None:
        super().__init__(text.en)
        self.text = text
        self.code = code


def _strict_scalars(schema: Any) -> None:
    """Make every scalar in a core schema strict and leave containers as they are."""
    if isinstance(schema, dict):
        kind = schema.get("type")
        if isinstance(kind, str) and kind in _SCALARS:  # a field may be called "type" itself
            schema.setdefault("strict", True)
        for part in schema.values():
            _strict_scalars(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            _strict_scalars(part)


class Model(BaseModel):
    """A frozen record. Unknown keys, NaN and silent conversions are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler, /
    ) -> CoreSchema:
        schema = handler(source)
        _strict_scalars(schema)
        return schema


def keys(model: type[BaseModel]) -> tuple[str, ...]:
    """The keys that `model` accepts, as they are written."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _words(value: object) -> Text:
    if isinstance(value, Text):
        return value
    if isinstance(value, str) and value.strip():
        return Text(value, value)
    if isinstance(value, Mapping) and set(value) == {"zh", "en"}:
        zh, en = value["zh"], value["en"]
        if isinstance(zh, str) and isinstance(en, str) and zh.strip() and en.strip():
            return Text(zh, en)
    raise Refusal(
        Text(
            "应为文字, 或 {zh: 中文, en: English}, 两种语言都要有",
            "should be a text, or {zh: 中文, en: English} with both languages",
        ),
        "wrong-type",
    )


_TEXT_SCHEMA: dict[str, Any] = {"type": "string", "minLength": 1}
_WORDS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        _TEXT_SCHEMA,
        {
            "type": "object",
            "properties": {"zh": _TEXT_SCHEMA, "en": _TEXT_SCHEMA},
            "required": ["zh", "en"],
            "additionalProperties": False,
        },
    ]
}

Words = Annotated[Text, PlainValidator(_words), WithJsonSchema(_WORDS_SCHEMA)]
"""A field that people read: one text for both languages, or `{zh: …, en: …}`."""
