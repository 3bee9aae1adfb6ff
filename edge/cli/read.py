"""`edge read`: what a device says about a point right now, down to its raw words.

With a controller running it is asked, since two masters on one line disturb each other; otherwise
the bus is opened here, with the site's own driver.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from edge.bus.host import BusHost
from edge.cli import identity
from edge.cli.client import Client, Json, place
from edge.cli.command import (
    OK,
    REFUSED,
    Failed,
    command,
    json_option,
    language,
    option,
    socket_option,
)
from edge.cli.completion import points as complete_points
from edge.cli.points import unknown
from edge.cli.words import orders, words
from edge.driver import Driver, Poll, Sample
from edge.errors import DriverError, LinkDown, NotYet
from edge.hmi.view import number
from edge.image.quality import names, names_zh
from edge.site.site import Bus, Site
from edge.text import Language, Text


@command(
    Text(
        """
直接向设备读一个点, 显示原始字节, 以及四种字序下的浮点与整数, 便于判断哪种合理。

  edge read booster.discharge_pressure            控制器运行时: 由它去读
  edge read --site site.yaml booster              没有控制器时: 直接打开总线
  edge read --identify booster                    设备自报的厂商、型号和版本
""",
        """
Read a point from its device now; shows the raw bytes, and floats and integers
in all four word orders, so that you see which one is plausible.

  edge read booster.discharge_pressure        asks the running controller
  edge read --site site.yaml booster          opens the bus itself
  edge read --identify booster                what the device says it is
""",
    )
)
@click.argument("points", nargs=-1, required=True, shell_complete=complete_points)
@option("--site", type=click.Path(path_type=Path), metavar="SITE",
        text=Text("站点文件; 没有控制器运行时需要", "the site; needed when none runs"))  # fmt: skip
@option("--identify", is_flag=True,
        text=Text("不读点, 而问设备是什么: 厂商、型号、版本",
                  "ask devices what they are instead: vendor, model, revision"))  # fmt: skip
@json_option
@socket_option
def read(
    points: Sequence[str], site: Path | None, identify: bool, as_json: bool, socket: str | None
) -> int:
    """Read each point, or each point of a device, once; or ask devices what they are."""
    if site is None and Path(points[0]).exists():
        site, points = Path(points[0]), points[1:]
    from edge.cli.site import load

    client = _running(socket, site)
    if client is not None:
        found = (identity.ask if identify else _ask)(client, points)
    else:
        assert site is not None
        found = asyncio.run((identity.open_and_ask if identify else _open)(load(site), points))
    shown = identity.lines if identify else lines
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        click.echo("\n\n".join("\n".join(shown(one, language())) for one in found))
    return OK if all("code" not in one for one in found) else REFUSED


def lines(found: Json, spoken: Language) -> list[str]:
    """One point: the value that the controller would use, then every way to read its words."""
    if "code" in found:
        end = f" [{found['code']}]"  # a controller's answer has it already
        return [f"{found['point']}  {found['text'][spoken].removesuffix(end)}{end}"]
    said = names_zh(found["quality"]) if spoken == "zh" else names(found["quality"])
    value = "--" if found["value"] is None else f"{found['value']:g} {found.get('unit', '')}"
    made = [f"{found['point']}  {value.rstrip()}  {' '.join(said)}".rstrip()]
    raw = bytes.fromhex(found["raw"])
    made.append(f"  {RAW.of(spoken)} {raw.hex(' ')}")
    if found["driver"] != "modbus":
        return made
    for i, word in enumerate(words(raw)):
        made.append(f"  {WORD.of(spoken)} {i}  {word.hex}  u16 {word.unsigned:<6} "
                    f"i16 {word.signed}")  # fmt: skip
    bits = 8 * len(raw)
    made += [
        f"  {reading.order}  f{bits} {_float(reading.float):<14} "
        f"u{bits} {reading.unsigned:<11} i{bits} {reading.signed}"
        for reading in orders(raw)
    ]
    return made


def _float(value: float) -> str:
    return f"{value:.7g}" if math.isfinite(value) else str(value)


def _running(socket: str | None, site: Path | None) -> Client | None:
    try:
        return Client(socket)
    except Failed as failed:
        if site is None or socket is not None:
            raise Failed(NEED_SITE.format(reason=failed.text), failed.code) from None
        return None


def _ask(client: Client, wanted: Sequence[str]) -> list[Json]:
    """Let the running controller read; a device that does not answer is one line, not the end."""
    known = {p["id"]: p for p in client.get("model")["points"] if "device" in p}
    found = []
    for name in _names(list(known), wanted):
        try:
            found.append(client.get(place("read", name)) | {"unit": known[name]["unit"]})
        except Failed as failed:
            found.append(_failure(name, failed.text))
    return found


def _names(known: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Points by id or by device, in the order asked for."""
    found: list[str] = []
    for word in wanted or known:
        matching = [name for name in known if name == word or name.startswith(word + ".")]
        if not matching:
            raise unknown(word, list(known))
        found += [name for name in matching if name not in found]
    return found


async def _open(site: Site, wanted: Sequence[str]) -> list[Json]:
    """Open each bus that is needed, read, and close it again."""
    units = {p.id: p.unit for p in site.points if p.device is not None}
    names_wanted = _names(list(units), wanted)
    found: list[Json] = []
    for bus in site.buses:
        polls = {point: poll for poll in bus.polls for point in poll.points}
        mine = [name for name in names_wanted if name in polls]
        if mine:
            found += [one | {"unit": units[one["point"]]} for one in await _bus(bus, polls, mine)]
    unread = [name for name in names_wanted if name not in {one["point"] for one in found}]
    return found + [_failure(name, NOT_READABLE) for name in unread]


async def _bus(bus: Bus, polls: Mapping[str, Poll], wanted: Sequence[str]) -> list[Json]:
    """Read points of one bus; a connection that fails is a line for each of them."""
    found: list[Json] = []
    host = BusHost(writes=False)
    try:
        async with bus.kind.connect(bus.config, bus.devices, bus.polls, host) as driver:
            for name in wanted:
                one = await _point(driver, bus.kind.name, polls[name], name)
                found.append(one)
    except DriverError as error:
        done = {one["point"] for one in found}
        found += [_failure(name, error.reason) for name in wanted if name not in done]
    return found


async def _point(driver: Driver, kind: str, poll: Poll, name: str) -> Json:
    """One point; only a lost line ends the others behind it."""
    try:
        raw = await driver.raw(poll.device, name)
        sample = await _sample(driver, poll)
    except LinkDown:
        raise
    except DriverError as error:
        return _failure(name, error.reason)
    i = poll.points.index(name)
    return {
        "point": name,
        "driver": kind,
        "device": poll.device,
        "raw": raw.hex(),
        "value": number(float(sample.values[i])),
        "quality": int(sample.quality[i]),
    }


async def _sample(driver: Driver, poll: Poll) -> Sample:
    while True:
        try:
            return await driver.read(poll)
        except NotYet as later:
            await asyncio.sleep(later.wait)


def _failure(name: str, text: Text) -> Json:
    return {"point": name, "code": "READ_FAILED", "text": {"zh": text.zh, "en": text.en}}


NEED_SITE = Text(
    "{reason}; 没有控制器时请加 --site 站点文件", "{reason}; without one, add --site SITE"
)
NOT_READABLE = Text("该点只写, 设备上没有可读的值", "the point is write-only on its device")
RAW = Text("原始字节", "raw bytes")
WORD = Text("字", "word")
