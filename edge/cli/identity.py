"""`edge read --identify`: what devices say they are, for whoever stands before a strange one.

With a running controller it asks in the bus's own turn; otherwise the bus is opened here. Not the
comparison with what is configured: that is the driver's own. Called by `read.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from edge.bus.host import BusHost
from edge.bus.identity import identity
from edge.cli.client import Client, Json, place
from edge.cli.command import Failed
from edge.driver import Driver
from edge.errors import DriverError, LinkDown
from edge.site.site import Bus, Site
from edge.text import Language, Text

NAMES = {
    "vendor": Text("厂商", "vendor"),
    "product": Text("产品代码", "product code"),
    "product_name": Text("产品名称", "product name"),
    "model": Text("型号", "model"),
    "revision": Text("版本", "revision"),
    "firmware": Text("固件版本", "firmware"),
}
UNKNOWN = Text('没有设备 "{word}"{near}', 'there is no device "{word}"{near}')


def ask(client: Client, wanted: Sequence[str]) -> list[Json]:
    """Let the running controller ask; a device that does not tell is one line, not the end."""
    known = [device for bus in client.get("model")["buses"] for device in bus["devices"]]
    found = []
    for device in chosen(known, wanted):
        try:
            found.append(client.get(place("identify", device)))
        except Failed as failed:
            found.append(failure(device, failed.text))
    return found


async def open_and_ask(site: Site, wanted: Sequence[str]) -> list[Json]:
    """Open each bus that is needed, ask, and close it again."""
    devices = chosen([device.id for bus in site.buses for device in bus.devices], wanted)
    found: list[Json] = []
    for bus in site.buses:
        if mine := [d.id for d in bus.devices if d.id in devices]:
            found += await _bus(bus, mine)
    return sorted(found, key=lambda one: devices.index(one["device"]))


async def _bus(bus: Bus, wanted: Sequence[str]) -> list[Json]:
    """Ask on one bus; a connection that fails is a line for each device that is left."""
    found: list[Json] = []
    host = BusHost(writes=False)
    try:
        async with bus.kind.connect(bus.config, bus.devices, bus.polls, host) as driver:
            for device in wanted:
                one = await _device(driver, bus.kind.name, device)
                found.append(one)
    except DriverError as error:
        found += [failure(device, error.reason) for device in wanted[len(found) :]]
    return found


async def _device(driver: Driver, kind: str, device: str) -> Json:
    try:
        said = await identity(driver, device)
    except LinkDown:
        raise
    except DriverError as error:
        return failure(device, error.reason)
    return {"device": device, "driver": kind, "said": dict(said)}


def failure(device: str, text: Text) -> Json:
    """A device that did not tell."""
    return {"device": device, "code": "READ_FAILED", "text": {"zh": text.zh, "en": text.en}}


def chosen(known: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Devices by their name or by that of one of their points, in the order asked for."""
    found: list[str] = []
    for word in wanted:
        device = next((d for d in known if word == d or word.startswith(d + ".")), None)
        if device is None:
            near = Text("", "")
            for name in get_close_matches(word, known, 1, 0.5):
                near = Text(f'; 是不是 "{name}"?', f'; did you mean "{name}"?')
            raise Failed(UNKNOWN.format(word=word, near=near))
        if device not in found:
            found.append(device)
    return found


def lines(found: Json, spoken: Language) -> Iterator[str]:
    """One device: what it says, one thing per line."""
    if "code" in found:
        end = f" [{found['code']}]"  # a controller's answer has it already
        yield f"{found['device']}  {found['text'][spoken].removesuffix(end)}{end}"
        return
    yield found["device"]
    said: Mapping[str, str] = found["said"]
    for name in (*NAMES, *sorted(said.keys() - NAMES.keys())):
        if name in said:
            label = NAMES[name].of(spoken) if name in NAMES else name
            shown = "".join(c for c in said[name] if c.isprintable())  # it came from outside
            yield f"  {label}  {shown}"
