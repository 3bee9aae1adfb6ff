"""A problem with a configuration: one sentence, where, what would be right, in both languages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edge.text import Language, Text


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; line and column count from 1, `path` is the way through the document."""

    file: str
    line: int
    column: int
    path: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `code` is stable: golden tests and scripts rely on it."""

    code: str
    mark: Mark
    text: Text
    level: Literal["error", "warning"] = "error"

    def line(self, language: Language) -> str:
        """`site.yaml:41:9 rules.supply.pressure: no point "x"; did … "y"? [unknown-point]`"""
        where = f"{self.mark} {self.mark.path}: " if self.mark.path else f"{self.mark} "
        return f"{where}{self.text.of(language)} [{self.code}]"

    def as_json(self) -> dict[str, Any]:
        """The same as plain data, for `--json`."""
        mark = self.mark
        return {
            "code": self.code, "level": self.level, "file": mark.file, "line": mark.line,
            "column": mark.column, "path": mark.path, "zh": self.text.zh, "en": self.text.en,
        }  # fmt: skip
