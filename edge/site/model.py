"""The shape of a site in YAML: what a technician may write, section by section.

Shape only: nothing here knows other sections (`edge/site/checks.py`) or makes the running site
(`edge/site/build.py`). Options of drivers and block kinds stand in their own models; `edge/site/
parts.py` joins them. Texts of quantities stay as written where the unit is the point's.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from edge.blocks.calendar import Calendar
from edge.blocks.kind import Input, Source
from edge.schema.model import Model, Refusal, Words
from edge.schema.units import Duration, canonical
from edge.site.bms import BmsOptions
from edge.text import Text

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TOPIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(kB|MB|GB|KB)")
_SIZES = {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def identifier(value: str) -> str:
    """A point's name: words that an expression can hold, with dots between them."""
    if all(_WORD.fullmatch(part) and not keyword.iskeyword(part) for part in value.split(".")):
        return value
    raise Refusal(
        Text(
            f'"{value}" 不能作名称: 用字母开头的字母、数字、下划线, 且不能是 and、in 等保留字',
            f'"{value}" is no name: letters, digits and _, a letter first, and no reserved word '
            "such as and, in",
        ),
        "wrong-name",
    )


def word(value: str) -> str:
    """The id of a record: one such word."""
    if "." in value:
        raise Refusal(
            Text(f'名称 "{value}" 不能含 "."', f'the name "{value}" must not hold a "."'),
            "wrong-name",
        )
    return identifier(value)


def topic(value: str) -> str:
    """An id that becomes a level of an MQTT topic."""
    if _TOPIC.fullmatch(value):
        return value
    raise Refusal(
        Text(
            f'"{value}" 不能作标识: 用字母、数字、- 和 _',
            f'"{value}" is no identifier: use letters, digits, - and _',
        ),
        "wrong-name",
    )


def _bytes(value: object) -> int:
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise Refusal(
            Text("容量应写如 200 MB 或 2 GB", "write a size like 200 MB or 2 GB"), "wrong-value"
        )
    return int(float(match[1]) * _SIZES[match[2]])


def _steps(value: object) -> tuple[Text, ...]:
    """`{zh: […], en: […]}` of equal length, or one list for both languages."""
    if isinstance(value, Mapping) and set(value) == {"zh", "en"}:
        zh, en = value["zh"], value["en"]
        if _texts(zh) and _texts(en) and len(zh) == len(en):
            return tuple(Text(z, e) for z, e in zip(zh, en, strict=True))
    elif _texts(value):
        return tuple(Text(step, step) for step in value)
    raise Refusal(
        Text(
            "应为步骤列表, 或 {zh: [步骤…], en: [steps…]}, 两种语言步数相同",
            "should be a list of steps, or {zh: [步骤…], en: [steps…]} with as many in both",
        ),
        "wrong-type",
    )


def _texts(value: object) -> TypeGuard[Sequence[str]]:
    if not isinstance(value, list | tuple):
        return False
    return all(isinstance(part, str) and part.strip() for part in value)


def _pace(value: object) -> object:
    return PACES.get(value, value) if isinstance(value, str) else value


def _labels(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    bad = [key for key in value if not re.fullmatch(r"-?\d{1,9}", str(key))]
    if bad:
        raise Refusal(
            Text(f'"{bad[0]}" 不是整数值', f'"{bad[0]}" is not a whole number'), "wrong-value"
        )
    return {int(key): text for key, text in value.items()}


Name = Annotated[str, AfterValidator(word)]
PointName = Annotated[str, AfterValidator(identifier)]
TopicName = Annotated[str, AfterValidator(topic)]
Unit = Annotated[str, AfterValidator(canonical)]
Amount = float | str
"""A quantity in the unit of a point: 0.4 or "0.40 MPa"; converted when the point is known."""
Span = tuple[Amount, Amount]
Never = Literal["never"]
PACES = {"fast": "500ms", "normal": "5s", "slow": "60s", "daily": "24h"}
Pace = Annotated[
    Duration,
    Field(gt=0, le=86400),
    BeforeValidator(_pace),
    WithJsonSchema(
        {"anyOf": [{"enum": list(PACES)}, {"type": "string", "examples": ["1s", "500ms"]}]}
    ),
]
"""How often something is read: a duration, or the word for what it is (domain.md 4.5)."""
Labels = Annotated[Mapping[int, Words], BeforeValidator(_labels)]
_STEPS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}},
        {
            "type": "object",
            "properties": {
                "zh": {"type": "array", "items": {"type": "string"}},
                "en": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["zh", "en"],
            "additionalProperties": False,
        },
    ]
}
Steps = Annotated[tuple[Text, ...], PlainValidator(_steps), WithJsonSchema(_STEPS_SCHEMA)]
Size = Annotated[
    int, PlainValidator(_bytes), WithJsonSchema({"type": "string", "examples": ["200 MB"]})
]


class Location(Model):
    """Where the site is, for the times of sunrise and sunset."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class Header(Model):
    """The site itself."""

    id: TopicName = Field(description="Part of every topic: edge/<site>/<controller>/…")
    name: Words | None = None
    controller: TopicName = Field("main", description="Which controller of the site this is.")
    timezone: str = Field(description="A name of the tz database: Asia/Shanghai")
    location: Location | None = None
    language: Literal["zh", "en"] = "en"


class Scan(Model):
    """How often the site is scanned, and when outputs may first move."""

    min: Duration = Field(0.002, ge=0.0005, le=1, description="Shortest time between two scans.")
    max: Duration = Field(0.1, ge=0.001, le=5, description="Longest time between two scans.")
    startup_delay: Duration = Field(30.0, le=3600, description="After start, before outputs move.")


class Time(Model):
    """When the wall clock is believed."""

    trust: Literal["synchronised", "always"] = "synchronised"


class Outbox(Model):
    """How much is kept for the uplinks while they are down; the oldest goes first."""

    size: Size = 200_000_000
    age: Duration = 7 * 86400.0


class PointOptions(Model):
    """What every point of a device may say, beside its driver's own options."""

    name: Words | None = None
    unit: Unit = Field("", description="The point's unit; empty for booleans and counts.")
    device_unit: str | None = Field(None, description="The device's unit, where it is another.")
    scale: float = Field(1.0, description="device value = raw * scale + offset")
    offset: float = 0.0
    curve: Literal["linear", "dali"] = Field(
        "linear", description="dali: % of light in the site, an arc level 0-254 in the device."
    )
    range: Span | None = Field(None, description="What is physically possible, in the unit.")
    decimals: int | None = Field(None, ge=0, le=9, description="Shown digits after the point.")
    poll: Pace | None = Field(
        None, description="How often it is read; the device's own unless given."
    )
    max_age: Annotated[Duration, Field(gt=0)] | None = Field(
        None, description="Older values are stale; three polls, at least 5 s, unless given."
    )
    report: Amount = Field(0.0, description="Changes up to this are not sent upstream.")
    labels: Labels = Field(default={}, description="Names of the values of an enumeration.")

    output: bool | None = Field(None, description="Driven; implied by any option below.")
    default: Amount | None = Field(None, description="Held when nobody asks for anything.")
    failsafe: Literal["hold", "relinquish"] | Amount = Field(
        "hold", description="When the controller gives up: hold, relinquish or a value."
    )
    deadband: Amount = Field(0.0, description="Smaller changes are not written.")
    write_interval: Duration = Field(
        1.0, description="Between two writes; the newest value wins, a protection never waits."
    )
    eeprom: bool = Field(False, description="Wears out by writing: at most 10 writes in 24 h.")
    refresh: Annotated[Duration, Field(ge=0.1)] | Never = Field(
        "never", description="Written again after so long, for a device with a bus watchdog."
    )
    rate: Amount | None = Field(None, description="Greatest change per second.")
    min_on: Duration = Field(0.0, description="Once on, on for so long.")
    min_off: Duration = Field(0.0, description="Once off, off for so long.")
    max_starts: int = Field(0, ge=0, description="Starts per hour; 0 is no limit.")
    start_spread: Annotated[Duration, Field(le=600)] = Field(
        0.0,
        description="After a power cut it starts up to so much later than others, unless it takes"
        " the place of one that ran.",
    )
    feedback: str | None = Field(None, description="The point that proves a write.")
    tolerance: Amount | None = Field(None, description="How far it may be from what was asked.")
    settle: Duration = Field(5.0, description="After a write, before it is compared.")
    hoa: str | None = Field(None, description="Input: 1 while the hand-off-auto switch is on auto.")


OUTPUT_OPTIONS = frozenset({
    "default", "failsafe", "deadband", "write_interval", "eeprom", "refresh", "rate", "min_on",
    "min_off", "max_starts", "start_spread", "feedback", "tolerance", "settle", "hoa",
})  # fmt: skip
"""Keys of `PointOptions` that only an output can have."""


class SetpointOptions(Model):
    """A setpoint: a commandable point of ours, without a device."""

    default: Amount = Field(description="Holds while nobody asks for anything else.")
    unit: Unit = ""
    name: Words | None = None
    range: Span | None = None
    decimals: int | None = Field(None, ge=0, le=9)
    report: Amount = 0.0
    rate: Amount | None = Field(None, description="Greatest change per second.")
    labels: Labels = Field(default={})


class BusOptions(Model):
    """What every bus says, beside its driver's own options."""

    driver: str


class DeviceOptions(Model):
    """What every device may say, beside its driver's own options."""

    bus: str
    profile: str | None = Field(None, description="Its register map: generic/booster-3-pumps")
    name: Words | None = None
    fire: bool = Field(False, description="A fire device: watched, never driven.")
    poll: Pace = Field(1.0, description="How often its points are read unless they say otherwise.")
    points: Mapping[PointName, Mapping[str, Any]] = {}


class ProfileVector(Model):
    """What a point reads when these bytes came over the wire."""

    point: str
    raw: str = Field(description="Hexadecimal, as on the wire: 4366 3333")
    value: Amount


class Profile(Model):
    """A device's register map, apart from any site."""

    vendor: Words
    model: Words
    versions: tuple[str, ...] = Field((), description="Firmware or hardware that it was tried on.")
    source_url: str | None = Field(None, description="Where the map is published.")
    verified_by: str | None = Field(None, description="Who compared it with a real device, when.")
    driver: str
    device: Mapping[str, Any] = Field(default={}, description="The driver's device options.")
    points: Mapping[PointName, Mapping[str, Any]]
    tests: tuple[ProfileVector, ...] = ()


class ValueRule(Model):
    """A rule that is one expression: its virtual point has the rule's id."""

    value: Annotated[Source, Input()] = Field(description="An expression over points.")
    unit: Unit = ""
    name: Words | None = None
    range: Span | None = None
    decimals: int | None = Field(None, ge=0, le=9)
    report: Amount = 0.0
    labels: Labels = Field(default={})


class InterlockOptions(Model):
    """What stops equipment, before and above every rule."""

    name: Words | None = None
    when: str = Field(description="Trips while this expression holds.")
    delay: Duration = Field(0.0, alias="for")
    trip: Annotated[tuple[str, ...], Field(min_length=1)]
    value: float = Field(0.0, description="What the tripped points are asked for.")
    reset: Literal["manual", "auto"] = "manual"
    on_bad: Literal["trip", "hold", "ok"] = Field("trip", description="What bad inputs mean.")
    bypassable: bool = Field(False, description="By a person on site, for hours; never for safety.")


class PermissiveOptions(Model):
    """What equipment needs in order to start; once it runs, nothing."""

    name: Words | None = None
    when: str = Field(description="It may start while this expression holds.")
    delay: Duration = Field(0.0, alias="for")
    start: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="What may start.")
    on_bad: Literal["refuse", "hold", "ok"] = Field("refuse", description="What bad inputs mean.")
    bypassable: bool = Field(False, description="By a person on site, for hours; never for safety.")


class AlarmOptions(Model):
    """An alarm, or what a site changes on one that a rule or device brings."""

    point: str | None = None
    above: Amount | None = None
    below: Amount | None = None
    deadband: Amount = 0.0
    when: str | None = None
    on_delay: Duration = Field(0.0, alias="for")
    off_delay: Duration = Field(0.0, alias="clear_after")
    priority: Literal["P1", "P2", "P3", "P4"] = "P3"
    text: Words | None = None
    checks: Steps = ()
    cause: Words | None = None
    consequence: Words | None = None
    latch: bool = False
    suppressed_by: str = ""
    shows: tuple[str, ...] = ()
    responsible: str = ""
    re_alarm: Annotated[Duration, Field(gt=0)] | Never | None = Field(
        None, description="An acknowledged alarm sounds again; P1 after 30 min unless given."
    )


class AnnunciatorOptions(Model):
    """A panel: outputs that show and sound alarms, inputs that answer them."""

    beacon: str | None = None
    buzzer: str | None = None
    relay: str | None = None
    silence: str | None = None
    acknowledge: str | None = None
    reset: str | None = None
    test: str | None = None


Person = Literal["viewer", "operator", "engineer", "admin", "integration"]


class UserOptions(Model):
    """A person whom commands may name."""

    role: Person


class GrantOptions(Model):
    """What a remote command may do with a point."""

    range: Span | None = Field(None, description="The point's own unless given.")
    step: Amount | None = Field(None, description="Greatest change in one command.")
    roles: Annotated[tuple[Person, ...], Field(min_length=1)]
    lease: Annotated[Duration, Field(gt=0)] = 1800.0
    lease_max: Annotated[Duration, Field(gt=0)] | None = Field(
        None, description="8 h for setpoints, 60 min for outputs unless given."
    )


class Tls(Model):
    """The certificates of an uplink; paths are relative to the site's folder."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


class SecretFile(Model):
    """A secret stands in a file of its own, never in the site."""

    file: str


class UplinkOptions(Model):
    """An MQTT broker."""

    mqtt: str = Field(description="host or host:port; 1883, with TLS 8883")
    protocol: Literal[5, "5", "3.1.1"] = "5"
    tls: bool | Tls = False
    username: str | None = None
    password: SecretFile | None = None
    client_id: str | None = None
    root: str | None = Field(None, description="edge/<site>/<controller> unless given.")
    report: Annotated[Duration, Field(gt=0)] = Field(1.0, description="Between two batches.")
    keepalive: Annotated[Duration, Field(ge=5, le=3600)] = 30.0


SINGLE: Mapping[str, type[Model]] = {
    "site": Header, "scan": Scan, "clock": Time, "outbox": Outbox, "bms": BmsOptions,
}  # fmt: skip
"""Sections that are one record."""

TABLES: Mapping[str, type[Model]] = {
    "buses": BusOptions,
    "devices": DeviceOptions,
    "setpoints": SetpointOptions,
    "rules": ValueRule,
    "interlocks": InterlockOptions,
    "permissives": PermissiveOptions,
    "alarms": AlarmOptions,
    "calendars": Calendar,
    "annunciators": AnnunciatorOptions,
    "users": UserOptions,
    "commands": GrantOptions,
    "uplink": UplinkOptions,
}
"""Sections that are tables of records by id; buses, devices and rules have more options each."""
