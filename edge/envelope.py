"""A command's envelope, its answers, and why a command can be refused (domain.md §5.4).

Only shapes and words; what is checked and what follows is `edge/commands.py`. Read by the uplink
and the local API as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from edge.schema.model import Model
from edge.text import Text

ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")  # becomes a level of a topic
LARGEST = 16_384  # bytes
NO_DEVICE = "_site"  # what virtual points and setpoints have in place of a device


class Target(Model):
    """The point that is meant."""

    device: str
    point: str


class Expect(Model):
    """Compare and set: refused unless the present value is within `tol` of `value`."""

    value: float
    tol: Annotated[float, Field(ge=0)]


class Actor(Model):
    """Who asks. Only `user` counts; the role comes from the site."""

    user: str
    role: str = ""
    via: str = ""


class Envelope(Model):
    """A command. `ts` and `expires` are Unix milliseconds from afar, seconds on the local API.

    The point stands in `target` or, as "device.point", in `point`. `auth` and `approve` are carried
    for the day when signatures and second persons are checked; nothing is granted by them.
    """

    id: Annotated[str, Field(pattern=f"^{ID.pattern}$")]
    op: Literal["set", "release"]
    target: Target | None = None
    point: str | None = None
    value: float | None = None
    unit: str | None = None
    expect: Expect | None = None
    lease_s: Annotated[float, Field(gt=0)] | None = None
    on_expiry: Literal["release"] = "release"
    ts: float | None = None
    expires: float | None = None
    session: str | None = None
    actor: Actor | None = None
    auth: dict[str, Any] | None = None
    approve: tuple[str, ...] = ()
    reason: Annotated[str, Field(max_length=200)] = ""
    dry_run: bool = False

    def point_id(self) -> str:
        """The point as the site names it."""
        if self.target is None:
            return self.point or ""
        return point_id(self.target.device, self.target.point)


def point_id(device: str, point: str) -> str:
    """The site's name of a point that a topic or a target names in two parts."""
    return point if device == NO_DEVICE else f"{device}.{point}"


class State(StrEnum):
    """Where a command has come to."""

    RECEIVED = "RECEIVED"
    ACCEPTED = "ACCEPTED"
    EXECUTING = "EXECUTING"  # its slot has won the output
    VERIFIED = "VERIFIED"  # by a feedback that is independent of the write
    WRITTEN_UNVERIFIED = "WRITTEN_UNVERIFIED"  # read back from where it was written
    MISMATCH = "MISMATCH"
    TIMEOUT = "TIMEOUT"
    REJECTED = "REJECTED"
    SUPERSEDED = "SUPERSEDED"
    REVERTED = "REVERTED"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has come to. `code` says why it was refused, waits or reverted, else "".

    `ts`, `until` (end of the lease, None for none) and `due` (when a write that waits goes out) are
    wall seconds. `feedback` is the present value that was compared. `via` is "mqtt", "bms" or
    "local", `by` the person.
    """

    id: str
    point: str
    op: str
    value: float | None
    state: State
    code: str
    text: Text | None
    by: str
    role: str
    via: str
    feedback: float | None
    until: float | None
    reason: str
    ts: float
    duplicate: bool = False
    dry_run: bool = False
    due: float | None = None

    def as_json(self) -> dict[str, Any]:
        """For `cmdack`, the journal (`ts` in ms) and the local API (`t` in seconds)."""
        return {
            "id": self.id, "point": self.point, "op": self.op, "value": self.value,
            "state": self.state.value, "code": self.code,
            "text": None if self.text is None else {"zh": self.text.zh, "en": self.text.en},
            "by": self.by, "role": self.role, "via": self.via, "feedback": self.feedback,
            "until": self.until, "reason": self.reason, "ts": round(self.ts * 1000),
            "t": self.ts, "duplicate": self.duplicate, "dry_run": self.dry_run,
            "due": self.due,
        }  # fmt: skip


def answer_from_json(data: Mapping[str, Any]) -> Answer:
    """The inverse of `Answer.as_json`."""
    text = data["text"]
    return Answer(
        data["id"], data["point"], data["op"], data["value"], State(data["state"]), data["code"],
        None if text is None else Text(text["zh"], text["en"]), data["by"], data["role"],
        data["via"], data["feedback"], data["until"], data["reason"], data["t"],
        data["duplicate"], data["dry_run"], data.get("due"),
    )  # fmt: skip


class Rejected(Exception):
    """A command is refused: why, and as which of the codes below."""

    def __init__(self, code: str, **places: object) -> None:
        super().__init__(code)
        self.code = code
        self.text = TEXTS[code].format(**places)


def parse(raw: bytes | Mapping[str, Any]) -> Envelope:
    """Read an envelope strictly; raises `Rejected` MALFORMED with what is wrong and where."""
    if isinstance(raw, bytes) and len(raw) > LARGEST:
        raise Rejected("MALFORMED", what=TOO_LARGE)
    try:
        if isinstance(raw, bytes):
            return Envelope.model_validate_json(raw)
        return Envelope.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "JSON"
        fault = FAULTS.get(first["type"], Text(f"无效 ({first['type']})", first["msg"]))
        what = Text(f"{where}: {fault.zh}", f"{where}: {fault.en}")
        raise Rejected("MALFORMED", what=what) from None


def named_id(raw: bytes | Mapping[str, Any]) -> str:
    """The id that an envelope names even if all else in it is wrong, "" when it names none."""
    if isinstance(raw, bytes):
        try:
            raw = json.loads(raw) if len(raw) <= LARGEST else {}
        except (ValueError, RecursionError):
            return ""
    id = raw.get("id") if isinstance(raw, Mapping) else None
    return id if isinstance(id, str) and ID.fullmatch(id) else ""


FAULTS: Final = {
    "missing": Text("缺少此项", "is missing"),
    "extra_forbidden": Text("未知的项", "is not known"),
    "json_invalid": Text("不是 JSON", "is no JSON"),
    "finite_number": Text("须为有限的数", "must be a finite number"),
    "float_type": Text("须为数", "must be a number"),
    "string_type": Text("须为文本", "must be a text"),
    "bool_type": Text("须为 true 或 false", "must be true or false"),
    "literal_error": Text("不是允许的值", "is none of the allowed values"),
    "string_pattern_mismatch": Text(
        "须为 1 至 64 个字母、数字、- 或 _", "must be 1 to 64 letters, digits, - or _"
    ),
    "string_too_long": Text("过长", "is too long"),
    "greater_than": Text("须大于 0", "must be above 0"),
    "greater_than_equal": Text("不得小于 0", "must not be below 0"),
    "model_type": Text("须为对象", "must be an object"),
}
TOO_LARGE = Text(f"超过 {LARGEST} 字节", f"more than {LARGEST} bytes")

TEXTS: Final[Mapping[str, Text]] = {
    "STOPPING": Text("控制器正在停止", "the controller is stopping"),
    "MALFORMED": Text("命令格式错误: {what}", "the command is malformed: {what}"),
    "RETAINED": Text(
        "保留消息不作为命令执行; 请以 retain = false 发布",
        "a retained message is never a command; publish it with retain = false",
    ),
    "BAD_SESSION": Text(
        "会话不是本次启动; 请使用 status 中的 boot 重新发出",
        "the session is not this start of the controller; send it anew with the boot of status",
    ),
    "EXPIRED": Text("命令已过期: {what}", "the command has expired: {what}"),
    "UNAUTHENTICATED": Text("用户 {user} 不在本站点", "there is no user {user} at this site"),
    "FORBIDDEN": Text("{role} {user} 无权操作 {point}", "{user} as {role} may not command {point}"),
    "NOT_WRITABLE": Text("{point} 不可写: {what}", "{point} cannot be commanded: {what}"),
    "OUT_OF_RANGE": Text(
        "{what} {value:g} 超出 {low:g} 至 {high:g}",
        "{what} {value:g} is outside {low:g} to {high:g}",
    ),
    "STEP_TOO_LARGE": Text(
        "{point} 现为 {present}, 一次最多变动 {step:g}",
        "{point} is at {present}; one command may move it by {step:g} at most",
    ),
    "RATE_LIMITED": Text(
        "命令过于频繁: 每分钟最多 {limit} 条", "too many commands: at most {limit} a minute"
    ),
    "EXPECT_MISMATCH": Text(
        "{point} 现为 {present}, 不是预期的 {expected:g}",
        "{point} is at {present}, not at the expected {expected:g}",
    ),
    "LOCAL_MODE": Text("{point} 由现场控制: {what}", "{point} is under local control: {what}"),
    "INTERLOCK": Text("{point} 被 {what} 锁定", "{point} is held by {what}"),
    "CONFLICT": Text("{point} 正由 {holder} 控制, {until}", "{point} is held by {holder} {until}"),
    "HELD": Text(
        "{point} 被更高优先级 {what} 占用", "{point} is held at a stronger priority: {what}"
    ),
    "NOT_FOLLOWED": Text(
        "{point} 应为 {value:g}, 反馈 {present}", "{point} should be {value:g}, feedback {present}"
    ),
    "NO_FEEDBACK": Text("{point} 的反馈不可用", "the feedback of {point} is not usable"),
    "WRITES_SPENT": Text(
        "{point} 24 小时内的写入次数已满 (保护 EEPROM), {wait}后才能再写",
        "{point} was written as often in 24 h as its EEPROM should be; it can be written again "
        "in {wait}",
    ),
    "WRITE_INTERVAL": Text(
        "{point} 刚写过 (write_interval), {wait}后才能再写",
        "{point} was written a moment ago (write_interval); it can be written again in {wait}",
    ),
    "lease_end": Text("授权到期", "the lease is over"),
    "release": Text("已由人释放", "released by a person"),
    "local_takeover": Text("现场接管", "taken over on site"),
    "authority": Text("已无此权限", "the authority for it is gone"),
    "reboot": Text("停机时长不明, 授权结束", "nobody knows how long the controller was down"),
    "superseded": Text("被后来的命令 {by} 取代", "superseded by command {by}"),
}
