"""Spellings of units lead to SI, each to one thing, with numbers that can be looked up."""

import math

import pytest

from genba.data.readers import si
from genba.data.readers.si import SPELLINGS, Conversion, to_si
from genba.spec.units import UNITS


@pytest.mark.parametrize(
    ("spelling", "value", "unit", "expected"),
    [
        ("km/h", 36.0, "m/s", 10.0),
        ("mph", 60.0, "m/s", 26.8224),
        ("knot", 1.0, "m/s", 1852 / 3600),
        ("rpm", 30.0, "rad/s", math.pi),
        ("deg/s", 180.0, "rad/s", math.pi),
        ("°", 90.0, "rad", math.pi / 2),
        ("degC", 25.0, "K", 298.15),
        # Water freezes at 32 and boils at 212 degrees Fahrenheit.
        ("degF", 32.0, "K", 273.15),
        ("degF", 212.0, "K", 373.15),
        ("bar", 2.0, "Pa", 2e5),
        # NIST SP 811: 6.894757 kPa, 1.355818 N*m.
        ("psi", 1.0, "Pa", 6894.757),
        ("ft-lb", 1.0, "N*m", 1.355818),
        ("L/min", 60.0, "L/s", 1.0),
        ("m^3/h", 3.6, "L/s", 1.0),
        ("kWh", 1.0, "J", 3.6e6),
        ("%", 50.0, "1", 0.5),
        (" [ km / h ] ", 3.6, "m/s", 1.0),
        ("", 7.0, "1", 7.0),
    ],
)
def test_spelling_means(spelling, value, unit, expected):
    found = to_si(spelling)
    assert found is not None
    assert found.unit == unit
    assert value * found.scale + found.offset == pytest.approx(expected, rel=1e-6)


def test_table_is_sound():
    assert {conversion.unit for conversion in SPELLINGS.values()} <= set(UNITS)
    words = [word for spellings in si._TABLE.values() for word in spellings.split()]
    assert len(words) == len(set(words)), "a spelling that means two things"
    # Symbols of SI mean themselves, but for C, which logs mean as degrees.
    assert all(SPELLINGS[unit] == Conversion(unit) for unit in UNITS if unit not in ("id", "C"))
    assert SPELLINGS["C"].unit == "K"


def test_what_means_different_things_is_not_known():
    assert to_si("g") is None
    assert to_si("furlong") is None
    # Case counts: a millwatt is no megawatt.
    assert to_si("mW").scale / to_si("MW").scale == pytest.approx(1e-9)
