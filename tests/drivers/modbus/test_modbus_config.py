"""What a technician may write for Modbus, and what is refused with a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import drivers.modbus
from drivers.modbus import MODBUS
from drivers.modbus.bus import BusConfig, TlsConfig, split_address
from drivers.modbus.config import DeviceConfig, PointConfig, Setting
from drivers.modbus.identity import Identity, Nameplate
from edge.schema.model import Refusal
from edge.site.load import read_site


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.168.10.20", "192.168.10.20", 502),
        ("192.168.10.20:1502", "192.168.10.20", 1502),
        ("gateway.local", "gateway.local", 502),
        ("[fd00::20]", "fd00::20", 502),
        ("[fe80::1%eth0]:1502", "fe80::1%eth0", 1502),
    ],
)
def test_address(text: str, host: str, port: int) -> None:
    """A host with or without a port, IPv6 in brackets."""
    assert split_address(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "host:", "fd00::20", "a b", "tcp://host", "host:502/1", "192.168.1.300", "10.0.1"]
)
def test_no_address(text: str) -> None:
    """What is no address is refused and shown how to write it."""
    with pytest.raises(Refusal) as caught:
        split_address(text)
    assert "192.168.10.20" in caught.value.text.en
    assert "192.168.10.20" in caught.value.text.zh
    with pytest.raises(ValidationError):
        BusConfig(tcp=text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("host:0", "no port 0; it is 1 to 65535"),
        ("host:99999", "no port 99999; it is 1 to 65535"),
        ("192.168.10.20：502", "a full-width"),
    ],
)
def test_what_is_wrong_with_an_address_is_named(text: str, words: str) -> None:
    """What the eye does not see at once is said."""
    with pytest.raises(Refusal) as caught:
        split_address(text)
    assert words in caught.value.text.en


@pytest.mark.parametrize(
    ("options", "table", "address", "kind", "size"),
    [
        ({"holding": 100}, "holding", 100, "u16", 1),
        ({"input": 0x34, "type": "f32"}, "input", 52, "f32", 2),
        ({"holding": 0, "type": "f64"}, "holding", 0, "f64", 4),
        ({"coil": 3}, "coil", 3, "bool", 1),
        ({"discrete": 2, "type": "bool"}, "discrete", 2, "bool", 1),
        ({"holding": 5, "bit": 3}, "holding", 5, "bool", 1),
        ({"holding": 5, "bit": 3, "length": 4}, "holding", 5, "bitfield", 1),
        ({"holding": 5, "type": "bitfield", "bit": 3}, "holding", 5, "bitfield", 1),
    ],
)
def test_point(options: dict[str, Any], table: str, address: int, kind: str, size: int) -> None:
    """Table, address, type and size follow from what is written."""
    point = PointConfig(**options)
    assert (point.table, point.address, point.kind, point.size) == (table, address, kind, size)


@pytest.mark.parametrize(
    ("options", "readable", "writable"),
    [
        ({"holding": 0}, True, True),
        ({"holding": 0, "access": "read"}, True, False),
        ({"holding": 0, "access": "write"}, False, True),
        ({"coil": 0, "access": "read_write"}, True, True),
        ({"input": 0}, True, False),
        ({"discrete": 0, "access": "read"}, True, False),
    ],
)
def test_access(options: dict[str, Any], readable: bool, writable: bool) -> None:
    """What may be read and written follows from the table and the access."""
    point = PointConfig(**options)
    assert (point.readable, point.writable) == (readable, writable)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no address"),
        ({"holding": 1, "input": 1}, "holding, input"),
        ({"input": 1, "access": "write"}, "input can only be read"),
        ({"discrete": 1, "access": "read_write"}, "discrete can only be read"),
        ({"coil": 1, "type": "u16"}, "single bit"),
        ({"coil": 1, "bit": 0}, "single bit"),
        ({"coil": 1, "sentinel": [1]}, "single bit"),
        ({"holding": 1, "type": "bitfield"}, "first bit"),
        ({"holding": 1, "type": "f32", "bit": 0}, "not to f32"),
        ({"holding": 1, "length": 2}, "length"),
        ({"holding": 1, "bit": 3, "type": "bool", "length": 2}, "length"),
        ({"holding": 1, "bit": 13, "length": 4}, "past the 16 bits"),
        ({"holding": 1, "sentinel": [65536]}, "65536 is no raw value"),
        ({"holding": 1, "sentinel": [-32769]}, "no raw value"),
        ({"holding": 1, "sentinel": [0.5]}, "no raw value"),
        ({"holding": 1, "type": "f32", "sentinel": [1e39]}, "no raw value"),
        ({"holding": 1, "access": "write", "clears": True}, "not read"),
    ],
)
def test_point_refused(options: dict[str, Any], words: str) -> None:
    """What contradicts itself is refused in one sentence of both languages."""
    with pytest.raises(ValidationError) as caught:
        PointConfig(**options)
    (error,) = caught.value.errors()
    refusal = error["ctx"]["error"]
    assert isinstance(refusal, Refusal)
    assert words in refusal.text.en
    assert refusal.text.zh != refusal.text.en


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (Identity, {}, "identity is empty"),
        (Nameplate, {"text": "AB", "length": 2}, "holding and input"),
        (Nameplate, {"holding": 1, "input": 1, "value": 3}, "holding and input"),
        (Nameplate, {"holding": 1}, "length and text"),
        (Nameplate, {"holding": 1, "length": 2}, "length and text"),
        (Nameplate, {"holding": 1, "text": "AB"}, "length and text"),
        (Nameplate, {"holding": 1, "text": "AB", "length": 2, "value": 3}, "length and text"),
        (Nameplate, {"holding": 1, "text": "AB", "length": 2, "type": "u32"}, "length and text"),
        (Nameplate, {"holding": 1, "text": "ABCDE", "length": 2}, "does not fit 2 registers"),
        (Nameplate, {"holding": 1, "value": 65536}, "65536 is no value that u16"),
        (Setting, {"holding": 1, "value": 65536}, "65536 is no raw value that u16"),
        (Setting, {"holding": 1, "value": 0.5}, "no raw value"),
        (Setting, {"holding": 1, "value": -1, "type": "u32"}, "no raw value"),
        (Setting, {"holding": 1, "value": 10000, "type": "bcd16"}, "no raw value"),
    ],
)
def test_device_refused(model: type[BaseModel], options: dict[str, Any], words: str) -> None:
    """What an identity or a setting cannot be is one sentence of both languages."""
    with pytest.raises(ValidationError) as caught:
        model(**options)
    (error,) = caught.value.errors()
    refusal = error["ctx"]["error"]
    assert isinstance(refusal, Refusal)
    assert words in refusal.text.en
    assert refusal.text.zh != refusal.text.en


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (Setting, {"holding": 1, "value": 1, "type": "bool"}),
        (Setting, {"input": 1, "value": 1}),
        (Identity, {"vendor": ""}),
        (Identity, {"serial": "1"}),
        (PointConfig, {"holding": -1}),
        (PointConfig, {"holding": 65537}),
        (PointConfig, {"holding": "100"}),
        (PointConfig, {"holding": 1.5}),
        (PointConfig, {"holding": 1, "bit": 16}),
        (PointConfig, {"holding": 1, "type": "float"}),
        (PointConfig, {"holding": 1, "type": "string"}),
        (PointConfig, {"holding": 1, "order": "abcd"}),
        (PointConfig, {"holding": 1, "adress": 2}),
        (DeviceConfig, {"unit": 256}),
        (DeviceConfig, {"unit": -1}),
        (DeviceConfig, {"base": 2}),
        (DeviceConfig, {"max_regs": 126}),
        (DeviceConfig, {"max_regs": 0}),
        (DeviceConfig, {"max_gap": 125}),
        (DeviceConfig, {"timeout": 5}),
        (DeviceConfig, {"timeout": "0s"}),
        (BusConfig, {"tcp": "h", "timeout": "2min"}),
        (BusConfig, {}),
    ],
)
def test_out_of_range(model: type[BaseModel], options: dict[str, Any]) -> None:
    """Ranges, spellings and unknown keys are strict."""
    with pytest.raises(ValidationError):
        model(**options)


MODELS = [BusConfig, TlsConfig, DeviceConfig, Identity, Nameplate, Setting, PointConfig]


@pytest.mark.parametrize("model", MODELS)
def test_described(model: type[BaseModel]) -> None:
    """Each option says what it is for."""
    assert not [name for name, field in model.model_fields.items() if not field.description]


@pytest.mark.parametrize("model", MODELS)
def test_readme_has_every_option(model: type[BaseModel]) -> None:
    """Each option stands in the driver's README with its description."""
    readme = (Path(drivers.modbus.__file__).parent / "README.md").read_text().splitlines()
    for name, field in model.model_fields.items():
        rows = [row for row in readme if row.startswith(f"| `{name}` | ")]
        assert any(row.endswith(f" | {field.description} |") for row in rows), name


def test_sample_is_a_site() -> None:
    """The sample passes every check and gives the requests that its comments promise."""
    sample = Path(drivers.modbus.__file__).parent / "sample.yaml"
    checked = read_site(sample, {"modbus": MODBUS}, {})
    assert [problem.line("en") for problem in checked.problems] == []
    assert checked.site is not None
    labels = [poll.label for bus in checked.site.buses for poll in bus.polls]
    assert labels == [
        "coil 0", "holding 100-101", "input 0-3", "input 33", "holding 303-304", "holding 301-302",
        "holding 310",
    ]  # fmt: skip
