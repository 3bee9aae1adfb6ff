"""The site as the running parts see it: resolved, checked, units converted, in image order.

Plain frozen records, made by `edge/site/build.py` from the YAML-shaped models of
`edge/site/model.py`; nothing here knows YAML. All quantities are in the point's unit, times in
seconds, booleans are points with unit "" and the values 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from edge.driver import DriverKind, FieldDevice, Poll
from edge.schema.model import Model
from edge.schema.problem import Mark
from edge.site.registers import Bms
from edge.text import Language, Text


class Role(StrEnum):
    """What a point is: read from the field, driven in the field, computed, or set by people."""

    INPUT = "input"
    OUTPUT = "output"
    VIRTUAL = "virtual"
    SETPOINT = "setpoint"


@dataclass(frozen=True, slots=True)
class Output:
    """What binds every requester of a commandable point (output or setpoint).

    `default` is slot 16, NaN for none. `failsafe` is driven when the controller gives up.
    `deadband`: smaller changes are not written. `refresh`: written again after so long even when
    unchanged, inf never. `rate`: greatest change per second, inf for none. `max_starts` per hour,
    0 for no limit. `feedback` is the point that proves a write (None: the point's own read-back);
    after `settle` seconds it must be within `tolerance`. At most one write per `write_interval`
    seconds goes out; into an `eeprom`, ten in a day. After a cold start it is driven up to
    `start_spread` seconds later than others: a share that hangs on site and point.
    """

    default: float
    failsafe: Literal["hold", "relinquish"] | float
    deadband: float
    refresh: float
    rate: float
    min_on: float
    min_off: float
    max_starts: int
    feedback: str | None
    tolerance: float
    settle: float
    write_interval: float = 0.0
    eeprom: bool = False
    start_spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """One point. Its place in `Site.points` is its index in the image.

    `period` is the poll period (0 for virtual points and setpoints). A value older than `max_age`
    is STALE (inf: never). Upstream, changes beyond `report` are sent. `hoa` names the input that
    tells whether a hard-wired Hand-Off-Auto switch is in AUTO (1) for this output. `fire` points
    belong to a fire device: never written. `local` ones tell of buses and devices; they stay on
    this machine and are shown to those who ask for them.
    """

    id: str
    role: Role
    unit: str
    name: Text
    device: str | None
    low: float
    high: float
    period: float
    max_age: float
    report: float
    decimals: int
    fire: bool = False
    hoa: str | None = None
    output: Output | None = None
    labels: Mapping[int, Text] = field(default_factory=dict)  # enumerated values
    local: bool = False
    bypass: bool = False  # a setpoint for people on site alone: for hours, with a reason


@dataclass(frozen=True, slots=True)
class Bus:
    """One connection: its driver, the devices behind it and the planned polls."""

    id: str
    kind: DriverKind
    config: Model
    devices: tuple[FieldDevice, ...]
    polls: tuple[Poll, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """An instance of a block kind; `model` is an instance of `KINDS[kind].model`."""

    id: str
    kind: str
    model: Model
    mark: Mark


@dataclass(frozen=True, slots=True)
class Interlock:
    """While `when` holds for `delay` seconds, every point of `trip` is asked for `value` at slot 5.

    `on_bad` says what bad inputs mean. `reset: manual` stays tripped until a person resets it. A
    `permissive` is the other way round: while `when` does not hold, every point of `trip` that does
    not run is asked for 0. A `bypassable` one has a setpoint `<id>.bypass`.
    """

    id: str
    name: Text
    when: str
    delay: float
    trip: tuple[str, ...]
    value: float
    reset: Literal["manual", "auto"]
    on_bad: Literal["trip", "hold", "ok"]
    mark: Mark
    permissive: bool = False
    bypassable: bool = False

    @property
    def section(self) -> str:
        """Where it is written."""
        return "permissives" if self.permissive else "interlocks"

    @property
    def shown(self) -> str:
        """The point that says what it decides."""
        return f"{self.id}.permitted" if self.permissive else f"{self.id}.tripped"

    @property
    def bypass(self) -> str:
        """The setpoint that takes it out of force, if it is bypassable."""
        return f"{self.id}.bypass"


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm definition: what raises it and what a person should do first.

    Either `when` (an expression) or `point` with `above` or `below` (NaN when unused). While
    `suppressed_by` (an expression, "" for never) holds, it is suppressed by design. `shows` are the
    points whose live values belong to it. `re_alarm`: an acknowledged one sounds again, inf never.
    """

    id: str
    text: Text
    checks: tuple[Text, ...]
    cause: Text
    consequence: Text
    priority: int
    when: str
    point: str | None
    above: float
    below: float
    deadband: float
    on_delay: float
    off_delay: float
    latch: bool
    suppressed_by: str
    shows: tuple[str, ...]
    responsible: str
    re_alarm: float
    mark: Mark


@dataclass(frozen=True, slots=True)
class Annunciator:
    """A panel: outputs that show and sound alarms, inputs (None when absent) that answer them."""

    id: str
    beacon: str | None
    buzzer: str | None
    relay: str | None
    silence: str | None
    acknowledge: str | None
    reset: str | None
    test: str | None


@dataclass(frozen=True, slots=True)
class User:
    """A person whom commands may name; the role comes from here, never from the envelope."""

    id: str
    role: Literal["viewer", "operator", "engineer", "admin", "integration"]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a remote command may do with one point. Everything without a grant is refused."""

    point: str
    low: float
    high: float
    step: float
    roles: frozenset[str]
    lease: float
    lease_max: float


@dataclass(frozen=True, slots=True)
class Uplink:
    """One MQTT broker. `password` is read from its file when connecting, never kept in the site."""

    id: str
    host: str
    port: int
    protocol: Literal["5", "3.1.1"]
    tls: bool
    ca: Path | None
    certificate: Path | None
    key: Path | None
    username: str | None
    password: Path | None
    client_id: str
    root: str  # topic root: "edge/<site>/<controller>"
    report: float  # seconds between batches of samples
    keepalive: float


@dataclass(frozen=True, slots=True)
class Site:
    """Everything the controller runs on.

    `points` is in image order: polls first, one by one; then what is local, bus by bus; then what
    is only written, setpoints, and what is computed.
    """

    id: str
    name: Text
    controller: str
    language: Language
    timezone: str
    latitude: float
    longitude: float
    clock_trust: Literal["synchronised", "always"]
    scan_min: float
    scan_max: float
    startup_delay: float
    points: tuple[Point, ...]
    buses: tuple[Bus, ...]
    rules: tuple[Rule, ...]
    interlocks: tuple[Interlock, ...]
    alarms: tuple[Alarm, ...]
    annunciators: tuple[Annunciator, ...]
    users: tuple[User, ...]
    grants: tuple[Grant, ...]
    uplinks: tuple[Uplink, ...]
    outbox_bytes: int
    outbox_age: float
    file: Path
    digest: str  # sha256 over all files of the site
    watches: tuple[Rule, ...] = ()  # of calendars and the clock; kinds of `INTERNAL`
    bms: Bms | None = None  # the controller's own Modbus server

    def index(self) -> dict[str, int]:
        """Image index by point id."""
        return {point.id: i for i, point in enumerate(self.points)}
