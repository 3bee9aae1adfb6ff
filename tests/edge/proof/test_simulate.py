"""`edge simulate`: equal runs are equal files, faults show up as alarms, records replay."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from drivers import DRIVERS
from edge.blocks import KINDS
from edge.cli import group
from edge.image import quality
from edge.image.image import ProcessImage
from edge.proof.chart import Line, Mark, axis, lines, strips
from edge.proof.history import SHOWN_ALARMS, AlarmLog, History, Switched
from edge.rules.compile import compile_site
from edge.scan.alarms import State, Transition
from edge.site.load import load_site
from edge.site.site import Role, Site

SITE = """
site: {id: valve, name: {zh: 阀门, en: Valve}, language: zh, timezone: Asia/Shanghai}
clock: {trust: always}
scan: {startup_delay: 1s}
buses: {field: {driver: sim}}
devices:
  v3:
    bus: field
    model: zones
    poll: 1s
    points:
      position: {variable: v3_command, unit: "%", range: [0, 100], default: 80}
      feedback: {variable: v3_position, unit: "%", range: [0, 100]}
      pressure: {variable: z3_pressure, unit: MPa, range: [0, 1.6]}
  yard:
    bus: field
    model: outdoor
    poll: 2s
    points:
      lux:   {variable: illuminance, unit: lx, range: [0, 100000]}
      lamps: {variable: "on", output: true, default: 1, max_starts: 6}
rules:
  watch: {block: valve, command: v3.position, position: v3.feedback, travel: 50s}
  yard_light: {block: photocell, illuminance: yard.lux, output: yard.lamps}
  used: {block: lamp_power, level: 100 * yard.lamps, rated: 600 W, standby: 10 W}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site of the simulated driver, whose equipment needs no plant file."""
    path = tmp_path / "site.yaml"
    path.write_text(SITE, encoding="utf-8")
    return path


def simulate(*words: object) -> Result:
    """One run of the command."""
    return CliRunner(env={"EDGE_LANG": "en"}).invoke(group, ["simulate", *map(str, words)])


def ran(*words: object) -> dict[str, Any]:
    """What a run says of itself."""
    done = simulate(*words, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refusal(*words: object) -> tuple[str, int]:
    """Why a run was refused, and the exit code."""
    done = simulate(*words)
    return done.stderr, done.exit_code


def test_equal_arguments_give_equal_files(site: Path, tmp_path: Path) -> None:
    """Report and data are the same bit for bit; another seed gives others."""
    for out, seed in (("a", 7), ("b", 7), ("c", 8)):
        ran(site, "--for", "20min", "--noise", 1, "--seed", seed, "--out", tmp_path / out)
    for name in ("report.html", "samples.csv", "alarms.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a/samples.csv").read_bytes() != (tmp_path / "c/samples.csv").read_bytes()


def test_a_fault_shows_up_as_its_alarm_and_goes_with_it(site: Path, tmp_path: Path) -> None:
    """A valve that drifts from 10:05 to 10:15 is named then and no longer."""
    found = ran(
        site, "--from", "2026-03-20 10:00", "--for", "30min", "--out", tmp_path / "out",
        "--fault", "10:05-10:15 zones valve_drift:3",
    )  # fmt: skip
    assert list(found["alarms"].values()) == [1]
    text = (tmp_path / "out" / "alarms.csv").read_text("utf-8-sig")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["event"] for row in rows] == ["raised", "cleared"]
    assert "2026-03-20 10:05" <= rows[0]["time"] <= "2026-03-20 10:07"
    assert "2026-03-20 10:15" <= rows[1]["time"] <= "2026-03-20 10:17"
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert rows[0]["alarm"] in page
    assert "zones valve_drift:3" in page


def test_the_first_screen_says_what_it_was_bought_for(tmp_path: Path) -> None:
    """Energy, savings against named baselines, alarms, pressure and starts, by the names of the
    site's devices; alarms in the language of the report."""
    residential = Path(__file__).parents[3] / "config" / "residential"
    words = ("--from", "2026-03-20 06:30", "--for", "30min", "--out", tmp_path)
    fault = ("--fault", "06:40 zones burst:2", "--lang", "zh")
    assert simulate(residential, *words, *fault).exit_code == 0
    page = (tmp_path / "report.html").read_text("utf-8")
    first = page[page.index('<section class="glance">') : page.index("</section>")]
    titles = re.findall(r"<div><span>(.*?)</span>", first)
    saved = ["节电 (估算)"] * 3
    assert titles == ["用电量 (估算)", *saved, "报警次数", "平均供水压力", "任一小时最多启动"]
    assert "变频供水设备" in first
    assert "同样流量, 泵全速运行" in first
    rows = list(csv.DictReader((tmp_path / "alarms.csv").read_text("utf-8-sig").splitlines()))
    raised = sum(row["event"] == "raised" for row in rows)
    assert f'<b class="bad">{raised}</b><i>P1 × 1' in first
    assert re.search(r"设定 0\.410, 最低 0\.\d{3}, 最高 0\.\d{3}", first)
    assert [row["text"][:2] for row in rows if row["alarm"] == "ZONE2_BURST_OR_DEMAND"] == ["二区"]


def test_samples_are_a_row_per_minute(site: Path, tmp_path: Path) -> None:
    """Every point that matters, with its unit, at the site's local time."""
    ran(site, "--from", "2026-03-20 12:00", "--for", "5min", "--out", tmp_path)
    text = (tmp_path / "samples.csv").read_text("utf-8-sig")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["time"] for row in rows] == [f"2026-03-20 12:0{k}:00" for k in range(6)]
    assert float(rows[-1]["v3.feedback %"]) == 80.0
    assert float(rows[-1]["yard.lux lx"]) > 30_000  # the sun stands where the clock says
    assert not [name for name in rows[0] if "online" in name or "link." in name]


def test_the_report_stands_alone_in_the_language_of_the_site(site: Path, tmp_path: Path) -> None:
    """One file without a reference to anything; it names the baselines and what is estimated."""
    words = (site, "--for", "10min", "--out", tmp_path)
    CliRunner(env={"EDGE_LANG": ""}).invoke(group, ["simulate", *map(str, words)])
    page = (tmp_path / "report.html").read_text("utf-8")
    assert not re.search(r"https?:|//[a-z]|src=|href=|url\(|@import|<script|<link", page)
    assert '<html lang="zh-CN">' in page
    assert "prefers-color-scheme:dark" in page
    assert "全部数值为估算" in page
    assert "全天 100 % 常亮" in page
    assert "定时开关, 不调光" in page
    assert page.count("<svg") == 3
    assert "始终为 0 lx: " in page  # it is midnight
    assert page.count("<figure>") == page.count("</figure>")
    CliRunner(env={"EDGE_LANG": "en"}).invoke(group, ["simulate", *map(str, words)])
    page = (tmp_path / "report.html").read_text("utf-8")
    assert '<html lang="en">' in page
    assert "always on at 100 %" in page


def test_a_run_of_several_days_tells_each_of_them(site: Path, tmp_path: Path) -> None:
    """From evening to the small hours after next: a row per day of the calendar, which add up to
    the whole; the axis bears dates."""
    words = (
        site, "--from", "2026-03-20 20:00", "--for", "30h", "--out", tmp_path,
        "--fault", "2026-03-21 10:05-10:15 zones valve_drift:3",
    )  # fmt: skip
    found = ran(*words)
    assert [day["date"] for day in found["days"]] == ["2026-03-20", "2026-03-21", "2026-03-22"]
    assert [day["alarms"] for day in found["days"]] == [0, 1, 0]
    assert [day["starts"] for day in found["days"]] == [{}, {"yard.lamps": 1}, {}]
    used = [day["energy"]["outdoor"] for day in found["days"]]
    assert sum(used) == pytest.approx(found["energy"]["outdoor"]["used"])
    assert used[0] == pytest.approx(4 * 0.6, rel=0.01)  # at night all lamps burn
    page = (tmp_path / "report.html").read_text("utf-8")
    rows = re.findall(r"<tr><td>(03-2\d \w+)</td>.*?</tr>", page)
    assert rows == ["03-20 Fri", "03-21 Sat", "03-22 Sun"]
    marks = re.search(r'<div class="x">(.*?)</div>', page)
    assert marks is not None
    shown = re.findall(r">([^<]+)</b>", marks[1])
    assert shown == ["03-21", "06:00", "12:00", "18:00", "03-22"]


def test_a_record_of_it_replays_and_explains(site: Path, tmp_path: Path) -> None:
    """The recorded run comes out bit for bit, and says at a moment why an output has its value."""
    record = tmp_path / "run.rec"
    ran(site, "--from", "2026-03-20 12:00", "--for", "3min", "--noise", 1, "--record", record)
    done = CliRunner().invoke(group, ["replay", str(record), "--json"])
    assert json.loads(done.stdout)["same"] is True
    assert json.loads(done.stdout)["complete"] is True
    words = ["explain", "yard.lamps", "--record", str(record), "--at", "12:02:00", "--json"]
    told = CliRunner().invoke(group, words)
    assert "yard_light" in told.stdout


@pytest.mark.parametrize(("words", "why", "code"), [
    (["--for", "a day"], "--for", 2),
    (["--for", "2s"], "at least 1min", 2),
    (["--from", "yesterday"], "no local time", 2),
    (["--fault", "10:00 zones"], "should be like", 2),
    (["--fault", "noon zones valve_drift:3"], "should be like", 2),
    (["--fault", "10:00 zones valve_drift:3", "--for", "1h"], "not within", 2),
    (["--fault", "00:10 zone valve_drift:3"], "zones", 2),
    (["--fault", "00:10 zones valve_dirft:3"], "valve_drift:3", 2),
])  # fmt: skip
def test_a_mistake_is_one_sentence(site: Path, words: list[str], why: str, code: int) -> None:
    """What is wrong, and what would be right."""
    said, number = refusal(site, *words)
    assert why in said
    assert number == code


def test_a_site_without_a_plant_is_refused(tmp_path: Path) -> None:
    """Nothing stands behind the devices, so there is nothing to simulate."""
    path = tmp_path / "site.yaml"
    path.write_text("site: {id: bare, timezone: Asia/Shanghai}\n", encoding="utf-8")
    said, number = refusal(path)
    assert "plant.yaml" in said
    assert number == 78


# What is kept.


def _image(path: Path) -> tuple[Site, ProcessImage]:
    found = load_site(path, DRIVERS, KINDS)
    return found, compile_site(found, KINDS).image()


def test_a_month_is_kept_in_buckets(site: Path) -> None:
    """8640 buckets of 5 min for 30 days, whatever the number of steps; nothing else grows."""
    found, image = _image(site)
    points = [p for p in found.points if p.role is Role.INPUT]
    history = History(points, found.index(), 30 * 86400.0)
    at, buffers = found.index()[points[0].id], set()
    image.quality[:] = 0
    for step in range(30 * 1440 + 1):
        image.value[at] = float(step % 5)
        history.look(step * 60.0, image)
        buffers.add(history._rows.shape)
    history.end(30 * 86400.0)
    assert len(history.low) == len(history.mean) == len(history.high) == 8640
    assert len(buffers) == 1
    low, mean, high = history.of(points[0].id)
    assert set(mean.tolist()) == {2.0}
    assert set(high.tolist()) == {4.0}
    assert low[0] == 0.0


def test_buckets_of_a_huge_site_are_wider(site: Path) -> None:
    """What is kept has a bound that does not hang on the number of points."""
    found, _ = _image(site)
    history = History([found.points[0]] * 5000, found.index(), 365 * 86400.0)
    assert 365 * 86400.0 / history.width * 5000 <= 4_100_000


def test_means_are_over_time_and_leave_out_what_is_bad(site: Path) -> None:
    """A value counts for as long as it stood; a bucket without a good one is empty."""
    found, image = _image(site)
    point = found.points[0]
    at, history = found.index()[point.id], History([point], found.index(), 900.0)
    bad = quality.SENSOR
    for now, value, bits in ((0, 10, 0), (150, 40, 0), (300, 99, bad), (599, 99, bad), (600, 1, 0)):
        image.value[at], image.quality[at] = value, bits
        history.look(float(now), image)
    history.end(900.0)
    low, mean, high = history.of(point.id)
    assert mean.tolist() == pytest.approx([25.0, np.nan, 1.0], nan_ok=True)
    assert (low[0], high[0]) == (10.0, 40.0)
    assert np.isnan([low[1], high[1]]).all()


def test_starts_in_any_hour_are_counted(site: Path) -> None:
    """The peak is over any 60 min, not over hours of the clock; hours go on while it is on."""
    found, _ = _image(site)
    point = next(p for p in found.points if p.id == "yard.lamps")
    pump = Switched(point, on=True, limit=6)
    for now, on in ((1800.0, False), (3000, True), (3300, False), (4000, True), (4100, True)):
        pump.put(on, now)
    for now, on in ((4200.0, False), (7601, True), (7700, False)):
        pump.put(on, now)
    assert (pump.starts, pump.peak) == (3, 2)
    assert pump.hours == pytest.approx((1800 + 300 + 200 + 99) / 3600)


def test_alarms_are_kept_up_to_a_number_and_counted_beyond(site: Path) -> None:
    """An alarm that comes every minute for a month does not fill the memory."""
    found, _ = _image(site)
    log, alarm = AlarmLog(), found.alarms[0]
    for n in range(SHOWN_ALARMS + 100):
        log.add(Transition(
            alarm, n, State.NORMAL, State.UNACK, "raised", "", 0.0, 0.0, {}, uncertain=False
        ))  # fmt: skip
    assert len(log.shown) == SHOWN_ALARMS
    assert log.left_out == 100
    assert log.raised[alarm.id] == SHOWN_ALARMS + 100


# Charts.


def test_an_axis_has_round_numbers_around_what_is_shown() -> None:
    """Also around a constant, nothing and one far from 0."""
    for low, high in ((0.39, 0.43), (0, 0), (0.41, 0.41), (-3, 700), (40000, 40001), (1e-4, 2e-4)):
        floor, ceiling, ticks = axis(low, high)
        assert floor <= low
        assert high <= ceiling
        assert floor < ceiling
        assert 2 <= len(ticks) <= 8
        assert len({text for _, text in ticks}) == len(ticks)


def test_a_chart_breaks_where_nothing_was_seen_and_escapes_names() -> None:
    """Two pieces around a gap; a year is drawn with as many points as a day."""
    values = np.asarray([1.0, 2.0, np.nan, 3.0])
    drawn = lines("a < b", [Line("<i>", values, values, values)], [Mark(0.5, "12:00")])
    assert drawn.count('class="mean"') == 2
    assert "&lt;i&gt;" in drawn
    assert "a &lt; b" in drawn
    year = np.sin(np.arange(105120) / 50)
    assert len(lines("", [Line("x", year, year, year)], [])) < 60_000
    assert len(strips("", [("pump", (year > 0).astype(float))], [])) < 60_000
