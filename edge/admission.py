"""Whether a command may pass: the checks of domain.md §5.4, in their order, each with its code.

Pure: reads the site and the image, changes nothing but its own count of recent commands. What
follows when a command passes is `edge/commands.py`, its only caller.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple

from edge.blocks.kind import trips
from edge.envelope import Envelope, Rejected, point_id
from edge.image import quality
from edge.image.image import ProcessImage
from edge.image.slots import Slot
from edge.site.site import Grant, Output, Point, Role, Site
from edge.text import Text

VALIDITY = 120.0  # seconds that a command may be valid
SKEW = 10.0  # seconds that the sender's clock may be ahead
PER_POINT, PER_SITE, MINUTE = 6, 30, 60.0
LEASE = 1800.0  # seconds; domain.md §5.5
LEASE_OUTPUT, LEASE_SETPOINT = 3600.0, 8 * 3600.0


class Turn(NamedTuple):
    """When an output may be written: at site time `at`; `code` says why not before.

    `waiting`: a write of it stands in line, and waits for that alone.
    """

    at: float = -math.inf
    code: Literal["", "WRITE_INTERVAL", "WRITES_SPENT"] = ""
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """The point that a command means. `proof` is the index of what shows that it followed."""

    point: Point
    output: Output
    ordinal: int
    proof: int
    grant: Grant | None


class Admission:
    """The checks of one site. `session` is the boot id that remote commands must name."""

    def __init__(self, site: Site, image: ProcessImage, session: str) -> None:
        self._site = site
        self._image = image
        self._session = session
        self._roles = {user.id: user.role for user in site.users}
        self._grants = {grant.point: grant for grant in site.grants}
        self._index = site.index()
        self._ordinals = {int(i): c for c, i in enumerate(image.commandable)}
        self._interlocks: dict[str, list[Text]] = {}
        for interlock in site.interlocks:
            for point in interlock.trip:
                self._interlocks.setdefault(point, []).append(interlock.name)
        for rule in site.rules:
            for point in trips(rule.model):
                self._interlocks.setdefault(point, []).append(Text(rule.id, rule.id))
        self._recent: dict[str, deque[float]] = {}

    def role(self, user: str) -> str:
        """The role that the site gives a person, "" when it knows none of that name."""
        return self._roles.get(user, "")

    def present(self, subject: Subject) -> float:
        """Where the equipment is: its feedback, else its own value, else the target; or NaN."""
        for index in dict.fromkeys((subject.proof, self._index[subject.point.id])):
            if not math.isnan(value := self.usable(index)):
                return value
        return float(self._image.target[subject.ordinal])

    def usable(self, index: int) -> float:
        """The value of a point, NaN when it must not be used."""
        if self._image.quality[index] & quality.BAD:
            return math.nan
        return float(self._image.value[index])

    # ── what the envelope itself says ──────────────────────────────────────────────────────────

    def form(self, command: Envelope, topic_target: tuple[str, str] | None, remote: bool) -> None:
        """MALFORMED: what can be said without knowing who and when."""
        if (command.target is None) == (command.point is None):
            raise malformed("target 与 point 须给出其一", "give either target or point")
        if remote and topic_target is None:
            raise malformed("主题应为 cmd/设备/点", "the topic must be cmd/device/point")
        if topic_target is not None and point_id(*topic_target) != command.point_id():
            raise malformed("主题与 target 不一致", "the topic and the target differ")
        if remote and (command.ts is None or command.expires is None):
            raise malformed("缺少 ts 或 expires", "ts or expires is missing")
        if (command.value is None) != (command.op == "release"):
            raise malformed("set 须有 value, release 不得有", "set has a value, release has none")
        index = self._index.get(command.point_id())
        if index is not None and command.unit is not None:
            unit = self._site.points[index].unit
            if command.unit != unit:
                raise malformed(f"单位应为 “{unit}”", f'the unit must be "{unit}"')

    def fresh(self, command: Envelope, remote: bool, retained: bool, wall: float | None) -> None:
        """RETAINED, BAD_SESSION, EXPIRED. `wall` is None when the clock cannot be trusted.

        Then the session alone keeps old commands out, and the broker keeps none for more than two
        minutes.
        """
        if retained:
            raise Rejected("RETAINED")
        if remote and command.session != self._session:
            raise Rejected("BAD_SESSION")
        if command.expires is None:
            return
        scale = 1e3 if remote else 1.0
        expires = command.expires / scale
        if wall is not None and wall > expires:
            late = f"{wall - expires:.1f}"
            raise Rejected("EXPIRED", what=Text(f"晚到 {late} 秒", f"{late} s too late"))
        validity = 0.0 if command.ts is None else expires - command.ts / scale
        if wall is not None:
            validity = max(validity, expires - wall - SKEW)
        if validity > VALIDITY:
            what = Text("有效期超过 120 秒", "it would be valid for more than 120 s")
            raise Rejected("EXPIRED", what=what)

    def valid(self, command: Envelope, remote: bool, now: float, wall: float | None) -> float:
        """Until which site time a command is valid; inf where that cannot be said."""
        if command.expires is None or wall is None:
            return math.inf
        return now + command.expires / (1e3 if remote else 1.0) - wall

    # ── who, and which point ───────────────────────────────────────────────────────────────────

    def authority(self, name: str, user: str, remote: bool) -> Subject:
        """UNAUTHENTICATED, FORBIDDEN, NOT_WRITABLE."""
        role, grant = self.role(user), self._grants.get(name)
        if remote and not role:
            raise Rejected("UNAUTHENTICATED", user=user or "?")
        if role == "viewer" or (remote and grant is not None and role not in grant.roles):
            raise Rejected("FORBIDDEN", role=role, user=user, point=name)
        index = self._index.get(name)
        if index is None:
            raise _not_writable(name, "没有此点", "there is no such point")
        point = self._site.points[index]
        if point.fire:
            raise _not_writable(name, "属于消防, 只读", "it belongs to fire equipment: read only")
        if point.output is None or point.role not in (Role.OUTPUT, Role.SETPOINT):
            raise _not_writable(name, "不是输出或设定值", "it is neither an output nor a setpoint")
        if remote and grant is None:
            raise _not_writable(name, "未在 commands 中开放", "`commands` does not open it")
        proof = self._index[point.output.feedback] if point.output.feedback else index
        return Subject(point, point.output, self._ordinals[index], proof, grant if remote else None)

    # ── the value, against limits and the present ──────────────────────────────────────────────

    def range(self, command: Envelope, subject: Subject) -> float:
        """OUT_OF_RANGE; the lease in seconds, inf for a local setpoint that stays."""
        point, grant = subject.point, subject.grant
        if command.value is None:
            return math.inf
        if point.bypass and (command.lease_s is None or not command.reason.strip()):
            raise malformed("旁路须有 lease_s 和 reason", "a bypass has a lease_s and a reason")
        self.bounds(subject, command.value)
        if grant is not None:
            usual, longest = grant.lease, grant.lease_max
        elif point.role is Role.SETPOINT:
            usual, longest = math.inf, LEASE_SETPOINT
        else:
            usual, longest = LEASE, LEASE_OUTPUT
        lease = command.lease_s
        if lease is not None and lease > longest:
            raise Rejected("OUT_OF_RANGE", what="lease_s", value=lease, low=0.0, high=longest)
        return usual if lease is None else lease

    def bounds(self, subject: Subject, value: float) -> None:
        """OUT_OF_RANGE: the point's own limits and, from afar, the grant's."""
        point, grant = subject.point, subject.grant
        low, high = point.low, point.high
        if grant is not None:
            low, high = max(low, grant.low), min(high, grant.high)
        if not low <= value <= high or (point.labels and value not in point.labels):
            raise Rejected("OUT_OF_RANGE", what=point.id, value=value, low=low, high=high)

    def step(self, command: Envelope, subject: Subject) -> None:
        """STEP_TOO_LARGE, also when nobody knows where the equipment is."""
        step = math.inf if subject.grant is None else subject.grant.step
        if command.value is None or math.isinf(step):
            return
        present = self.present(subject)
        if not abs(command.value - present) <= step * (1 + 1e-9):
            raise Rejected(
                "STEP_TOO_LARGE", point=subject.point.id, present=shown(present), step=step
            )

    def in_time(
        self, command: Envelope, subject: Subject, turn: Turn, now: float, last: float
    ) -> None:
        """WRITES_SPENT, WRITE_INTERVAL: the write could go out only after `last`, when it is over.

        Not for what the output has been given already.
        """
        target = float(self._image.target[subject.ordinal])
        if command.value is None or abs(command.value - target) <= subject.output.deadband:
            return
        if turn.at > max(now, last):
            raise Rejected(turn.code, point=subject.point.id, wait=span(turn.at - now))

    def rate(self, name: str, now: float, *, count: bool = True) -> None:
        """RATE_LIMITED: so many a minute for a point and for the site; counts this one or not."""
        for key, limit in ((name, PER_POINT), ("", PER_SITE)):
            recent = self._recent.setdefault(key, deque())
            while recent and now - recent[0] >= MINUTE:
                recent.popleft()
            if len(recent) >= limit:
                raise Rejected("RATE_LIMITED", limit=limit)
        if count:
            for key in (name, ""):
                self._recent[key].append(now)

    def expect(self, command: Envelope, subject: Subject) -> None:
        """EXPECT_MISMATCH: compare and set."""
        if command.expect is None:
            return
        present = self.present(subject)
        if not abs(present - command.expect.value) <= command.expect.tol:
            raise Rejected(
                "EXPECT_MISMATCH", point=subject.point.id, present=shown(present),
                expected=command.expect.value,
            )  # fmt: skip

    # ── who else is there ──────────────────────────────────────────────────────────────────────

    def local(self, subject: Subject, remote: bool) -> None:
        """LOCAL_MODE: the switch at the equipment, and a person on site before one far away."""
        name = subject.point.id
        if not self.automatic(subject):
            what = Text("手停自转换开关不在自动位", "its Hand-Off-Auto switch is not at Auto")
            raise Rejected("LOCAL_MODE", point=name, what=what)
        if remote and self.asked(subject, Slot.LOCAL):
            what = Text("就地手动正在给定", "a person on site holds it")
            raise Rejected("LOCAL_MODE", point=name, what=what)

    def interlock(self, subject: Subject) -> None:
        """INTERLOCK, with the names of those that can hold this point."""
        if self.asked(subject, Slot.PROTECT):
            raise Rejected("INTERLOCK", point=subject.point.id, what=self.protection(subject))

    def automatic(self, subject: Subject) -> bool:
        """Whether the hard-wired switch, if there is one, is known to be at Auto."""
        hoa = subject.point.hoa
        return hoa is None or self.usable(self._index[hoa]) == 1.0

    def in_hand(self, subject: Subject) -> bool:
        """Whether the hard-wired switch is known to be at Hand or Off; a lost contact is not."""
        hoa = subject.point.hoa
        if hoa is None:
            return False
        seen = self.usable(self._index[hoa])
        return not math.isnan(seen) and seen != 1.0

    def asked(self, subject: Subject, slot: int) -> bool:
        """Whether somebody asks at `slot`."""
        return not math.isnan(self._image.request[slot - 1, subject.ordinal])

    def protection(self, subject: Subject) -> Text:
        """The interlocks and rules that trip this point, or simply "protection"."""
        names = self._interlocks.get(subject.point.id)
        if not names:
            return Text("保护", "a protection")
        return Text("、".join(n.zh for n in names), ", ".join(n.en for n in names))


def malformed(zh: str, en: str) -> Rejected:
    """What is wrong with the form of a command."""
    return Rejected("MALFORMED", what=Text(zh, en))


def shown(value: float) -> Text:
    """A present value as people read it."""
    return Text("未知", "unknown") if math.isnan(value) else Text(f"{value:g}", f"{value:g}")


def span(seconds: float) -> Text:
    """How long, as people say it: whole seconds, minutes or hours, rather more than less."""
    for length, zh, en in ((3600.0, "小时", "h"), (60.0, "分钟", "min")):
        if seconds > 2 * length:
            count = math.ceil(seconds / length)
            return Text(f"{count} {zh}", f"{count} {en}")
    count = math.ceil(seconds)
    return Text(f"{count} 秒", f"{count} s")


def _not_writable(name: str, zh: str, en: str) -> Rejected:
    return Rejected("NOT_WRITABLE", point=name, what=Text(zh, en))
