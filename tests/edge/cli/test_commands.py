"""The `edge` command against a served controller made of a dictionary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge.cli import TABLE, group
from edge.hmi import socket
from edge.image import quality
from tests.edge.conftest import WALL, FakeView, Running

ZONE3 = {
    "id": "ZONE3_LOW", "n": 7, "priority": 2, "state": "UNACK", "raised": WALL - 90,
    "numbers": {"booster.pressure": 0.281},
}  # fmt: skip


def edge(*words: str, lang: str = "en") -> Result:
    return CliRunner().invoke(group, ["--lang", lang, *words])


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No controller of this machine, and no language of whoever runs the tests."""
    for name in ("EDGE_SOCKET", "EDGE_LANG", "RUNTIME_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EDGE_LANG", "en")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(socket, "SYSTEM", ())


def test_help_needs_no_heavy_library() -> None:
    """`edge --help` answers at once: nothing that computes, talks or draws is imported."""
    code = (
        "import sys\nfrom edge.cli import group\n"
        "try:\n    group.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'numba', 'pydantic', 'bacpypes3', 'aiohttp', 'rich', 'paho'}\n"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "Exit codes" in done.stdout


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_command_has_a_line_in_the_list(lang: str) -> None:
    """The list of commands is in the reader's language and complete."""
    shown = edge("--help", lang=lang)

    assert shown.exit_code == 0
    for name, (_, _, text) in TABLE.items():
        assert f"  {name} " in shown.output
        assert text.zh != text.en
        assert (text.zh if lang == "zh" else text.en) in shown.output


OWN = ("watch", "explain", "demo", "alarms", "ack", "reset", "set", "release", "read", "health",
       "run", "completion", "retry", "bypass")  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_every_command_teaches_with_an_example(name: str) -> None:
    """A command's help shows at least one whole command line, and differs by language."""
    english, chinese = edge(name, "--help"), edge(name, "--help", lang="zh")

    assert english.exit_code == chinese.exit_code == 0
    assert f"  edge {name} " in english.output + " "
    assert "选项:" in chinese.output
    assert "显示本说明" in chinese.output


@pytest.mark.parametrize(
    ("env", "title"), [("zh_CN.UTF-8", "命令:"), ("en_US.UTF-8", "Commands:"), ("C", "Commands:")]
)
def test_the_locale_chooses_the_language(
    monkeypatch: pytest.MonkeyPatch, env: str, title: str
) -> None:
    """Without --lang and EDGE_LANG, LANG decides."""
    for name in ("EDGE_LANG", "LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", env)

    assert title in CliRunner().invoke(group, ["--help"]).output


def test_without_a_controller_the_sentence_says_how_to_start_one() -> None:
    """69, one sentence on stderr, no traceback."""
    result = edge("watch", "--once")

    assert result.exit_code == 69
    assert result.stderr.startswith("edge: no controller is running here; start one")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("wacth",), 'there is no command "wacth"; did you mean "watch"?'),
        (("watch", "--onse"), "there is no option --onse; did you mean --once?"),
        (("set", "v3.position"), "VALUE is missing"),
        (("set", "v3.position", "65"), "--for DURATION is missing"),
        (("completion", "tcsh"), "tcsh"),
        (("set", "v3.position", "65", "--for", "30"), "30"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(
    running: Running, words: tuple[str, ...], said: str
) -> None:
    """Exit code 2, what is wrong and what would be right."""
    result = edge(*words)

    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_watch_once_prints_value_quality_age_and_owner(running: Running) -> None:
    """A bad value has a dash and its reason; an output says what is asked, by which slot."""
    running.view.quality[0] = quality.STALE

    lines = edge("watch", "--once").output.splitlines()

    assert lines[0].split() == ["booster.pressure", "(0.404", "MPa)", "stale", "0.5", "s"]
    assert lines[2].split("  ")[-1:] == ["80 % default 16"]
    assert "--" in lines[3]
    assert "comm" in lines[3]


def test_watch_takes_a_device_or_a_pattern_and_corrects_a_typo(running: Running) -> None:
    """`v3` is every point of v3; an unknown name gets the nearest one."""
    assert [line.split()[0] for line in edge("watch", "--once", "v3").output.splitlines()] == [
        "v3.position"
    ]
    assert len(edge("watch", "--once", "booster.*").output.splitlines()) == 2
    wrong = edge("watch", "--once", "boster.pressure")
    assert wrong.exit_code == 1
    assert 'did you mean "booster.pressure"?' in wrong.stderr


def test_watch_json_is_for_scripts(running: Running) -> None:
    """One object with every point by its id; colours and texts nowhere."""
    got = json.loads(edge("watch", "--once", "--json").output)

    assert got["points"]["booster.pressure"] == {
        "value": 0.404, "unit": "MPa", "quality": [], "age": 0.5,
    }  # fmt: skip
    assert got["points"]["lobby.lux"]["quality"] == ["comm"]
    assert got["points"]["booster.p1.run"]["by"] == "supply"


def test_watch_follows_changes_until_its_reader_ends(running: Running) -> None:
    """In a pipe: the table, then a line per change and alarm."""
    words = [sys.executable, "-m", "edge.cli", "watch", "v3"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("v3.position")
        running.view.value[0] = 0.5  # not asked for
        running.view.value[2] = 65.0
        running.view.alarm_list = [dict(ZONE3)]
        lines = [process.stdout.readline(), process.stdout.readline()]
        process.terminate()

    assert lines[0] == "! P2 ZONE3_LOW #7 UNACK\n"
    assert lines[1].split()[1:] == ["v3.position", "65", "%"]


def test_alarms_show_numbers_and_first_checks(running: Running) -> None:
    """What is wrong, since when, the live numbers, what to check first."""
    running.view.alarm_list = [dict(ZONE3)]

    english, chinese = edge("alarms").output, edge("alarms", lang="zh").output

    assert "P2 ZONE3_LOW #7  Zone 3 supply pressure low  unacknowledged  90 s" in english
    assert "booster.pressure 0.281 MPa" in english
    assert "1. compare the valve feedback" in english
    assert "三区供水压力低  未确认  90 秒" in chinese
    assert "1. 核对阀位反馈" in chinese


def test_without_alarms_the_list_says_so(running: Running) -> None:
    """An empty list is a sentence, and an empty array for scripts."""
    assert edge("alarms").output == "no alarms\n"
    assert edge("alarms", "--json").output == "[]\n"


def test_suppressed_alarms_are_a_count(running: Running) -> None:
    """They are not listed as alarms, and not hidden either."""
    running.view.alarm_list = [ZONE3 | {"state": "SUPPRESSED", "raised": None}]

    assert edge("alarms").output.splitlines() == [
        "no alarms", "1 more are suppressed or shelved (see --json)",
    ]  # fmt: skip


def test_alarm_history_asks_for_the_time_that_was_meant(running: Running) -> None:
    """`--since 1h` asks the journal for one hour of the controller's own time."""
    assert "ZONE3_LOW #1" in edge("alarms", "--since", "1h").output
    _, since, until = running.view.asked[-1]
    assert isinstance(since, float)
    assert isinstance(until, float)
    assert until - since == 3600


def test_ack_names_the_occurrence_that_is_shown(running: Running) -> None:
    """The acknowledgement carries n, so that it cannot hit a newer occurrence."""
    running.view.alarm_list = [dict(ZONE3)]

    done = edge("ack", "ZONE3_LOW")

    assert done.output == "ZONE3_LOW #7: acknowledged\n"
    assert running.view.asked[-1][:3] == ("ack", "ZONE3_LOW", 7)
    assert edge("reset", "ZONE3_LOW").output == "ZONE3_LOW #7: normal\n"
    wrong = edge("ack", "ZONE3_LO")
    assert wrong.exit_code == 1
    assert 'did you mean "ZONE3_LOW"?' in wrong.stderr
    nothing = edge("reset", "v1_watch")
    assert nothing.exit_code == 1
    assert "no alarm, interlock or rule" in nothing.stderr


@pytest.mark.parametrize(
    ("words", "zh"),
    [
        (("alarms", "foo"), "多余的参数 foo"),
        (("equipment", "--noise", "-1", "x"), "--noise 无效: 应为不小于 0 的数"),
        (("equipment", "--plant", "/nix", "x"), "--plant 无效: /nix 不存在"),
        (("simulate", "--seed", "q"), "--seed 无效: 应为整数"),
        (("test", "-j", "0", "x"), "-j 无效: 应为 1 至 64 的整数"),
        (("simulate", "--record", "/tmp"), "--record 无效: /tmp 是文件夹, 应为文件"),
        (("completion", "tcsh"), 'SHELL 无效: 没有 "tcsh", 可用 bash, zsh, fish'),
        (("run", "site.yaml", "--state"), "--state 缺少值"),
    ],
)
def test_mistakes_on_the_command_line_are_told_in_chinese(words: tuple[str, ...], zh: str) -> None:
    """What click says in English only is said in the reader's language."""
    wrong = edge(*words, lang="zh")
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith(f"edge: {zh} (")


def test_set_converts_units_and_follows_to_the_proof(running: Running) -> None:
    """The envelope holds value, lease and reason; the last state said is the verified feedback."""
    done = edge("set", "v3.position", "65 %", "--for", "30min", "--reason", "test")

    assert done.exit_code == 0
    assert done.output.splitlines() == ["received: v3.position = 65 %", "verified, feedback 65 %"]
    name, envelope, _ = running.view.asked[-1]
    assert name == "command"
    assert isinstance(envelope, dict)
    wanted = {"point": "v3.position", "op": "set", "value": 65.0, "unit": "%", "lease_s": 1800.0,
              "reason": "test"}  # fmt: skip
    assert wanted.items() <= envelope.items()


def test_set_takes_the_name_of_a_state(running: Running) -> None:
    """`on` and `开` are the labels of 1."""
    edge("set", "booster.p1.run", "开", "--for", "10s")

    envelope = running.view.asked[-1][1]
    assert isinstance(envelope, dict)
    assert envelope["value"] == 1.0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("v3.position", "120 %"), 1, "beyond 0 to 100 [OUT_OF_RANGE]"),
        (("v3.position", "-5"), 0, "verified"),
        (("v3.position", "6 bar"), 2, "bar"),
        (("lobby.lux", "100"), 1, "lobby.lux cannot be commanded"),
        (("v3.positon", "65"), 1, 'did you mean "v3.position"?'),
    ],
)
def test_set_says_why_it_was_refused(
    running: Running, words: tuple[str, ...], code: int, said: str
) -> None:
    """A refusal is the controller's sentence with its code."""
    result = edge("set", *words, "--for", "1min")

    assert result.exit_code == code
    assert said in result.output + result.stderr


def test_set_says_what_an_accepted_command_waits_for(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No silence until the time is over: the note of `edge explain`, then why it ended."""
    accept, explain = FakeView.command, FakeView.explain
    over = {"state": "REVERTED", "text": {"zh": "授权到期", "en": "the lease is over"}}

    async def waiting(self: FakeView, envelope: dict[str, object], user: str) -> dict[str, object]:
        answer = await accept(self, envelope, user)
        self.commands[answer["id"]] |= {"state": "ACCEPTED"}
        return self.commands[answer["id"]]

    def noted(self: FakeView, point: str) -> dict[str, object]:
        for command in self.commands.values():
            command |= over
        return explain(self, point) | {"notes": [{"zh": "启动延时中", "en": "start-up delay"}]}

    monkeypatch.setattr(FakeView, "command", waiting)
    monkeypatch.setattr(FakeView, "explain", noted)
    monkeypatch.setattr("edge.cli.set.PATIENCE", 0.0)

    result = edge("set", "v3.position", "65", "--for", "1min")

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "accepted", "start-up delay", "given back to automatic: the lease is over",
    ]  # fmt: skip


def test_a_valve_that_does_not_follow_is_a_failure(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MISMATCH ends with exit code 1 and the number where the feedback stays."""
    original = FakeView.command

    async def stuck(self: FakeView, envelope: dict[str, object], user: str) -> dict[str, object]:
        answer = await original(self, envelope, user)
        self.commands[answer["id"]] |= {"state": "MISMATCH", "feedback": 20.0}
        return answer

    monkeypatch.setattr(FakeView, "command", stuck)

    result = edge("set", "v3.position", "65", "--for", "1min")

    assert result.exit_code == 1
    assert "did not follow: feedback stays at 20 %" in result.output


def test_release_gives_the_point_back(running: Running) -> None:
    """A release is a command like any other, with its id."""
    assert edge("release", "v3.position").exit_code == 0

    envelope = running.view.asked[-1][1]
    assert isinstance(envelope, dict)
    assert (envelope["op"], envelope["point"]) == ("release", "v3.position")
    assert envelope["id"] in running.view.commands


def test_read_shows_the_words_in_all_four_orders(running: Running) -> None:
    """0.4 as a float in order ABCD: the plausible line stands among the others."""
    lines = edge("read", "booster.pressure").output.splitlines()

    assert lines[0] == "booster.pressure  0.4 MPa"
    assert lines[1] == "  raw bytes 3e cc cc d0"
    assert [line.split()[0] for line in lines[4:]] == ["ABCD", "CDAB", "BADC", "DCBA"]
    assert lines[4].split()[1:3] == ["f32", "0.4000001"]


def test_read_goes_on_after_a_device_that_does_not_answer(running: Running) -> None:
    """Each point has its line; one failure makes the exit code 1."""
    result = edge("read", "lobby", "booster")

    assert result.exit_code == 1
    assert "lobby.lux  the device does not answer [READ_FAILED]\n" in result.output
    assert "booster.pressure  0.4 MPa" in result.output


def test_health_names_the_silent_device(running: Running) -> None:
    """Buses, the device that is silent and since when, the backlog of the uplink."""
    english, chinese = edge("health").output, edge("health", lang="zh").output

    assert "pump_room (modbus) up  100 requests, 3 failed, load 62 %" in english
    assert "silent for 60 s, next try in 12 s, 2 unanswered" in english
    assert "cloud DOWN  5 sent, 12 waiting, 0 refused" in english
    assert "已中断 60 秒, 12 秒后再试, 无应答 2 次" in chinese
    found = json.loads(edge("health", "--json").output)
    assert found["uplinks"][0]["backlog"] == 12
    assert found["buses"][0]["devices"][1]["failures"]["timeout"] == 2


def test_health_says_that_the_disk_cannot_be_written(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the line in the log that it began to the one that it is over."""
    whole = running.view.health()
    counts: dict[str, int] = {"store-full": 2, "store-back": 1}
    monkeypatch.setattr(running.view, "health", lambda: whole | {"events": counts})

    assert "CANNOT BE WRITTEN" in edge("health").output
    counts["store-back"] = 2
    assert "CANNOT BE WRITTEN" not in edge("health").output


def test_the_log_of_run_speaks_the_language_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """--lang wins over the site; without it a log that nobody watches has the site's language."""
    spoken: list[str] = []
    monkeypatch.setattr("edge.app.run_site", lambda site, **_: spoken.append(site.language) or 0)
    monkeypatch.setattr("edge.cli.logs.set_up", lambda: None)
    site = str(Path(__file__).parents[3] / "config" / "first-device")

    edge("run", site, lang="zh")
    monkeypatch.delenv("EDGE_LANG")
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    CliRunner().invoke(group, ["run", site])

    assert spoken == ["zh", "en"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    """The script calls back into `edge` with click's variable."""
    result = edge("completion", shell)

    assert result.exit_code == 0
    assert "_EDGE_COMPLETE" in result.output


def test_the_shell_completes_points_of_the_running_controller(running: Running) -> None:
    """TAB after `edge explain b` asks the controller; without one it is silent."""
    env = os.environ | {
        "_EDGE_COMPLETE": "bash_complete", "COMP_WORDS": "edge watch b", "COMP_CWORD": "2",
    }  # fmt: skip
    words = [sys.executable, "-c", "from edge.cli import main; main()"]

    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    alone = subprocess.run(
        words, env=env | {"EDGE_SOCKET": "/nowhere"}, capture_output=True, text=True, check=False
    )

    assert done.stdout.split() == ["plain,booster.pressure", "plain,booster.p1.run"]
    assert (alone.stdout.strip(), alone.stderr) == ("", "")


def test_explain_shows_the_ladder_with_its_winner(running: Running) -> None:
    """A line per slot that asks, the winner marked, who and for how long; data with --json."""
    lines = edge("explain", "v3.position").output.splitlines()
    data = json.loads(edge("explain", "v3.position", "--json").output)

    assert lines[0].startswith("v3.position = 65 %")
    assert "8 remote: 65 %" in lines[1]
    assert "lisi" in lines[1]
    assert "16 default: 80 %" in lines[2]
    assert [level["slot"] for level in data["levels"]] == [8, 16]
    assert "远程手动" in edge("explain", "v3.position", lang="zh").output


def test_explain_of_no_point_is_the_controllers_sentence(running: Running) -> None:
    """Exit code 1 and the code of the API."""
    result = edge("explain", "no.such")

    assert result.exit_code == 1
    assert "[UNKNOWN_POINT]" in result.stderr
