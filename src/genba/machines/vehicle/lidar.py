"""The LiDAR: rays against boxes, compiled.

A spinning scanner on the roof casts ``ELEVATIONS_RAD`` beams in ``NUM_COLUMNS`` directions. Its driver drops what lies
on the ground and hands on the nearest return of each column, so a sweep has at most ``NUM_COLUMNS`` points. Boxes stand
upright on flat ground. It knows no traffic; read next: ``simulator``, which gives it the boxes.
"""

from __future__ import annotations

import math

import numba
import numpy as np

NUM_COLUMNS = 480
#: beam elevations; the lowest sees the ground 7 m ahead, the highest passes over cars and finds people and buildings
ELEVATIONS_RAD = np.radians([-14.0, -9.0, -6.0, -4.0, -2.8, -1.8, -0.9, 0.0])
RANGE_MAX_M = 60.0
#: the sensor's place: ahead of the rear axle, above ground
MOUNT_X_M = 1.4
MOUNT_Z_M = 1.7
#: returns lower than this count as ground
GROUND_M = 0.1
RANGE_NOISE_M = 0.02
DROP_OUT = 0.01

AZIMUTHS_RAD = np.arange(NUM_COLUMNS) * (2 * math.pi / NUM_COLUMNS)


@numba.njit(cache=True)
def cast(sensor: np.ndarray, boxes: np.ndarray, azimuths_rad: np.ndarray, slopes: np.ndarray, range_max_m: float):
    """Cast every beam and keep the nearest return per column.

    Args:
        sensor: float64 ``[4]``: x, y, z in metres, heading in rad.
        boxes: float64 ``[boxes, 6]``: centre x, y, heading, half length, half width, height; standing on z = 0.
        azimuths_rad: float64 ``[columns]``, relative to the sensor's heading.
        slopes: float64 ``[beams]``: tangents of the elevations.
        range_max_m: returns farther than this are lost.

    Returns:
        Horizontal distance ``[columns]`` (inf: no return), slope of the beam that returned it ``[columns]``, and the
        index of the box that it hit ``[columns]`` (-1: none).
    """
    columns = len(azimuths_rad)
    distance = np.full(columns, np.inf)
    slope = np.zeros(columns)
    hit = np.full(columns, -1, np.int64)
    for b in range(len(boxes)):
        dx, dy = boxes[b, 0] - sensor[0], boxes[b, 1] - sensor[1]
        radius = math.hypot(boxes[b, 3], boxes[b, 4])
        if math.hypot(dx, dy) - radius > range_max_m:
            continue
        cos_box, sin_box = math.cos(boxes[b, 2]), math.sin(boxes[b, 2])
        # The sensor in the box's own frame, where the box is axis-parallel.
        local_x = -dx * cos_box - dy * sin_box
        local_y = dx * sin_box - dy * cos_box
        height = boxes[b, 5]
        for c in range(columns):
            angle = sensor[3] + azimuths_rad[c] - boxes[b, 2]
            ray_x, ray_y = math.cos(angle), math.sin(angle)
            enter, leave = -np.inf, np.inf
            for axis in range(2):
                origin = local_x if axis == 0 else local_y
                ray = ray_x if axis == 0 else ray_y
                half = boxes[b, 3] if axis == 0 else boxes[b, 4]
                if abs(ray) < 1e-12:
                    if abs(origin) > half:
                        enter, leave = np.inf, -np.inf
                    continue
                near, far = (-half - origin) / ray, (half - origin) / ray
                if near > far:
                    near, far = far, near
                enter, leave = max(enter, near), min(leave, far)
            if enter > leave or enter <= 0.0 or enter >= distance[c]:
                continue
            for k in range(len(slopes)):
                z = sensor[2] + enter * slopes[k]
                at = enter
                if z > height:
                    # Over the near wall: the beam may still come down on the roof.
                    if slopes[k] >= 0.0:
                        continue
                    at = (height - sensor[2]) / slopes[k]
                    if at > leave:
                        continue
                    z = height
                if z < GROUND_M or at >= distance[c] or at * math.sqrt(1 + slopes[k] ** 2) > range_max_m:
                    continue
                distance[c], slope[c], hit[c] = at, slopes[k], b
    return distance, slope, hit


def sweep(sensor: np.ndarray, boxes: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Make one sweep: points float32 ``[points, 3]`` in the sensor's frame, and how many returns each box gave.

    Range noise of ``RANGE_NOISE_M`` along the ray; each return is lost with probability ``DROP_OUT``. Returns are
    counted after losses: int64 ``[boxes]``.
    """
    distance, slope, hit = cast(sensor, boxes, AZIMUTHS_RAD, np.tan(ELEVATIONS_RAD), RANGE_MAX_M)
    # Drawn for every column, so that the noise of one sweep does not depend on what stands in another's way.
    noise = random.standard_normal(NUM_COLUMNS) * RANGE_NOISE_M
    kept = (hit >= 0) & (random.random(NUM_COLUMNS) >= DROP_OUT)
    stretch = np.sqrt(1 + slope[kept] ** 2)
    ranges = np.minimum(distance[kept] * stretch + noise[kept], RANGE_MAX_M)
    flat = ranges / stretch
    points = np.stack(
        [flat * np.cos(AZIMUTHS_RAD[kept]), flat * np.sin(AZIMUTHS_RAD[kept]), flat * slope[kept]], axis=1
    ).astype(np.float32)
    return points, np.bincount(hit[kept], minlength=len(boxes))
