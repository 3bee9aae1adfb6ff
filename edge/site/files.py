"""The files of a site: the main one and what it includes, joined section by section.

Untyped still: plain data with its places. Called by `edge/site/load.py`; profiles are read by
`edge/site/profiles.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.schema.loader import Document, Loc, load_file
from edge.schema.problem import Mark, Problem
from edge.schema.validate import unknown_key
from edge.site.model import SINGLE, TABLES
from edge.text import Text

MAIN = "site.yaml"
INCLUDE = "include"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a part of the configuration was written; of several layers the first that has it."""

    layers: tuple[tuple[Document, tuple[str | int, ...]], ...]

    def value(self, loc: Loc = ()) -> Mark:
        """Where the value at `loc` stands, else the nearest parent in the first layer."""
        document, root = self._layer(loc)
        return document.value((*root, *loc))

    def key(self, loc: Loc = ()) -> Mark:
        """Where the key of the value at `loc` stands."""
        document, root = self._layer(loc)
        return document.key((*root, *loc))

    def holds(self, loc: Loc) -> bool:
        """Whether somebody wrote something at `loc`."""
        return any(document.holds((*root, *loc)) for document, root in self.layers)

    def below(self, *loc: str | int) -> Source:
        """The source of what stands at `loc`."""
        return Source(tuple((document, (*root, *loc)) for document, root in self.layers))

    def over(self, other: Source) -> Source:
        """This one first, then `other`."""
        return Source(self.layers + other.layers)

    def _layer(self, loc: Loc) -> tuple[Document, tuple[str | int, ...]]:
        holding = (layer for layer in self.layers if layer[0].holds((*layer[1], *loc)))
        return next(holding, self.layers[0])


@dataclass(frozen=True, slots=True)
class Part:
    """One record of a section, as plain data."""

    data: Any
    source: Source


@dataclass(slots=True)
class Files:
    """What was read: `single` sections, `tables` of records by id, and the digest's bytes."""

    main: Path
    root: Source | None = None
    single: dict[str, Part] = field(default_factory=dict)
    tables: dict[str, dict[str, Part]] = field(default_factory=lambda: {t: {} for t in TABLES})
    contents: dict[str, bytes] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    complete: bool = True  # every file could be read; else what is missing would be reported too

    @property
    def folder(self) -> Path:
        """The folder that relative paths in the site start from."""
        return self.main.parent

    def digest(self) -> str:
        """sha256 over the names and contents of every file."""
        total = hashlib.sha256()
        for name, data in sorted(self.contents.items()):
            total.update(f"{name}\0{len(data)}\0".encode() + data)
        return total.hexdigest()

    def load(self, path: Path) -> Document | None:
        """Read one more file of the site."""
        document, problems, data = load_file(path)
        self.contents[str(path)] = data
        self.problems += problems
        self.complete = self.complete and document is not None
        return document


def read_files(path: Path) -> Files:
    """Read the site at `path`, a file or the folder of a `site.yaml`, and what it includes."""
    files = Files(path / MAIN if path.is_dir() else path)
    document = files.load(files.main)
    if document is None:
        return files
    files.root = Source(((document, ()),))
    _take(files, document, {*SINGLE, *TABLES, INCLUDE})
    for included in _includes(files, document):
        extra = files.load(included)
        if extra is not None:
            _take(files, extra, set(TABLES))
    return files


def _includes(files: Files, document: Document) -> list[Path]:
    data = document.data.get(INCLUDE, []) if isinstance(document.data, dict) else []
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        text = Text("应为文件名的列表", "should be a list of file names")
        files.problems.append(Problem("wrong-type", document.value([INCLUDE]), text))
        return []
    paths: list[Path] = []
    for i, name in enumerate(data):
        path = files.folder / name
        if path in paths or path == files.main:
            text = Text(f'"{name}" 已经包含', f'"{name}" is included already')
            files.problems.append(Problem("duplicate-id", document.value([INCLUDE, i]), text))
        elif not path.is_file():
            text = Text(f"没有文件 {path}", f"there is no file {path}")
            files.problems.append(Problem("unreadable-file", document.value([INCLUDE, i]), text))
            files.complete = False
        else:
            paths.append(path)
    return paths


def _take(files: Files, document: Document, allowed: set[str]) -> None:
    """Add the sections of one file; its records must have ids that nobody used before."""
    source = Source(((document, ()),))
    if not isinstance(document.data, Mapping):
        text = Text("文件应为 site、buses、devices 等各节", "should hold sections: site, buses, …")
        files.problems.append(Problem("wrong-type", source.value(), text))
        return
    for section, data in document.data.items():
        if section not in allowed:
            files.problems.append(_misplaced(section, source, allowed))
        elif section in SINGLE:
            files.single[section] = Part(data, source.below(section))
        elif section in TABLES:
            _take_table(files, section, data, source.below(section))


def _misplaced(section: str, source: Source, allowed: set[str]) -> Problem:
    if section not in {*SINGLE, INCLUDE}:
        return unknown_key([section], source, allowed)
    text = Text(f"{section} 只能写在 {MAIN}", f"{section} belongs into the main file only")
    return Problem("unknown-key", source.key([section]), text)


def _take_table(files: Files, section: str, data: object, source: Source) -> None:
    if not isinstance(data, Mapping):
        if data is not None:
            text = Text("应为 名称: {…} 的映射", "should be a mapping of names to records")
            files.problems.append(Problem("wrong-type", source.value(), text))
        return
    table = files.tables[section]
    for id, record in data.items():
        if id in table:
            where = table[id].source.key()
            text = Text(
                f'{section} 里的 "{id}" 已在 {where} 写过',
                f'"{id}" is already given in {section} at {where}',
            )
            files.problems.append(Problem("duplicate-id", source.key([id]), text))
        else:
            table[id] = Part(record, source.below(id))
