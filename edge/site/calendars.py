"""Calendars of a site: their dates go to the schedules that name them, and somebody watches them.

Also the watch over the clock, where a rule goes by it. Called by `edge/site/build.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from edge.blocks.calendar import CALENDAR, CLOCK, Calendar, SiteClock
from edge.blocks.kind import AlarmTemplate, Kind
from edge.blocks.schedule import Schedule
from edge.schema.model import Model
from edge.schema.problem import Problem
from edge.schema.validate import did_you_mean
from edge.site.alarms import expand
from edge.site.files import Source
from edge.site.parts import Parts, Record, RulePart
from edge.site.points import virtual
from edge.site.site import Point, Rule
from edge.text import Text


class Watch(NamedTuple):
    """A small rule that nobody wrote: it publishes `<id>.…` and brings an alarm."""

    id: str
    kind: Kind
    model: Model
    source: Source

    def rule(self) -> Rule:
        """As the compiler takes it."""
        return Rule(self.id, self.kind.name, self.model, self.source.key())

    def points(self) -> Iterator[Point]:
        """What it shows."""
        for shown in self.kind.publishes(self.model):
            text = Text(f"{self.id} {shown.text.zh}", f"{self.id} {shown.text.en}")
            yield virtual(f"{self.id}.{shown.name}", shown.unit, text, labels=shown.labels)

    def alarms(self) -> Iterator[AlarmTemplate]:
        """What it raises."""
        for template in self.kind.alarms(self.model):
            yield expand(template, self.id, Text(self.id, self.id))


def watches(parts: Parts, kinds: Mapping[str, Kind]) -> Iterator[Watch]:
    """One for each calendar, and one for the clock where a rule has an agenda."""
    for id, record in parts.calendars.items():
        yield Watch(id, CALENDAR, record.options, record.source)
    timed = [rule for rule in parts.rules.values() if kinds[rule.kind].agenda is not None]
    if timed:
        yield Watch("clock", CLOCK, SiteClock(), timed[0].source)


def dated(
    rule: RulePart, calendars: Mapping[str, Record[Calendar]], problems: list[Problem]
) -> Model:
    """The model of `rule`; of a schedule, with the dates of its calendar."""
    model = rule.model
    if not isinstance(model, Schedule) or model.calendar is None:
        return model
    if model.calendar in calendars:
        return model.on(calendars[model.calendar].options)
    hint = did_you_mean(model.calendar, calendars)
    text = Text(f'没有日历 "{model.calendar}"{hint.zh}', f'no calendar "{model.calendar}"{hint.en}')
    problems.append(Problem("unknown-calendar", rule.source.value(("calendar",)), text))
    return model
