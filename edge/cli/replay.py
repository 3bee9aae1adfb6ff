"""`edge replay`: go through a recorded run again and compare it bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from edge.cli.command import OK, REFUSED, USAGE, Failed, command, json_option, language
from edge.text import Text

if TYPE_CHECKING:
    from edge.proof.replay import Head, Replay
    from edge.site.site import Site


@command(
    Text(
        """
重演一次记录下来的运行, 逐步比对: 同样的输入必须得出逐位相同的结果。

  edge run site.yaml --record day.rec     先记录
  edge replay day.rec                     再重演, 站点取自记录
  edge explain v3.position --record day.rec --at 14:03:20

退出码: 0 逐位相同, 1 有差别, 78 站点与记录时不同
""",
        """
Go through a recorded run again and compare every step: the same inputs must give
the same results, bit for bit.

  edge run site.yaml --record day.rec     first record
  edge replay day.rec                     then go through it; the site is the record's
  edge explain v3.position --record day.rec --at 14:03:20

Exit codes: 0 the same bit for bit, 1 different, 78 the site has changed since
""",
    )
)
@click.argument("record", type=click.Path(path_type=Path))
@click.argument("site", type=click.Path(path_type=Path), required=False)
@json_option
def replay(record: Path, site: Path | None, as_json: bool) -> int:
    """Replay and say what came out."""
    from edge.cli.progress import Progress

    head, run = opened(record, site)
    first = last = 0.0
    with Progress(REPLAYING.format(file=record).of(language())) as progress:
        for wall in run:
            first, last = first or wall, wall
            if run.steps % 1000 == 0:
                progress.say(clock(run.site, wall))
    found: dict[str, Any] = {
        "record": str(record), "steps": run.steps, "from": first, "to": last,
        "complete": run.complete, "version": head.version, "same": run.difference is None,
    }  # fmt: skip
    if (other := run.difference) is not None:
        found["difference"] = {
            "step": other.step,
            "at": other.wall,
            "then": other.then,
            "now": other.now,
        }
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else _told(run, found))
    return OK if run.difference is None else REFUSED


def opened(record: Path, site: Path | None) -> tuple[Head, Replay]:
    """A record and its site, which must be as it was."""
    from edge.blocks import KINDS
    from edge.cli.command import CONFIG
    from edge.cli.site import load
    from edge.proof.replay import Replay, head
    from edge.rules.kernel import compile_kernel

    said = head(record)
    loaded = load(site or Path(said.file))
    if loaded.digest != said.digest:
        raise Failed(CHANGED.format(site=loaded.file, record=record), CONFIG)
    return said, Replay(record, loaded, KINDS, compile_kernel().run)


def until(record: Path, site: Path | None, at: str | None) -> Replay:
    """The run as it was at a time of its day; None: at its end."""
    head, run = opened(record, site)
    wanted = None if at is None else _moment(at, head.started, run.site.timezone)
    for wall in run:
        if wanted is not None and wall >= wanted:
            return run
    if wanted is not None:
        raise Failed(TOO_LATE.format(at=at, last=clock(run.site, wall)), USAGE)
    return run


def _moment(at: str, started: float, timezone: str) -> float:
    """The Unix time of "14:03:20", the first after the start, or of "2026-11-22 14:03:20"."""
    zone = ZoneInfo(timezone)
    began = datetime.fromtimestamp(started, zone)
    try:
        moment = datetime.fromisoformat(at if "-" in at else f"{began:%Y-%m-%d} {at}")
    except ValueError:
        raise Failed(NO_TIME.format(at=at), USAGE) from None
    found = moment.replace(tzinfo=zone).timestamp()
    return found + 86400.0 if found < started - 1.0 and "-" not in at else found


def clock(site: Site, wall: float) -> str:
    """A moment as the site's people write it."""
    return f"{datetime.fromtimestamp(wall, ZoneInfo(site.timezone)):%Y-%m-%d %H:%M:%S}"


def _told(run: Replay, found: dict[str, Any]) -> str:
    write: Callable[[float], str] = lambda wall: clock(run.site, wall)  # noqa: E731
    text = SPAN.format(n=run.steps, first=write(found["from"]), last=write(found["to"]))
    lines = [text.of(language())]
    if not run.complete:
        lines.append(CUT.of(language()))
    if run.difference is None:
        lines.append(SAME.of(language()))
        return "\n".join(lines)
    other = run.difference
    lines.append(DIFFERENT.format(n=other.step, at=write(other.wall)).of(language()))
    for title, (writes, transitions) in ((THEN, other.then), (NOW, other.now)):
        what = [f"{p} = {v:g} ({slot})" for p, v, slot in writes] + [
            f"{alarm} {state}" for alarm, state in transitions
        ]
        lines.append(f"  {title.of(language())}: {', '.join(what) or '–'}")
    return "\n".join(lines)


REPLAYING = Text("重演 {file}", "going through {file}")
SPAN = Text("{n} 步, {first} 至 {last}", "{n} steps, {first} to {last}")
SAME = Text("逐位相同", "the same bit for bit")
CUT = Text("记录没有结尾 (断电或被杀), 到此为止", "the record has no end: it was cut off here")
DIFFERENT = Text("第 {n} 步 ({at}) 起不同", "different from step {n} on ({at})")
THEN = Text("当时写出与报警", "then written and raised")
NOW = Text("现在写出与报警", "now written and raised")
CHANGED = Text(
    "站点 {site} 与记录 {record} 时不同; 请给出当时的站点: edge replay 记录 站点",
    "the site {site} is not as it was when {record} was made; name the site as it was then: "
    "edge replay RECORD SITE",
)
TOO_LATE = Text("记录在 {last} 结束, 早于 {at}", "the record ends at {last}, before {at}")
NO_TIME = Text(
    '"{at}" 不是时刻; 应写如 14:03:20 或 "2026-11-22 14:03:20"',
    '"{at}" is no time; write it like 14:03:20 or "2026-11-22 14:03:20"',
)
