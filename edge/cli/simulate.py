"""`edge simulate`: a day or a month of a site against its simulated equipment, with a report."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from edge.cli.command import (
    OK,
    USAGE,
    Failed,
    columns,
    command,
    json_option,
    language,
    note,
    option,
    say,
)
from edge.text import Language, Text

if TYPE_CHECKING:
    from edge.proof.history import Switched
    from edge.proof.setting import Setting
    from edge.proof.trial import Fault, Trial


@command(
    Text(
        """
让站点在仿真设备上运行一天或一个月: 真实的扫描, 规则和报警, 设备由 plant.yaml 中的模型代替。
一天只需几秒到几十秒; 同样的参数得出逐位相同的文件。

  edge simulate config/demo --out result
  edge simulate site.yaml --for 30d --noise 1 --out result
  edge simulate . --fault "10:00 zones valve_drift:3" --fault "14:00-15:30 supply tank_low"
  edge simulate . --record day.rec, 再 edge explain v3.position --record day.rec --at 10:00:05

--out 写出 report.html (一个文件, 曲线, 用电与各基准, 启动次数, 报警), samples.csv (每分钟一行),
alarms.csv。全部数值为估算。

退出码: 0 完成, 1 不能写文件, 2 命令行有误, 78 站点或 plant.yaml 有误
""",
        """
Run a site on simulated equipment for a day or a month: the real scan, rules and
alarms, and the models of plant.yaml instead of devices. A day takes seconds to
tens of seconds; equal arguments give equal files, bit for bit.

  edge simulate config/demo --out result
  edge simulate site.yaml --for 30d --noise 1 --out result
  edge simulate . --fault "10:00 zones valve_drift:3" --fault "14:00-15:30 supply tank_low"
  edge simulate . --record day.rec, then
  edge explain v3.position --record day.rec --at 10:00:05

--out gets report.html (one file: curves, energy against named baselines, starts,
alarms), samples.csv (a row per minute) and alarms.csv. All numbers are estimated.

Exit codes: 0 done, 1 a file cannot be written, 2 mistake on the command line,
78 the site or its plant.yaml is wrong
""",
    )
)
@click.argument("site", type=click.Path(path_type=Path), default=Path())
@option("--for", "lasts", metavar="TIME", default="24h",
        text=Text("多久: 24h, 30d, 缺省 24h", "how long: 24h, 30d; 24h unless given"))  # fmt: skip
@option("--from", "began", metavar="TIME", default="2026-03-20 00:00",
        text=Text('从何时起, 缺省 "2026-03-20 00:00"',
                  'from when on; "2026-03-20 00:00" unless given'))  # fmt: skip
@option("--noise", type=click.FloatRange(0), default=0.0, metavar="N",
        text=Text("传感器噪声: 0 无, 1 如实际",
                  "of sensors: 0 none, 1 as real ones have"))  # fmt: skip
@option("--seed", type=int, default=1, metavar="N", text=Text("噪声的种子", "seed of the noise"))
@option("--fault", "faults", multiple=True, metavar='"10:00 MODEL FAULT"',
        text=Text("某时刻的故障, 可写起止 10:00-11:30",
                  "a fault at a time, or from-to: 10:00-11:30"))  # fmt: skip
@option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
        text=Text("报告与数据写到这个文件夹", "a folder for the report and the data"))  # fmt: skip
@option("--record", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
        text=Text("记录这次运行, 供 replay 和 explain",
                  "record the run for `replay` and `explain`"))  # fmt: skip
@json_option
def simulate(
    site: Path, lasts: str, began: str, noise: float, seed: int, faults: Sequence[str],
    out: Path | None, record: Path | None, as_json: bool,
) -> int:  # fmt: skip
    """Run it and tell."""
    from edge.cli.logs import silence
    from edge.cli.site import load_setting
    from edge.proof import page
    from edge.proof.trial import Trial
    from edge.rules.kernel import compile_kernel, compiled_before
    from edge.schema.model import Refusal

    seconds, start = _duration(lasts), _moment(began)
    found = load_setting(site, start.hour * 60 + start.minute + start.second / 60)
    found.field.rig.noise, found.field.rig.seed = noise, seed
    wall = start.replace(tzinfo=ZoneInfo(found.site.timezone)).timestamp()
    planned = [_fault(text, start, seconds) for text in faults]
    if not compiled_before():
        note(COMPILING)
    run = compile_kernel().run
    silence()
    try:
        trial = Trial(found, run, wall, seconds, faults=planned, folder=out, record=record,
                      language=_report_language(found))  # fmt: skip
        took = _go(trial)
        if out is not None:
            page.write(trial, out, _report_language(found))
    except Refusal as refusal:
        raise Failed(refusal.text, USAGE) from None
    except OSError as error:
        path = error.filename or out or record
        raise Failed(UNWRITTEN.format(path=path, reason=error.strerror or error)) from error
    if as_json:
        click.echo(json.dumps(summary(trial, took), ensure_ascii=False))
    else:
        _tell(trial, took, out)
    return OK


def _go(trial: Trial) -> float:
    """Run to the end, saying where it is; gives the seconds that it took."""
    from edge.cli.progress import Progress

    began = time.perf_counter()
    with Progress(trial.site.id) as progress:
        for now in trial:
            speed = now / max(time.perf_counter() - began, 1e-3)
            progress.say(f"{trial.local(now):%Y-%m-%d %H:%M}  {speed:,.0f}×")
    return time.perf_counter() - began


def _duration(text: str) -> float:
    from edge.schema.model import Refusal
    from edge.schema.units import parse_duration

    try:
        seconds = parse_duration(text)
    except Refusal as refusal:
        raise Failed(NOT_VALID_OPTION.format(option="--for", why=refusal.text), USAGE) from None
    if seconds < 60:
        raise Failed(TOO_SHORT, USAGE)
    return seconds


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise Failed(NO_MOMENT.format(text=text), USAGE)
    return found


def _fault(text: str, start: datetime, lasts: float) -> Fault:
    """ "10:00 zones valve_drift:3", "10:00-11:30 supply tank_low", "2026-03-21 10:00 …"."""
    from edge.proof.trial import Fault

    *when, model, name = text.split() if len(text.split()) >= 3 else ("", "", "")
    first, _, last = " ".join(when).rpartition(" ")[2].partition("-") if when[0] else ("", "", "")
    day = when[0] if len(when) == 2 else None
    try:
        begins = _clock(first, day, start)
        ends = _clock(last, day, start) if last else None
    except ValueError:
        raise Failed(NO_FAULT.format(text=text), USAGE) from None
    if ends is not None and ends <= begins:
        ends += timedelta(days=1)
    since = (begins - start).total_seconds()
    if not 0 <= since < lasts:
        raise Failed(NOT_WITHIN.format(text=text), USAGE)
    return Fault(model, name, since, math.inf if ends is None else (ends - start).total_seconds())


def _clock(time_of_day: str, day: str | None, start: datetime) -> datetime:
    """A time of the day that is given, else the first one after the start."""
    found = datetime.fromisoformat(f"{day or start.date()} {time_of_day}")
    return found + timedelta(days=1) if day is None and found < start else found


def _report_language(found: Setting) -> Language:
    chosen = os.environ.get("EDGE_LANG")
    return language() if chosen else found.site.language


def summary(trial: Trial, took: float) -> dict[str, Any]:
    """What came out, as plain data; every number is of simulated equipment."""
    from edge.proof.trial import BASELINES, saving, together

    energies = trial.energies()
    sums = {b: together(energies, b) for b in BASELINES if any(b in e.baselines for e in energies)}
    return {
        "site": trial.site.id, "from": trial.began, "seconds": trial.lasts, "took": took,
        "steps": trial.simulation.scan.steps, "estimated": True,
        "energy": {e.model: {"used": e.used, **e.baselines} for e in energies},
        "savings": {
            b: {"used": e.used, "baseline": e.baselines[b], "percent": saving(e, b)}
            for b, e in sums.items() if e.baselines[b]
        },
        "outputs": {
            id: {"starts": s.starts, "most_per_hour": s.peak, "max_starts": s.limit,
                 "hours": s.hours}
            for id, s in trial.switched.items()
        },
        "alarms": {alarm: n for alarm, n in trial.alarms.raised.items() if n},
        "days": [
            {"date": f"{day.began:%Y-%m-%d}", "energy": {e.model: e.used for e in day.energies},
             "starts": {id: n for id, n in day.starts.items() if n}, "alarms": day.raised}
            for day in trial.days
        ],
    }  # fmt: skip


def _tell(trial: Trial, took: float, out: Path | None) -> None:
    """A few tables on the terminal."""
    from edge.proof.trial import BASELINES, saving, together

    first, last = (f"{trial.local(t):%Y-%m-%d %H:%M}" for t in (0.0, trial.lasts))
    say(DONE, site=trial.site.id, first=first, last=last, took=took, speed=trial.lasts / took)
    lang, energies = language(), trial.energies()
    rows = [(trial.called(e.model).of(lang), f"{e.used:.3f} kWh") for e in energies]
    for name, text in BASELINES.items():
        whole = together(energies, name)
        if base := whole.baselines[name]:
            saved = SAVED.format(used=whole.used, base=base, percent=saving(whole, name))
            rows.append((f"  {text.of(lang)}", saved.of(lang)))
    _columns(ENERGY, rows)
    _columns(STARTS, [(s.point.id, _ran(s).of(lang)) for s in trial.switched.values() if s.used])
    _columns(ALARMS, [(alarm, f"{n}×") for alarm, n in trial.alarms.raised.items() if n])
    if out is not None:
        say(WRITTEN, out=out)


def _ran(switched: Switched) -> Text:
    return RAN.format(
        starts=switched.starts, peak=switched.peak, limit=switched.limit or "–",
        hours=switched.hours,
    )  # fmt: skip


def _columns(title: Text, rows: Iterable[tuple[str, str]]) -> None:
    if rows := list(rows):
        click.echo()
        click.echo(columns(title, rows).rstrip())


DONE = Text(
    "{site}: {first} 至 {last}, 用时 {took:.1f} 秒 ({speed:,.0f} 倍速); 全部为仿真设备的估算值",
    "{site}: {first} to {last} in {took:.1f} s ({speed:,.0f}×); all of it is estimated, "
    "from simulated equipment",
)
ENERGY = Text("用电量 (估算):", "Energy (estimated):")
SAVED = Text(
    "{used:.2f} kWh, 基准 {base:.2f} kWh, 节电 {percent:.1f} %",
    "{used:.2f} kWh of {base:.2f} kWh, saved {percent:.1f} %",
)
STARTS = Text("启动与运行:", "Starts and hours:")
RAN = Text(
    "启动 {starts} 次, 任一小时最多 {peak} (上限 {limit}), 运行 {hours:.2f} 小时",
    "{starts} starts, at most {peak} in an hour (limit {limit}), {hours:.2f} h",
)
ALARMS = Text("报警:", "Alarms:")
WRITTEN = Text("报告: {out}/report.html", "report: {out}/report.html")
COMPILING = Text(
    "首次运行要编译内核, 可能需要一两分钟",
    "the first run compiles the kernel, this can take a minute or two",
)
UNWRITTEN = Text("不能写 {path}: {reason}", "{path} cannot be written: {reason}")
NOT_VALID_OPTION = Text("{option} 无效: {why}", "{option} is not valid: {why}")
TOO_SHORT = Text("--for 至少为 1min", "--for is at least 1min")
NO_MOMENT = Text(
    '--from "{text}" 不是当地时间; 应写如 "2026-03-20 00:00"',
    '--from "{text}" is no local time; write it like "2026-03-20 00:00"',
)
NO_FAULT = Text(
    '--fault "{text}" 应写如 "10:00 zones valve_drift:3" 或 "10:00-11:30 supply tank_low"',
    '--fault "{text}" should be like "10:00 zones valve_drift:3" or "10:00-11:30 supply tank_low"',
)
NOT_WITHIN = Text(
    '--fault "{text}" 不在仿真的时间之内', '--fault "{text}" is not within the simulated time'
)
