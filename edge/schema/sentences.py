"""pydantic's error types as sentences in both languages; none of its own English gets through.

Not the search for the place (`edge/schema/validate.py`, which calls this).
"""

from __future__ import annotations

from pydantic_core import ErrorDetails

from edge.text import Text

_NUMBER = Text("数", "a number")
_WHOLE = Text("整数", "a whole number")
_LIST = Text("列表", "a list")
_MAPPING = Text("映射 (键: 值)", "a mapping (key: value)")
_TEXT = Text("文字", "a text")

# What the value should have been, by pydantic's error type.
TYPES: dict[str, Text] = {
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "bool_type": Text("true 或 false", "true or false"),
    "string_type": _TEXT,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "iterable_type": _LIST,
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "path_type": Text("路径", "a path"),
    "none_required": Text("空", "empty"),
}

# The rest: problem code and sentence; places are filled from the error's context.
_SENTENCES: dict[str, tuple[str, Text]] = {
    "finite_number": ("wrong-value", Text("必须是有限的数", "must be a finite number")),
    "greater_than": ("out-of-range", Text("必须大于 {gt}", "must be greater than {gt}")),
    "greater_than_equal": ("out-of-range", Text("不得小于 {ge}", "must be at least {ge}")),
    "less_than": ("out-of-range", Text("必须小于 {lt}", "must be less than {lt}")),
    "less_than_equal": ("out-of-range", Text("不得大于 {le}", "must be at most {le}")),
    "multiple_of": (
        "out-of-range",
        Text("必须是 {multiple_of} 的倍数", "must be a multiple of {multiple_of}"),
    ),
    "too_short": (
        "wrong-value",
        Text(
            "至少 {min_length} 项, 现有 {actual_length}",
            "needs at least {min_length}, has {actual_length}",
        ),
    ),
    "too_long": (
        "wrong-value",
        Text(
            "最多 {max_length} 项, 现有 {actual_length}",
            "takes at most {max_length}, has {actual_length}",
        ),
    ),
    "string_too_short": (
        "wrong-value",
        Text("至少 {min_length} 个字符", "needs at least {min_length} characters"),
    ),
    "string_too_long": (
        "wrong-value",
        Text("最多 {max_length} 个字符", "takes at most {max_length} characters"),
    ),
    "string_pattern_mismatch": (
        "wrong-value",
        Text('"{input}" 不符合格式 {pattern}', '"{input}" does not have the form {pattern}'),
    ),
    "enum": ("wrong-choice", Text('"{input}" 不可用', '"{input}" is not possible')),
    "union_tag_invalid": ("wrong-choice", Text('"{tag}" 不可用', '"{tag}" is not possible')),
    "union_tag_not_found": (
        "missing-key",
        Text("缺少 {discriminator}", "{discriminator} is missing"),
    ),
    "unhashable": ("wrong-type", Text("此处不能用列表或映射", "no list or mapping can stand here")),
}
_ELSE = ("wrong-value", Text("此处不能用这个值", "this value cannot stand here"))


def sentence(detail: ErrorDetails, wanted: tuple[Text, ...]) -> tuple[str, Text]:
    """Problem code and text of one error; `wanted` are the types that would have been right."""
    if detail["type"] == "missing":
        key = detail["loc"][-1]
        return "missing-key", Text(f'缺少 "{key}"', f'"{key}" is missing')
    if wanted:
        return "wrong-type", _wrong_type(detail["input"], wanted)
    if detail["type"] in ("value_error", "assertion_error"):
        cause = str(detail.get("ctx", {}).get("error", ""))
        return ("wrong-value", Text(f"不接受: {cause}", f"refused: {cause}")) if cause else _ELSE
    code, text = _SENTENCES.get(detail["type"], _ELSE)
    places = {key: _plain(value) for key, value in detail.get("ctx", {}).items()}
    places.setdefault("input", _plain(detail["input"]))
    return code, text.format(**places)


def _plain(value: object) -> object:
    """Numbers as people write them: 0.0 is 0."""
    return f"{value:g}" if isinstance(value, float) else value


def _wrong_type(value: object, wanted: tuple[Text, ...]) -> Text:
    zh = " 或 ".join(text.zh for text in wanted)
    en = " or ".join(text.en for text in wanted)
    found = _described(value)
    hint = Text("", "")
    if _TEXT in wanted and isinstance(value, int | float):
        hint = Text("; 是文字就加引号", "; put it in quotes if it is a text")
    elif {_NUMBER, _WHOLE} & set(wanted) and isinstance(value, str) and _numeric(value):
        hint = Text("; 请去掉引号", "; drop the quotes")
        if not value.isascii():
            hint = Text("; 请改用半角数字", "; write it with plain digits, not full-width ones")
    return Text(
        f"应为{' ' if zh[0].isascii() else ''}{zh}, 而不是{found.zh}{hint.zh}",
        f"should be {en}, not {found.en}{hint.en}",
    )


def _described(value: object) -> Text:
    if value is None:
        return Text("空", "empty")
    if isinstance(value, bool):
        word = "true" if value else "false"
        return Text(f" {word}", word)
    if isinstance(value, int | float):
        return Text(f"数 {value:g}", f"the number {value:g}")
    if isinstance(value, str):
        short = value if len(value) <= 40 else value[:37] + "…"
        return Text(f'文字 "{short}"', f'the text "{short}"')
    return _LIST if isinstance(value, list | tuple) else Text("映射", "a mapping")


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
