"""The report of a simulated run: one HTML file that needs nothing else and says what is estimated.

Charts by quantity with their setpoints, energy against named baselines, starts, alarms. Equal runs
give equal bytes. Called by `edge simulate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from html import escape
from pathlib import Path
from typing import Final

import numpy as np

from edge.image.image import Floats
from edge.proof import chart
from edge.proof.chart import Line, Mark
from edge.proof.glance import glance
from edge.proof.trial import BASELINES, Energy, Fault, Trial, saving, together
from edge.schema.model import Refusal
from edge.schema.units import parse_quantity
from edge.site.site import Point, Role, Rule
from edge.text import Language, Text

REPORT: Final = "report.html"
TOGETHER: Final = 20.0  # series whose greatest values are farther apart get charts of their own
QUANTITIES: Final[dict[str, Text]] = {
    "MPa": Text("压力", "Pressure"), "lx": Text("照度", "Illuminance"),
    "%": Text("亮度, 转速, 阀位", "Lamp levels, speeds, valve positions"),
    "m": Text("液位", "Levels"), "m³/h": Text("流量", "Flow"), "kW": Text("功率", "Power"),
    "°C": Text("温度", "Temperature"), "K": Text("温差", "Temperature difference"),
    "%rh": Text("相对湿度", "Relative humidity"), "ppm": Text("二氧化碳", "CO₂"),
    "Hz": Text("频率", "Frequency"), "A": Text("电流", "Current"), "V": Text("电压", "Voltage"),
}  # fmt: skip
BROKEN_FROM: Final = 16  # letters
COUNTERS: Final = ("kWh", "m³", "h")  # what only grows says nothing on a chart


def write(trial: Trial, folder: Path, language: Language) -> Path:
    """Write the report of a run that has ended. OSError: it cannot be written."""
    path = folder / REPORT
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(_page(trial, language)), encoding="utf-8")
    return path


def _page(trial: Trial, language: Language) -> Iterator[str]:
    say = _in(language)
    name = trial.site.name.of(language) or trial.site.id
    title = f"{name} – {say(TITLE)}"
    tag = "zh-CN" if language == "zh" else "en"
    yield (
        f'<!doctype html><html lang="{tag}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
    )
    yield f"<h1>{escape(title)}</h1><p>{escape(_span(trial, language))}</p>"
    yield f'<p class="note">{escape(say(ESTIMATED))}</p>'
    yield glance(trial, language)
    yield from _happened(trial, language)
    yield from _energy(trial, language)
    yield from _days(trial, language)
    yield from _charts(trial, language)
    yield from _starts(trial, language)
    yield from _alarms(trial, language)
    if blind := trial.without_model():
        yield f'<h2>{escape(say(BLIND))}</h2><p class="small">{escape(", ".join(blind))}</p>'
    yield "</main></body></html>\n"


def _span(trial: Trial, language: Language) -> str:
    first, last = (f"{trial.local(t):%Y-%m-%d %H:%M}" for t in (0.0, trial.lasts))
    return SPAN.format(
        first=first, last=last, zone=trial.site.timezone,
        noise=f"{trial.rig.noise:g}", seed=trial.rig.seed,
        width=f"{trial.history.width * chart.together(trial.history.buckets) / 60:g}",
    ).of(language)  # fmt: skip


def _happened(trial: Trial, language: Language) -> Iterator[str]:
    if trial.faults:
        rows = [[_when(trial, fault), f"{fault.model} {fault.name}"] for fault in trial.faults]
        yield _table(FAULTS, (TIME, FAULT), rows, language)


def _when(trial: Trial, fault: Fault) -> str:
    first = f"{trial.local(fault.start):%m-%d %H:%M}"
    return first if fault.end == math.inf else f"{first} – {trial.local(fault.end):%m-%d %H:%M}"


# Energy.


def _energy(trial: Trial, language: Language) -> Iterator[str]:
    energies = trial.energies()
    rows = [row for e in energies
            for row in _energy_rows(trial.called(e.model).of(language), e, language)]  # fmt: skip
    for name in BASELINES:
        whole = together(energies, name)
        if whole.baselines[name] and sum(name in e.baselines for e in energies) > 1:
            rows += _energy_rows(SUM.of(language), whole, language)
    if rows:
        yield _table(ENERGY, (WHAT, USED, AGAINST, BASELINE, SAVED), rows, language)
        yield f'<p class="small">{escape(NAMED.of(language))}</p>'
    if estimates := trial.estimates():
        cells = [[e.rule, f"{e.used:.3f}", f"{e.saving:.1f} %", e.source.of(language)]
                 for e in estimates]  # fmt: skip
        yield _table(TOLD, (RULE, PLAIN_USED, SAVED_ON, SOURCE), cells, language)


def _days(trial: Trial, language: Language) -> Iterator[str]:
    """A row per day, when there are several: energies, what was saved, starts, alarms."""
    if len(trial.days) < 2:
        return
    say, models = _in(language), [trial.called(e.model) for e in trial.days[0].energies]
    named = [b for b in BASELINES if any(b in e.baselines for e in trial.days[0].energies)]
    heads = [DATE, *(Text(f"{m.zh} kWh", f"{m.en} kWh") for m in models)]
    heads += [Text(f"节电: {BASELINES[b].zh}", f"saved: {BASELINES[b].en}") for b in named]
    rows = []
    for day in trial.days:
        sums = [(together(day.energies, b), b) for b in named]
        rows.append([
            f"{day.began:%m-%d} {say(WEEKDAYS[day.began.weekday()])}",
            *(f"{e.used:.2f}" for e in day.energies),
            *(f"{saving(whole, b):.1f} %" if whole.baselines[b] else "–" for whole, b in sums),
            f"{sum(day.starts.values())}", f"{day.raised}",
        ])  # fmt: skip
    yield _table(DAILY, [*heads, COUNT, RAISED], rows, language)


def _energy_rows(name: str, energy: Energy, language: Language) -> Iterator[list[str]]:
    """One for each baseline that it knows, else one."""
    first = [name, f"{energy.used:.3f}"]
    for baseline, kwh in energy.baselines.items():
        percent = f"{saving(energy, baseline):.1f} %" if kwh else "–"
        yield [*first, BASELINES[baseline].of(language), f"{kwh:.3f}", percent]
        first = ["", ""]
    if not energy.baselines:
        yield [*first, "", "", ""]


# Charts.


def _charts(trial: Trial, language: Language) -> Iterator[str]:
    marks = _marks(trial)
    for unit in dict.fromkeys(p.unit for p in trial.history.points):
        if unit and unit not in COUNTERS:
            points = [p for p in trial.history.points if p.unit == unit and _charted(p, trial)]
            shown = [p for p in points if trial.history.of(p.id)[2].any()]
            groups = _together(trial, shown)
            for k, group in enumerate(groups):
                title = QUANTITIES.get(unit, Text("", "")).of(language)
                number = f" {k + 1}/{len(groups)}" if len(groups) > 1 else ""
                series = [_line(trial, p.id, p.name.of(language)) for p in group]
                series += _wanted(trial, group, language)
                yield chart.lines(f"{title} {unit}{number}".strip(), series, marks)
            if still := [p.name.of(language) for p in points if p not in shown]:
                said = ALWAYS_0.format(unit=unit, names=LISTED.of(language).join(still))
                yield f'<p class="small">{escape(said.of(language))}</p>'
    rows = [(s.point.name.of(language), trial.history.of(p)[1])
            for p, s in trial.switched.items() if s.used]  # fmt: skip
    if rows:
        yield chart.strips(RUNNING.of(language), rows, marks)


def _charted(point: Point, trial: Trial) -> bool:
    cell = trial.field.cells.get(point.id)
    return point.role in (Role.INPUT, Role.OUTPUT) and cell is not None and bool(cell.model)


def _together(trial: Trial, points: Sequence[Point]) -> list[list[Point]]:
    """Points that one chart holds: not too many, and of one order of magnitude."""
    groups: list[tuple[float, list[Point]]] = []
    for point in points:
        high = trial.history.of(point.id)[2]
        top = float(np.nanmax(np.abs(high))) if not np.isnan(high).all() else 0.0
        for k, (size, group) in enumerate(groups):
            near = not top or not size or 1 / TOGETHER <= top / size <= TOGETHER
            if near and len(group) < chart.COLOURS:
                group.append(point)
                groups[k] = (max(size, top), group)
                break
        else:
            groups.append((top, [point]))
    return [group for _, group in groups]


def _line(trial: Trial, point: str, name: str, *, wanted: bool = False) -> Line:
    return Line(name, *trial.history.of(point), wanted=wanted)


def _wanted(trial: Trial, group: Sequence[Point], language: Language) -> list[Line]:
    """The setpoints of all rules that read or drive a point of the group in its unit."""
    shown, unit, found = {p.id for p in group}, group[0].unit, {}
    known = {p.id: p for p in trial.history.points}
    for rule in trial.site.rules:
        setpoint = getattr(rule.model, "setpoint", None)
        if setpoint is None or not shown & set(_named(rule)):
            continue
        for name in (f"{rule.id}.setpoint", setpoint):
            if name in known and known[name].unit == unit:
                title = known[name].name.of(language)
                found[rule.id] = _line(trial, name, title, wanted=True)
                break
        else:
            if (value := _number(setpoint, unit)) is not None:
                same: Floats = np.full(len(trial.history.mean), value)
                title = f"{rule.id} {SETPOINT.of(language)} {value:g} {unit}"
                found[rule.id] = Line(title, same, same, same, wanted=True)
    return list(found.values())


def _named(rule: Rule) -> list[str]:
    return [value for _, value in rule.model if isinstance(value, str)]


def _number(value: object, unit: str) -> float | None:
    try:
        return parse_quantity(value, unit) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (Refusal, TypeError, ValueError):
        return None


def _marks(trial: Trial) -> list[Mark]:
    """About five round times of the day, or days; of several days each midnight is its date."""
    hours = trial.lasts / 3600
    step = next((s for s in (0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 120, 168) if hours / s <= 5.5),
                max(24.0, 24.0 * math.ceil(hours / 24 / 5)))  # fmt: skip
    whole = hours > 24
    first = trial.local(0.0)
    midnight = first.replace(hour=0, minute=0, second=0)
    marks, k = [], math.ceil((first - midnight) / timedelta(hours=step) - 1e-9)
    while (at := _since(midnight + timedelta(hours=k * step), first)) <= trial.lasts + 1e-6:
        text = f"{trial.local(at):%H:%M}"
        if text == "00:00" and (whole or at > 0):
            text = f"{trial.local(at):%m-%d}" if whole else "24:00"
        marks.append(Mark(at / trial.lasts, text))
        k += 1
    return marks


def _since(moment: datetime, first: datetime) -> float:
    return (moment - first).total_seconds()


# Starts and alarms.


def _starts(trial: Trial, language: Language) -> Iterator[str]:
    hours = trial.lasts / 3600
    rows, never = [], []
    for switched in trial.switched.values():
        if not switched.used:
            never.append(switched.point.name.of(language))
            continue
        limit = f"{switched.limit}" if switched.limit else "–"
        rows.append([
            switched.point.name.of(language), f"{switched.starts}",
            f"{switched.starts / hours:.2f}", f"{switched.peak}", limit, f"{switched.hours:.2f}",
        ])  # fmt: skip
    if rows:
        yield _table(STARTS, (OUTPUT, COUNT, PER_HOUR, PEAK, LIMIT, HOURS), rows, language)
    if never:
        said = NEVER_ON.format(names=LISTED.of(language).join(never)).of(language)
        yield f'<p class="small">{escape(said)}</p>'


def _alarms(trial: Trial, language: Language) -> Iterator[str]:
    say, log = _in(language), trial.alarms
    if not log.shown:
        yield f"<h2>{escape(say(ALARMS))}</h2><p>{escape(say(NONE))}</p>"
        return
    rows = [
        [f"{datetime.fromtimestamp(t.wall, trial.zone):%m-%d %H:%M:%S}", f"P{t.alarm.priority}",
         t.alarm.id, t.alarm.text.of(language), say(CAUSES.get(t.cause, Text(t.cause, t.cause)))]
        for t in log.shown
    ]  # fmt: skip
    yield _table(ALARMS, (TIME, PRIORITY, ALARM, MEANING, EVENT), rows, language)
    if log.left_out:
        yield f'<p class="small">{escape(MORE.format(n=log.left_out).of(language))}</p>'


def _table(
    title: Text, heads: Sequence[Text], rows: Sequence[Sequence[str]], language: Language
) -> str:
    head = "".join(_cell("th", h.of(language)) for h in heads)
    body = "".join(f"<tr>{''.join(_cell('td', cell) for cell in row)}</tr>" for row in rows)
    return (
        f'<h2>{escape(title.of(language))}</h2><div class="wide"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def _cell(tag: str, text: str) -> str:
    """What is long may be broken into lines; a Chinese character is as wide as two letters."""
    wide = len(text) + sum(letter > "\u2e80" for letter in text) > BROKEN_FROM
    return f"<{tag}{' class=text' if wide else ''}>{escape(text)}</{tag}>"


def _in(language: Language) -> Callable[[Text], str]:
    """Gives texts in one language."""
    return lambda text: text.of(language)


TITLE = Text("仿真报告", "simulated run")
SPAN = Text(
    "{first} 至 {last} ({zone}); 噪声 {noise}, 种子 {seed}; "
    "曲线为每 {width} 分钟的平均值, 色带为最小到最大",
    "{first} to {last} ({zone}); noise {noise}, seed {seed}; lines are means over {width} min, "
    "bands reach from the least to the greatest value",
)
ESTIMATED = Text(
    "本报告来自仿真设备: 全部数值为估算, 不是实测。",
    "This comes from simulated equipment: every number is estimated, none was measured.",
)
FAULTS, FAULT = Text("设定的故障", "Faults that were made"), Text("模型与故障", "model and fault")
TIME, EVENT = Text("时间", "time"), Text("事件", "event")
ENERGY = Text("用电量 (估算)", "Energy (estimated)")
WHAT, USED = Text("设备", "equipment"), Text("用电 kWh (估算)", "used, kWh (estimated)")
AGAINST, BASELINE = Text("对比基准", "against"), Text("基准 kWh", "baseline, kWh")
SAVED, SUM = Text("节电", "saved"), Text("合计", "sum")
NAMED = Text("合计只含有该基准的设备。", "A sum is over the equipment that has this baseline.")
TOLD = Text("控制器自己报告的照明用电", "What the controller itself reports of lamps")
RULE, PLAIN_USED = Text("规则", "rule"), Text("用电 kWh", "used, kWh")
SAVED_ON = Text("节电 (相对全天 100 % 常亮)", "saved against always on at 100 %")
SOURCE = Text("来源", "source")
RAISED = Text("报警次数", "alarms")
DAILY, DATE = Text("逐日", "Day by day"), Text("日期", "date")
WEEKDAYS = (
    Text("周一", "Mon"), Text("周二", "Tue"), Text("周三", "Wed"), Text("周四", "Thu"),
    Text("周五", "Fri"), Text("周六", "Sat"), Text("周日", "Sun"),
)  # fmt: skip
RUNNING, SETPOINT = Text("运行", "Running"), Text("设定值", "setpoint")
STARTS, OUTPUT = Text("启动次数与运行时间", "Starts and running hours"), Text("输出", "output")
COUNT, PER_HOUR = Text("启动次数", "starts"), Text("每小时平均", "per hour")
PEAK, LIMIT = Text("任一小时最多", "most in any hour"), Text("每小时上限", "limit per hour")
HOURS = Text("运行小时", "hours")
ALARMS, ALARM = Text("报警", "Alarms"), Text("报警", "alarm")
PRIORITY, MEANING = Text("级别", "priority"), Text("含义", "meaning")
NONE = Text("没有报警。", "No alarm was raised.")
MORE = Text("另有 {n} 条, 见 alarms.csv", "{n} more are in alarms.csv")
NEVER_ON = Text("从未接通: {names}", "Never on: {names}")
ALWAYS_0 = Text("始终为 0 {unit}: {names}", "Always 0 {unit}: {names}")
LISTED = Text("、", ", ")
BLIND = Text("没有仿真模型的点, 保持其值不变", "Points without a model: they keep their values")
CAUSES = {
    "raised": Text("发生", "raised"), "cleared": Text("恢复", "cleared"),
    "acknowledged": Text("确认", "acknowledged"), "reset": Text("复位", "reset"),
    "suppressed": Text("抑制", "suppressed"), "unsuppressed": Text("解除抑制", "unsuppressed"),
    "re-alarm": Text("再次报警", "sounded again"),
}  # fmt: skip

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2126;--soft:#5c6670;--rule:#dfe3e8;--note:#fff4d6;
--c0:#1f6fb4;--c1:#d9601a;--c2:#2a8f4e;--c3:#b8328f;--c4:#7a5cc2;--c5:#8a6d00;--c6:#008c95;--c7:#c0392b}
@media(prefers-color-scheme:dark){:root{--paper:#14181c;--ink:#e6e9ec;--soft:#9aa5b0;--rule:#2c343c;
--note:#3a3218;--c0:#63b0f2;--c1:#ff9a57;--c2:#63cf88;--c3:#f07cc8;--c4:#b39cf5;--c5:#d9b93b;--c6:#4fd0d8;
--c7:#ff7b6b}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,"PingFang SC",
"Microsoft YaHei",sans-serif}
main{max-width:64rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem}
p{margin:.3rem 0}.small{color:var(--soft);font-size:.875rem;overflow-wrap:anywhere}
.note{background:var(--note);padding:.5rem .75rem;border-radius:.4rem}
.glance{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:.5rem;margin-top:1rem}
.glance div{border:1px solid var(--rule);border-radius:.4rem;padding:.5rem .75rem}
.glance b{display:block;font-size:1.35rem;line-height:1.3}.glance .bad{color:var(--c7)}
.glance span,.glance i{display:block;font-size:.85rem;line-height:1.35;font-style:normal}
.glance i{color:var(--soft)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--rule);white-space:nowrap}
.text{white-space:normal;min-width:5.5rem}td.text{min-width:9rem}
th{color:var(--soft);font-weight:500;vertical-align:bottom}
figure{margin:2rem 0}figcaption{font-weight:600;margin-bottom:.5rem}
.plot{position:relative;height:11rem;margin-left:3.2rem}
.plot svg{position:absolute;width:100%;height:100%;overflow:visible}
.y b{position:absolute;left:-3.2rem;width:2.9rem;text-align:right;transform:translateY(-50%)}
.x{position:relative;height:1.4rem;margin:.2rem 0 0 3.2rem}
.x b{position:absolute;transform:translateX(-50%);white-space:nowrap}
.x b:first-child{transform:translateX(-20%)}.x b:last-child{transform:translateX(-80%)}
.x b,.y b{font-size:.75rem;font-weight:400;color:var(--soft)}
.legend{display:flex;flex-wrap:wrap;gap:.1rem 1rem;font-size:.85rem;margin-left:3.2rem}
.legend i{display:inline-block;width:1.4rem;margin-right:.4rem;vertical-align:middle;
border-top:3px solid var(--c)}
.legend i.dash{border-top-style:dashed;border-top-width:2px}
.strip{margin:.3rem 0 .3rem 3.2rem}.strip span{font-size:.8rem;color:var(--soft);display:block}
.strip svg{display:block;width:100%;height:.9rem;background:var(--rule);border-radius:.2rem}
.rule{stroke:var(--rule);stroke-width:1;vector-effect:non-scaling-stroke}
.mean{fill:none;stroke:var(--c);stroke-width:1.8;vector-effect:non-scaling-stroke}
.band{fill:var(--c);opacity:.22;stroke:none}.on{fill:var(--c2)}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}
.c5{--c:var(--c5)}.c6{--c:var(--c6)}.c7{--c:var(--c7)}
.cw{--c:var(--ink)}
.legend span{color:var(--ink)}
@media(max-width:34rem){table{font-size:.8rem}th,td{padding-right:.5rem}th{white-space:normal}
td.text{min-width:5.5rem}th.text{min-width:0}}
@media print{figure,table{break-inside:avoid}}
""".replace("\n", "")  # noqa: E501
