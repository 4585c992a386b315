"""What foreign logs call their units, and what each is in SI: value in SI = value * scale + offset.

A spelling is looked up with its case (``mW`` is no ``MW``), without its spaces and brackets. One that means different
things in different logs (``g``: gram or gravity) is not here: a reader then keeps the number as it is, calls it
dimensionless and says so. Symbols of SI are in ``spec.units``.

Source: BIPM, The International System of Units, 9th edition, tables 4 and 8; NIST SP 811, appendix B.8, for those
that are not SI.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from genba.spec.units import UNITS


class Conversion(NamedTuple):
    """How a foreign number becomes one in SI."""

    #: a symbol of ``UNITS``
    unit: str
    scale: float = 1.0
    offset: float = 0.0


#: What a number without a unit is.
NONE = Conversion("1")

_DEGREE, _TURN_PER_MINUTE = math.pi / 180, 2 * math.pi / 60
_GRAVITY, _POUND_FORCE, _FOOT, _INCH, _MILE = 9.80665, 4.4482216152605, 0.3048, 0.0254, 1609.344
_KELVIN_AT_0_C, _KELVIN_AT_0_F = 273.15, 459.67 * 5 / 9

_TABLE: dict[Conversion, str] = {
    NONE: "- -- / none None NONE unitless Unitless ratio bool boolean",
    Conversion("1", 1e-2): "% percent Percent pct",
    Conversion("1", 1e-3): "‰",
    Conversion("1", 1e-6): "ppm",
    Conversion("count"): "counts Counts cnt pcs",
    Conversion("s"): "sec Sec second seconds",
    Conversion("s", 1e-3): "ms msec",
    Conversion("s", 1e-6): "us µs μs usec",
    Conversion("s", 1e-9): "ns nsec",
    Conversion("s", 60.0): "min minute minutes",
    Conversion("s", 3600.0): "h hr hour hours",
    Conversion("m"): "meter metre meters metres",
    Conversion("m", 1e-3): "mm",
    Conversion("m", 1e-2): "cm",
    Conversion("m", 1e3): "km",
    Conversion("m", 1e-6): "um µm μm",
    Conversion("m", _INCH): "in inch",
    Conversion("m", _FOOT): "ft feet",
    Conversion("m", _MILE): "mi mile miles",
    Conversion("m/s", 1 / 3.6): "km/h kph KPH kmh km/hr kmph Km/h KM/H",
    Conversion("m/s", _MILE / 3600): "mph MPH mi/h",
    Conversion("m/s", 1852 / 3600): "kn knot knots",
    Conversion("m/s", 1e-3): "mm/s",
    Conversion("m/s"): "mps m/sec",
    Conversion("m/s^2"): "m/s2 m/s² m/s/s m/s**2 mps2 m/sec^2 m/(s^2)",
    Conversion("m/s^2", _GRAVITY): "g_n gn",
    Conversion("rad"): "radian radians",
    Conversion("rad", 1e-3): "mrad",
    Conversion("rad", _DEGREE): "deg Deg degree degrees Degree ° grad Grad",
    Conversion("rad/s"): "rad/sec",
    Conversion("rad/s", _DEGREE): "deg/s °/s deg/sec degree/s Deg/s dps degrees/s",
    Conversion("rad/s", _TURN_PER_MINUTE): "rpm RPM 1/min U/min min^-1 /min r/min rev/min min-1",
    Conversion("1/m"): "m^-1 m-1",
    Conversion("N", 1e3): "kN",
    Conversion("N", _POUND_FORCE): "lbf",
    Conversion("N*m"): "Nm N.m N·m N-m NM",
    Conversion("N*m", _POUND_FORCE * _FOOT): "ft-lb lbf*ft lb-ft ft*lbf",
    Conversion("kg", 1e-3): "gram grams",
    Conversion("kg", 1e3): "t ton tonne",
    Conversion("kg", 0.45359237): "lb lbs",
    Conversion("Pa", 1e5): "bar Bar BAR",
    Conversion("Pa", 1e2): "mbar hPa",
    Conversion("Pa", 1e3): "kPa KPa kpa",
    Conversion("Pa", 1e6): "MPa",
    Conversion("Pa", _POUND_FORCE / _INCH**2): "psi PSI",
    Conversion("K"): "kelvin Kelvin",
    Conversion("K", 1.0, _KELVIN_AT_0_C): "degC °C deg_C DegC C celsius Celsius ℃ degreeC deg.C",
    Conversion("K", 5 / 9, _KELVIN_AT_0_F): "degF °F deg_F DegF fahrenheit ℉",
    Conversion("A"): "Amp amp amps Amps ampere",
    Conversion("A", 1e-3): "mA",
    Conversion("A", 1e3): "kA",
    Conversion("V"): "volt Volt volts Volts",
    Conversion("V", 1e-3): "mV",
    Conversion("V", 1e3): "kV",
    Conversion("W", 1e3): "kW KW",
    Conversion("W", 1e-3): "mW",
    Conversion("W", 1e6): "MW",
    Conversion("W"): "watt Watt",
    Conversion("L/s"): "l/s",
    Conversion("L/s", 1 / 60): "L/min l/min lpm LPM",
    Conversion("L/s", 1 / 3600): "L/h l/h",
    Conversion("L/s", 1e3): "m^3/s m3/s m³/s",
    Conversion("L/s", 1 / 3.6): "m^3/h m3/h m³/h",
    Conversion("Hz"): "hz 1/s",
    Conversion("Hz", 1e3): "kHz",
    Conversion("Hz", 1e6): "MHz",
    Conversion("J"): "Ws",
    Conversion("J", 1e3): "kJ",
    Conversion("J", 3600.0): "Wh",
    Conversion("J", 3.6e6): "kWh",
    Conversion("C", 1.0): "As",
    Conversion("C", 3600.0): "Ah",
    Conversion("C", 3.6): "mAh",
    Conversion("Ohm"): "ohm Ω Ohms",
    Conversion("Ohm", 1e3): "kOhm kΩ kohm",
    Conversion("m^3", 1e-3): "L l liter litre",
    Conversion("m^3", 1e-6): "mL ml",
    Conversion("m^3"): "m3 m³",
    Conversion("T"): "tesla",
    Conversion("T", 1e-6): "uT µT μT",
    Conversion("lx"): "lux",
}

#: The one foreign spelling that is also a symbol of SI here; in logs it is degrees far more often than coulombs.
_KEPT = {"C"}

#: Spelling -> conversion.
SPELLINGS: dict[str, Conversion] = {
    "": NONE,
    **{unit: Conversion(unit) for unit in UNITS if unit not in ("id", *_KEPT)},
    **{spelling: conversion for conversion, spellings in _TABLE.items() for spelling in spellings.split()},
}


def to_si(spelling: str) -> Conversion | None:
    """Return what one unit of ``spelling`` is in SI; None where the spelling is not known."""
    return SPELLINGS.get("".join(spelling.split()).strip("[]"))
