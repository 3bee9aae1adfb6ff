"""What the registers for a BMS and the rest of the site must agree on.

One check of `edge/site/checks.py`. The section's own shape is `edge/site/bms.py`; how values stand
in registers is `edge/bms/registers.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from edge.schema.problem import Problem
from edge.schema.validate import did_you_mean
from edge.site.files import Source
from edge.site.references import unknown_point
from edge.site.registers import STATUS_AT, STATUS_WORDS, Bms, Register, Table
from edge.site.site import Point
from edge.text import Text

if TYPE_CHECKING:
    from edge.site.checks import Scene

ROLE: Final = "integration"


def check_bms(scene: Scene) -> Iterator[Problem]:
    """Registers show points that exist and fit, do not overlap, and are written with authority."""
    bms = scene.site.bms
    if bms is None:
        return
    source = scene.sources.at("bms", "")
    yield from _places(bms, source)
    for register in bms.registers:
        point = scene.points.get(register.point)
        if point is None:
            yield unknown_point(register.point, source.key(_at(register)), scene.points)
            continue
        yield from _fits(register, point, source)
    yield from _authority(scene, bms, source)


def _at(register: Register, *rest: str) -> tuple[str, ...]:
    return ("points", register.point, *rest)


def _places(bms: Bms, source: Source) -> Iterator[Problem]:
    """Each address has one owner, and the status words have theirs."""
    status: dict[int, Text] = dict.fromkeys(range(STATUS_AT, STATUS_AT + STATUS_WORDS), _STATUS)
    taken: dict[Table, dict[int, Text]] = {
        "coil": {}, "discrete": {}, "holding": {}, "input": status,
    }  # fmt: skip
    for register in bms.registers:
        places = taken[register.table]
        mark = source.value(_at(register, register.table))
        span = range(register.at, register.at + register.width)
        if span.stop > 0x10000:
            text = Text("32 位值超出最后一个地址 65535", "a 32-bit value ends after address 65535")
            yield Problem("out-of-range", mark, text)
        clash = next((at for at in span if at in places), None)
        if clash is not None:
            owner = places[clash]
            text = Text(
                f"{register.table} {clash} 已被 {owner.zh} 使用",
                f"{register.table} {clash} is used by {owner.en} already",
            )
            yield Problem("duplicate-address", mark, text)
        for at in span:
            places.setdefault(at, Text(register.point, register.point))


_STATUS = Text("控制器状态字", "the controller's status words")


def _fits(register: Register, point: Point, source: Source) -> Iterator[Problem]:
    if register.type == "bit":
        if point.unit:
            text = Text(
                f'{point.id} 是以 "{point.unit}" 为单位的量, 放不进一个位; 请用 input 或 holding',
                f'{point.id} is a quantity in "{point.unit}" and no bit: use input or holding',
            )
            yield Problem("wrong-unit", source.value(_at(register, register.table)), text)
        return
    low, high = register.limits()
    if (math.isfinite(point.low) and point.low < low) or (
        math.isfinite(point.high) and point.high > high
    ):
        text = Text(
            f"{point.id} 的量程 [{point.low:g}, {point.high:g}] 超出 {register.type} 能表示的 "
            f"[{low:g}, {high:g}]; 请改 type 或 scale",
            f"the range of {point.id}, [{point.low:g}, {point.high:g}], does not fit into "
            f"{register.type} with [{low:g}, {high:g}]: another type or scale",
        )
        yield Problem("outside-range", source.value(_at(register, "type")), text)


def _authority(scene: Scene, bms: Bms, source: Source) -> Iterator[Problem]:
    """Whoever writes is a user of the site whom `commands:` allows it."""
    written = [register for register in bms.registers if register.write]
    if written and not bms.user:
        text = Text(
            '缺少 "user": 写入以谁的权限执行? 请在 users 中设一个 role: integration 的用户',
            '"user" is missing: on whose authority is written? Name one of users with '
            "role: integration",
        )
        yield Problem("missing-key", source.value(_at(written[0], "write")), text)
    if not bms.user:
        return
    users = {user.id: user.role for user in scene.site.users}
    role = users.get(bms.user)
    mark = source.value(("user",))
    if role is None:
        hint = did_you_mean(bms.user, users)
        text = Text(f'没有用户 "{bms.user}"{hint.zh}', f'no user "{bms.user}"{hint.en}')
        yield Problem("unknown-user", mark, text)
    elif role != ROLE:
        text = Text(
            f"{bms.user} 的角色是 {role}; 楼控系统应有自己的用户, role: {ROLE}",
            f"{bms.user} is {role}; a BMS has a user of its own, with role: {ROLE}",
        )
        yield Problem("wrong-role", mark, text)
    else:
        for register in written:
            yield from _granted(scene, register, source)


def _granted(scene: Scene, register: Register, source: Source) -> Iterator[Problem]:
    grant = next((g for g in scene.site.grants if g.point == register.point), None)
    if register.point not in scene.points or (grant is not None and ROLE in grant.roles):
        return
    text = Text(
        f"{register.point} 未对 {ROLE} 开放; 请在 commands 中写 "
        f"{register.point}: {{range: […], roles: [{ROLE}, …]}}",
        f"{register.point} is not open to {ROLE}: write "
        f"{register.point}: {{range: […], roles: [{ROLE}, …]}} under commands",
    )
    yield Problem("not-granted", source.value(_at(register, "write")), text)
