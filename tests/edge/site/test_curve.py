"""`curve: dali` of a point: % of light in the site, an arc level for its driver."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import DRIVERS
from drivers.sim.field import Cell, Field
from edge.blocks import KINDS
from edge.blocks.dali import arc_level, arc_percent
from edge.bus.host import BusHost
from edge.driver import FieldPoint, Write
from edge.image.quality import BAD
from edge.schema.problem import Problem
from edge.site.load import read_site
from edge.site.points import ARC_STEP
from edge.site.site import Point

SITE = """
site: {id: hall, timezone: Asia/Shanghai}
buses:
  field: {driver: %s}
devices:
  hall: {bus: field, %s}
"""
MODBUS = 'modbus, tcp: "127.0.0.1:502"'


def read(
    tmp_path: Path, device: str, bus: str = MODBUS
) -> tuple[Point | None, FieldPoint | None, tuple[Problem, ...]]:
    (tmp_path / "site.yaml").write_text(SITE % (bus, device))
    checked = read_site(tmp_path, DRIVERS, KINDS)
    if checked.site is None:
        return None, None, checked.problems
    point = next(p for p in checked.site.points if p.id == "hall.level")
    return point, checked.site.buses[0].devices[0].points[0], checked.problems


def on_modbus(options: str) -> str:
    return f"unit: 1, points: {{level: {{holding: 0, {options}}}}}"


@pytest.mark.parametrize(
    ("span", "light", "levels"),
    [("", (0.0, 100.0), (0.0, 254.0)), (", range: [10, 80]", (10.0, 80.0), (170.0, 246.0))],
)
def test_everybody_but_the_driver_sees_light(
    tmp_path: Path, span: str, light: tuple[float, float], levels: tuple[float, float]
) -> None:
    """Range in % for commands, in levels for the driver."""
    point, field, problems = read(
        tmp_path, on_modbus(f'unit: "%", curve: dali, output: true{span}')
    )
    assert problems == ()
    assert point is not None
    assert field is not None
    assert ((point.low, point.high), (field.low, field.high)) == (light, levels)
    assert point.output is not None
    assert point.output.tolerance == 0.05  # off is not 0.1 %, the darkest level
    assert field.curve == "dali"


def test_a_feedback_elsewhere_may_be_half_a_level_off(tmp_path: Path) -> None:
    """What another register shows is the light of a level, not what was asked for."""
    point, _, problems = read(
        tmp_path,
        'unit: 1, points: {level: {holding: 0, unit: "%", curve: dali, feedback: actual}, '
        'actual: {input: 0, unit: "%", curve: dali}}',
    )
    assert [p for p in problems if p.level == "error"] == []
    assert point is not None
    assert point.output is not None
    assert point.output.tolerance == ARC_STEP


@given(st.floats(0.1, 100.0))
def test_what_reads_back_is_within_the_tolerance(light: float) -> None:
    """No dimmer on the curve is ever told not to follow because of the steps of its levels."""
    assert abs(arc_percent(arc_level(light)) - light) <= ARC_STEP


@pytest.mark.parametrize("options", ["curve: dali", 'unit: "%", device_unit: "%", curve: dali'])
def test_only_light_is_on_the_curve(tmp_path: Path, options: str) -> None:
    """A point that is not in %, or says that the device has % too, is refused."""
    _, _, problems = read(tmp_path, on_modbus(options))
    assert [(p.code, "dimming point" in p.text.en) for p in problems] == [("wrong-value", True)]
    assert problems[0].mark.line == 6


def test_an_unknown_curve_is_refused(tmp_path: Path) -> None:
    """With what would be right."""
    _, _, problems = read(tmp_path, on_modbus('unit: "%", curve: dally'))
    assert "dali" in problems[0].text.en


def test_simulated_variables_have_no_levels(tmp_path: Path) -> None:
    """A model's lamp is light already."""
    device = 'model: lobby, points: {level: {variable: level, unit: "%", curve: dali}}'
    _, _, problems = read(tmp_path, device, "sim")
    assert [p.code for p in problems] == ["wrong-point"]


@pytest.mark.parametrize(("raw", "value", "well"), [
    ("007E", "3.04 %", True), ("00E5", "50 %", True), ("007F", "50 %", False),
])  # fmt: skip
def test_a_vector_proves_the_level(tmp_path: Path, raw: str, value: str, well: bool) -> None:
    """The classic mistake, half of 254 for half of the light, does not pass."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "gear.yaml").write_text(
        "vendor: X\nmodel: Y\ndriver: modbus\npoints:\n"
        '  level: {holding: 0, unit: "%", curve: dali}\n'
        f'tests: [{{point: level, raw: "{raw}", value: {value}}}]\n'
    )
    _, _, problems = read(tmp_path, "unit: 1, profile: gear")
    assert [p.code for p in problems] == ([] if well else ["profile-vector"])
    assert well or "3.119" in problems[0].text.en


def test_behind_the_virtual_field_a_dimmer_is_light(tmp_path: Path) -> None:
    """`edge test` and `edge simulate` put models behind it, which know no levels."""
    field = Field()
    (tmp_path / "site.yaml").write_text(
        SITE % (MODBUS, on_modbus('unit: "%", curve: dali, output: true, range: [10, 80]'))
    )
    site = read_site(tmp_path, field.drivers(DRIVERS), KINDS).site
    assert site is not None
    field.cells["hall.level"] = Cell(value=50.0)
    bus = site.buses[0]

    async def main() -> tuple[float, int]:
        async with bus.kind.connect(bus.config, bus.devices, bus.polls, BusHost()) as driver:
            await driver.write((Write("hall", "hall.level", 42.0, 14),))
            sample = await driver.read(bus.polls[0])
            return float(sample.values[0]), int(sample.quality[0]) & BAD

    assert asyncio.run(main()) == (42.0, 0)


def test_the_shipped_gateway_is_on_the_curve(tmp_path: Path) -> None:
    """Its vectors are those of §1.9, run by reading it."""
    (tmp_path / "site.yaml").write_text(
        SITE % (MODBUS, "unit: 1, profile: generic/dali-gateway-4-groups")
    )
    checked = read_site(tmp_path, DRIVERS, KINDS)
    assert checked.problems == ()
    assert checked.site is not None
    curves = [p.curve for p in checked.site.buses[0].devices[0].points]
    assert curves == ["dali"] * 4 + ["linear"]
