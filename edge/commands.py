"""Commands of persons and remote systems, from the envelope to the end of the lease.

Pure and synchronous: the image is read, slots are asked for by an injected `ask`, answers leave by
an injected `answer`. Not the ladder, which is the scan's: this only fills slots 7 and 8. Called by
the app for messages from the broker and the local API, and after each scan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from edge.admission import LEASE, Admission, Subject, Turn, shown, span
from edge.clock import Clock
from edge.envelope import (
    TEXTS,
    Answer,
    Envelope,
    Rejected,
    State,
    answer_from_json,
    named_id,
    parse,
)
from edge.hold import Hold, hold_from_json
from edge.image.image import ProcessImage
from edge.image.slots import NAMES_ZH, Slot
from edge.site.site import Role, Site
from edge.text import Text

__all__ = ["Answer", "Commands", "State"]

Ask = Callable[[int, str, float, float], None]
"""Slot, point, value (NaN withdraws), site time at which it lapses (inf never)."""

WIN = 5.0  # seconds in which a slot must win its output
TRAVEL, SLACK = 1.3, 5.0  # domain.md §5.4: travel time × 1.3 + 5 s
TELL = 2.0  # seconds for which a write may wait before that is told
LOOK = 0.25  # seconds between looks at holds that have nothing left to prove
ACCEPTED_KEPT, REFUSED_KEPT, RETAINED_KEPT, SHOWN = 500, 200, 50, 20


class Commands:
    """All commands of one site. `session` is the boot id that remote commands must name.

    `turn(point, now)` says when an output may be written: some wear out.
    """

    def __init__(
        self,
        site: Site,
        image: ProcessImage,
        *,
        session: str,
        ask: Ask,
        answer: Callable[[Answer], None],
        turn: Callable[[str, float], Turn] = lambda _point, _now: Turn(),
    ) -> None:
        self._image = image
        self._turn = turn
        self._ask = ask
        self._report = answer
        self._admission = Admission(site, image, session)
        self._holds: dict[tuple[str, int], Hold] = {}
        self._subjects: dict[str, Subject] = {}
        self._accepted: dict[str, Answer] = {}
        self._refused: dict[str, Answer] = {}
        self._pending: list[Hold] = []
        self._look = -math.inf
        self.closed = False  # set when the controller stops: everything is refused

    # ── receiving ──────────────────────────────────────────────────────────────────────────────

    def receive(
        self,
        envelope: bytes | Mapping[str, Any],
        *,
        via: Literal["mqtt", "bms", "local"],
        retained: bool = False,
        topic_target: tuple[str, str] | None = None,
        user: str | None = None,
        now: float,
        wall: float,
        trusted: bool = True,
    ) -> Answer:
        """Check a command and, if nothing speaks against it, ask for its slot.

        Every answer leaves by the injected `answer`; the last one is returned too. `trusted`:
        whether the wall clock may judge expiry. A command whose id is known is answered with what
        became of it and moves nothing.
        """
        remote = via != "local"
        draft = Answer(
            named_id(envelope), "", "", None, State.REJECTED, "", None, user or "", "", via,
            None, None, "", wall,
        )  # fmt: skip
        try:
            if self.closed:
                raise Rejected("STOPPING")
            command = parse(envelope)
            draft = replace(
                draft, point=command.point_id(), op=command.op, value=command.value,
                reason=command.reason, dry_run=command.dry_run,
            )  # fmt: skip
            if remote:
                draft = replace(draft, by=command.actor.user if command.actor else "")
            self._admission.form(command, topic_target, remote)
            self._admission.fresh(command, remote, retained, wall if trusted else None)
        except Rejected as refusal:  # not kept: a forged id must not stand in a real one's way
            return self._say(replace(draft, code=refusal.code, text=refusal.text))
        if known := self.answer_to(command.id):
            return self._say(replace(known, duplicate=True))
        draft = replace(draft, role=self._admission.role(draft.by) or ("" if remote else "local"))
        self._say(replace(draft, state=State.RECEIVED))
        try:
            valid = self._admission.valid(command, remote, now, wall if trusted else None)
            return self._decide(command, draft, remote, now, valid)
        except Rejected as refusal:
            answer = replace(draft, code=refusal.code, text=refusal.text)
            self._remember(self._refused, answer, REFUSED_KEPT)
            return self._say(answer)

    def _decide(
        self, command: Envelope, draft: Answer, remote: bool, now: float, valid: float
    ) -> Answer:
        subject, lease = self._admit(command, draft.point, draft.by, remote, now, valid)
        slot = Slot.REMOTE if remote else Slot.LOCAL
        held = self._holds.get((draft.point, slot))
        present = self._admission.present(subject)
        answer = replace(
            draft, state=State.ACCEPTED, feedback=_number(present),
            until=draft.ts + lease if math.isfinite(lease) else None,
        )  # fmt: skip
        if command.dry_run:
            return self._say(answer)
        self._remember(self._accepted, answer, ACCEPTED_KEPT)
        self._say(answer)
        if held is not None:
            self._end(held, "superseded" if command.op == "set" else "release", answer)
        value = math.nan if command.value is None else command.value
        self._begin(
            Hold(answer.id, answer.point, slot, value, now + lease, now, now, present, valid=valid),
            subject,
        )
        return answer

    def _admit(
        self, command: Envelope, point: str, by: str, remote: bool, now: float,
        valid: float = math.inf, *, count: bool = True,
    ) -> tuple[Subject, float]:  # fmt: skip
        """Every check of who, what and now, in order; the lease in seconds. Raises `Rejected`."""
        check = self._admission
        subject = check.authority(point, by, remote)
        lease = check.range(command, subject)
        check.step(command, subject)
        if remote:
            check.rate(point, now, count=count)
        check.expect(command, subject)
        if command.op == "set":
            check.local(subject, remote)
            check.interlock(subject)
        held = self._holds.get((point, Slot.REMOTE)) if remote else None
        if held is not None and self._accepted[held.id].by != by:
            raise self._conflict(held, now)
        check.in_time(command, subject, self._turn(point, now), now, min(valid, now + lease))
        return subject, lease

    # ── for whom repeats in a cycle what he wants ──────────────────────────────────────────────

    def repeats(self, point: str, value: float, by: str, now: float, wall: float) -> bool:
        """Whether a remote command would ask for what `by` holds there already (NaN: nothing).

        Nothing is recorded, but once half of the lease is over it runs anew, and that is.
        """
        held = self._holds.get((point, Slot.REMOTE))
        if self.closed or held is None or self._accepted[held.id].by != by:
            return not self.closed and math.isnan(value)
        if held.value != value:
            return False
        subject = self._subjects[point]
        lease = LEASE if subject.grant is None else subject.grant.lease
        if held.expires - now < lease / 2:
            held.expires = now + lease
            self._ask(held.slot, point, held.value, held.expires)
            self._accepted[held.id] = replace(self._accepted[held.id], until=wall + lease, ts=wall)
            self._say(self._accepted[held.id])
        return True

    def refusal(self, point: str, value: float, by: str, now: float) -> str:
        """The code with which a remote command would be refused now, "" when it would pass."""
        wanted = None if math.isnan(value) else value
        command = Envelope(id="-", op="release" if wanted is None else "set", value=wanted)
        try:
            if self.closed:
                raise Rejected("STOPPING")
            self._admit(command, point, by, True, now, count=False)
        except Rejected as refusal:
            return refusal.code
        return ""

    def _conflict(self, held: Hold, now: float) -> Rejected:
        left = f"{max(held.expires - now, 0):.0f}"
        until = Text(f"{left} 秒后到期", f"for another {left} s")
        by = self._accepted[held.id].by
        return Rejected("CONFLICT", point=held.point, holder=by, until=until)

    def _begin(self, hold: Hold, subject: Subject) -> None:
        self._subjects[hold.point] = subject
        if not math.isnan(hold.value):
            self._holds[hold.point, hold.slot] = hold
        if hold.pending:
            self._pending.append(hold)
        self._ask(hold.slot, hold.point, hold.value, hold.expires)

    # ── following ──────────────────────────────────────────────────────────────────────────────

    def step(self, now: float, wall: float) -> None:
        """Follow what is under way and end what is over. After each scan."""
        if self._pending:
            for hold in self._pending:
                self._follow(hold, now, wall)
            self._pending = [hold for hold in self._pending if hold.pending]
        if now >= self._look and self._holds:
            self._look = now + LOOK
            for hold in list(self._holds.values()):
                if code := self._over(hold, now):
                    self._ask(hold.slot, hold.point, math.nan, math.inf)
                    self._end(hold, code, wall=wall)

    def _follow(self, hold: Hold, now: float, wall: float) -> None:
        """One look at a command that is not at its end yet."""
        subject = self._subjects[hold.point]
        request = float(self._image.request[hold.slot - 1, subject.ordinal])
        if not hold.pending:
            return
        if math.isnan(hold.value):
            if math.isnan(request):
                self._proceed(hold, State.VERIFIED, wall)
        elif math.isnan(hold.wins):
            self._await_slot(hold, subject, request, now, wall)
        else:
            self._await_proof(hold, subject, now, wall)

    def _await_slot(
        self, hold: Hold, subject: Subject, request: float, now: float, wall: float
    ) -> None:
        owner = int(self._image.owner[subject.ordinal])
        if owner == hold.slot and request == hold.value:
            hold.wins = now
            self._proceed(hold, State.EXECUTING, wall)
        elif owner in (0, Slot.MIN_TIME):
            hold.asked = now  # a minimum time passes by itself, and so does a start
        elif now - hold.asked >= WIN:
            code, what = "HELD", _slot_name(owner)
            if owner == Slot.PROTECT:
                code, what = "INTERLOCK", self._admission.protection(subject)
            self._give_up(hold, wall, code, point=hold.point, what=what)

    def _give_up(self, hold: Hold, wall: float, code: str, **places: object) -> None:
        """Answered as failed, it must not act after all when what hinders it is gone."""
        self._holds.pop((hold.point, hold.slot), None)
        self._ask(hold.slot, hold.point, math.nan, math.inf)
        self._proceed(hold, State.TIMEOUT, wall, code, None, **places)

    def _waits(self, hold: Hold, now: float, wall: float) -> bool:
        """Whether its write waits for its turn; it has to follow only from when that went out."""
        turn = self._turn(hold.point, now)
        if not turn.waiting:
            if hold.waits:
                hold.waits = False
                self._proceed(hold, State.EXECUTING, wall)
            return False
        hold.wins = now
        point, left = hold.point, turn.at - now
        if turn.at > hold.last and left > TELL:  # less is the pace of a ramp that goes on
            self._give_up(hold, wall, turn.code, point=point, wait=span(left))
        elif not hold.waits and left > TELL:
            hold.waits, due = True, wall + left
            self._proceed(hold, State.EXECUTING, wall, turn.code, due, point=point, wait=span(left))
        return True

    def _await_proof(self, hold: Hold, subject: Subject, now: float, wall: float) -> None:
        output = subject.output
        seen = self._admission.usable(subject.proof)
        if subject.point.role is Role.SETPOINT:
            seen = float(self._image.target[subject.ordinal])
        independent = output.feedback is not None or subject.point.role is Role.SETPOINT
        there = abs(seen - hold.value) <= max(output.tolerance, 1e-9)
        if there and independent and hold.moved(seen):
            self._proceed(hold, State.VERIFIED, wall)
            return
        if self._waits(hold, now, wall):
            return
        if there and not independent:
            if now - hold.wins >= output.settle:
                self._proceed(hold, State.WRITTEN_UNVERIFIED, wall)
            return
        travel = abs(hold.value - hold.began) / output.rate
        travel = travel if math.isfinite(travel) else 0.0
        if now - hold.wins < output.settle + TRAVEL * travel + SLACK:
            return
        if there:  # near enough already before: that it stands there proves no movement
            self._proceed(hold, State.WRITTEN_UNVERIFIED, wall)
        elif math.isnan(seen):
            self._proceed(hold, State.TIMEOUT, wall, "NO_FEEDBACK", point=hold.point)
        else:
            self._proceed(
                hold, State.MISMATCH, wall, "NOT_FOLLOWED", point=hold.point, value=hold.value,
                present=shown(seen),
            )  # fmt: skip

    def _over(self, hold: Hold, now: float) -> str:
        """Why a hold ends now, "" when it does not."""
        if now >= hold.expires:
            return "lease_end"
        subject = self._subjects[hold.point]
        if self._admission.in_hand(subject):
            return "local_takeover"
        if hold.slot == Slot.REMOTE and self._admission.asked(subject, Slot.LOCAL):
            return "local_takeover"
        return ""

    def _proceed(
        self, hold: Hold, state: State, wall: float, code: str = "", due: float | None = None,
        **places: object,
    ) -> None:  # fmt: skip
        hold.pending = state is State.EXECUTING
        present = self._admission.present(self._subjects[hold.point])
        text = TEXTS[code].format(**places) if code else None
        self._update(
            hold.id, state=state, code=code, text=text, feedback=_number(present), ts=wall, due=due
        )

    def _end(
        self, hold: Hold, code: str, by: Answer | None = None, *, wall: float = math.nan
    ) -> None:
        """A hold is no more; `by` is the command that ended it."""
        hold.pending = False
        self._holds.pop((hold.point, hold.slot), None)
        state = State.SUPERSEDED if code == "superseded" else State.REVERTED
        text = TEXTS[code].format(by=by.id if by else "")
        present = _number(self._admission.present(self._subjects[hold.point]))
        ts = by.ts if by else wall
        self._update(hold.id, state=state, code=code, text=text, feedback=present, ts=ts)

    def _update(self, id: str, **changes: Any) -> None:
        if (answer := self._accepted.get(id)) is not None:
            answer = replace(answer, **{"due": None} | changes)
            self._accepted[id] = answer
            self._say(answer)

    def _remember(self, answers: dict[str, Answer], answer: Answer, most: int) -> None:
        """The oldest make place, but not those that still hold a slot, and not the newest."""
        answers[answer.id] = answer
        if len(answers) > most:
            kept = {answer.id, *(hold.id for hold in self._holds.values())}
            if oldest := next((id for id in answers if id not in kept), ""):
                del answers[oldest]

    def _say(self, answer: Answer) -> Answer:
        self._report(answer)
        return answer

    # ── for others to see ──────────────────────────────────────────────────────────────────────

    def answer_to(self, id: str) -> Answer | None:
        """What became of a command, None when its id is not known any more."""
        return self._accepted.get(id) or self._refused.get(id)

    def latest(self) -> Sequence[Answer]:
        """The last few accepted commands as they stand, oldest first."""
        return list(self._accepted.values())[-SHOWN:]

    def names(self) -> dict[tuple[str, int], str]:
        """Who asks, by point and slot."""
        return {key: self._accepted[hold.id].by for key, hold in self._holds.items()}

    def holds(self, clock: Clock) -> dict[str, dict[str, Any]]:
        """What persons hold, the stronger slot of a point; times are wall seconds."""
        found: dict[str, dict[str, Any]] = {}
        for hold in sorted(self._holds.values(), key=lambda hold: -hold.slot):
            answer = self._accepted[hold.id]
            until = clock.wall_at(hold.expires) if math.isfinite(hold.expires) else None
            found[hold.point] = {
                "slot": hold.slot, "value": hold.value, "by": answer.by,
                "since": clock.wall_at(hold.since), "until": until, "reason": answer.reason,
            }  # fmt: skip
        return found

    # ── over a restart or a reload ─────────────────────────────────────────────────────────────

    def retain(self) -> dict[str, Any]:
        """Leases and the last answers, as plain data. To be kept whenever an answer left."""
        held = {hold.id for hold in self._holds.values()}
        recent = set(list(self._accepted)[-RETAINED_KEPT:]) | held
        return {
            "holds": [hold.as_json() for hold in self._holds.values()],
            "answers": [a.as_json() for id, a in self._accepted.items() if id in recent],
        }

    def restore(
        self, kept: Mapping[str, Any] | None, now: float, wall: float, *, known: bool = True
    ) -> None:
        """Take leases up again, or end them: over, unknown how long nothing ran, no authority.

        `known`: whether site time was advanced by the time nothing ran.
        """
        for data in (kept or {}).get("answers", ()):
            answer = answer_from_json(data)
            self._accepted[answer.id] = answer
        for data in (kept or {}).get("holds", ()):
            self._resume(hold_from_json(data, now), now, wall, known)

    def _resume(self, hold: Hold, now: float, wall: float, known: bool) -> None:
        answer = self._accepted[hold.id]
        remote = hold.slot == Slot.REMOTE
        code = ""
        if now >= hold.expires:
            code = "lease_end"
        elif math.isfinite(hold.expires) and not known:
            code = "reboot"
        try:
            subject = self._admission.authority(hold.point, answer.by, remote)
            self._admission.bounds(subject, hold.value)
        except Rejected as refusal:
            text = TEXTS[code or "authority"].format()
            why = {"code": code or "authority", "text": refusal.text or text}
            self._update(hold.id, state=State.REVERTED, feedback=None, ts=wall, **why)
            return
        if code:
            self._subjects[hold.point] = subject
            self._end(hold, code, wall=wall)
            return
        self._begin(hold, subject)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _slot_name(slot: int) -> Text:
    if slot in NAMES_ZH:
        name = Slot(slot)
        return Text(NAMES_ZH[name], name.name.lower().replace("_", " "))
    return Text(f"优先级 {slot}", f"priority {slot}")
