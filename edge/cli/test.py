"""`edge test`: the scenarios beside a site, on the real controller in virtual time."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli.command import (
    CONFIG,
    OK,
    REFUSED,
    USAGE,
    Failed,
    command,
    json_option,
    language,
    note,
    option,
    say,
)
from edge.text import Text

if TYPE_CHECKING:
    from edge.proof.case import Scenario
    from edge.proof.suite import Result


@command(
    Text(
        """
运行站点旁边的场景: 真实的控制器和驱动的点表, 仿真的设备, 虚拟的时间 (一小时只需几秒)。
site.yaml 的场景写在 site.test.yaml, 设备背后的仿真写在 plant.yaml (没有也可以)。

  edge test config/demo              一个文件夹下的全部场景
  edge test site.yaml -k burst       名字含 burst 的
  edge test . --junit results.xml -j 4

一个场景:

  scenarios:
    tank_low:
      text: 水箱缺水时停泵
      given: {settle: 30s}
      steps:
        - {at: 0s, when: [{fault: supply tank_low}]}
        - {at: 20s, then: [booster.p1.running == 0, owner(booster.p1.run) == protect]}

when: fault/repair, set/bad (某点的显示值), silent/answers (失联), local, send, acknowledge,
reset, restart 等; then: 表达式, 点名即其值, 0.4 ± 0.01 为容差, 另有 owner, quality, lowest,
raised, alarms, writes 等词。写错的词会指出位置和相近的词。
不成立时说明: 应有什么, 实见什么, 该点为何是此值。

退出码: 0 全部成立, 1 有不成立的, 2 命令行有误, 78 场景或站点有误
""",
        """
Play the scenarios beside a site: the real controller on the real point lists,
simulated equipment, virtual time (an hour takes seconds). Those of site.yaml
stand in site.test.yaml; what stands behind its devices in plant.yaml, if any.

  edge test config/demo              all below a folder
  edge test site.yaml -k burst       those with burst in their name
  edge test . --junit results.xml -j 4

A scenario:

  scenarios:
    tank_low:
      text: an empty tank stops the pumps
      given: {settle: 30s}
      steps:
        - {at: 0s, when: [{fault: supply tank_low}]}
        - {at: 20s, then: [booster.p1.running == 0, owner(booster.p1.run) == protect]}

when: fault/repair, set/bad (what a point shows), silent/answers, local, send,
acknowledge, reset, restart and more. then: expressions; a point's name is its
value, 0.4 ± 0.01 a tolerance; words are owner, quality, lowest, raised, alarms,
writes and more. A wrong word is told with its place and what was perhaps meant.
What does not hold says what was expected, seen, and why the point had its value.

Exit codes: 0 all hold, 1 some do not, 2 mistake on the command line,
78 a scenario or its site is wrong
""",
    )
)
@click.argument("places", metavar="[SITE|FILE...]", nargs=-1, type=click.Path(path_type=Path))
@option("-k", "wanted", metavar="NAME", shell_complete=lambda ctx, _, begun: _names(ctx, begun),
        text=Text("只运行名字含 NAME 的", "only scenarios with NAME in their name"))  # fmt: skip
@option("--junit", type=click.Path(path_type=Path), metavar="FILE",
        text=Text("把结果写成 JUnit XML", "write the results as JUnit's XML"))  # fmt: skip
@option("-j", "jobs", type=click.IntRange(1, 64), default=1, metavar="N",
        text=Text("同时运行 N 个", "play N at a time"))  # fmt: skip
@json_option
def test(
    places: Sequence[Path], wanted: str | None, junit: Path | None, jobs: int, as_json: bool
) -> int:
    """Find, check, play and tell."""
    from edge.proof import report, suite

    files = _files(places or (Path(),))
    scenarios, problems = suite.read(files)
    chosen = [s for s in scenarios if wanted is None or wanted in s.name]
    if not chosen and not problems:
        names = ", ".join(s.name for s in scenarios)
        raise Failed(NONE_NAMED.format(wanted=wanted, names=names), USAGE)
    for problem in problems:
        click.echo(problem.line(language()), err=as_json)
    results = []
    for result in _played(chosen, jobs):
        results.append(result)
        if not as_json:
            _tell(result)
    if junit is not None:
        _write(results, junit)
    if as_json:
        found = report.as_json(results)
        found["ok"] = found["ok"] and not problems
        found["problems"] = [problem.as_json() for problem in problems]
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        _sum(results)
    if problems or any(result.problems for result in results):
        return CONFIG
    return OK if all(result.held for result in results) else REFUSED


def _files(places: Sequence[Path]) -> list[Path]:
    from edge.proof.suite import find

    files: list[Path] = []
    for place in places:
        found = find(place)
        if not found:
            raise Failed((NOWHERE if place.exists() else NO_PLACE).format(place=place), USAGE)
        files += found
    return list(dict.fromkeys(files))


def _played(scenarios: Sequence[Scenario], jobs: int) -> Iterator[Result]:
    """Each result as soon as those before it are there."""
    if not scenarios:
        return
    from drivers import DRIVERS
    from edge.cli.logs import silence
    from edge.proof.suite import run
    from edge.rules.kernel import compile_kernel, compiled_before

    if not compiled_before():
        note(COMPILING)
    compile_kernel()
    silence()
    if jobs == 1 or len(scenarios) == 1:
        for scenario in scenarios:
            yield run(scenario, DRIVERS, _progress(scenario.name))
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Forked: the kernel is there already, and so are the drivers, which cannot be sent.
    count, context = min(jobs, len(scenarios)), get_context("fork")
    with ProcessPoolExecutor(count, context, _end_with, (os.getpid(),)) as pool:
        yield from pool.map(_run, scenarios)


def _end_with(parent: int) -> None:
    """Let this process end with its parent, which may be killed (prctl, PR_SET_PDEATHSIG)."""
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def _run(scenario: Scenario) -> Result:
    from drivers import DRIVERS
    from edge.proof.suite import run

    return run(scenario, DRIVERS)


def _progress(name: str) -> Callable[[float, float], None] | None:
    """A line on the terminal that the result will replace; nothing anywhere else."""
    if not sys.stderr.isatty():
        return None
    return lambda now, end: click.echo(f"\r… {name} {now:.0f}/{end:.0f} s", nl=False, err=True)


def _tell(result: Result) -> None:
    """One line, and what did not hold."""
    from edge.proof.report import result_lines

    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    mark, colour = ("✓", "green") if result.held else ("✗", "red")
    line = LINE.format(name=result.name, lasted=result.lasted, took=result.took).of(language())
    _echo(f"{click.style(mark, fg=colour)} {line}")
    if not result.held:
        _echo(f"  {click.style(result.text.of(language()), bold=True)}")
        for told in result_lines(result, language()):
            _echo(f"  {told}")


def _sum(results: Sequence[Result]) -> None:
    held = sum(result.held for result in results)
    lasted, took = sum(r.lasted for r in results), sum(r.took for r in results)
    say(SUM, held=held, count=len(results), lasted=lasted, took=took)


def _echo(text: str) -> None:
    click.echo(text, color=False if "NO_COLOR" in os.environ else None)


def _write(results: Sequence[Result], path: Path) -> None:
    from edge.proof.report import write_junit

    try:
        write_junit(results, path, language())
    except OSError as error:
        raise Failed(UNWRITTEN.format(path=path, reason=error.strerror)) from error


def _names(ctx: click.Context, begun: str) -> list[str]:
    """The names of the scenarios at the places so far, for the shell."""
    from edge.proof import suite

    files = [file for place in ctx.params.get("places") or (Path(),) for file in suite.find(place)]
    names = {scenario.name for scenario in suite.read(files)[0]}
    return sorted(name for name in names if name.startswith(begun))


LINE = Text(
    "{name}  虚拟 {lasted:.0f} 秒, 用时 {took:.1f} 秒", "{name}  {lasted:.0f} s in {took:.1f} s"
)
SUM = Text(
    "{held} / {count} 成立, 虚拟 {lasted:.0f} 秒, 用时 {took:.1f} 秒",
    "{held} of {count} hold, {lasted:.0f} s in {took:.1f} s",
)
COMPILING = Text(
    "首次运行要编译内核, 可能需要一两分钟",
    "the first run compiles the kernel, this can take a minute or two",
)
NOWHERE = Text(
    "{place} 没有场景; site.yaml 的场景写在旁边的 site.test.yaml",
    "there is no scenario at {place}; those of site.yaml stand beside it in site.test.yaml",
)
NO_PLACE = Text("没有 {place}", "there is no {place}")
NONE_NAMED = Text(
    "没有名字含 {wanted} 的场景; 有: {names}",
    "no scenario has {wanted} in its name; there are {names}",
)
UNWRITTEN = Text("不能写 {path}: {reason}", "{path} cannot be written: {reason}")
