"""Health of buses and devices, as lines and as the second page of `edge watch`."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from edge.cli import watch
from edge.cli.client import Client
from edge.cli.health import lines
from edge.cli.health_view import bar, draw_health
from edge.text import Language
from tests.edge.cli.test_view import KEYS, scene
from tests.edge.conftest import WALL, FakeView, Running


class Wide(FakeView):
    """A bus with so many devices, every second one silent, beside one that is down."""

    devices = 40

    def health(self) -> dict[str, Any]:
        found = super().health()
        bus = found["buses"][0]
        alive, silent = bus["devices"]
        bus["devices"] = [
            (alive, silent)[i % 2] | {"id": f"floor{i}_meter"} for i in range(self.devices)
        ]
        reason = {"zh": "连接被拒", "en": "connection refused"}
        found["buses"].append(bus | {"id": "roof", "up": False, "reason": reason, "load": None,
                                     "p50_ms": None, "devices": []})  # fmt: skip
        return found


def page(view: FakeView, language: Language, size: tuple[int, int], scroll: int = 0) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=size[0], height=size[1], color_system=None).print(
        draw_health(scene(view, language, scroll=scroll), *size), end=""
    )
    return out.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("size", [(40, 20), (60, 15), (80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize("view", [FakeView(), Wide()])
def test_the_page_fits_its_terminal(
    language: Language, size: tuple[int, int], view: FakeView
) -> None:
    """No line is longer than the terminal, none too many, and the keys are always there."""
    shown = page(view, language, size)
    assert len(shown) <= size[1]
    assert max(cell_len(line) for line in shown) <= size[0]
    assert KEYS.of(language) in shown[-1]


@pytest.mark.parametrize(("language", "unit"), [("zh", "毫秒"), ("en", "ms")])
def test_a_telephone_shows_whole_numbers(language: Language, unit: str) -> None:
    """40 columns by 20 lines: names, states, round trips, ages and what is wrong, all whole."""
    shown = "\n".join(page(FakeView(), language, (40, 20)))
    for piece in ("pump_room", "21/60", "[######....] 62 %", "booster", f"2.1/10.0 {unit}", "v3"):
        assert piece in shown
    assert "~" not in shown
    assert "0.7 秒" in shown if language == "zh" else "0.7 s" in shown
    assert ("12 秒后再试" if language == "zh" else "next try in 12 s") in shown


def test_a_wrong_device_has_a_state_of_its_own() -> None:
    """Neither up nor down, since when, and why; as a line and on the page."""

    class Exchanged(FakeView):
        def health(self) -> dict[str, Any]:
            found = super().health()
            reason = {"zh": "应为 A; 实为 B", "en": "expected A; found B"}
            found["buses"][0]["devices"][1] |= {"wrong": True, "reason": reason, "retry": None}
            return found

    said = "\n".join(lines(Exchanged().health(), WALL, "en"))
    assert "v3       WRONG  --" in said
    assert "another device for 60 s, 2 unanswered, backed off 30 s in all, expected A" in said
    shown = "\n".join(page(Exchanged(), "zh", (80, 24)))
    for piece in ("不符", "换成另一台设备已 60 秒", "应为 A; 实为 B"):
        assert piece in shown


def test_columns_stand_under_each_other() -> None:
    """Also in Chinese, where a character takes two places."""
    for language in ("zh", "en"):
        shown = page(FakeView(), language, (80, 24))
        rows = [line for line in shown if line.split()[:1] in (["booster"], ["v3"])]
        places = {cell_len(line[: line.index(state)]) for line in rows
                  for state in ("正常", "中断", "up", "DOWN") if state in line}  # fmt: skip
        assert len(rows) == 2
        assert len(places) == 1


def test_what_is_wrong_stands_beside_the_device_where_there_is_room() -> None:
    """From 110 columns on it is one line; below, a second one only for who needs it."""
    wide = page(FakeView(), "en", (160, 24))
    said = next(line for line in wide if line.startswith("  v3"))
    assert "silent for 60 s, next try in 12 s, 2 unanswered, backed off 30 s in all" in said
    assert "no answer within 3 s" in said
    narrow = page(FakeView(), "en", (60, 24))
    assert narrow[narrow.index(next(x for x in narrow if x.startswith("  v3"))) + 1].startswith(
        "    silent for 60 s, next try in 12 s"
    )


def test_many_devices_can_be_scrolled_to() -> None:
    """The title counts lines; scrolling past the end shows the last page."""
    top, end = page(Wide(), "en", (80, 24)), page(Wide(), "en", (80, 24), scroll=999)
    assert " 1-21/" in top[1]
    assert not any("floor39" in line for line in top)
    assert any("floor39" in line for line in end)
    assert any(line.startswith(" roof") and "DOWN" in line for line in end)
    assert any("-- %" in line and "connection refused" in line for line in end)


@pytest.mark.parametrize(
    ("share", "shown"),
    [(None, "[..........]"), (0.0, "[..........]"), (0.62, "[######....]"), (1.0, "[##########]"),
     (1.7, "[##########]")],
)  # fmt: skip
def test_a_load_is_a_bar_of_ten(share: float | None, shown: str) -> None:
    """Half a tenth counts; more than everything is everything."""
    assert bar(share) == shown


def test_lines_say_all_of_it_in_both_languages() -> None:
    """Without a terminal: a bus, its devices in columns, what is wrong at the end."""
    english = lines(FakeView().health(), WALL, "en")
    assert english[1] == (
        "pump_room (modbus) up  100 requests, 3 failed, load 62 %  "
        "round trip 21/60 ms, 2 unanswered, 1 refused, 2 polls missed"
    )
    assert english[2:5] == [
        "  device   state  trip/p99     oldest  requests",
        "  booster  up     2.1/10.0 ms  0.7 s   90        refuses 3 of its points, 1 refused",
        "  v3       DOWN   --           61 s    10        silent for 60 s, next try in 12 s, "
        "2 unanswered, backed off 30 s in all, no answer within 3 s",
    ]
    chinese = "\n".join(lines(FakeView().health(), WALL, "zh"))
    for piece in ("负载 62 %", "响应 21/60 毫秒", "无应答 2 次", "错过轮询 2 次", "现拒读 3 个点",
                  "已中断 60 秒", "12 秒后再试", "退避累计 30 秒"):  # fmt: skip
        assert piece in chinese


def test_h_turns_the_page_and_back(
    running: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Points, then health, then points again; q ends."""
    typed = iter(["h", "h", "q"])
    pages: list[str] = []

    class Typist:
        def __enter__(self) -> Typist:
            return self

        def __exit__(self, *_: object) -> None: ...

        def pressed(self, wait: float) -> list[str]:
            pages.append(capsys.readouterr().out)
            return [next(typed)]

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("EDGE_LANG", "en")
    monkeypatch.setattr("edge.cli.keys.Keys", Typist)
    client = Client(None)

    assert watch._screen(client, client.get("model"), (), everything=False) == 0
    assert ["booster.pressure" in page for page in pages] == [True, False, True]
    assert ["[######....] 62 %" in page for page in pages] == [False, True, False]
    assert "h points" in pages[1]
