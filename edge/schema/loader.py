"""Strict YAML: plain data, and the place of every key and value.

YAML 1.2 core scalars only, so that YES, on and 12:30 stay the text they are. Refused: duplicate
keys, tags, several documents, excess of any kind. Composes its own tree from the C parser's events
in one loop: that parser's own composer crashes on deep nesting, the Python one is far too slow.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from edge.schema.problem import Mark, Problem
from edge.schema.syntax import syntax_text, typing_slip
from edge.text import Text

MOST_BYTES = 4_000_000
MOST_NODES = 200_000  # with what aliases repeat counted each time
MOST_ALIASES = 50
DEEPEST = 60
_TOO_DEEP = Text(f"嵌套超过 {DEEPEST} 层", f"nested deeper than {DEEPEST} levels")
LONGEST_NUMBER = 40  # characters

Loc = Sequence[str | int]

_INT = re.compile(r"[-+]?\d+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?", re.ASCII)
_PREFIXED = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_LEADING_ZERO = re.compile(r"[-+]?0\d[\d.eE+-]*", re.ASCII)
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


class _Stop(Exception):
    """Carries the one problem that ends the reading of a file."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


@dataclass(slots=True)
class _Place:
    """A value of the document: where it stands, and its children with the places of their keys."""

    data: Any
    line: int
    column: int
    size: int = 1  # itself and all below
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    children: dict[str | int, _Place] = field(default_factory=dict)
    open_key: str | None = None


class Document:
    """One file: `data` as plain dicts (keys are always texts), lists and scalars, with marks."""

    def __init__(self, file: str, root: _Place) -> None:
        self.file = file
        self.data: Any = root.data
        self._root = root

    def value(self, loc: Loc) -> Mark:
        """Where the value at `loc` stands; where nothing is, its nearest parent."""
        place, _ = self._find(loc)
        return Mark(self.file, place.line, place.column, dotted(loc))

    def key(self, loc: Loc) -> Mark:
        """Where the key of the value at `loc` stands; where nothing is, its nearest parent's."""
        _, (line, column) = self._find(loc)
        return Mark(self.file, line, column, dotted(loc))

    def holds(self, loc: Loc) -> bool:
        """Whether something is written at `loc`."""
        place: _Place | None = self._root
        for part in loc:
            place = place.children.get(part) if place else None
        return place is not None

    def _find(self, loc: Loc) -> tuple[_Place, tuple[int, int]]:
        place, key = self._root, (self._root.line, self._root.column)
        for part in loc:
            child = place.children.get(part)
            if child is None:
                break
            key = place.keys.get(str(part), (child.line, child.column))
            place = child
        return place, key


def dotted(loc: Loc) -> str:
    """`("devices", "v3", "range", 0)` as people read it: `devices.v3.range[0]`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def load_file(path: Path, name: str | None = None) -> tuple[Document | None, list[Problem], bytes]:
    """Read one file: the document or what is wrong with it, and the bytes as they were.

    `name` is what problems call the file.
    """
    name = name or str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        reason = _os_reason(error)
        text = Text(f"不能读取文件: {reason.zh}", f"the file cannot be read: {reason.en}")
        return None, [Problem("unreadable-file", Mark(name, 1, 1), text)], b""
    document, problems = load_bytes(data, name)
    return document, problems, data


def load_bytes(data: bytes, file: str) -> tuple[Document | None, list[Problem]]:
    """The same from bytes at hand. Whatever they are, nothing is raised."""
    if len(data) > MOST_BYTES:
        return None, [_too_big(file)]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        sentence = Text(
            "文件不是 UTF-8 编码 (是不是 GBK?); 请另存为 UTF-8",
            "the file is not UTF-8 (is it GBK?); save it as UTF-8",
        )
        return None, [Problem("yaml-encoding", Mark(file, line, column), sentence)]
    return load_text(text, file)


def load_text(text: str, file: str) -> tuple[Document | None, list[Problem]]:
    """The same from text. Whatever it is, nothing is raised."""
    if len(text) > MOST_BYTES:
        return None, [_too_big(file)]
    control = _CONTROL.search(text)
    if control:
        before = text[: control.start()]
        mark = Mark(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        sentence = Text(
            f"文件含有控制字符 U+{ord(control[0]):04X}; 请删除",
            f"the file holds the control character U+{ord(control[0]):04X}; remove it",
        )
        return None, [Problem("yaml-encoding", mark, sentence)]
    composer = _Composer(file)
    try:
        root = composer.compose(text)
    except _Stop as stop:
        return None, [*composer.problems, stop.problem]
    except yaml.YAMLError as error:
        return None, [*composer.problems, _syntax(error, text, file)]
    return (None if composer.problems else Document(file, root)), composer.problems


def _too_big(file: str) -> Problem:
    most = MOST_BYTES // 1_000_000
    text = Text(
        f"文件超过 {most} MB; 请用 include 拆分",
        f"the file is larger than {most} MB; split it with include",
    )
    return Problem("yaml-size", Mark(file, 1, 1), text)


def _syntax(error: yaml.YAMLError, text: str, file: str) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem("yaml-syntax", Mark(file, 1, 1), syntax_text("", "", ""))
    at = error.problem_mark or error.context_mark
    if "quoted scalar" in (error.context or "") and "end of stream" in (error.problem or ""):
        at = error.context_mark  # where it was opened
    line, column = (at.line, at.column) if at else (0, 0)
    if "nesting depth" in (error.problem or ""):  # libyaml's own limit, met while reading ahead
        return Problem("yaml-depth", Mark(file, line + 1, column + 1), _TOO_DEEP)
    lines = text.splitlines()
    if slip := typing_slip(lines, line):
        line, column, sentence = slip
        return Problem("yaml-syntax", Mark(file, line + 1, column + 1), sentence)
    rest = lines[line][column:] if line < len(lines) else ""
    sentence = syntax_text(error.problem or "", error.context or "", rest)
    return Problem("yaml-syntax", Mark(file, line + 1, column + 1), sentence)


def _os_reason(error: OSError) -> Text:
    if isinstance(error, FileNotFoundError):
        return Text("文件不存在", "there is no such file")
    if isinstance(error, IsADirectoryError):
        return Text("这是目录", "it is a directory")
    if isinstance(error, PermissionError):
        return Text("没有读取权限", "reading it is not permitted")
    return Text(f"系统错误 {error.errno}", f"system error {error.errno}")


class _Composer:
    """Builds places from events, one by one; counts, and refuses excess at once."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._anchors: dict[str, _Place | None] = {}  # None: still open
        self._stack: list[tuple[_Place, str | None]] = []
        self._root: _Place | None = None
        self._nodes = 0
        self._aliases = 0
        self._documents = 0

    def compose(self, text: str) -> _Place:
        for event in _events(text):
            self._take(event)
        return self._root or _Place(None, 1, 1)

    def _take(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                self._no_tag(event)
                if self._is_key():
                    self._open_key(event)
                else:
                    self._add(self._scalar(event), event.anchor)
            case yaml.AliasEvent():
                if self._is_key():
                    raise self._stop(event, "yaml-key", *_ODD_KEY)
                self._add(self._aliased(event), None)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._no_tag(event)
                if self._is_key():
                    raise self._stop(event, "yaml-key", *_ODD_KEY)
                self._open(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                place, anchor = self._stack.pop()
                self._add(place, anchor)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise self._stop(
                        event,
                        "yaml-documents",
                        '一个文件只能有一个文档; 请删除这个 "---"',
                        'a file holds one document; remove this "---"',
                    )

    def _is_key(self) -> bool:
        if not self._stack:
            return False
        top = self._stack[-1][0]
        return isinstance(top.data, dict) and top.open_key is None

    def _open_key(self, event: Any) -> None:
        key: str = event.value
        top = self._stack[-1][0]
        mark = event.start_mark
        if event.anchor is not None or (key == "<<" and event.implicit[0]):
            raise self._stop(event, "yaml-key", *(_ODD_KEY if event.anchor else _MERGE_KEY))
        if key in top.keys:
            line = top.keys[key][0]
            self.problems.append(
                self._problem(
                    event,
                    "duplicate-key",
                    f'键 "{key}" 在第 {line} 行已经写过',
                    f'key "{key}" is already given in line {line}',
                )
            )
        else:
            top.keys[key] = (mark.line + 1, mark.column + 1)
        top.open_key = key
        self._count(event, 1)

    def _open(self, event: Any) -> None:
        if len(self._stack) >= DEEPEST:
            raise self._stop(event, "yaml-depth", _TOO_DEEP.zh, _TOO_DEEP.en)
        self._count(event, 1)
        data: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        place = _Place(data, event.start_mark.line + 1, event.start_mark.column + 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append((place, event.anchor))

    def _add(self, place: _Place, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = place
        if not self._stack:
            self._root = place
            return
        top = self._stack[-1][0]
        top.size += place.size
        if isinstance(top.data, dict):
            key = top.open_key or ""
            top.open_key = None
            top.data[key] = place.data
            top.children[key] = place
        else:
            top.children[len(top.data)] = place
            top.data.append(place.data)

    def _scalar(self, event: Any) -> _Place:
        self._count(event, 1)
        value = self._value(event) if event.implicit[0] else event.value
        return _Place(value, event.start_mark.line + 1, event.start_mark.column + 1)

    def _value(self, event: Any) -> Any:
        """A plain scalar by the YAML 1.2 core schema."""
        text: str = event.value
        if text in _WORDS:
            return _WORDS[text]
        if _INFINITE.fullmatch(text):
            return math.nan if text[1] in "nN" else float(text.replace(".", ""))
        prefixed = _PREFIXED.fullmatch(text)
        if not prefixed and not _FLOAT.fullmatch(text):
            return text
        if len(text) > LONGEST_NUMBER:
            self._refuse(
                event,
                f"数字超过 {LONGEST_NUMBER} 位; 是文字就加引号",
                f"a number of more than {LONGEST_NUMBER} digits; put it in quotes if it is a text",
            )
        elif prefixed:
            return int(text, 0)
        elif _LEADING_ZERO.fullmatch(text):
            self._refuse(
                event,
                f'数字 {text} 以 0 开头; 是数字就去掉 0, 是文字就写 "{text}"',
                f'number {text} starts with 0; drop the zero, or write "{text}" if it is a text',
            )
        elif _INT.fullmatch(text):
            return int(text)
        else:
            return float(text)
        return 0

    def _aliased(self, event: Any) -> _Place:
        self._aliases += 1
        place = self._anchors.get(event.anchor)
        if place is None:
            known = event.anchor in self._anchors
            raise self._stop(
                event,
                "yaml-alias",
                f"*{event.anchor} 引用自身" if known else f"没有锚点 &{event.anchor}",
                f"*{event.anchor} contains itself" if known else f"no anchor &{event.anchor}",
            )
        if self._aliases > MOST_ALIASES:
            raise self._stop(
                event,
                "yaml-alias",
                f"别名超过 {MOST_ALIASES} 个; 重复的设备请用设备模板 (profile)",
                f"more than {MOST_ALIASES} aliases; use a profile for devices that repeat",
            )
        self._count(event, place.size)
        return place

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            raise self._stop(
                event,
                "yaml-size",
                f"文件内容超过 {MOST_NODES} 项",
                f"the file holds more than {MOST_NODES} items",
            )

    def _no_tag(self, event: Any) -> None:
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise self._stop(
                event,
                "yaml-tag",
                f"不接受 YAML 标签 {tag}; 请删除",
                f"YAML tags such as {tag} are not accepted; remove it",
            )

    def _refuse(self, event: Any, zh: str, en: str) -> None:
        self.problems.append(self._problem(event, "yaml-number", zh, en))

    def _problem(self, event: Any, code: str, zh: str, en: str) -> Problem:
        mark = event.start_mark
        stack = [place for place, _ in self._stack]
        loc = [p.open_key if isinstance(p.data, dict) else len(p.data) for p in stack]
        path = "" if len(loc) >= DEEPEST else dotted([part for part in loc if part is not None])
        return Problem(code, Mark(self._file, mark.line + 1, mark.column + 1, path), Text(zh, en))

    def _stop(self, event: Any, code: str, zh: str, en: str) -> _Stop:
        return _Stop(self._problem(event, code, zh, en))


_ODD_KEY = (
    "键必须是普通文字, 不能是列表、映射或引用",
    "a key is plain text, no list, mapping or reference",
)
_MERGE_KEY = (
    "YAML 1.2 没有合并键 <<; 重复的设备请用设备模板 (profile)",
    "YAML 1.2 has no merge key <<; use a profile for devices that repeat",
)


def _events(text: str) -> Iterator[Any]:
    yield from yaml.parse(text, Loader=yaml.CSafeLoader)
