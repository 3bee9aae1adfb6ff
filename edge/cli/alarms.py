"""`edge alarms`, `edge ack`, `edge reset`: what is wrong, what to check first, and answering it."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import click

from edge.cli.client import Client, place
from edge.cli.command import (
    OK,
    Failed,
    command,
    json_option,
    language,
    option,
    say,
    socket_option,
)
from edge.cli.completion import alarms as complete_alarms
from edge.cli.points import duration_text, shown, written
from edge.text import Language, Text

Json = dict[str, Any]


@command(
    Text(
        """
列出当前报警: 原因, 相关数值, 首先检查什么; --since 列出历史。

  edge alarms
  edge alarms --since 24h
""",
        """
List the present alarms: what is wrong, the numbers that belong to it, what to
check first; --since lists their history.

  edge alarms
  edge alarms --since 24h
""",
    )
)
@option("--since", metavar="DURATION", text=Text("历史: 最近多久", "history: how far back"))
@json_option
@socket_option
def alarms(since: str | None, as_json: bool, socket: str | None) -> int:
    """Print the active alarms, or their journal."""
    client = Client(socket)
    if since is not None:
        return _history(client, since, as_json)
    snapshot = client.get("snapshot")
    entries = snapshot["alarms"]
    if as_json:
        click.echo(json.dumps(entries, ensure_ascii=False))
        return OK
    model = client.get("model")
    shown = standing(entries)
    if not shown:
        say(NO_ALARMS)
    for entry in shown:
        click.echo("\n".join(lines(model, entry, snapshot["t"], language())))
    if len(shown) < len(entries):
        say(SET_ASIDE, count=len(entries) - len(shown))
    return OK


@command(
    Text(
        """
确认报警: 表示有人知道并在处理, 蜂鸣器停止; 不改变任何输出。

  edge ack ZONE3_LOW
""",
        """
Acknowledge alarms: somebody knows and is on it, the buzzer stops. Changes no
other output.

  edge ack ZONE3_LOW
""",
    )
)
@click.argument("alarm", nargs=-1, required=True, shell_complete=complete_alarms)
@socket_option
def ack(alarm: Sequence[str], socket: str | None) -> int:
    """Acknowledge each alarm by the occurrence that is shown now."""
    return _answer("ack", alarm, socket)


@command(
    Text(
        """
复位已锁存的报警、联锁, 或规则闭锁的设备 (跳停的水泵) 和减半的增益; 原因仍在时不起作用。

  edge reset TANK_LOW
  edge reset supply
""",
        """
Reset a latched alarm, an interlock, or what a rule has locked out (tripped pumps) or detuned;
without effect while the cause stands.

  edge reset TANK_LOW
  edge reset supply
""",
    )
)
@click.argument("alarm", nargs=-1, required=True, shell_complete=complete_alarms)
@socket_option
def reset(alarm: Sequence[str], socket: str | None) -> int:
    """Reset each alarm by the occurrence that is shown now."""
    return _answer("reset", alarm, socket)


def standing(entries: Sequence[Json]) -> list[Json]:
    """The alarms that ask for somebody; what is shelved, suppressed or out of service does not."""
    return [entry for entry in entries if entry["state"] not in ASIDE]


def lines(model: Json, entry: Json, now: float, spoken: Language) -> list[str]:
    """One alarm: what, how long, its numbers, and the first checks."""
    definition = model["alarms"].get(entry["id"], {})
    text = definition.get("text", {}).get(spoken, "")
    age = age_text(entry, now, spoken)
    made = [f"P{entry['priority']} {entry['id']} #{entry['n']}  {text}  "
            f"{state_text(entry['state']).of(spoken)}  {age}"]  # fmt: skip
    if numbers := numbers_text(model, entry, spoken):
        made.append(f"   {numbers}")
    for name, title in (("cause", CAUSE), ("consequence", CONSEQUENCE)):
        if said := definition.get(name, {}).get(spoken):
            made.append(f"   {title.of(spoken)}{said}")
    made += [f"   {i}. {check[spoken]}" for i, check in enumerate(definition.get("checks", []), 1)]
    return made


def age_text(entry: Json, now: float, spoken: Language) -> str:
    """How long ago an alarm was raised; a dash when it never was."""
    return duration_text(None if entry["raised"] is None else now - entry["raised"], spoken)


def numbers_text(model: Json, entry: Json, spoken: Language) -> str:
    """The live values that belong to an alarm: `v3.position 20 %  zone3.pressure 0.281 MPa`."""
    points = {point["id"]: point for point in model["points"]}
    parts = []
    for name, value in entry.get("numbers", {}).items():
        point = points.get(name, {"d": 2, "unit": ""})
        text = written(value, point.get("labels", {}), point["d"], point["unit"], spoken)
        parts.append(f"{name} {text}")
    return "  ".join(parts)


def state_text(state: str) -> Text:
    """A state of ISA-18.2 in words."""
    return STATES.get(state, Text(state, state))


def _answer(op: str, wanted: Sequence[str], socket: str | None) -> int:
    client = Client(socket)
    active = {entry["id"]: entry for entry in client.get("snapshot")["alarms"]}
    for name in wanted:
        entry = active.get(name) or {"n": _occurrence(client, name, op, list(active))}
        done = client.post(place("alarms", name), {"op": op, "n": entry["n"]})
        if done["state"] == "RESET" and _still_tripped(client, name):
            raise Failed(STANDS.format(name=name))
        number = f" #{done['n']}" if "n" in done else ""  # an interlock is not counted
        say(DONE, alarm=name + number, state=state_text(done["state"]))
    return OK


def _occurrence(client: Client, name: str, op: str, active: list[str]) -> int:
    """The occurrence to name for something that is no present alarm: 0, the server decides."""
    model = client.get("model")
    known = [*model["alarms"], *(model["interlocks"] if op == "reset" else ())]
    if name in known:
        return 0
    close = get_close_matches(name, active + known, 1, 0.4)
    zh = f'; 是不是 "{close[0]}"?' if close else ""
    en = f'; did you mean "{close[0]}"?' if close else ""
    what = NOTHING_RESETS if op == "reset" else NO_ALARM
    raise Failed(Text(what.zh.format(name=name) + zh, what.en.format(name=name) + en))


def _still_tripped(client: Client, name: str) -> bool:
    """Whether an interlock, or a rule that locks out, has not let go: its cause stands."""
    at = f"{name}.tripped"
    model = client.get("model")
    for _ in range(RESET_LOOKS):
        time.sleep(RESET_LOOK)  # noqa: TID251  a command that a person waits for
        values = {point.id: point.value for point in shown(model, client.get("snapshot"))}
        if not values.get(at):
            return False
    return True


def _history(client: Client, since: str, as_json: bool) -> int:
    until = client.get("snapshot")["t"]
    entries = client.get(f"alarms?from={until - seconds(since)}&to={until}")
    if as_json:
        click.echo(json.dumps(entries, ensure_ascii=False))
        return OK
    model = client.get("model")
    for entry in entries:
        when = datetime.datetime.fromtimestamp(entry["t"]).astimezone()
        text = model["alarms"].get(entry["id"], {}).get("text", {}).get(language(), "")
        state = state_text(entry["state"]).of(language())
        click.echo(f"{when:%Y-%m-%d %H:%M:%S}  P{entry['priority']} {entry['id']} #{entry['n']}  "
                   f"{state}  {entry['by']}  {text}".rstrip())  # fmt: skip
    return OK


def seconds(text: str) -> float:
    """A duration as people write it; a mistake is `Failed`."""
    from edge.schema.model import Refusal
    from edge.schema.units import parse_duration

    try:
        return parse_duration(text)
    except Refusal as refusal:
        raise Failed(refusal.text, 2) from None


NO_ALARMS = Text("没有报警", "no alarms")
NO_ALARM = Text('没有报警 "{name}"', 'there is no alarm "{name}"')
NOTHING_RESETS = Text(
    '没有可复位的报警、联锁或规则 "{name}"',
    'there is no alarm, interlock or rule "{name}" that a person resets',
)
STANDS = Text(
    "{name}: 原因仍在, 未复位; 见 edge alarms 和 edge explain {name}.tripped",
    "{name} is not reset: its cause stands; see `edge alarms`, `edge explain {name}.tripped`",
)
RESET_LOOK, RESET_LOOKS = 0.25, 4  # s between looks at what was reset; a scan takes 0.1
DONE = Text("{alarm}: {state}", "{alarm}: {state}")
CAUSE = Text("原因: ", "cause: ")
CONSEQUENCE = Text("后果: ", "consequence: ")

SET_ASIDE = Text(
    "另有 {count} 条被抑制或搁置 (见 --json)", "{count} more are suppressed or shelved (see --json)"
)
ASIDE = frozenset({"SUPPRESSED", "SHELVED", "OOS"})
STATES = {
    "RESET": Text("已复位", "reset"),
    "NORMAL": Text("正常", "normal"),
    "UNACK": Text("未确认", "unacknowledged"),
    "ACKED": Text("已确认", "acknowledged"),
    "RTN_UNACK": Text("恢复未确认", "returned, unacknowledged"),
    "LATCHED_UNACK": Text("锁存未确认", "latched, unacknowledged"),
    "LATCHED_ACKED": Text("锁存已确认", "latched, needs a reset"),
    "SHELVED": Text("搁置", "shelved"),
    "SUPPRESSED": Text("设计抑制", "suppressed"),
    "OOS": Text("停用", "out of service"),
}
