"""Places on the earth: from latitude and longitude to metres, and to a level frame at a log's start.

float32, in which telemetry is kept, resolves half a metre in earth-centred coordinates; beside a log's first place it resolves
less than a millimetre within ten kilometres. So positions are kept east, north and up of a start, whose transform into
earth-centred coordinates (float64) stands in the episode's calibration as ``earth_from_start``.

Source: NIMA TR8350.2, Department of Defense World Geodetic System 1984, third edition, sections 3 and 4.
"""

from __future__ import annotations

import numpy as np

#: WGS 84: semi-major axis in metres, flattening.
SEMI_MAJOR_M = 6378137.0
FLATTENING = 1 / 298.257223563
#: How near to the earth's centre, and how far from it, a log can begin.
FARTHEST_BELOW_M, FARTHEST_ABOVE_M = 6.2e6, 6.6e6
_ECCENTRICITY_2 = FLATTENING * (2 - FLATTENING)


def earth_position(latitude_rad: np.ndarray, longitude_rad: np.ndarray, altitude_m: np.ndarray) -> np.ndarray:
    """Return earth-centred, earth-fixed positions in metres: float64 ``[..., 3]``."""
    latitude_rad, longitude_rad = np.asarray(latitude_rad, np.float64), np.asarray(longitude_rad, np.float64)
    normal_m = SEMI_MAJOR_M / np.sqrt(1 - _ECCENTRICITY_2 * np.sin(latitude_rad) ** 2)
    across_m = (normal_m + altitude_m) * np.cos(latitude_rad)
    return np.stack(
        [
            across_m * np.cos(longitude_rad),
            across_m * np.sin(longitude_rad),
            (normal_m * (1 - _ECCENTRICITY_2) + altitude_m) * np.sin(latitude_rad),
        ],
        -1,
    )


def latitude_longitude(position_m: np.ndarray) -> tuple[float, float]:
    """Return the latitude and longitude, in radians, of one earth-centred position within some kilometres of the ground.

    Source: Bowring, "Transformation from spatial to geographical coordinates", Survey Review 23 (1976), one iteration.
    """
    x, y, z = (float(v) for v in position_m)
    semi_minor_m = SEMI_MAJOR_M * (1 - FLATTENING)
    across_m = float(np.hypot(x, y))
    parametric = np.arctan2(z * SEMI_MAJOR_M, across_m * semi_minor_m)
    second = _ECCENTRICITY_2 / (1 - _ECCENTRICITY_2)
    latitude = np.arctan2(
        z + second * semi_minor_m * np.sin(parametric) ** 3,
        across_m - _ECCENTRICITY_2 * SEMI_MAJOR_M * np.cos(parametric) ** 3,
    )
    return float(latitude), float(np.arctan2(y, x))


def earth_from_start(position_m: np.ndarray) -> np.ndarray:
    """Return the transform from the level frame (east, north, up) at ``position_m`` to the earth: float64 ``[4, 4]``.

    Raises:
        ValueError: a position more than some hundred kilometres off the ground.
    """
    if not FARTHEST_BELOW_M < float(np.linalg.norm(position_m)) < FARTHEST_ABOVE_M:
        raise ValueError(f"got position {[float(v) for v in position_m]} m, expected one near the ground")
    latitude, longitude = latitude_longitude(position_m)
    sin_lat, cos_lat, sin_lon, cos_lon = np.sin(latitude), np.cos(latitude), np.sin(longitude), np.cos(longitude)
    matrix = np.eye(4)
    matrix[:3, 0] = -sin_lon, cos_lon, 0.0
    matrix[:3, 1] = -sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat
    matrix[:3, 2] = cos_lat * cos_lon, cos_lat * sin_lon, sin_lat
    matrix[:3, 3] = position_m
    return matrix


def in_start(earth_from_start: np.ndarray, positions_m: np.ndarray) -> np.ndarray:
    """Return earth-centred positions in the level frame: float64 ``[..., 3]``."""
    return (np.asarray(positions_m, np.float64) - earth_from_start[:3, 3]) @ earth_from_start[:3, :3]
