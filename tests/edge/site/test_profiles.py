"""Profiles: where they are found, what a site may change, and the bytes that prove them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.schema.problem import Problem
from edge.site import profiles
from edge.site.load import read_site
from edge.site.site import Site
from edge.text import Text
from tests.support.bench_site import DRIVERS, KINDS, BenchPoint

SITE = """
site: {id: yard, timezone: Asia/Shanghai}
buses:
  line: {driver: bench, port: /dev/ttyS0}
devices:
"""
METER = """
vendor: {zh: 某厂, en: ACME}
model: M1
versions: ["1.20"]
driver: bench
device: {order: little}
points:
  power: {address: 0, type: u16, unit: kW, device_unit: W, scale: 0.1, range: [0, 10]}
  state: {address: 1}
tests:
  - {point: power, raw: "A00F", value: 0.4 kW}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "profiles" / "acme").mkdir(parents=True)
    (tmp_path / "profiles" / "acme" / "m1.yaml").write_text(METER)
    return tmp_path


def read(folder: Path, devices: str) -> tuple[Site | None, tuple[Problem, ...]]:
    (folder / "site.yaml").write_text(SITE + devices)
    checked = read_site(folder, DRIVERS, KINDS)
    return checked.site, checked.problems


def resolved(folder: Path, devices: str) -> Site:
    site, problems = read(folder, devices)
    assert problems == ()
    assert site is not None
    return site


def test_a_profile_brings_points_and_device_options(folder: Path) -> None:
    """The site says which bus and unit; the profile the rest."""
    site = resolved(folder, "  m: {bus: line, unit: 1, profile: acme/m1}\n")
    assert [p.id for p in site.points if not p.local] == ["m.state", "m.power", "m.online"]
    device = site.buses[0].devices[0]
    assert device.config.order == "little"
    assert device.points[0].scale == pytest.approx(0.0001)


def test_a_site_changes_what_it_names(folder: Path) -> None:
    """Options of a profile's point one by one, the device's options, and further points."""
    site = resolved(
        folder,
        "  m:\n    bus: line\n    unit: 1\n    order: big\n    profile: acme/m1\n    points:\n"
        "      power: {range: [0, 20], name: {zh: 功率, en: power}}\n"
        "      extra: {address: 7}\n",
    )
    device = site.buses[0].devices[0]
    assert device.config.order == "big"
    assert [p.id for p in device.points] == ["m.power", "m.state", "m.extra"]
    assert isinstance(device.points[0].config, BenchPoint)
    power = site.points[site.index()["m.power"]]
    assert (power.high, power.unit, power.name.zh) == (20.0, "kW", "m 功率")


def test_what_the_site_changes_is_marked_in_the_site(folder: Path) -> None:
    """A wrong option stands where it was written: in the site, or in the profile."""
    _, problems = read(
        folder,
        "  m: {bus: line, unit: 1, profile: acme/m1, points: {power: {addres: 3}}}\n",
    )
    assert [(Path(p.mark.file).name, p.mark.path) for p in problems] == [
        ("site.yaml", "devices.m.points.power.addres")
    ]
    (folder / "profiles" / "acme" / "m1.yaml").write_text(METER.replace("scale", "scalle"))
    _, problems = read(folder, "  m: {bus: line, unit: 1, profile: acme/m1}\n")
    assert [(Path(p.mark.file).name, p.mark.path) for p in problems] == [
        ("m1.yaml", "points.power.scalle")
    ]


def test_a_bad_profile_is_reported_once(folder: Path) -> None:
    """However many devices have it."""
    (folder / "profiles" / "acme" / "m1.yaml").write_text(METER.replace("0.4 kW", "4 kW"))
    devices = "".join(f"  m{i}: {{bus: line, unit: {i}, profile: acme/m1}}\n" for i in range(1, 4))
    site, problems = read(folder, devices)
    assert site is None
    assert [problem.code for problem in problems] == ["profile-vector"]


def test_vectors_are_decoded_as_the_device_is(folder: Path) -> None:
    """The word order of the profile's device options takes part."""
    (folder / "profiles" / "acme" / "m1.yaml").write_text(METER.replace("little", "big"))
    _, problems = read(folder, "  m: {bus: line, unit: 1, profile: acme/m1}\n")
    assert [problem.text.en for problem in problems] == [
        "power: A00F decodes to 4.0975 kW, the profile says 0.4 kW"
    ]


def test_names_do_not_leave_the_folder(folder: Path) -> None:
    """`../` and absolute paths are no profiles."""
    (folder.parent / "secret.yaml").write_text(METER)
    for name in ("../secret", str(folder.parent / "secret"), "acme/../acme/m1", ""):
        _, problems = read(folder, f'  m: {{bus: line, unit: 1, profile: "{name}"}}\n')
        assert [problem.code for problem in problems] == ["unknown-profile"]


def test_the_site_has_the_first_word(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile beside the site hides a shipped one of the same name."""
    shipped = tmp_path_factory.mktemp("shipped")
    (shipped / "acme").mkdir()
    (shipped / "acme" / "m1.yaml").write_text(METER.replace("state:", "status:"))
    (shipped / "acme" / "m2.yaml").write_text(METER.replace("state:", "status:"))
    monkeypatch.setattr(profiles, "SHIPPED", shipped)
    site = resolved(
        folder,
        "  a: {bus: line, unit: 1, profile: acme/m1}\n"
        "  b: {bus: line, unit: 2, profile: acme/m2}\n",
    )
    assert {"a.state", "b.status"} <= set(site.index())


def test_the_digest_covers_profiles(folder: Path) -> None:
    """A changed register map is a changed site."""
    device = "  m: {bus: line, unit: 1, profile: acme/m1}\n"
    before = resolved(folder, device).digest
    (folder / "profiles" / "acme" / "m1.yaml").write_text(METER + "# checked\n")
    assert resolved(folder, device).digest != before


def test_names_of_profiles_are_bilingual() -> None:
    """What `words` of a profile become is a Text."""
    assert profiles.Profile.model_validate(
        {"vendor": {"zh": "某厂", "en": "ACME"}, "model": "M", "driver": "bench", "points": {}}
    ).vendor == Text("某厂", "ACME")
