"""The report's first screen: what was saved, what was raised, what the pressure did, what started.

A few numbers for whoever reads no further; each stands in full below. Called by `page.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import numpy as np

from edge.blocks.booster_model import Booster
from edge.image.image import Floats
from edge.proof.trial import BASELINES, Trial, saving, together
from edge.text import Language, Text


@dataclass(frozen=True, slots=True)
class Card:
    """A number with its title and what it means; `bad` is shown in red."""

    title: Text
    number: Text
    meaning: Text
    bad: bool = False

    def html(self, language: Language) -> str:
        """One box."""
        title, number, meaning = (
            escape(text.of(language)) for text in (self.title, self.number, self.meaning)
        )
        mark = ' class="bad"' if self.bad else ""
        return f"<div><span>{title}</span><b{mark}>{number}</b><i>{meaning}</i></div>"


def glance(trial: Trial, language: Language) -> str:
    """All boxes, as HTML."""
    cards = [*_saved(trial), _raised(trial), *_pressures(trial), *_started(trial)]
    return f'<section class="glance">{"".join(card.html(language) for card in cards)}</section>'


def _saved(trial: Trial) -> Iterator[Card]:
    """What all used, and what was saved of each baseline."""
    energies = trial.energies()
    if energies:
        used = sum(e.used for e in energies)
        names = [trial.called(e.model) for e in energies]
        of = Text("、".join(n.zh for n in names), ", ".join(n.en for n in names))
        yield Card(USED, _same(f"{used:.1f} kWh"), of)
    for name, text in BASELINES.items():
        whole = together(energies, name)
        if base := whole.baselines[name]:
            meaning = AGAINST.format(used=whole.used, base=base, baseline=text)
            yield Card(SAVED, _same(f"{saving(whole, name):.1f} %"), meaning)


def _raised(trial: Trial) -> Card:
    priority = {alarm.id: alarm.priority for alarm in trial.site.alarms}
    count = Counter[int]()
    for alarm, n in trial.alarms.raised.items():
        count[priority[alarm]] += n
    listed = ", ".join(f"P{p} × {n}" for p, n in sorted(count.items()) if n)
    bad = any(n for p, n in count.items() if p <= SERIOUS)
    return Card(ALARMS, _same(f"{count.total()}"), _same(listed) if listed else NONE, bad)


def _pressures(trial: Trial) -> Iterator[Card]:
    """Of each booster, what it held and what it was to hold."""
    known = {p.id for p in trial.history.points}
    for rule in trial.site.rules:
        if isinstance(rule.model, Booster) and rule.model.pressure in known:
            low, mean, high = trial.history.of(rule.model.pressure)
            if np.isnan(mean).all():
                continue
            wanted = trial.history.of(f"{rule.id}.setpoint")[1]
            meaning = HELD.format(
                low=_least(low), high=_most(high), wanted=float(np.nanmean(wanted))
            )
            yield Card(PRESSURE, _same(f"{np.nanmean(mean):.3f} MPa"), meaning)


def _least(values: Floats) -> float:
    return float(np.nanmin(values))


def _most(values: Floats) -> float:
    return float(np.nanmax(values))


def _started(trial: Trial) -> Iterator[Card]:
    """The output that came nearest to its limit of starts, or started most where none has one."""
    used = [s for s in trial.switched.values() if s.used]
    if used:
        most = max(used, key=lambda s: (s.peak / s.limit if s.limit else 0.0, s.peak))
        limit = Text(f"上限 {most.limit}", f"limit {most.limit}") if most.limit else NO_LIMIT
        total = sum(s.starts for s in used)
        meaning = STARTED.format(output=most.point.name, limit=limit, total=total)
        yield Card(STARTS, _same(f"{most.peak}"), meaning, 0 < most.limit < most.peak)


def _same(text: str) -> Text:
    return Text(text, text)


SERIOUS = 2  # priorities up to it are shown in red
USED, SAVED = Text("用电量 (估算)", "Energy (estimated)"), Text("节电 (估算)", "Saved (estimated)")
AGAINST = Text(
    "{used:.1f} kWh, 基准 {base:.1f} kWh: {baseline}", "{used:.1f} of {base:.1f} kWh: {baseline}"
)
ALARMS, NONE = Text("报警次数", "Alarms raised"), Text("没有报警", "none")
PRESSURE = Text("平均供水压力", "Supply pressure, mean")
HELD = Text(
    "设定 {wanted:.3f}, 最低 {low:.3f}, 最高 {high:.3f}",
    "setpoint {wanted:.3f}, least {low:.3f}, greatest {high:.3f}",
)
STARTS = Text("任一小时最多启动", "Most starts in an hour")
STARTED = Text(
    "{output} ({limit}); 全部输出共启动 {total} 次",
    "{output} ({limit}); {total} starts of all outputs",
)
NO_LIMIT = Text("无上限", "no limit")
