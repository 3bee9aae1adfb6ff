"""`edge test` plays the scenarios beside a site, and says where they do not hold and why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from drivers.sim.models import MODELS
from drivers.sim.plant_file import OURS
from edge.schema.arguments import arguments, given

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "config" / "demo"
pytestmark = pytest.mark.usefixtures("compiled")  # what another process loads from the cache


def edge_test(
    *words: str | Path, language: str = "en", folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run the command as a person would."""
    environment = os.environ | {"EDGE_LANG": language, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "edge.cli", "test", *map(str, words)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_the_demo_holds_and_junit_says_so(tmp_path: Path) -> None:
    """Nine scenarios on real profiles and polls, in two processes, each in the report once."""
    done = edge_test("config/demo", "-j", "2", "--junit", tmp_path / "junit.xml")
    assert (done.returncode, done.stderr) == (0, "")
    assert "9 of 9 hold" in done.stdout
    (suite,) = ET.parse(tmp_path / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("9", "0", "0")
    assert suite.get("name") == "config/demo/site.test.yaml"
    names = [case.get("name") for case in suite]
    assert names[:2] == ["valve_deviation", "burst"]
    assert len(names) == 9


SITE = """
site: {id: cellar, timezone: Asia/Shanghai}
scan: {startup_delay: 0s}
buses: {pumps: {driver: modbus, tcp: "192.0.2.1:502"}}
devices:
  sump:
    bus: pumps
    unit: 1
    points:
      level: {input: 0, device_unit: cm, unit: m, range: [0, 5]}
      run:   {coil: 0, output: true, default: 0}
rules:
  emptying: {block: hysteresis, input: sump.level, on_at: 1.0 m, off_at: 0.3 m, output: sump.run}
"""
TEST = """\
scenarios:
  rising:
    text: {zh: 水位高则启泵, en: A high level starts the pump}
    given: {settle: 5s, points: {sump.level: 0.5 m}}
    steps:
      - {at: 0s, then: [sump.run == 0]}
      - {at: 0s, when: [{set: {sump.level: LEVEL}}]}
      - at: 10s
        then:
          - sump.run == 1
          - writes(sump.run, 0, 10) == [1]
"""
SEEN = {
    "en": """
✗ rising  15 s in
  A high level starts the pump
  site.test.yaml:10:13 at 10 s: expected sump.run == 1
    seen sump.run = 0
    why  sump.run = 0 · good
           → 14 control: 0 · rules.emptying
             16 default: 0
           rules.emptying (On/off switch with hysteresis)
             input: sump.level = 0.90 m · good
""",
    "zh": """
✗ rising  虚拟 15 秒, 用时
  水位高则启泵
  site.test.yaml:10:13 10 秒: 应有 sump.run == 1
    实见 sump.run = 0
    为何 sump.run = 0 · 正常
           → 14 自动控制: 0 · rules.emptying
             16 默认: 0
           rules.emptying (回差开关
             input: sump.level = 0.90 m · 正常
""",
}


def site(folder: Path, level: str, **extra: str) -> Path:
    """A sump on a real driver and its one scenario, with further files."""
    (folder / "site.yaml").write_text(SITE)
    (folder / "site.test.yaml").write_text(TEST.replace("LEVEL", level))
    for name, text in extra.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / "site.yaml"


def test_what_does_not_hold_is_explained(tmp_path: Path) -> None:
    """Expected, seen, and why the output had its value, with the place, in both languages."""
    site(tmp_path, "0.9 m")
    for language, wanted in SEEN.items():
        junit = tmp_path / "junit.xml"
        done = edge_test("site.yaml", "--junit", junit, language=language, folder=tmp_path)
        assert done.returncode == 1
        lines = [line.strip() for line in done.stdout.splitlines()]
        for line in wanted.strip().splitlines():
            assert any(seen.startswith(line.strip()) for seen in lines), (line, done.stdout)
        failure = ET.parse(junit).getroot().find(".//failure")
        assert failure is not None
        assert failure.get("message") == wanted.strip().splitlines()[2].strip()


def test_a_site_without_a_plant_is_driven_by_what_points_show(tmp_path: Path) -> None:
    """A point shows what a step sets; the output keeps what was written; JSON tells all of it."""
    done = edge_test(site(tmp_path, "1.2"), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["ok"] is True
    (scenario,) = told["scenarios"]
    assert (scenario["name"], scenario["held"], scenario["virtual_s"]) == ("rising", True, 15.0)


WRONG = {
    "models: {pit: {model: sumpp}}": 'no model "sumpp"',
    "models: {zones: {model: zones, zone: 2}}": 'no option "zone"; did you mean "zones"?',
    "models: {zones: {model: zones}}\nconnect: {zones.suply: zones.flow}":
        'no variable "suply"; did you mean "supply"?',
    "models: {zones: {model: zones}}\nconnect: {zones.supply: zone.flow}":
        'no model "zone"; did you mean "zones"?',
    "devices: {smup: zones}": 'no device "smup"; did you mean "sump"?',
    "models: {zones: {model: zones}}\ndevices: {sump: {model: zones, points: {leevl: z1_flow}}}":
        'no point "leevl"; did you mean "level"?',
    "models: {zones: {model: zones}}\ndevices: {sump: {model: zones, points: {level: z1_flw}}}":
        'no variable of zones "z1_flw"; did you mean "z1_flow"?',
    "models: {zones: {model: zones}}\ndevices: {sump: {model: zones, points: {run: v1_position}}}":
        "sump.run is written, and v1_position of zones is no command",
    "models: {zones: {model: zones, run_at: [80]}}": "run_at is a list of pump speeds",
    "models: [": "",
}  # fmt: skip


@pytest.mark.parametrize("plant", WRONG)
def test_a_wrong_plant_is_told_with_its_place(tmp_path: Path, plant: str) -> None:
    """What does not exist is named, with what was perhaps meant; nothing is played."""
    from drivers import DRIVERS
    from edge.proof import suite

    site(tmp_path, "1.2", plant=plant)
    (scenario,), _ = suite.read([tmp_path / "site.test.yaml"])
    problem, *_ = suite.run(scenario, DRIVERS).problems
    assert WRONG[plant] in problem.text.en
    assert problem.mark.file == str(tmp_path / "plant.yaml")
    assert problem.mark.column > 1 or plant == "models: ["


def test_a_model_that_is_wrong_is_told_once(tmp_path: Path) -> None:
    """Not again wherever its name stands."""
    from drivers import DRIVERS
    from edge.proof import suite

    plant = (
        "models: {zones: {model: zones, stictoin: 4}, supply: {model: booster}}\n"
        "connect: {zones.supply: supply.pressure, supply.draw: zones.flow}\n"
        "devices: {sump: {model: zones}}\n"
    )
    site(tmp_path, "1.2", plant=plant)
    (scenario,), _ = suite.read([tmp_path / "site.test.yaml"])
    (problem,) = suite.run(scenario, DRIVERS).problems
    assert problem.text.zh == '没有选项 "stictoin"; 是不是 "stiction"?'


ALARM = """
alarms:
  level_high:
    {point: sump.level, above: 1.1 m, priority: P3,
     text: {zh: 高, en: high}, checks: {zh: [看], en: [look]}}
"""


@pytest.mark.parametrize(
    ("sentence", "refused"),
    [
        ("alarms() == [level_high]", ""),
        ("states(level_high)[-1] == UNACK and quality(sump.level) == GOOD", ""),
        ("level_hihg not in alarms()", 'no point "level_hihg"'),
        ("states(level_high)[-1] != UNACKK",
         'no point, alarm or state "UNACKK"; did you mean "UNACK"?'),
        ("quality(sump.level) != COM", 'no point, alarm or state "COM"; did you mean "COMM"?'),
    ],
)  # fmt: skip
def test_bare_names_are_what_there_is(tmp_path: Path, sentence: str, refused: str) -> None:
    """An alarm as its site writes it; a misspelt one would hold for ever as `not in`."""
    from drivers import DRIVERS
    from edge.proof import suite

    file = site(tmp_path, "1.2")
    file.write_text(SITE + ALARM)
    tests = tmp_path / "site.test.yaml"
    tests.write_text(tests.read_text().replace("sump.run == 1\n", f"{sentence}\n"))
    (scenario,), _ = suite.read([tests])
    result = suite.run(scenario, DRIVERS)
    assert [refused in p.text.en for p in result.problems] == [True] * bool(refused)
    assert result.held is not bool(refused)


def test_exit_codes_tell_mistakes_apart(tmp_path: Path) -> None:
    """2: nothing to play; 78: it cannot be played as it is written."""
    folder = site(tmp_path, "1.2").parent
    for words in (("nowhere",), (".", "-k", "falling"), ("plant.yaml",)):
        done = edge_test(*words, folder=folder)
        assert (done.returncode, done.stdout) == (2, "")
    (folder / "site.test.yaml").write_text(TEST.replace("sump.run == 1", "smup.run == 1"))
    done = edge_test(folder=folder)
    assert done.returncode == 78
    assert 'site.test.yaml:10:13 scenarios.rising.steps[2].then[0]: no point "smup.run"' in (
        done.stdout
    )


@pytest.mark.parametrize("kind", MODELS)
def test_a_plant_file_can_give_every_model_its_parameters(kind: str) -> None:
    """The arguments of each are of types that YAML has, and its defaults are accepted."""
    model = arguments(MODELS[kind], OURS)
    assert isinstance(MODELS[kind](**given(model.model_validate({}))).readings(), dict)
