"""How a poll is asked for: together as far as the device can answer, else by halves or singly.

Pure. `driver.py` asks and hands refusals in here; what was learned is taken up from `Knowledge`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from drivers.bacnet import codec
from drivers.bacnet.codec import Property
from drivers.bacnet.knowledge import Knowledge
from drivers.bacnet.point import Known

# What a device says when asking for less at once may succeed. One unknown object makes some
# devices refuse the whole request: asking by halves finds it.
_ASK_LESS: Final = frozenset(
    {
        "abort/segmentation-not-supported", "abort/buffer-overflow", "abort/apdu-too-long",
        "reject/buffer-overflow", "reject/too-many-arguments",
        "services/optional-functionality-not-supported", "object/unknown-object",
        "property/unknown-property", "property/read-access-denied",
    }
)  # fmt: skip
# The same, but it may be over at the next start: worth no memory.
_PASSING: Final = frozenset(
    {
        "abort/out-of-resources", "abort/other", "reject/other",
        "services/service-request-denied",
    }
)  # fmt: skip
NO_MULTIPLE: Final = "reject/unrecognized-service"
Places = list[tuple[int, Known]]  # points and where they stand in their poll


@dataclass(slots=True)
class Group:
    """Points asked for together, or `singly` where that is all the device can do.

    `whole` is the group that a device which had only little room at the moment was asked for
    before: that one is kept.
    """

    points: Places
    singly: bool = False
    whole: Group | None = None
    turn: int = 0
    targets: list[Property] = field(default_factory=list)
    data: bytes = b""

    def request(self) -> bytes:
        """The coded request; coded again only when there is less to ask for."""
        wanted = dict.fromkeys(t for _, p in self.points for t in (p.target, *p.extras()))
        if len(wanted) != len(self.targets):
            self.targets = list(wanted)
            self.data = codec.read_property_multiple(self.targets)
        return self.data

    def next_targets(self) -> list[Property]:
        """Every value, and the extras of one point in turn: these devices are the slow ones."""
        _, point = self.points[self.turn % len(self.points)]
        self.turn += 1
        return [*point.extras(), *(p.target for _, p in self.points)]

    def smaller(self, code: str) -> list[Group]:
        """What to try instead after a refusal; nothing when the reason lies elsewhere."""
        if self.singly or not (code in _ASK_LESS or code in _PASSING):
            return []
        whole = (self.whole or self) if code in _PASSING else None
        if len(self.points) == 1:
            return [Group(self.points, singly=True, whole=whole)]
        middle = len(self.points) // 2
        halves = self.points[:middle], self.points[middle:]
        return [Group(half, whole=whole) for half in halves]


def groups(places: Places, known: Knowledge) -> list[Group]:
    """How to ask for a poll of a device of which this is known."""
    if not known.multiple:
        return [Group(places, singly=True)]
    number = {key: i for i, group in enumerate(known.groups) for key in group}
    alone = frozenset(known.singly)
    parts: dict[str | int, Places] = {}
    for place in places:
        key = place[1].name
        parts.setdefault(key if key in alone else number.get(key, -1), []).append(place)
    return [Group(part, singly=isinstance(key, str)) for key, part in parts.items()]


def kept(polls: Iterable[list[Group]]) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """What to keep of the groups of these polls: the points asked for together, and singly."""
    together: list[tuple[str, ...]] = []
    singly: list[str] = []
    for found in polls:
        lasting = {id(g): g for group in found for g in (group.whole or group,)}
        if len(lasting) == 1 and not any(group.singly for group in lasting.values()):
            continue  # the whole poll at once, as if nothing had been learned
        for group in lasting.values():
            names = tuple(point.name for _, point in group.points)
            if group.singly:
                singly += names
            else:
                together.append(names)
    return tuple(together), tuple(singly)
