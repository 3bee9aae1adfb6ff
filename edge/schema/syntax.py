"""What the YAML parser says, in words that help the person who wrote the file.

Not the parser: `edge/schema/loader.py` asks here with libyaml's own phrases.
"""

from __future__ import annotations

from edge.text import Text

_TAB = Text("缩进不能用制表符 (Tab), 请用空格", "indent with spaces, not with a tab")
_QUOTE = Text("引号没有结束", "a quotation mark is never closed")
_INDENT = Text(
    "缩进与上文不一致, 或缺少冒号",
    "the indentation does not match the lines above, or a colon is missing",
)
_COLON = Text(
    '值里含有 ": ", 或缺少换行; 含冒号的文字请加引号',
    'a value holds ": ", or a line break is missing; put a text with a colon in quotes',
)
_NO_COLON = Text('缺少冒号: 应为 "键: 值"', 'a colon is missing: write "key: value"')
_FLOW_LIST = Text('列表 [ ] 里缺少 "," 或 "]"', 'a list [ ] lacks a "," or its "]"')
_FLOW_MAP = Text('映射 { } 里缺少 "," 或 "}"', 'a mapping { } lacks a "," or its "}"')
_CHARACTER = Text(
    "此处不能以字符 {character} 开头; 文字请加引号",
    "nothing can start with {character} here; put the text in quotes",
)
_DASH = Text(
    '此处不能用 "- " 列表项; 请检查缩进',
    'a "- " list item cannot stand here; check the indentation',
)

# libyaml's phrases, first match wins; what is not among them gets `_ELSE`.
_PHRASES: tuple[tuple[str, Text], ...] = (
    ("tab character", _TAB),
    ("did not find expected ',' or ']'", _FLOW_LIST),
    ("did not find expected ',' or '}'", _FLOW_MAP),
    ("mapping values are not allowed", _COLON),
    ("could not find expected ':'", _NO_COLON),
    ("block sequence entries are not allowed", _DASH),
    ("did not find expected '-' indicator", _INDENT),
    ("did not find expected key", _INDENT),
    ("did not find expected <document start>", _INDENT),
    ("cannot start any token", _CHARACTER),
    ("found unexpected end of stream", _QUOTE),
    ("unexpected document indicator", _QUOTE),
    (
        "unknown escape character",
        Text(
            '双引号里不认识的转义 "\\"; 请改用单引号',
            'an unknown escape "\\" in double quotes; use single quotes',
        ),
    ),
    (
        "expected alphabetic or numeric character",
        Text(
            '"&" 和 "*" 开头的文字请加引号',
            'put a text that starts with "&" or "*" in quotes',
        ),
    ),
    (
        "did not find expected node content",
        Text("此处缺少一个值", "a value is missing here"),
    ),
)  # fmt: skip
_ELSE = Text("此处不是有效的 YAML", "this is not valid YAML")


def syntax_text(problem: str, context: str, rest: str) -> Text:
    """The sentence for libyaml's `problem` and `context`; `rest` is the line from there on."""
    if rest.startswith("\t"):
        return _TAB
    for phrase, text in _PHRASES:
        if phrase in problem or phrase in context:
            return text.format(character=rest[:1] or "…") if text is _CHARACTER else text
    return _ELSE
