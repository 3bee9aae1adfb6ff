"""`edge set` and `edge release`: hold an output by hand for a while, and give it back."""

from __future__ import annotations

import getpass
import time
import uuid
from typing import Any

import click

from edge.cli.alarms import seconds
from edge.cli.client import Client, Json, place
from edge.cli.command import (
    OK,
    REFUSED,
    USAGE,
    Failed,
    command,
    language,
    option,
    say,
    socket_option,
)
from edge.cli.completion import points as complete_points
from edge.cli.points import Shown, duration_text, number_text, unknown
from edge.text import Text

VALID = 60.0  # seconds in which the command must be taken
PATIENCE = 2.0  # seconds after which a person wants to know what it waits for
WAIT = 120.0  # seconds after which we stop looking; the controller goes on
FINAL = frozenset(
    {"VERIFIED", "WRITTEN_UNVERIFIED", "MISMATCH", "TIMEOUT", "REJECTED", "EXPIRED", "SUPERSEDED",
     "CANCELLED", "REVERTED"}
)  # fmt: skip
DONE = frozenset({"VERIFIED", "WRITTEN_UNVERIFIED"})


@command(
    Text(
        """
就地手动给定一个输出或设定值, 到时自动交还; 保护与联锁仍然优先。

  edge set v3.position "65 %" --for 30min --reason 三区压力低
  edge set booster.p1.run 1 --for 10min

单位可写可不写; 写了就换算。等待设备回读, 显示是否真的动作。
""",
        """
Hold an output or setpoint by hand; it is given back when the time is over.
Protections and interlocks stay stronger.

  edge set v3.position "65 %" --for 30min --reason "zone 3 low"
  edge set booster.p1.run 1 --for 10min

A unit may be written and is converted. Waits for the read-back and says
whether the equipment really followed.
""",
    ),
    context_settings={"ignore_unknown_options": True},  # a value may be negative
)
@click.argument("point", shell_complete=complete_points)
@click.argument("value")
@option("--for", "lasting", required=True, metavar="DURATION",
        text=Text("多久, 如 30min", "for how long, as 30min"))  # fmt: skip
@option("--reason", default="", text=Text("原因, 记入操作日志", "why; goes into the audit log"))
@socket_option
def set_point(point: str, value: str, lasting: str, reason: str, socket: str | None) -> int:
    """Send one command and follow it to its end."""
    lease = seconds(lasting)
    client = Client(socket)
    known = point_of(client, point)
    envelope = {
        "id": uuid.uuid4().hex,
        "point": point,
        "op": "set",
        "value": _value(value, known),
        "unit": known.unit,
        "lease_s": lease,
        "on_expiry": "release",
        "reason": reason,
        "expires": time.time() + VALID,  # noqa: TID251 - this process has no clock of its own
    }
    return follow(client, known, client.post("commands", envelope))


@command(
    Text(
        """
交还自动: 撤销对该输出的手动给定。

  edge release v3.position
""",
        """
Give an output back to automatic control.

  edge release v3.position
""",
    )
)
@click.argument("point", shell_complete=complete_points)
@socket_option
def release(point: str, socket: str | None) -> int:
    """Release what is held by hand at this point."""
    client = Client(socket)
    known = point_of(client, point)
    envelope = {
        "id": uuid.uuid4().hex,
        "reason": f"edge release, {getpass.getuser()}",
        "expires": time.time() + VALID,  # noqa: TID251 - this process has no clock of its own
    }
    return follow(client, known, client.post(place("holds", point, "release"), envelope))


def point_of(client: Client, name: str) -> Shown:
    """The point that is meant, if it can be commanded at all."""
    points = client.get("model")["points"]
    for point in points:
        if point["id"] == name:
            if "write" not in point:
                raise Failed(NOT_WRITABLE.format(point=name))
            text = Text(point["name"]["zh"], point["name"]["en"])
            return Shown(
                id=name, name=text, device=point.get("device", ""), role=point["role"],
                unit=point["unit"], decimals=point["d"], labels=point.get("labels", {}),
                value=None, bits=0, age=None,
            )  # fmt: skip
    raise unknown(name, [p["id"] for p in points if "write" in p])


def _value(text: str, point: Shown) -> float:
    """A value as people write it: with a unit, or as the label of a state."""
    from edge.schema.model import Refusal
    from edge.schema.units import parse_quantity

    for number, label in point.labels.items():
        if text in (label["zh"], label["en"]):
            return float(number)
    try:
        return parse_quantity(text, point.unit)
    except Refusal as refusal:
        raise Failed(refusal.text, USAGE) from None


def follow(client: Client, point: Shown, answer: Json) -> int:
    """Print each new state until the last one; leaving early does not stop the command."""
    deadline = time.monotonic() + WAIT
    impatient = time.monotonic() + PATIENCE
    said = code = ""
    while True:
        if (answer["state"], answer.get("code", "")) != (said, code):
            said, code = answer["state"], answer.get("code", "")
            say(_state(answer, point))
        if said in FINAL:
            return OK if said in DONE else REFUSED
        if said == "ACCEPTED" and time.monotonic() > impatient:
            impatient = deadline
            for note in client.get(place("explain", point.id)).get("notes", ()):
                say(Text(**note))
        if time.monotonic() > deadline:
            say(STILL_GOING, wait=duration_text(WAIT, language()))
            return REFUSED
        time.sleep(0.2)  # noqa: TID251 - a command, not the loop
        answer = client.get(place("commands", answer["id"]))


def _state(answer: Json, point: Shown) -> Text:
    """One state of a command as a sentence."""
    value: Any = answer.get("value")
    places = {
        "point": point.id,
        "value": Text(number_text(point, value, "zh"), number_text(point, value, "en")),
        "feedback": number_text(point, answer.get("feedback"), language()),
        "reason": Text(**answer["text"]) if answer.get("text") else "",
        "code": answer.get("code", ""),
    }
    template = STATES.get(answer["state"])
    if answer["state"] in REASONED and answer.get("text"):
        template = REASONED[answer["state"]]
    return template.format(**places) if template else Text(answer["state"], answer["state"])


NOT_WRITABLE = Text(
    "{point} 不是可控点: 不是输出 (站点里加 output: true 才能写), 或属于消防",
    "{point} cannot be commanded: it is no output (output: true in the site makes it one), or fire",
)
STILL_GOING = Text(
    "{wait}后仍未完成; 命令继续有效, 用 edge watch 查看",
    "not finished after {wait}; the command stands, see `edge watch`",
)
STATES = {
    "RECEIVED": Text("已收到: {point} = {value}", "received: {point} = {value}"),
    "ACCEPTED": Text("已接受", "accepted"),
    "EXECUTING": Text("执行中", "executing"),
    "VERIFIED": Text("已验证, 反馈 {feedback}", "verified, feedback {feedback}"),
    "WRITTEN_UNVERIFIED": Text(
        "设备中的值与给定相符, 但没有独立反馈",
        "the device holds the value, there is no independent feedback",
    ),
    "MISMATCH": Text(
        "未跟随: 反馈停在 {feedback}, 请现场查看",
        "did not follow: feedback stays at {feedback}, look at the equipment",
    ),
    "TIMEOUT": Text("超时: 设备未应答", "timed out: the device does not answer"),
    "REJECTED": Text("被拒绝: {reason} [{code}]", "refused: {reason} [{code}]"),
    "EXPIRED": Text("命令已过期", "the command expired"),
    "SUPERSEDED": Text("被后来的命令取代", "superseded by a later command"),
    "CANCELLED": Text("已取消", "cancelled"),
    "REVERTED": Text("已交还自动: {reason}", "given back to automatic: {reason}"),
}
REASONED = {  # where the controller says why
    "EXECUTING": Text("等待写入: {reason} [{code}]", "waiting to be written: {reason} [{code}]"),
    "TIMEOUT": Text("未执行: {reason} [{code}]", "not done: {reason} [{code}]"),
}
