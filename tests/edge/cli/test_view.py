"""The live screen: it fits, it is aligned, and it says what matters first."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from edge.cli import demo, view
from edge.cli.view import Scene, draw
from edge.hmi.feed import Feed
from edge.text import Language, Text
from tests.edge.conftest import POINTS, WALL, FakeView

if TYPE_CHECKING:
    from edge.cli.stage import Stage

KEYS = Text("q 退出", "q quit")


def scene(view: FakeView, language: Language = "en", **more: Any) -> Scene:
    import asyncio

    async def snapshot() -> dict[str, Any]:
        return Feed(view).snapshot()

    return Scene(view.model(), asyncio.run(snapshot()), view.health(), language, KEYS, **more)


def screen(made: Scene, width: int = 80, height: int = 24) -> list[str]:
    """The lines as a terminal of this size would show them."""
    out = io.StringIO()
    Console(file=out, width=width, height=height, color_system=None).print(
        draw(made, width, height), end=""
    )
    return out.getvalue().rstrip("\n").split("\n")


def alarm(n: int, priority: int = 2) -> dict[str, Any]:
    return {"id": "ZONE3_LOW", "n": n, "priority": priority, "state": "UNACK",
            "raised": WALL - 90, "numbers": {"booster.pressure": 0.281}}  # fmt: skip


MANY = POINTS + tuple((f"floor{i}.temperature", f"{i}层温度", f"Floor {i}", "°C", 1, "input")
                      for i in range(60))  # fmt: skip


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 40), (200, 60), (60, 15), (40, 24)])
@pytest.mark.parametrize("alarms", [0, 1, 5, 40])
@pytest.mark.parametrize("points", [POINTS, MANY])
def test_the_screen_fits_its_terminal(
    language: Language, size: tuple[int, int], alarms: int, points: Any
) -> None:
    """No line is longer than the terminal, none too many, and the keys are always there."""
    view = FakeView(points, alarm_list=[alarm(n) for n in range(alarms)])
    view.holds = {"v3.position": {"slot": 8, "value": 65.0, "by": "lisi", "since": WALL,
                                  "until": WALL + 750, "reason": "test"}}  # fmt: skip

    lines = screen(scene(view, language, notice=Text("阀门卡住", "the valve sticks")), *size)

    assert len(lines) <= size[1]
    assert max(cell_len(line) for line in lines) <= size[0]
    assert KEYS.of(language) in lines[-1]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_columns_stand_under_each_other_in_both_languages(language: Language) -> None:
    """Chinese characters take two places, and ages still begin at the same one."""
    lines = screen(scene(FakeView(), language), 120, 30)
    row = {line.split()[0]: line for line in lines if line.split()}
    unit = "秒" if language == "zh" else "s"

    def place(line: str, piece: str) -> int:
        return cell_len(line[: line.index(piece)])

    assert place(row["booster.pressure"], f"0.5 {unit}") == place(row["v3.position"], f"0.1 {unit}")
    assert place(row["booster.p1.run"], f"1.0 {unit}") == place(row["v3.position"], f"0.1 {unit}")


def test_the_worst_alarm_brings_its_first_checks() -> None:
    """Text, id, state and age; below it the numbers and what to check first, in the language."""
    text = "\n".join(screen(scene(FakeView(alarm_list=[alarm(1)]), "zh")))

    assert "1 条报警" in text
    assert "三区供水压力低  ZONE3_LOW" in text
    assert "未确认  90 秒" in text
    assert "booster.pressure 0.281 MPa" in text
    assert "1. 核对阀位反馈" in text


def test_a_suppressed_alarm_asks_for_nobody() -> None:
    """What is suppressed by design, and perhaps was never raised, is not shown as an alarm."""
    view = FakeView(alarm_list=[alarm(1) | {"state": "SUPPRESSED", "raised": None}])

    text = "\n".join(screen(scene(view)))

    assert "no alarms" in text
    assert "ZONE3_LOW" not in text


def test_alarms_beyond_the_room_become_a_count() -> None:
    """Forty alarms leave room for points; the rest is a number."""
    lines = screen(scene(FakeView(alarm_list=[alarm(n) for n in range(40)])))

    assert any("more alarms" in line for line in lines)
    assert any(line.startswith("booster.p1.run") for line in lines)


def test_an_output_says_who_owns_it() -> None:
    """What is asked, by which slot and rule, and how long a person still holds it."""
    view = FakeView()
    view.outputs["v3.position"] = {"value": 65.0, "slot": 8, "by": "remote"}
    view.holds = {"v3.position": {"slot": 8, "value": 65.0, "by": "lisi", "since": WALL,
                                  "until": WALL + 750, "reason": ""}}  # fmt: skip

    english = "\n".join(screen(scene(view), 100, 30))
    chinese = "\n".join(screen(scene(view, "zh"), 100, 30))

    assert "65 % remote 8 12 min lisi" in english
    assert "on control 14 supply" in english
    assert "65 % 远程手动 8 12 分钟 lisi" in chinese


def test_a_bad_value_is_never_shown_as_if_it_were_good() -> None:
    """A stale number stands in brackets with reason and age; no number is a dash."""
    view = FakeView()
    view.quality[0] = 2
    view.stamp[0] = 700.0

    row = {line.split()[0]: line for line in screen(scene(view)) if line.split()}

    assert "(0.404 MPa) stale 5 min" in row["booster.pressure"]
    assert "-- comm 100 s" in row["lobby.lux"]


def test_a_point_that_never_arrived_has_no_age() -> None:
    """Nothing yet is a dash, not an age of ages."""
    view = FakeView()
    view.stamp[3] = -np.inf
    view.quality[3] = 1

    row = {line.split()[0]: line for line in screen(scene(view, "zh")) if line.split()}

    assert "-- 无数据 --" in row["lobby.lux"]


def test_buses_show_silent_devices_and_uplinks_their_backlog() -> None:
    """The last lines: each bus with whoever is silent on it, each uplink with what waits."""
    lines = screen(scene(FakeView()))

    assert any("pump_room (modbus) up" in line and "v3 DOWN 60 s" in line for line in lines)
    assert any("cloud DOWN" in line and "12 waiting" in line for line in lines)


def test_what_needs_an_eye_comes_first() -> None:
    """Bad points, then driven outputs, then measured values; the configured order within each."""
    view = FakeView(alarm_list=[alarm(1)])

    lines = screen(scene(view), 80, 30)
    order = [line.split()[0] for line in lines if line.startswith(tuple(p[0] for p in POINTS))]

    assert order == ["booster.pressure", "lobby.lux", "booster.p1.run", "v3.position"]


def test_what_a_protection_drives_comes_before_what_controls_itself() -> None:
    """A fan that its guard has stopped stands above the pumps that run as they should."""
    view = FakeView()
    view.outputs["v3.position"] |= {"slot": 5, "by": "guard"}

    lines = screen(scene(view), 80, 30)
    order = [line.split()[0] for line in lines if line.startswith(tuple(p[0] for p in POINTS))]

    assert order.index("v3.position") < order.index("booster.p1.run")


def test_points_that_do_not_fit_can_be_scrolled_to() -> None:
    """The title counts them; scrolling past the end shows the last page."""
    view = FakeView(MANY)

    top, end = screen(scene(view)), screen(scene(view, scroll=999))

    assert any("1-" in line and "/64" in line for line in top)
    assert not any("floor59" in line for line in top)
    assert any("floor59.temperature" in line for line in end)


def test_a_wide_terminal_has_outputs_beside_inputs() -> None:
    """From 150 columns on, one line shows both."""
    lines = screen(scene(FakeView()), 170, 30)

    assert any("booster.p1.run" in line and "lobby.lux" in line for line in lines)


@pytest.mark.parametrize("width", [0, 1, 4, 11, 12, 40])
def test_a_name_that_is_cut_keeps_its_end(width: int) -> None:
    """Its beginning is the device's name, which all its points share."""
    zh = view._end("变频供水设备 2号泵启停", width)
    assert cell_len(zh) <= max(width, 1)
    if width >= 22:
        assert zh == "变频供水设备 2号泵启停"
    else:
        assert zh.startswith("~")
        assert "变频供水设备 2号泵启停".endswith(zh[1:])


def test_a_telephone_shows_names_values_and_ages() -> None:
    """40 columns: the requests give way, the name of the point does not."""
    lines = screen(scene(FakeView(POINTS), "zh"), 40, 24)

    assert any(line.startswith("v3.position") for line in lines)
    assert not any("给定" in line for line in lines)


def test_the_keys_of_the_demo_fit_the_narrowest_screen() -> None:
    """With every fault on, in both languages, within 80 places; `q` is still there."""
    switches = {name: SimpleNamespace(on=True) for name in demo.KEYS.values()}
    keys = demo._keys(cast("Stage", SimpleNamespace(switches=switches)))
    for text in (keys.zh, keys.en):
        assert cell_len(f" {text}") <= 80
        assert text.endswith(" q")
        assert all(f"*{key}" in text for key in demo.KEYS)
