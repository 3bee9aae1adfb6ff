"""What a site may write for BACnet, and what it is told when it is wrong."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from bacpypes3.basetypes import PropertyIdentifier
from bacpypes3.primitivedata import ObjectType
from pydantic import ValidationError
from pydantic_core import PydanticUndefined

import drivers.bacnet
from drivers.bacnet import BACNET
from drivers.bacnet.config import (
    OBJECT_TYPES,
    PROPERTIES,
    BusConfig,
    DeviceConfig,
    PointConfig,
)
from edge.driver import FieldDevice, FieldPoint
from edge.schema.model import Model, Refusal
from edge.site.load import read_site


def refusal(model: type[Model], **fields: object) -> Refusal:
    with pytest.raises(ValidationError) as caught:
        model(**fields)
    error = caught.value.errors()[0]["ctx"]["error"]
    assert isinstance(error, Refusal)
    assert error.text.zh != error.text.en
    return error


def test_standard_names_have_the_numbers_of_the_standard() -> None:
    """Our tables of names agree with the library's, which has all of them."""
    assert {n: int(ObjectType(n)) for n in OBJECT_TYPES} == OBJECT_TYPES
    assert {n: int(PropertyIdentifier(n)) for n in PROPERTIES} == PROPERTIES


@pytest.mark.parametrize(
    ("text", "ip", "prefix", "port"),
    [("192.168.20.5/24", "192.168.20.5", 24, 47808), ("10.0.0.1/8:47900", "10.0.0.1", 8, 47900)],
)  # fmt: skip
def test_own_address(text: str, ip: str, prefix: int, port: int) -> None:
    """The own address has a prefix, and a port where it is not the usual one."""
    bus = BusConfig(address=text)
    assert (str(bus.interface.ip), bus.interface.network.prefixlen, bus.port) == (ip, prefix, port)
    assert bus.claims == (f"udp {port}",)


@pytest.mark.parametrize(
    "text",
    ["192.168.20.5", "192.168.20.5/33", "192.168.20.5/24:0", "192.168.20.5/24:", "0.0.0.0/0",
     "192.168.20.5/24:99999", "fe80::1/64", "eth0", ""],
)  # fmt: skip
def test_wrong_own_address(text: str) -> None:
    """An own address that cannot be one is refused with an example."""
    assert "192.168.20.5/24" in refusal(BusConfig, address=text).text.zh


@pytest.mark.parametrize("text", ["192.168.20.31/24", "controller.local", "192.168.20.31:0", "1"])
def test_wrong_device_address(text: str) -> None:
    """A device address that cannot be one is refused with an example."""
    assert "192.168.20.31" in refusal(DeviceConfig, device=1, address=text).text.en


@pytest.mark.parametrize(
    ("text", "kind", "instance"),
    [("analog-input,1", 0, 1), ("binary-output, 0", 4, 0), ("200,4194302", 200, 4194302)],
)
def test_object(text: str, kind: int, instance: int) -> None:
    """An object is a type, by name or by number, and an instance."""
    assert PointConfig(object=text).target() == (kind << 22 | instance, 85)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("analog-inputs,1", "analog-input?"), ("Analog-Input,1", "analog-input,1"),
        ("analog-input", "analog-input,1"), ("analog-input:1", "analog-input,1"),
        ("analog-input,4194303", "analog-input,1"), ("1024,1", "standard name"),
        ("ai,1", "standard name"),
    ],
)  # fmt: skip
def test_wrong_object(text: str, says: str) -> None:
    """A wrong object text is answered by what would be right."""
    assert says in refusal(PointConfig, object=text).text.en


def test_wrong_property() -> None:
    """A misspelt property is answered by the one that was meant."""
    error = refusal(PointConfig, object="analog-input,1", property="present_value")
    assert "present-value?" in error.text.en
    assert PointConfig(object="analog-input,1", property="1024").target() == (1, 1024)


def test_what_is_an_output_by_nature() -> None:
    """The present value of an output object is commandable; nothing else is by itself."""
    assert PointConfig(object="analog-output,1").commandable
    assert PointConfig(object="binary-lighting-output,1").commandable
    assert not PointConfig(object="analog-output,1", property="relinquish-default").commandable
    assert not PointConfig(object="analog-value,1").commandable


def device(*points: tuple[str, str, bool, float], batch: int = 20) -> FieldDevice:
    return FieldDevice(
        "lobby",
        DeviceConfig(device=1001, batch=batch),
        tuple(
            FieldPoint(
                id, PointConfig(object=obj), 1, 0, -math.inf, math.inf, period, True, writable
            )
            for id, obj, writable, period in points
        ),
    )


BUS = BusConfig(address="127.0.0.1/32")


def test_polls_are_batches_of_one_period() -> None:
    """Points are taken in order, `batch` at most, each period by itself, write-only ones never."""
    rows = [(f"p{i}", f"analog-input,{i}", False, 5.0 if i % 4 == 0 else 1.0) for i in range(12)]
    polls = BACNET.plan(BUS, device(*rows, batch=4))
    assert [(p.period, p.points) for p in polls] == [
        (5.0, ("p0", "p4", "p8")),
        (1.0, ("p1", "p2", "p3", "p5")),
        (1.0, ("p6", "p7", "p9", "p10")),
        (1.0, ("p11",)),
    ]
    assert [p.label for p in polls[2:]] == ["analog-input,6 … analog-input,10", "analog-input,11"]


def test_points_that_do_not_fit_together() -> None:
    """An input that should be driven, and an object driven twice, are found before the start."""
    assert BACNET.check is not None
    found = BACNET.check(
        BUS,
        device(
            ("a", "analog-input,1", True, 1.0),
            ("b", "analog-output,1", True, 1.0),
            ("c", "analog-output,1", True, 1.0),
            ("d", "analog-output,1", False, 1.0),
        ),
    )
    assert [(id, text.en) for id, text in found] == [
        ("a", "analog-input,1 is an input: it is not written"),
        ("c", "analog-output,1 is driven by b already"),
    ]


@pytest.mark.parametrize(
    ("octets", "value"),
    [("44 41 c8 00 00", 25.0), ("91 01", 1.0), ("22 01 00", 256.0), ("11", 1.0), ("31 ff", -1.0)],
)
def test_profile_vectors(octets: str, value: float) -> None:
    """A profile's test vector is the application-tagged value."""
    assert BACNET.vector is not None
    assert BACNET.vector(None, bytes.fromhex(octets), {}) == value


@pytest.mark.parametrize("model", [BusConfig, DeviceConfig, PointConfig])
def test_the_readme_has_every_option(model: type[Model]) -> None:
    """Each option stands in the driver's README with its own description and default."""
    readme = (Path(drivers.bacnet.__file__).parent / "README.md").read_text()
    for name, field in model.model_fields.items():
        default = "–" if field.default in (PydanticUndefined, None) else str(field.default)
        rows = [row for row in readme.splitlines() if row.startswith(f"| `{name}` | {default}")]
        assert any(str(field.description) in row for row in rows), name


def test_the_sample_is_a_site() -> None:
    """The sample passes `edge check`."""
    sample = Path(drivers.bacnet.__file__).parent / "sample.yaml"
    checked = read_site(sample, {"bacnet": BACNET}, {})
    assert [problem.line("en") for problem in checked.problems] == []
    assert checked.site is not None
    assert [poll.points for poll in checked.site.buses[0].polls] == [
        ("lobby.lux", "lobby.dimmer", "lobby.power", "lobby.night")
    ]
