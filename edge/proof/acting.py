"""The words of `when`: what happens to equipment, line and controller, and what people do.

Each public method is a word; its parameters are what the YAML gives, a single one as the bare
value. Called by `edge/proof/play.py`, which has checked names and types by the signatures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import nan
from typing import Annotated, Any

from pydantic import AfterValidator

from edge.proof.case import Shown, local_time
from edge.proof.stage import Stage
from edge.schema.arguments import arguments
from edge.schema.model import Refusal
from edge.schema.units import Duration
from edge.text import Text

LocalTime = Annotated[str, AfterValidator(local_time)]


class Acting:
    """What a step can do to a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def fault(self, fault: str) -> None:
        """`zones valve_drift:3`: let a fault of a model happen."""
        self._stage.fault(*_two(fault))

    def repair(self, fault: str) -> None:
        """End a fault; of a point, what `set` or `bad` made it show."""
        if fault in self._stage.index:
            self._stage.line.pinned.pop(fault, None)
        else:
            self._stage.fault(*_two(fault), repaired=True)

    def set(self, points: Mapping[str, Shown]) -> None:
        """`io.input1: 0`, `tank.level: 0.3 m`: what the field shows from now on."""
        for point, value in points.items():
            self._stage.show(point, value)

    def bad(self, point: str) -> None:
        """Its sensor breaks: the value is bad."""
        self._stage.show(point, nan)

    def press(self, button: str) -> None:
        """Hold the push button on an input of the I/O module: `input4`."""
        self._stage.fault("io", f"press:{button.removeprefix('input')}")

    def let_go(self, button: str) -> None:
        """Let go of the button."""
        self._stage.fault("io", f"press:{button.removeprefix('input')}", repaired=True)

    def equipment(self, values: Mapping[str, Any]) -> None:
        """`booster.demand: 14`: change what a model is like."""
        for name, value in values.items():
            model, _, attribute = name.partition(".")
            target = self._stage.equipment(model)
            if not hasattr(target, attribute):
                raise Refusal(Text(f"模型 {model} 没有 {attribute}", f"{model} has no {attribute}"))
            setattr(target, attribute, value)

    def play(self, variable: str, values: tuple[float, ...], every: Duration) -> None:
        """Let a variable of a model take these values, one after another, beginning now."""
        loop = asyncio.get_running_loop()
        for k, value in enumerate(values):
            loop.call_later(k * every, self.equipment, {variable: value})

    def silent(self, device: str) -> None:
        """A device stops answering; an uplink loses its broker."""
        self._stage.silence(device, silent=True)

    def lost_answer(self, point: str) -> None:
        """Writes to a point are carried out, and their answers lost."""
        self._stage.line.lost.add(point)

    def corrupted(self, device: str) -> None:
        """A device's answers arrive damaged."""
        self._stage.line.corrupted.add(device)

    def busy(self, device: str, times: int) -> None:
        """A device is busy for so many requests."""
        self._stage.line.busy[device] = times

    def answers(self, device: str) -> None:
        """It answers as it should again, to writes of its points too."""
        line = self._stage.line
        self._stage.silence(device, silent=False)
        line.corrupted.discard(device)
        line.lost = {point for point in line.lost if not point.startswith(f"{device}.")}
        line.busy.pop(device, None)

    def send(self, command: Mapping[str, Any]) -> None:
        """A remote command: `id`, `by`, `point`, `value` (none: a release) and more."""
        _needs(command, "point", "by")
        self._stage.send(**command)

    async def local(self, command: Mapping[str, Any]) -> None:
        """A command of a person on site."""
        _needs(command, "by")
        await self._stage.local(**command)

    async def acknowledge(self, alarm: str) -> None:
        """A person acknowledges an alarm on the local API."""
        await self._stage.answer_alarm(alarm, "ack")

    async def reset(self, latch: str) -> None:
        """A person resets a latched alarm, or an interlock."""
        await self._stage.answer_alarm(latch, "reset")

    async def restart(
        self, after: Duration = 0.0, kill: bool = False, forget: bool = False
    ) -> None:
        """The controller stops (or is killed) and starts again `after` so long, maybe without what
        it kept."""
        await (self._stage.kill() if kill else self._stage.stop())
        await asyncio.sleep(after)
        if forget:
            self._stage.forget()
        await self._stage.start()

    def clock(self, to: LocalTime | None = None, trusted: bool = True) -> None:
        """The wall clock is set `to` the site's local time, and is trusted or not."""
        if to is not None:
            self._stage.set_clock(to)
        self._stage.trusted = trusted

    def bug(self, program: str) -> None:
        """A rule of the program `control` or `protect` raises from now on."""
        self._stage.broken.add(program)

    def mend(self, program: str) -> None:
        """It does no more."""
        self._stage.broken.discard(program)


ACTS = {name: act for name, act in vars(Acting).items() if not name.startswith("_")}
FIELDS = {name: arguments(act) for name, act in ACTS.items()}


def whole(name: str) -> str | None:
    """The one parameter of a word, which takes the value as it stands; None if there are more."""
    (first, *more) = FIELDS[name].model_fields
    return None if more else first


def _two(fault: str) -> tuple[str, str]:
    model, _, name = fault.partition(" ")
    if not name:
        raise Refusal(
            Text(
                f'"{fault}": 应写模型和故障, 如 "zones burst:2"',
                f'"{fault}": write a model and its fault, like "zones burst:2"',
            )
        )
    return model, name.strip()


def _needs(command: Mapping[str, Any], *keys: str) -> None:
    if missing := [key for key in keys if key not in command]:
        raise Refusal(Text(f"缺少 {missing[0]}", f"{missing[0]} is missing"))
