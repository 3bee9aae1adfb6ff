"""Sunrise, sunset and civil twilight by NOAA's solar equations in Meeus' form.

Not a clock: a day and a place go in, Unix seconds come out. Called by the schedule. The equation
of time and the declination are taken at the event itself; NOAA's Fourier form is up to 166 s off.
"""

from __future__ import annotations

from datetime import date, datetime, time
from math import acos, asin, cos, degrees, radians, sin, tan
from typing import Literal
from zoneinfo import ZoneInfo

from edge.blocks.kind import Place

SunEvent = Literal["sunrise", "sunset", "civil_dawn", "civil_dusk"]

RISE_SET = 90.833  # degrees from the zenith: refraction and the sun's radius included
CIVIL = 96.0
_ROUNDS = 5  # it settles to well below a second in three


def sun_event(event: SunEvent, day: date, place: Place) -> float | None:
    """When `event` happens on the local calendar day; None in polar day and night."""
    zenith = RISE_SET if event in ("sunrise", "sunset") else CIVIL
    side = -1 if event in ("sunrise", "civil_dawn") else 1
    noon = solar_noon(day, place)
    at = noon
    for _ in range(_ROUNDS):
        angle = _hour_angle(zenith, place.latitude, solar_position(at)[0])
        if angle is None:
            return None
        at += 60 * _minutes_off(at, place.longitude, side * 4 * angle)
    return at


def solar_noon(day: date, place: Place) -> float:
    """When the sun stands highest on the local calendar day, in Unix seconds."""
    at = datetime.combine(day, time(12), ZoneInfo(place.timezone)).timestamp()
    for _ in range(_ROUNDS):
        at += 60 * _minutes_off(at, place.longitude, 0.0)
    return at


def solar_position(at: float) -> tuple[float, float]:
    """Declination in degrees and equation of time in minutes at a Unix time (Meeus, ch. 25, 28)."""
    t = (at / 86400 + 2440587.5 - 2451545) / 36525  # Julian centuries since J2000.0
    long = radians((280.46646 + t * (36000.76983 + 0.0003032 * t)) % 360)
    anomaly = radians(357.52911 + t * (35999.05029 - 0.0001537 * t))
    eccentricity = 0.016708634 - t * (0.000042037 + 0.0000001267 * t)
    centre = (
        sin(anomaly) * (1.914602 - t * (0.004817 + 0.000014 * t))
        + sin(2 * anomaly) * (0.019993 - 0.000101 * t)
        + sin(3 * anomaly) * 0.000289
    )
    ascending = radians(125.04 - 1934.136 * t)
    apparent = long + radians(centre - 0.00569 - 0.00478 * sin(ascending))
    mean = 23 + (26 + (21.448 - t * (46.815 + t * (0.00059 - t * 0.001813))) / 60) / 60
    oblique = radians(mean + 0.00256 * cos(ascending))
    y = tan(oblique / 2) ** 2
    equation = (
        y * sin(2 * long)
        - 2 * eccentricity * sin(anomaly)
        + 4 * eccentricity * y * sin(anomaly) * cos(2 * long)
        - 0.5 * y * y * sin(4 * long)
        - 1.25 * eccentricity * eccentricity * sin(2 * anomaly)
    )
    return degrees(asin(sin(oblique) * sin(apparent))), 4 * degrees(equation)


def _minutes_off(at: float, longitude: float, wanted: float) -> float:
    """Minutes from `at` to the nearest moment that is `wanted` minutes from solar noon."""
    solar = at / 60 % 1440 + solar_position(at)[1] + 4 * longitude - 720
    return (wanted - solar + 720) % 1440 - 720


def _hour_angle(zenith: float, latitude: float, declination: float) -> float | None:
    high, low = radians(latitude), radians(declination)
    share = cos(radians(zenith)) / (cos(high) * cos(low)) - tan(high) * tan(low)
    return degrees(acos(share)) if -1 <= share <= 1 else None
