"""The section as it is documented, and what it costs a site without it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import edge
from edge.bms.server import FAILURE, REFUSALS
from edge.cli.health import bms_text
from edge.envelope import TEXTS
from edge.schema.model import Refusal
from edge.site.bms import BmsOptions, split_listen
from edge.site.registers import STATUS_AT, STATUS_WORDS

DOCUMENT = (Path(edge.__file__).parents[1] / "docs" / "bms.md").read_text()


def test_the_documented_example_is_a_section() -> None:
    """What the document shows can be written so."""
    block = re.search(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    assert block is not None
    bms = BmsOptions.model_validate(yaml.safe_load(block[1])["bms"]).resolved()
    assert (bms.host, bms.port, bms.unit, bms.order) == ("0.0.0.0", 1502, 1, "ABCD")
    assert [str(network) for network in bms.clients] == ["192.168.10.0/24"]
    assert [r.point for r in bms.registers if r.write] == ["v3.position"]


def test_the_document_knows_the_codes() -> None:
    """Refusals that are not a plain failure stand in the table with their exception."""
    for code, exception in REFUSALS.items():
        assert code in TEXTS
        assert re.search(rf"^\| {exception} .*{code}", DOCUMENT, re.MULTILINE), code
        assert exception != FAILURE
    assert f"{STATUS_AT}-{STATUS_AT + STATUS_WORDS - 1}" in DOCUMENT


@pytest.mark.parametrize(
    ("text", "listen"),
    [("0.0.0.0", ("0.0.0.0", 502)), ("10.0.0.5:1502", ("10.0.0.5", 1502)),
     ("[::1]:502", ("::1", 502)), ("[::]", ("::", 502))],
)  # fmt: skip
def test_listen(text: str, listen: tuple[str, int]) -> None:
    """An address with or without a port, of either family."""
    assert split_listen(text) == listen


@pytest.mark.parametrize(
    "text", ["", "bms", "1.2.3", "1.2.3.4:0", "1.2.3.4:65536", "::1:502", "[1.2"]
)
def test_no_listen(text: str) -> None:
    """A name or half an address is refused: nobody could say whether it is loopback."""
    with pytest.raises(Refusal):
        split_listen(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]"])
def test_loopback_is_for_this_machine(host: str) -> None:
    """Without `clients` nobody from elsewhere is let in."""
    points = {"a": {"input": 0, "type": "u16"}}
    bms = BmsOptions.model_validate({"listen": f"{host}:1502", "points": points}).resolved()
    assert all(network.is_loopback for network in bms.clients)


def test_health_shows_it_in_a_line() -> None:
    """Whether it listens, who is connected, and what was refused, in both languages."""
    told = {"listen": "0.0.0.0:1502", "up": True, "clients": ["10.0.0.7"], "requests": 9,
            "refused": 2}  # fmt: skip
    assert bms_text(told, "en") == "BMS on 0.0.0.0:1502 up  9 requests, 2 writes refused  10.0.0.7"
    assert bms_text({**told, "up": False}, "zh").startswith("楼控接口 0.0.0.0:1502 中断")


@pytest.mark.slow
def test_a_site_without_it_does_not_load_pymodbus() -> None:
    """The library costs time and memory where nobody uses it."""
    code = "import sys, drivers, edge.app; print('pymodbus' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
