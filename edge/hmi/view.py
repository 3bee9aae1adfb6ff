"""What the local API needs from a running controller: one port, plain data.

Not the HTTP side (`server.py`). `edge.app` implements it over the scan, the buses, the store and
the uplinks; tests implement it over a dictionary. Every method is called on the loop and returns
at once unless it is `async`. Shapes follow the page's API, so that the page can stand on it later.
Times are Unix seconds; `None` stands for "no number" (NaN is not JSON: see `number`); a bilingual
text is `{"zh": …, "en": …}` (see `both`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

from edge.errors import EdgeError
from edge.image.image import Bits, Floats
from edge.text import Text

Json = dict[str, Any]


class Refused(EdgeError):
    """A request that was understood and is not done; `code` is stable, `text` is for people.

    `at` says where in the request or on the site, as far as that is known.
    """

    def __init__(self, code: str, text: Text, **at: object) -> None:
        super().__init__(text.en)
        self.code = code
        self.text = text
        self.at = at


class Values(NamedTuple):
    """Every point of the site, in the order of `model()["points"]`; the image's own arrays.

    `stamp` is site time like `now`; `wall` is the Unix time that belongs to `now`.
    """

    now: float
    wall: float
    value: Floats
    quality: Bits
    stamp: Floats


class View(Protocol):
    """A running controller, as seen from its socket. Refusals are raised as `Refused`."""

    def model(self) -> Json:
        """What does not change while running, as `edge/hmi/model.py` makes it."""
        ...

    def values(self) -> Values:
        """All values now. Read at once, never kept and never written."""
        ...

    def state(self) -> Json:
        """What stands beside the values. Short: it is made once a second while somebody looks.

            {"clock": "trusted" | "untrusted", "observe": false,
             "outputs": {"lobby.dimmer": {"value": 60.0, "slot": 14, "by": "lobby_light"}},
             "holds": {"lobby.dimmer": {"slot": 8, "value": 60.0, "by": "lisi", "since": …,
                       "until": … | null, "reason": "…"}},
             "alarms": [{"id": "ZONE3_LOW", "n": 118, "priority": 2, "state": "UNACK",
                         "raised": …, "numbers": {"zone3.pressure": 0.28}}],
             "commands": [{"id": "…", "point": "v3.position", "state": "VERIFIED", "t": …,
                           "value": 65.0, "feedback": 65.2, "code": "", "text": {…}}]}

        `outputs` has every commandable point: what the arbiter decided, which slot won (0 nobody)
        and who asks there (a rule, an interlock, a person; "" unknown). `held`: [40.0, 60.0] is
        what automatic requests are kept within while nobody sees where a valve stands, [null, null]
        when none of them moves it; mostly absent. `alarms` has every alarm
        that is not NORMAL, worst first; states as in ISA-18.2: UNACK ACKED RTN_UNACK LATCHED_UNACK
        LATCHED_ACKED SHELVED SUPPRESSED OOS. `commands` has the latest few.
        """
        ...

    def explain(self, point: str) -> Json:
        """Why the point has its value, level by level; `edge.rules.explain` defines and renders it.

        Refused UNKNOWN_POINT with the nearest names.
        """
        ...

    async def alarms(self, since: float, until: float) -> list[Json]:
        """The alarm journal between two Unix times, oldest first, at most some thousand.

        `{"id", "n", "t", "state", "priority", "by": "zhangsan" | "", "numbers": {…}}`
        """
        ...

    async def alarm(self, alarm: str, op: str, n: int, user: str) -> Json:
        """Do `ack` or `reset` on occurrence `n`; returns the alarm's entry as in `state()`.

        Refused UNKNOWN_ALARM; SUPERSEDED when `n` is not the present occurrence; STILL_ACTIVE for a
        reset while the cause stands; NOT_NEEDED when there is nothing to acknowledge or reset.
        """
        ...

    async def command(self, envelope: Json, user: str) -> Json:
        """Take a command envelope at slot `local`; returns its first answer, as in `state()`.

            {"id", "point", "op": "set" | "release", "value", "unit", "lease_s", "reason",
             "expires", "expect": {"value", "tol"}, "dry_run"}

        The actor is `user`, never what the envelope says. A refusal is an answer whose state is
        REJECTED, with `code` and `text`. Doing the same `id` again returns its present answer.
        """
        ...

    def command_state(self, command: str) -> Json | None:
        """The present answer to a command, None when the id is not known (any more)."""
        ...

    def health(self) -> Json:
        """How the controller itself is.

        {"site": "garden-court", "version": "0.1.0", "pid": 4711, "started": …,
         "scan": {"steps": …, "p50_ms": …, "p99_ms": …, "max_ms": …, "overruns": …, "skipped": …},
         "buses": [{"id", "driver", "up": true, "reason": null | {…}, "retry": … | null,
                    "requests": …, "writes": …, "errors": 5,
                    "failures": {"timeout": 3, "refused": 2, "bad_answer": 0, "link": 0},
                    "overruns": …, "load": 0.12 | null,
                    "p50_ms": 21.5 | null, "p99_ms": …, "age_s": …, "back_off_s": …,
                    "devices": [{"id", "online": true, "wrong": false, "since": … | null,
                                 "reason": null | {…}, "last": … | null, "retry": … | null,
                                 "requests": …, "errors": …, "failures": {…},
                                 "p50_ms": …, "p99_ms": …,
                                 "age_s": …, "back_off_s": …, "refused": 0 | null}]}],
         "uplinks": [{"id", "up": true, "backlog": …, "sent": …, "refused": …, "stream"}],
         "bms": null | {"listen": "0.0.0.0:1502", "up": true, "clients": ["192.168.10.7"],
                        "requests": …, "refused": …},
         "events": {"device-offline": 3}}

        Of a bus or a device: counts are since the start, `errors` is the sum of its `failures`;
        `p50_ms` and `p99_ms` are of its last 256 round trips, `age_s` is that of its oldest point,
        `back_off_s` for how long nothing was asked on purpose. `load` is the share of the last
        minute with a request under way, `overruns` counts polls that found no time. `since` is
        when a device fell silent, or was found to be `wrong` (not the one that `identity` names);
        `last` is its last answer; `retry` is when a bus is connected, or a silent device asked,
        next. `refused` counts the points that a device refuses now. An uplink's `refused` counts
        messages that the broker would not take, the scan's `skipped` answers that came faster than
        steps could see them.
        """
        ...

    async def read(self, point: str) -> Json:
        """Ask the field for one point now, past schedule and image.

            {"point", "driver", "device", "raw": "3ecccccd", "value": 0.4 | null, "quality": 0}

        `raw` is hex, the bytes as they came over the wire. Refused UNKNOWN_POINT, NOT_A_FIELD_POINT
        or READ_FAILED with the driver's reason.
        """
        ...

    def retry(self, name: str | None, user: str) -> Json:
        """Connect, and ask silent devices, now: of one bus or device, or (None) wherever it waits.

            {"buses": ["meters"], "devices": ["meter1", "meter2"]}

        What is tried; of several silent devices of a bus one at once and the others in turn.
        Refused UNKNOWN_DEVICE, or NOTHING_WAITS where there was no pause to end.
        """
        ...

    async def identify(self, device: str) -> Json:
        """Let a device say what it is, past the schedule.

            {"device", "driver", "said": {"vendor": "…", "model": "…"}}

        Refused UNKNOWN_DEVICE, or READ_FAILED with the driver's reason.
        """
        ...


def number(value: float) -> float | None:
    """A number for JSON: None for NaN and infinities."""
    return value if math.isfinite(value) else None


def both(text: Text) -> dict[str, str]:
    """A bilingual text as it goes over the wire."""
    return {"zh": text.zh, "en": text.en}
