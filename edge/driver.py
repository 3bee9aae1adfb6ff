"""The driver port: what every field protocol implements, and nothing more.

A driver connects, reads one planned poll and writes values. Schedule, back-off, counters, verify
and quality on failure are the bus task's (`edge/bus/runner.py`). Times are seconds, values are in
the point's unit (`edge/schema/units.py`); conversion from the device's unit is the driver's, by
`scale` and `offset` of each `FieldPoint`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from edge.image.image import Bits, Floats
from edge.schema.model import Model
from edge.text import Text


@dataclass(frozen=True, slots=True)
class FieldPoint:
    """A point as its driver sees it.

    `config` is an instance of the driver's `point` model. `value = raw * scale + offset` gives the
    point's unit. `low` and `high` bound what is physically possible (±inf where nothing is said):
    values outside become RANGE. `period` is the wanted poll period in seconds.
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


@dataclass(frozen=True, slots=True)
class FieldDevice:
    """A device as its driver sees it; `config` is an instance of the driver's `device` model."""

    id: str
    config: Any
    points: tuple[FieldPoint, ...]


@dataclass(frozen=True, slots=True)
class Poll:
    """One planned request and the points that its answer brings, in this order.

    `request` belongs to the driver: prepared by `plan`, handed back to `read` untouched. The site
    numbers points poll by poll, so that an answer lands in the image as one slice.
    """

    device: str
    points: tuple[str, ...]
    period: float
    request: Any
    label: str  # what a technician sees: "holding 100-131"


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


class Driver(Protocol):
    """One connection. Made by `DriverKind.connect`; entered to connect, left to close.

    Called by one bus task only, never concurrently. Every method raises only `DriverError`s:
    `LinkDown` means that the context must be left and entered again before the next call; after
    any other error, and after a cancellation, the driver itself sees to it that a late answer is
    never taken for the next one.
    """

    async def read(self, poll: Poll) -> Sample:
        """Read one poll. Raises when nothing of it arrived; a part that failed is quality."""
        ...

    async def write(self, writes: Sequence[Write]) -> None:
        """Write in order; returns when the device has acknowledged all of them."""
        ...

    async def raw(self, device: str, point: str) -> bytes:
        """The bytes behind one point as they came over the wire; for `edge read`."""
        ...


Deliver = Callable[[Poll, Sample], None]
"""Takes a sample that nobody asked for (COV); called on the loop, copies at once."""


class Connect(Protocol):
    """Makes a driver without any I/O; `deliver` is for samples that arrive unasked."""

    def __call__(
        self, bus: Any, devices: Sequence[FieldDevice], polls: Sequence[Poll], deliver: Deliver
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

    Models may say more, as properties. `claims: tuple[str, ...]` of a bus is what it alone uses on
    this machine ("/dev/ttyUSB0", "udp 47808"), of a device what it alone uses on its bus
    ("unit 1"): nobody else may. Of a point, `commandable: bool` says that it is an output by nature
    (BACnet analog-output), without `output: true`, and `readable: bool` whether it can be read.
    """

    name: str
    bus: type[Model]
    device: type[Model]
    point: type[Model]
    plan: Callable[[Any, FieldDevice], tuple[Poll, ...]]
    connect: Connect
    vector: Callable[[Any, bytes, Mapping[str, Any]], float] | None = None
    check: Callable[[Any, FieldDevice], Iterable[tuple[str, Text]]] | None = None
    priorities: bool = False
    simulated: bool = False
