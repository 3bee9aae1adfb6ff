"""What the YAML parser says, in words that help the person who wrote the file.

Not the parser: `edge/schema/loader.py` asks here with libyaml's own phrases.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from edge.text import Text

_TAB = Text("缩进不能用制表符 (Tab), 请用空格", "indent with spaces, not with a tab")
_QUOTE = Text("引号没有结束", "a quotation mark is never closed")
_INDENT = Text(
    "缩进与上文不一致, 或缺少冒号",
    "the indentation does not match the lines above, or a colon is missing",
)
_COLON = Text(
    '值里含有 ": " (含冒号的文字请加引号), 或此行缩进过深, 或上一行缺少冒号',
    'a value holds ": " (put such a text in quotes), or this line is indented too far, '
    "or the line above lacks its colon",
)
_NO_COLON = Text(
    '此行或上一行缺少冒号, 或冒号后缺少空格: 应为 "键: 值"',
    'this line or the one above lacks a colon, or the space after it: write "key: value"',
)
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


_MARKS = "[\u3000-\u3002\uff01-\uff5e\u2018\u2019\u201c\u201d]"
_WIDE = re.compile(f"(?<![\u4e00-\u9fff]){_MARKS}|{_MARKS}(?![\u4e00-\u9fff])")  # prose may have it
_WIDE_KEY = re.compile(r"\s*(?:- +)?[\w.]+\s*(?=：)|[ ]*(?=\u3000)")
_QUOTED = re.compile(r"""(["']).*?\1|(?:^|\s)#.*""")
_OTHER = {"、": ",", "。": ".", "“": '"', "”": '"', "‘": "'", "’": "'"}
_FULL_WIDTH = Text(
    '此处是全角字符 "{found}"; 请改用半角 {plain}',
    'a full-width "{found}" stands here; write the plain {plain}',
)


def full_width(text: str) -> tuple[int, Text] | None:
    """Where the first full-width punctuation of `text` stands, and what would be right."""
    found = _WIDE.search(text)
    if found is None:
        return None
    plain = _OTHER.get(found[0]) or unicodedata.normalize("NFKC", found[0])
    shown = "' '" if plain == " " else plain
    return found.start(), _FULL_WIDTH.format(found=found[0], plain=shown)


def typing_slip(lines: Sequence[str], line: int) -> tuple[int, int, Text] | None:
    """The full-width punctuation behind an error of syntax in `line`: line, column, sentence.

    libyaml notices a key without its colon, or an indentation that is none, only in the line after.
    """
    if line < len(lines):
        bare = _QUOTED.sub(lambda match: " " * len(match[0]), lines[line])
        if slip := full_width(bare):
            return line, *slip
    above = next((i for i in range(min(line, len(lines)) - 1, -1, -1) if lines[i].strip()), None)
    if above is not None and (key := _WIDE_KEY.match(lines[above])):
        at, text = full_width(lines[above][key.end() :]) or (0, _ELSE)
        return above, key.end() + at, text
    return None
