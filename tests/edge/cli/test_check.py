"""`edge check` and `edge schema` as a person or a script calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge.cli import group

ROOT = Path(__file__).resolve().parents[3]
GOOD = "site: {id: yard, name: {zh: 院子, en: Yard}, timezone: Asia/Shanghai}\n"
BAD = "site: {id: yard, timezone: Asia/Shanhai}\nalarms:\n  low: {when: x, text: t}\n"


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_LANG", "en")


def check(folder: Path, text: str, *words: str) -> Result:
    (folder / "site.yaml").write_text(text)
    return CliRunner().invoke(group, ["check", str(folder), *words])


def test_a_good_site(tmp_path: Path) -> None:
    """Exit 0 and what the site consists of."""
    done = check(tmp_path, GOOD)
    assert done.exit_code == 0
    assert done.output.startswith("Yard (yard): 0 points")
    assert done.output.endswith("no problems\n")


def test_a_bad_site(tmp_path: Path) -> None:
    """Exit 78, one line per problem with its place and code, and a count; no colours in a pipe."""
    done = check(tmp_path, BAD)
    assert done.exit_code == 78
    file = tmp_path / "site.yaml"
    assert done.output.splitlines() == [
        f'{file}:1:28 site.timezone: no time zone "Asia/Shanhai"; did you mean "Asia/Shanghai"? '
        "[wrong-timezone]",
        f"{file}:3:3 alarms.low: the alarm has no first checks: what does a person look at first? "
        "[alarm-without-checks]",
        f'{file}:3:15 alarms.low.when: no point "x" [unknown-point]',
        "3 errors",
    ]


def test_in_chinese(tmp_path: Path) -> None:
    """`--lang zh` turns every line."""
    done = check(tmp_path, BAD, "--lang", "zh")
    assert '没有时区 "Asia/Shanhai"; 是不是 "Asia/Shanghai"? [wrong-timezone]' in done.output
    assert done.output.endswith("3 个错误\n")


def test_warnings_do_not_fail(tmp_path: Path) -> None:
    """A missing password file may still come."""
    text = GOOD + "uplink:\n  cloud: {mqtt: broker, password: {file: secret}}\n"
    done = check(tmp_path, text)
    assert done.exit_code == 0
    assert "warning: uplink.cloud.password.file: there is no password file" in done.output
    assert done.output.endswith("0 errors, 1 warning\n")


def test_json(tmp_path: Path) -> None:
    """For scripts: every problem with both languages, and the same exit codes."""
    done = check(tmp_path, BAD, "--json")
    found = json.loads(done.output)
    assert (done.exit_code, found["ok"]) == (78, False)
    assert found["problems"][0] == {
        "code": "wrong-timezone", "level": "error", "file": str(tmp_path / "site.yaml"),
        "line": 1, "column": 28, "path": "site.timezone",
        "zh": '没有时区 "Asia/Shanhai"; 是不是 "Asia/Shanghai"?',
        "en": 'no time zone "Asia/Shanhai"; did you mean "Asia/Shanghai"?',
    }  # fmt: skip
    good = json.loads(check(tmp_path, GOOD, "--json").output)
    assert (good["ok"], good["problems"], good["site"]["id"]) == (True, [], "yard")


def test_nothing_there(tmp_path: Path) -> None:
    """A path that does not exist is a site that cannot run; no path at all is a usage error."""
    assert CliRunner().invoke(group, ["check", str(tmp_path / "none")]).exit_code == 78


def test_check_starts_without_numba() -> None:
    """Checking a site must not cost a compiler."""
    code = (
        "import sys\nfrom edge.cli import group\n"
        f"try:\n    group.main(['check', {str(ROOT / 'config' / 'demo')!r}])\n"
        "except SystemExit:\n    pass\n"
        "sys.exit(','.join({'numba', 'bacpypes3', 'aiohttp', 'paho'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_schema() -> None:
    """`edge schema` prints one JSON document with the real drivers and kinds in it."""
    done = CliRunner().invoke(group, ["schema"])
    assert done.exit_code == 0
    schema = json.loads(done.output)
    buses = schema["properties"]["buses"]["additionalProperties"]["oneOf"]
    assert "modbus" in {bus["properties"]["driver"]["const"] for bus in buses}
