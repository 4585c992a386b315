"""The units a dimension may carry. SI inside; readers and adapters convert at the border."""

from __future__ import annotations

from genba.errors import nearest

#: Symbol -> what it measures.
UNITS: dict[str, str] = {
    "1": "dimensionless ratio or score",
    "count": "number of things",
    "id": "class number of a categorical dimension",
    "s": "time",
    "Hz": "frequency",
    "m": "length",
    "m/s": "speed",
    "m/s^2": "acceleration",
    "m/s^3": "jerk",
    "m^3": "volume",
    "rad": "angle",
    "rad/s": "angular speed",
    "rad/s^2": "angular acceleration",
    "1/m": "curvature",
    "N": "force",
    "N*m": "torque",
    "kg": "mass",
    "Pa": "pressure",
    "J": "energy",
    "W": "power",
    "K": "temperature",
    "A": "current",
    "V": "voltage",
    "Ohm": "electric resistance",
    "C": "electric charge",
    "T": "magnetic flux density",
    "lx": "illuminance",
    "L/s": "volume flow",
}

#: One second and one millisecond in integer nanoseconds.
SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000


def check_unit(unit: str) -> None:
    """Refuse a unit that is not in ``UNITS``.

    Raises:
        ValueError: naming the nearest known unit.
    """
    if unit not in UNITS:
        raise ValueError(f"unit: got {unit!r}, expected a known unit{nearest(unit, UNITS)}")


def to_ns(seconds: float) -> int:
    """Convert seconds to integer nanoseconds, rounded."""
    return round(seconds * SECOND_NS)
