"""What is learned of a BACnet device by asking it, and kept over reconnects and restarts.

Plain data without I/O: `driver.py` fills it, `groups.py` and `point.py` take it up. It holds for
one device with one firmware: of another one at the same address everything is learned anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field, ValidationError

from edge.driver import FieldDevice, Kept
from edge.schema.model import Model
from edge.text import Text

SHOWN = 4  # points that a sentence names


class Knowledge(Model):
    """Points by what a technician calls them: "analog-input,1".

    `identity` is vendor, model and firmware of whom it was learned from. `groups` are points that
    one request can ask for, where it cannot be the whole poll; `singly` those that only a request
    of their own brings. `types` are application tags.
    """

    identity: tuple[str, ...] = ()
    multiple: bool = True
    groups: tuple[tuple[str, ...], ...] = ()
    singly: tuple[str, ...] = ()
    commandable: dict[str, bool] = Field(default_factory=dict)
    types: dict[str, int] = Field(default_factory=dict)
    unflagged: tuple[str, ...] = ()

    @classmethod
    def of(cls, kept: Kept) -> Knowledge:
        """From what was kept; nothing, where that is of another version."""
        try:
            return cls.model_validate(kept)
        except ValidationError:
            return cls()

    def kept(self) -> Kept:
        """As plain JSON, {} for nothing."""
        return self.model_dump(mode="json", exclude_defaults=True)


def learned(device: FieldDevice, kept: Kept) -> Iterator[Text]:
    """What was learned of the device's points, one sentence each."""
    known = Knowledge.of(kept)
    names = {point.config.name: point.id for point in device.points}

    def shown(points: Iterable[str]) -> str:
        found = [names[point] for point in points if point in names]
        return ", ".join(found[:SHOWN]) + (" …" if len(found) > SHOWN else "")

    if not known.multiple:
        yield Text(
            "设备不支持 ReadPropertyMultiple: 每个点单独读取",
            "the device does not know ReadPropertyMultiple: each point is asked for by itself",
        )
    elif any(point in names for group in known.groups for point in group):
        most = max(len(group) for group in known.groups)
        yield Text(
            f"设备一次最多回答 {most} 个点: 轮询分 {len(known.groups)} 次请求",
            f"the device answers at most {most} points at once: "
            f"they are asked for in {len(known.groups)} requests",
        )
    if alone := shown(known.singly):
        yield Text(f"只能单独读取: {alone}", f"only a request of its own reads {alone}")
    if plain := shown(point for point, there in known.commandable.items() if not there):
        yield Text(
            f"没有优先级数组, 直接写值, 不能释放: {plain}",
            f"no priority array, so it is written plainly and cannot be relinquished: {plain}",
        )
    if unflagged := shown(known.unflagged):
        yield Text(f"没有状态标志: {unflagged}", f"no status flags: {unflagged}")
