"""`make bench`: every performance claim, measured here and now, against a limit and a peer.

`python -m bench NAME …` runs some of them, by their names in `BENCHES`. Prints a table, writes
bench/results.json (`[{name, value, unit, limit, goal, peer, bound}]`) and the table of the README.
Numbers of a shared machine swing; limits and peers are measured in the same run.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from bench import kernel, line, load, modbus, rate, silent, simulate, start

RESULTS = Path(__file__).with_name("results.json")
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- bench -->\n", "<!-- /bench -->\n"


@dataclass(frozen=True)
class Result:
    """One number with its limit, what would be good, and who does the same.

    `bound`: whether the limit is the `most` or the `least` that the value may be.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    goal: float | None = None
    peer: str | None = None
    bound: Literal["most", "least"] = "most"

    @property
    def missed(self) -> bool:
        """Whether the value is on the wrong side of its limit."""
        if self.limit is None:
            return False
        return self.value > self.limit if self.bound == "most" else self.value < self.limit


Bench = Callable[[Path], list[tuple[object, ...]]]
BENCHES: dict[str, Bench] = {
    "kernel": kernel.measure,
    "load": load.measure,
    "start": start.measure,
    "modbus": modbus.measure,
    "rate": rate.measure,
    "line": line.measure,
    "silent": silent.measure,
    "simulate": simulate.measure,
}


def main() -> int:
    """Run all, or those named on the command line; 1 when a limit is missed."""
    chosen = sys.argv[1:] or list(BENCHES)
    console = Console()
    results: list[Result] = []
    for name in chosen:
        with console.status(f"{name} …"), tempfile.TemporaryDirectory() as directory:
            results += [Result(*row) for row in BENCHES[name](Path(directory))]  # type: ignore[arg-type]
    console.print(_table(results))
    if not sys.argv[1:]:
        rows = [asdict(r) for r in results]
        RESULTS.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        _into_readme(results)
    missed = [r.name for r in results if r.missed]
    for name in missed:
        console.print(f"beyond its limit: {name}", style="bold red")
    return 1 if missed else 0


def _into_readme(results: list[Result]) -> None:
    """Replace the table in the README, so that it is what was measured."""
    lines = [
        f"On {_machine()}, Python {platform.python_version()}:", "",
        "| what | value | limit | goal | beside it |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for r in results:
        cells = [r.name, f"{_number(r.value)} {r.unit}", *_bounds(r), r.peer or ""]
        lines.append(f"| {' | '.join(cells)} |")
    head, _, rest = README.read_text().partition(BEGIN)
    tail = rest.partition(END)[2]
    README.write_text(head + BEGIN + "\n".join(lines) + "\n" + END + tail)


def _table(results: list[Result]) -> Table:
    table = Table(title=f"{_machine()}, Python {platform.python_version()}")
    for column in ("what", "value", "unit", "limit", "goal", "peer"):
        table.add_column(
            column, justify="right" if column in ("value", "limit", "goal") else "left"
        )
    for r in results:
        table.add_row(r.name, _number(r.value), r.unit, *_bounds(r), r.peer or "")
    return table


def _bounds(result: Result) -> list[str]:
    """Limit and goal; a limit that is the least has a sign before it."""
    sign = {"most": "", "least": "≥ "}[result.bound]
    numbers = [(sign, result.limit), (sign, result.goal)]
    return ["" if n is None else s + _number(n) for s, n in numbers]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _machine() -> str:
    model = platform.machine()
    for row in Path("/proc/cpuinfo").read_text().splitlines():
        if row.startswith(("model name", "Model")):
            model = row.partition(":")[2].strip()
            break
    return f"{model}, {os.cpu_count()} cores"


if __name__ == "__main__":
    sys.exit(main())
