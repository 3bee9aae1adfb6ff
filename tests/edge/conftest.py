"""A controller made of a dictionary, behind the real local API on a real Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from edge.hmi.server import Server
from edge.hmi.view import Json, Refused, Values
from edge.image import quality
from edge.rules.explain import Explanation, Level
from edge.text import Text

WALL = 1_795_062_180.0
POINTS = (
    ("booster.pressure", "出口压力", "Discharge pressure", "MPa", 3, "input"),
    ("booster.p1.run", "1号泵运行", "Pump 1 run", "", 0, "output"),
    ("v3.position", "三区阀指令", "Zone 3 valve command", "%", 0, "output"),
    ("lobby.lux", "大堂照度", "Lobby illuminance", "lx", 0, "input"),
)


@dataclass
class FakeView:
    """Every answer is data that a test may change; every request is kept in `asked`."""

    points: tuple[tuple[str, str, str, str, int, str], ...] = POINTS
    asked: list[tuple[object, ...]] = field(default_factory=list)
    alarm_list: list[Json] = field(default_factory=list)
    holds: Json = field(default_factory=dict)
    commands: dict[str, Json] = field(default_factory=dict)
    raw: str = "3eccccd0"

    def __post_init__(self) -> None:
        n = len(self.points)
        self.now = 1000.0
        self.value = np.array([0.404, 1.0, 80.0, np.nan] + [1.0] * (n - 4))
        self.quality = np.array([0, 0, 0, quality.COMM] + [0] * (n - 4), np.uint16)
        self.stamp = np.array([999.5, 999.0, 999.9, 900.0] + [999.0] * (n - 4))
        self.outputs: Json = {
            "booster.p1.run": {"value": 1.0, "slot": 14, "by": "supply"},
            "v3.position": {"value": 80.0, "slot": 16, "by": ""},
        }

    def model(self) -> Json:
        def point(id: str, zh: str, en: str, unit: str, d: int, role: str) -> Json:
            made: Json = {
                "id": id, "name": {"zh": zh, "en": en}, "unit": unit, "d": d, "role": role,
                "range": [0, None], "device": id.split(".", maxsplit=1)[0], "period": 1.0,
            }  # fmt: skip
            if role == "output":
                made["write"] = {"feedback": None}
            if unit == "":
                made["labels"] = {"0": {"zh": "停", "en": "off"}, "1": {"zh": "开", "en": "on"}}
            return made

        return {
            "v": 1,
            "hash": "9f3c",
            "site": {
                "id": "court", "name": {"zh": "花园小区", "en": "Garden Court"},
                "timezone": "Asia/Shanghai", "language": "zh",
            },
            "points": [point(*p) for p in self.points],
            "alarms": {
                "ZONE3_LOW": {
                    "text": {"zh": "三区供水压力低", "en": "Zone 3 supply pressure low"},
                    "checks": [{"zh": "核对阀位反馈", "en": "compare the valve feedback"}],
                    "cause": {"zh": "", "en": ""}, "consequence": {"zh": "", "en": ""},
                    "priority": 2, "latch": False, "point": "booster.pressure",
                    "shows": ["booster.pressure"], "responsible": "",
                }
            },
            "interlocks": ["tank_empty"],
            "buses": [{"id": "pump_room", "driver": "modbus", "devices": ["booster", "v3"]}],
        }  # fmt: skip

    def values(self) -> Values:
        return Values(self.now, WALL + self.now - 1000, self.value, self.quality, self.stamp)

    def state(self) -> Json:
        return {
            "clock": "trusted",
            "observe": False,
            "outputs": {key: dict(entry) for key, entry in self.outputs.items()},
            "holds": dict(self.holds),
            "alarms": [dict(alarm) for alarm in self.alarm_list],
            "commands": [dict(command) for command in self.commands.values()],
        }

    def explain(self, point: str) -> Json:
        if point not in {p[0] for p in self.points}:
            raise Refused(
                "UNKNOWN_POINT", Text(f"没有点 {point}", f"no point {point}"), point=point
            )
        nothing = Text("", "")
        levels = (
            Level(8, Text("远程手动", "remote"), 65.0, "lisi", 750.0, True),
            Level(16, Text("默认", "default"), 80.0, "", float("inf"), False),
        )
        return Explanation(
            point, nothing, "output", "%", 0, 65.0, nothing, (), (), 0.4, nothing, 65.0, 8,
            levels, (),
        ).as_json()  # fmt: skip

    async def alarms(self, since: float, until: float) -> list[Json]:
        self.asked.append(("alarms", since, until))
        return [
            {"id": "ZONE3_LOW", "n": 1, "t": WALL, "state": "UNACK", "priority": 2, "by": "",
             "numbers": {}}
        ]  # fmt: skip

    async def alarm(self, alarm: str, op: str, n: int, user: str) -> Json:
        self.asked.append((op, alarm, n, user))
        for entry in self.alarm_list:
            if entry["id"] == alarm:
                if entry["n"] != n:
                    raise Refused("SUPERSEDED", Text("已是新的一次", "it is a newer one"), n=n)
                entry["state"] = "ACKED" if op == "ack" else "NORMAL"
                return dict(entry)
        raise Refused("UNKNOWN_ALARM", Text("没有该报警", "no such alarm"))

    async def command(self, envelope: Json, user: str) -> Json:
        self.asked.append(("command", envelope, user))
        answer: Json = {
            "id": envelope["id"], "point": envelope["point"], "state": "RECEIVED", "t": WALL,
            "value": envelope.get("value"), "feedback": None, "code": "", "text": None,
        }  # fmt: skip
        if (envelope.get("value") or 0) > 100:
            text = {"zh": "超出 0 至 100", "en": "beyond 0 to 100"}
            return answer | {"state": "REJECTED", "code": "OUT_OF_RANGE", "text": text}
        self.commands[envelope["id"]] = answer | {"state": "VERIFIED", "feedback": 65.0}
        return answer

    def command_state(self, command: str) -> Json | None:
        return self.commands.get(command)

    def health(self) -> Json:
        return {
            "site": "court", "version": "0.1.0", "pid": 1, "started": WALL - 3600,
            "scan": {"steps": 10, "p50_ms": 0.1, "p99_ms": 0.4, "max_ms": 2.0, "overruns": 0,
                     "skipped": 0},
            "buses": [
                {"id": "pump_room", "driver": "modbus", "up": True, "reason": None, "retry": None,
                 "requests": 100, "writes": 1, "errors": 3, "overruns": 2, "load": 0.62,
                 "failures": {"timeout": 2, "refused": 1, "bad_answer": 0, "link": 0},
                 "p50_ms": 21.3, "p99_ms": 60.0, "age_s": 61.0, "back_off_s": 0.0,
                 "devices": [
                     {"id": "booster", "online": True, "wrong": False, "since": None,
                      "last": WALL - 1, "reason": None, "retry": None, "requests": 90, "errors": 1,
                      "failures": {"timeout": 0, "refused": 1, "bad_answer": 0, "link": 0},
                      "p50_ms": 2.1, "p99_ms": 9.96, "age_s": 0.7, "back_off_s": 0.0,
                      "refused": 3},
                     {"id": "v3", "online": False, "wrong": False, "since": WALL - 60,
                      "last": WALL - 61,
                      "reason": {"zh": "3 秒内无应答", "en": "no answer within 3 s"},
                      "retry": WALL + 12, "requests": 10, "errors": 2,
                      "failures": {"timeout": 2, "refused": 0, "bad_answer": 0, "link": 0},
                      "p50_ms": None, "p99_ms": None, "age_s": 61.0, "back_off_s": 30.0,
                      "refused": None}]}
            ],
            "uplinks": [{"id": "cloud", "up": False, "backlog": 12, "sent": 5, "refused": 0,
                         "stream": "a1"}],
            "events": {"device-offline": 1},
        }  # fmt: skip

    async def read(self, point: str) -> Json:
        if point == "lobby.lux":
            raise Refused("READ_FAILED", Text("设备无应答", "the device does not answer"))
        return {"point": point, "driver": "modbus", "device": "booster", "raw": self.raw,
                "value": 0.4, "quality": 0}  # fmt: skip

    def retry(self, name: str | None, user: str) -> Json:
        self.asked.append(("retry", name, user))
        if name == "booster":
            raise Refused("NOTHING_WAITS", Text("无需重试", "nothing waits"), name=name)
        return {"buses": [] if name else ["pump_room"], "devices": ["v3"]}

    async def identify(self, device: str) -> Json:
        if device == "v3":
            raise Refused("READ_FAILED", Text("设备无应答", "the device does not answer"))
        said = {"vendor": "Maker\x1b[2J", "product": "P-1", "serial": "4711"}
        return {"device": device, "driver": "modbus", "said": said}


@dataclass
class Running:
    """A controller that listens in another thread."""

    view: FakeView
    path: Path


def _listens(path: Path) -> bool:
    """A socket's file is there a moment before anybody listens on it."""
    with socket.socket(socket.AF_UNIX) as asked:
        return asked.connect_ex(str(path)) == 0


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A served `FakeView`, found by the command line through EDGE_SOCKET."""
    path = tmp_path / "edge.sock"
    view = FakeView()
    loop = asyncio.new_event_loop()
    serving = loop.create_task(Server(view, path).run())

    def serve() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(serving)

    thread = threading.Thread(target=serve)
    thread.start()
    deadline = time.monotonic() + 10
    while not _listens(path) and time.monotonic() < deadline and not serving.done():
        time.sleep(0.005)
    monkeypatch.setenv("EDGE_SOCKET", str(path))
    yield Running(view, path)
    loop.call_soon_threadsafe(serving.cancel)
    thread.join(10)
    loop.close()
