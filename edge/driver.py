"""The driver port: what every field protocol implements, and nothing more.

A driver connects, reads one planned poll and writes values. Schedule, back-off, counters, verify
and quality on failure are the bus task's (`edge/bus/runner.py`). Times are seconds, values are in
the point's unit (`edge/schema/units.py`); conversion from the device's unit is the driver's, by
`scale` and `offset` of each `FieldPoint`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from edge.events import Event
from edge.image.image import Bits, Floats
from edge.schema.model import Model
from edge.text import Text

Kept = dict[str, Any]
"""What a driver keeps of a device, as plain JSON; see `Host.keep`."""


@dataclass(frozen=True, slots=True)
class FieldPoint:
    """A point as its driver sees it.

    `config` is an instance of the driver's `point` model. `value = raw * scale + offset` gives the
    point's unit. `low` and `high` bound what is physically possible (±inf where nothing is said):
    values outside become RANGE. `period` is the wanted poll period in seconds. With `curve` "dali"
    all of these are of the arc level, 0 to 254; what makes light of it (`drivers/curve.py`) stands
    before the driver.
    """

    id: str
    config: Any
    scale: float
    offset: float
    low: float
    high: float
    period: float
    readable: bool
    writable: bool
    curve: Literal["linear", "dali"] = "linear"


@dataclass(frozen=True, slots=True)
class FieldDevice:
    """A device as its driver sees it; `config` is an instance of the driver's `device` model.

    A `fire` device is never written: it has no point that is `writable`.
    """

    id: str
    config: Any
    points: tuple[FieldPoint, ...]
    fire: bool = False


@dataclass(frozen=True, slots=True)
class Poll:
    """One planned request and the points that its answer brings, in this order.

    `request` belongs to the driver: prepared by `plan`, handed back to `read` untouched. The site
    numbers points poll by poll, so that an answer lands in the image as one slice. `spare` counts
    what is read along and no point asked for (registers, bits).
    """

    device: str
    points: tuple[str, ...]
    period: float
    request: Any
    label: str  # what a technician sees: "holding 100-131"
    spare: int = 0


@dataclass(slots=True)
class Sample:
    """What one poll brought: values and quality in the order of `Poll.points`.

    The arrays may be the driver's own buffers: they are copied before the next `read`.
    """

    values: Floats
    quality: Bits


@dataclass(frozen=True, slots=True)
class Write:
    """One value for one point. NaN relinquishes whatever we hold on it (BACnet: a real NULL).

    `slot` is the winner's number on the ladder; protocols without priorities ignore it.
    """

    device: str
    point: str
    value: float
    slot: int


class Host(Protocol):
    """What a driver may ask of the bus task that owns it. Every call returns at once."""

    writes: bool
    """False while only observing: the driver writes nothing of its own accord either."""

    def deliver(self, poll: Poll, sample: Sample) -> None:
        """Take a sample that nobody asked for (COV); copied before this returns."""
        ...

    def emit(self, event: Event, **fields: Any) -> None:
        """Tell of something that a technician should know; once per cause, not per request."""
        ...

    def recall(self, device: str) -> Kept:
        """What the driver kept of a device, over reconnects and restarts; {} for nothing."""
        ...

    def keep(self, device: str, kept: Kept) -> None:
        """Replace what is kept of a device. For what is learned rarely: it goes to the disk."""
        ...


class Driver(Protocol):
    """One connection. Made by `DriverKind.connect`; entered to connect, left to close.

    Called by one bus task only; concurrently only for as many reads as the bus model's `pipeline`
    says (1 where it has none). Every method raises only `DriverError`s: `LinkDown` means that the
    context must be left and entered again before the next call; after any other error, and after a
    cancellation, the driver itself sees to it that a late answer is never taken for the next one.
    """

    def read(self, poll: Poll) -> Awaitable[Sample]:
        """Read one poll. Raises when nothing of it arrived; a part that failed is quality.

        `NotYet` asks for another turn, as in `probe`; the other calls wait for theirs.
        """
        ...

    async def write(self, writes: Sequence[Write]) -> None:
        """Write in order; returns when the device has acknowledged all of them."""
        ...

    async def probe(self, device: str) -> None:
        """Ask a silent device for as little as possible; any answer, a refusal too, returns."""
        ...

    async def holds(self, write: Write) -> bool | None:
        """Whether the device holds what `write` would write; None when it cannot be read.

        Asked before a write whose outcome is unknown is repeated.
        """
        ...

    async def raw(self, device: str, point: str) -> bytes:
        """The bytes behind one point as they came over the wire; for `edge read`."""
        ...


Following = Callable[[Sample], Poll | None]
"""Takes the sample of a poll at once and says which poll is read next, None for none."""


@runtime_checkable
class ReadsOn(Protocol):
    """What a driver may be able to do beside: begin the next poll as soon as an answer is there.

    Between answer and next poll nobody who waits has to wake up, which is most of what a poll costs
    where thousands are read a second.
    """

    def read_on(self, poll: Poll, following: Following) -> Awaitable[Poll | None]:
        """Read `poll`, hand its sample to `following`, and go on with the poll that this returns.

        Ends with the poll that it cannot go on with, which is not begun yet, or with None when
        there is none. Raises as `read` does, for the poll that it has come to.
        """
        ...


@runtime_checkable
class Identifying(Protocol):
    """What a driver may be able to do beside: let a device say what it is, for a person."""

    async def identify(self, device: str) -> Mapping[str, str]:
        """Vendor, model and the like; raises `DeviceRefused` when the device does not tell."""
        ...


class Connect(Protocol):
    """Makes a driver without any I/O."""

    def __call__(
        self, bus: Any, devices: Sequence[FieldDevice], polls: Sequence[Poll], host: Host
    ) -> AbstractAsyncContextManager[Driver]: ...


@dataclass(frozen=True, slots=True)
class DriverKind:
    """A protocol, as the site model and the app know it.

    `bus`, `device` and `point` are the frozen models of its options. `plan` is pure: it groups a
    device's readable points into polls, covering each exactly once. `check(bus, device)` yields
    what is wrong with a device's points that no single record shows, as (point id, sentence);
    `plan` wants none of it.

    `priorities`: its devices keep a ladder of their own, so the slot is written and can be
    relinquished. `simulated`: behind it are models, and no site drives real outputs beside them.

    `vector(point, raw, device)` decodes a profile's test vector (bytes as on the wire) with the
    driver's codec alone, for `edge check`; `device` is the profile's device options as written, for
    what points take from them (a word order). A wrong length is a ValueError.

    `cost(bus, poll)` is how many seconds of its bus a poll takes, where that can be calculated
    (a serial line); None where it cannot. `learned(device, kept)` says what a driver has kept of a
    device (`Host.keep`), one sentence each, for `edge check --plan`; nothing for what no longer
    fits the device.

    Models may say more, as properties. `pipeline: int` of a bus is how many reads may be under way.
    `claims: tuple[str, ...]` of a bus is what it alone uses on this machine ("/dev/ttyUSB0",
    "udp 47808"), of a device what it alone uses on its bus ("unit 1"): nobody else may. Of a point,
    `commandable: bool` says that it is an output by nature (BACnet analog-output), without
    `output: true`, and `readable: bool` whether it can be read. A bus with file names has
    `within(folder)`, which returns it with those names counted from the site's folder. A device's
    `identity` says who it must be, None nothing: then another one is refused as `WrongDevice`. Its
    `written: str` names the option that has the driver write of its own accord, "" for none.
    """

    name: str
    bus: type[Model]
    device: type[Model]
    point: type[Model]
    plan: Callable[[Any, FieldDevice], tuple[Poll, ...]]
    connect: Connect
    vector: Callable[[Any, bytes, Mapping[str, Any]], float] | None = None
    check: Callable[[Any, FieldDevice], Iterable[tuple[str, Text]]] | None = None
    cost: Callable[[Any, Poll], float | None] | None = None
    learned: Callable[[FieldDevice, Kept], Iterable[Text]] | None = None
    priorities: bool = False
    simulated: bool = False
