"""A running controller as its local API sees it: the implementation of `edge.hmi.view.View`.

Only gathers and translates; whatever is decided is decided in the scan, in `edge.commands` or by a
bus task. Called on the loop by `edge.hmi.server`.
"""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import edge
from edge.app.health import BusHealth
from edge.blocks.kind import Kind
from edge.bus.runner import BusRunner
from edge.bus.schedule import DeviceState
from edge.errors import DriverError
from edge.events import RETRY_ASKED
from edge.hmi.model import model
from edge.hmi.view import Json, Refused, Values, both, number
from edge.image import quality
from edge.rules.explain import explain
from edge.scan.alarms import AlarmState, State
from edge.site.requests import requests
from edge.text import Text

if TYPE_CHECKING:
    from edge.app.controller import Controller

MOST_RECORDS = 5000
NO_POINT = Text('没有点 "{point}"{near}', 'no point "{point}"{near}')
NO_DEVICE = Text('没有设备 "{device}"{near}', 'no device "{device}"{near}')
NO_PLACE = Text('没有总线或设备 "{name}"{near}', 'no bus or device "{name}"{near}')
NOTHING_WAITS = Text(
    "无需重试: 已连接, 或正在尝试; 见 edge health",
    "nothing waits for another try: all is connected, or is being tried; see `edge health`",
)
NO_ALARM = Text('没有报警 "{alarm}"{near}', 'no alarm "{alarm}"{near}')
SUPERSEDED = Text(
    "报警 {alarm} 已是第 {n} 次发生, 请刷新后再确认",
    "alarm {alarm} is at its occurrence {n} by now; look again before you answer it",
)
NOT_NEEDED = Text("报警 {alarm} 现在无需 {op}", "alarm {alarm} needs no {op} now")
STILL_ACTIVE = Text(
    "报警 {alarm} 的原因仍在, 不能复位", "the cause of {alarm} still stands: it cannot be reset"
)
BAD_OP = Text("不支持的操作 {op}, 可用 ack、reset", "no operation {op}; use ack or reset")
REFUSED = Text(
    "设备拒绝读取该点; 原因见日志和 edge check SITE --plan",
    "the device refuses this point; the log and `edge check SITE --plan` say why",
)
OBSERVED = Text("只观察: 不写设备", "observing only: the device is not written")
IN_HAND = Text("现场转换开关不在自动位, 不写设备", "its switch on site is not on auto: not written")
WAITS = Text(
    "尚未驱动, 等待首次读到 {points}", "not driven yet: waits until {points} has been read"
)
STARTING = Text("启动延时中, 尚未驱动", "not driven yet: the start-up delay is running")
NOT_FIELD = Text("{point} 不在现场设备上, 没有可读的原始值", "{point} is not on a field device")
READ_FAILED = Text("读 {point} 失败: {reason}", "reading {point} failed: {reason}")


class AppView:
    """Plain data about one controller."""

    def __init__(self, controller: Controller, kinds: Mapping[str, Kind]) -> None:
        self._c = controller
        self._model = model(controller.site)
        self._started = controller.clock.wall()
        self._names = {(r.point, r.slot): r.id for r in requests(controller.site, kinds)}

    def model(self) -> Json:
        """What does not change while running."""
        return self._model

    def values(self) -> Values:
        """All values now."""
        clock, image = self._c.clock, self._c.scan.image
        count = image.points
        return Values(
            clock.now(), clock.wall(), image.value[:count], image.quality[:count], image.stamp
        )

    def state(self) -> Json:
        """Outputs and their owners, holds of persons, alarms, latest commands."""
        return {
            "clock": "trusted" if self._c.trusted else "untrusted",
            "observe": self._c.observe,
            "outputs": self._outputs(),
            "holds": self._c.commands.holds(self._c.clock),
            "alarms": self._alarms(),
            "commands": [answer.as_json() for answer in self._c.commands.latest()],
        }

    def explain(self, point: str) -> Json:
        """Why the point has its value."""
        self._known(point)
        scan = self._c.scan
        found = explain(
            self._c.site, scan.programs, scan.image, point, self._c.clock.now(),
            commands=self._c.commands.names(),
        )  # fmt: skip
        return found.as_json() | {"notes": [both(note) for note in self._notes(point)]}

    def _notes(self, point: str) -> Iterator[Text]:
        """Why a device gives no value; what keeps the controller from driving an output."""
        scan = self._c.scan
        at = scan.index[point]
        device = self._c.site.points[at].device
        if (runner := self._runner(device)) and device:
            if wrong := runner.devices[device].wrong:
                yield wrong
            elif scan.image.quality[at] & quality.CONFIG:
                yield REFUSED
        ordinal = scan.ordinals.get(point)
        if ordinal is None or scan.outputs.wires[ordinal].device is None:
            return
        if self._c.observe:
            yield OBSERVED
        if scan.outputs.in_hand(ordinal):
            yield IN_HAND
        if scan.outputs.held[ordinal]:
            waits = ", ".join(self._c.site.points[i].id for i in scan.outputs.waits_for(ordinal))
            yield WAITS.format(points=waits) if waits else STARTING

    async def alarms(self, since: float, until: float) -> list[Json]:
        """Alarm transitions between two Unix times, oldest first."""
        found = []
        for record in await self._c.journal.history("alarm", since, until, MOST_RECORDS):
            entry = json.loads(record.data)
            found.append(
                {
                    "id": entry["alarm"], "n": entry["n"], "t": record.ts / 1e3,
                    "state": entry["state"], "priority": entry["priority"],
                    "by": entry["by"], "numbers": entry["numbers"],
                }
            )  # fmt: skip
        return found

    async def alarm(self, alarm: str, op: str, n: int, user: str) -> Json:
        """Acknowledge or reset one occurrence; `reset` also takes the id of an interlock."""
        now, wall, scan = self._c.clock.now(), self._c.clock.wall(), self._c.scan
        if op == "reset" and scan.reset_interlock(alarm):
            self._c.journal.add("reset", {"interlock": alarm, "by": user})
            return {"id": alarm, "state": "RESET"}
        row = scan.alarms.states.get(alarm)
        if row is None:
            near = _near(alarm, list(scan.alarms.states))
            raise Refused("UNKNOWN_ALARM", NO_ALARM.format(alarm=alarm, near=near), alarm=alarm)
        if n not in (0, row.occurrence):
            text = SUPERSEDED.format(alarm=alarm, n=row.occurrence)
            raise Refused("SUPERSEDED", text, alarm=alarm, n=row.occurrence)
        acts: dict[str, Callable[[], bool]] = {
            "ack": lambda: scan.acknowledge(alarm, row.occurrence, user, now, wall),
            "reset": lambda: scan.reset_alarm(alarm, user, now, wall),
        }
        if op not in acts:
            raise Refused("MALFORMED", BAD_OP.format(op=op), op=op)
        if not acts[op]():
            if op == "reset" and row.active:
                raise Refused("STILL_ACTIVE", STILL_ACTIVE.format(alarm=alarm), alarm=alarm)
            raise Refused("NOT_NEEDED", NOT_NEEDED.format(alarm=alarm, op=op), alarm=alarm)
        scan.wake()
        return self.alarm_state(row)

    async def command(self, envelope: Json, user: str) -> Json:
        """Take a command at slot `local`."""
        answer = self._c.commands.receive(
            envelope, via="local", user=user, now=self._c.clock.now(), wall=self._c.clock.wall(),
            trusted=self._c.trusted,
        )  # fmt: skip
        return answer.as_json()

    def command_state(self, command: str) -> Json | None:
        """The present answer to a command."""
        answer = self._c.commands.answer_to(command)
        return None if answer is None else answer.as_json()

    def health(self) -> Json:
        """How the controller itself is."""
        timings = self._c.timings
        return {
            "site": self._c.site.id,
            "version": edge.__version__,
            "pid": os.getpid(),
            "started": self._started,
            "observe": self._c.observe,
            "scan": {
                "steps": timings.count,
                "p50_ms": round(timings.percentile(50) * 1e3, 3),
                "p99_ms": round(timings.percentile(99) * 1e3, 3),
                "max_ms": round(timings.longest * 1e3, 3),
                "overruns": timings.overruns,
                "skipped": self._c.scan.arrivals.skipped,
            },
            "buses": [self._bus(bus) for bus in self._c.health.buses.values()],
            "uplinks": self._c.uplinks.health(),
            "bms": None if self._c.bms is None else self._c.bms.health(),
            "events": dict(self._c.events.counts),
        }

    async def read(self, point: str) -> Json:
        """Ask the field for one point now."""
        self._known(point)
        config = self._c.site.points[self._c.scan.index[point]]
        runner = self._runner(config.device)
        if runner is None or config.device is None:
            raise Refused("NOT_A_FIELD_POINT", NOT_FIELD.format(point=point), point=point)
        try:
            raw = await runner.raw(config.device, point)
        except DriverError as error:
            text = READ_FAILED.format(point=point, reason=error.reason)
            raise Refused("READ_FAILED", text, point=point) from error
        at = self._c.scan.index[point]
        return {
            "point": point,
            "driver": runner.bus.kind.name,
            "device": config.device,
            "unit": config.unit,
            "raw": raw.hex(),
            "value": number(float(self._c.scan.image.value[at])),
            "quality": int(self._c.scan.image.quality[at]),
        }

    async def identify(self, device: str) -> Json:
        """Let a device say what it is."""
        runner = self._runner(device)
        if runner is None:
            near = _near(device, [id for r in self._c.buses.values() for id in r.devices])
            text = NO_DEVICE.format(device=device, near=near)
            raise Refused("UNKNOWN_DEVICE", text, device=device)
        try:
            said = await runner.identify(device)
        except DriverError as error:
            text = READ_FAILED.format(point=device, reason=error.reason)
            raise Refused("READ_FAILED", text, device=device) from error
        return {"device": device, "driver": runner.bus.kind.name, "said": dict(said)}

    def retry(self, name: str | None, user: str) -> Json:
        """Connect, and ask silent devices, now: of a bus, of one device, or wherever it waits."""
        known = {name for id, bus in self._c.buses.items() for name in (id, *bus.devices)}
        if name is not None and name not in known:
            text = NO_PLACE.format(name=name, near=_near(name, sorted(known)))
            raise Refused("UNKNOWN_DEVICE", text, name=name)
        found: Json = {"buses": [], "devices": []}
        for id, runner in self._c.buses.items():
            if name is None or name == id or name in runner.devices:
                waited, devices = runner.retry(None if name in (None, id) else name)
                found["buses"] += [id] if waited else []
                found["devices"] += devices
        if not any(found.values()):
            raise Refused("NOTHING_WAITS", NOTHING_WAITS, name=name)
        what = ", ".join(found["buses"] + found["devices"])
        self._c.events.emit(RETRY_ASKED, what=what, user=user)
        return found

    def _known(self, point: str) -> None:
        index = self._c.scan.index
        if point not in index:
            near = _near(point, list(index))
            raise Refused("UNKNOWN_POINT", NO_POINT.format(point=point, near=near), point=point)

    def _runner(self, device: str | None) -> BusRunner | None:
        for runner in self._c.buses.values():
            if device in runner.devices:
                return runner
        return None

    def _outputs(self) -> Json:
        scan, names = self._c.scan, self._names
        commands = self._c.commands.names()
        found: dict[str, Json] = {}
        for point, c in scan.ordinals.items():
            slot = int(scan.image.owner[c])
            by = commands.get((point, slot)) or names.get((point, slot), "")
            found[point] = {"value": number(float(scan.image.target[c])), "slot": slot, "by": by}
            low, high = map(float, scan.image.span[:, c])
            if not math.isnan(low):
                found[point]["held"] = [number(low), number(high)]
        return found

    def _alarms(self) -> list[Json]:
        rows = [r for r in self._c.scan.alarms.states.values() if r.state is not State.NORMAL]
        worst = sorted(rows, key=lambda r: (r.alarm.priority, r.state is not State.UNACK, r.raised))
        return [self.alarm_state(row) for row in worst]

    def alarm_state(self, row: AlarmState) -> Json:
        """An alarm as the snapshot shows it."""
        return {
            "id": row.alarm.id, "n": row.occurrence, "priority": row.alarm.priority,
            "state": row.state.value, "raised": number(row.raised_wall), "by": row.acked_by,
            "numbers": self._c.scan.alarms.live_numbers(row.alarm),
        }  # fmt: skip

    def _bus(self, bus: BusHealth) -> Json:
        runner, meter = bus.runner, bus.runner.meter
        return {
            "id": runner.bus.id, "driver": runner.bus.kind.name, "up": runner.up,
            "reason": None if runner.down_reason is None else both(runner.down_reason),
            "retry": self._wall_at(runner.pause.until),
            "requests": meter.requests, "writes": runner.writes,
            "errors": sum(meter.failures.values()), "failures": dict(meter.failures),
            "overruns": runner.overruns, "load": number(bus.load), **_times(bus.of_bus),
            "back_off_s": round(meter.back_off, 1),
            "devices": [self._device(bus, device) for device in runner.devices.values()],
        }  # fmt: skip

    def _device(self, bus: BusHealth, device: DeviceState) -> Json:
        clock, meter, lost = self._c.clock, device.meter, not device.online
        refused = bus.of(device.id, "refused")
        reason = device.wrong or device.reason
        return {
            "id": device.id, "online": device.online and bus.runner.up,
            "wrong": device.wrong is not None and bus.runner.up,
            "since": clock.wall_at(device.offline_since) if lost else None,
            "reason": both(reason) if lost and reason is not None else None,
            "last": None if math.isinf(device.last_answer) else clock.wall_at(device.last_answer),
            "retry": self._wall_at(bus.runner.next_try(device.id)) if bus.runner.up else None,
            "requests": meter.requests, "errors": sum(meter.failures.values()),
            "failures": dict(meter.failures), **_times(partial(bus.of, device.id)),
            "back_off_s": number(round(bus.of(device.id, "back_off"), 1)),
            "refused": None if math.isnan(refused) else int(refused),
        }  # fmt: skip

    def _wall_at(self, time: float) -> float | None:
        return self._c.clock.wall_at(time) if math.isfinite(time) else None


def _times(of: Callable[[str], float]) -> Json:
    """Round trips and the age of the oldest point, by word as in `edge/site/health.py`."""
    return {
        "p50_ms": number(round(of("round_trip") * 1e3, 3)),
        "p99_ms": number(round(of("round_trip_p99") * 1e3, 3)),
        "age_s": number(round(of("age"), 1)),
    }


def _near(name: str, known: list[str]) -> Text:
    near = difflib.get_close_matches(name, known, 1)
    return Text(f"; 是否 {near[0]}?", f"; did you mean {near[0]}?") if near else Text("", "")
