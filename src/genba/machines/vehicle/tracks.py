"""From sweeps to road users: clusters of returns, boxes around them, and tracks that say how fast they move.

What a planner without access to the simulator knows of others. Sweeps are cut where neighbouring returns lie apart, a
box is fitted to each piece and filled out to a vehicle's size away from the sensor, and a constant-velocity Kalman
filter follows its middle. Nothing is learnt. Read next: ``lidar_planner``, which drives by it.

Source: L-shape by closeness: X. Zhang et al., Efficient L-shape fitting for vehicle detection using laser scanners (2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from genba.machines.vehicle.traffic import NUM_COLUMNS
from genba.machines.vehicle.traffic_process import CAR, CYCLIST, PERSON

#: neighbouring returns farther apart than this, and this share of their range, belong to different things
CUT_M, CUT_SHARE = 0.6, 0.02
#: pieces up to this long are people (or cyclists from the front), from this on a vehicle's long side, from this on walls
PERSON_M, SIDE_M, WALL_M = 0.95, 2.6, 11.0
#: what a vehicle has at the least, where less of it is seen
LENGTH_M, WIDTH_M = 4.5, 1.8
CYCLIST_SIZE_M, PERSON_SIZE_M = (1.8, 0.7), 0.5
#: angles at which boxes are tried
NUM_ANGLES = 23
#: the filter: spread of a middle, of an unknown speed, of accelerations
MIDDLE_M, UNKNOWN_MPS, ACCELERATION_MPS2 = 0.25, 5.0, 3.0
#: a piece within this of where a track should be is that track
GATE_M = 2.2
#: tracks live on without a piece of theirs for this long while the sensor speaks, and for this long while it is silent
HIDDEN_S, SILENT_S = 0.6, 2.2
#: slower than this, somebody stands; sweeps until a speed is believed
STANDING_MPS, NUM_BELIEVED = 0.7, 3
#: whoever stays within this distance of a place stands there, however its box is fitted
STOOD_M = 1.0


@dataclass(slots=True, eq=False)
class Track:
    """Somebody that was seen: ``state`` is x, y, vx, vy in the frame of the odometry."""

    id: int
    state: np.ndarray
    length_m: float
    width_m: float
    axis_rad: float
    is_wall: bool
    time_ns: int
    seen_ns: int
    #: since when it has not left a place, and that place
    stood_ns: int
    place_m: tuple[float, float]
    num_seen: int = 1
    #: variances of place and speed and what they have in common, the same along x and y
    place: float = MIDDLE_M**2
    common: float = 0.0
    speed: float = UNKNOWN_MPS**2

    def predict(self, time_ns: int) -> None:
        """Go on at constant velocity until ``time_ns``."""
        dt_s = (time_ns - self.time_ns) / 1e9
        self.time_ns = time_ns
        if self.is_wall or dt_s <= 0:
            return
        self.state[:2] += dt_s * self.state[2:]
        pushed = (ACCELERATION_MPS2 * dt_s) ** 2
        self.place += dt_s * (2 * self.common + dt_s * self.speed) + 0.25 * dt_s**2 * pushed
        self.common += dt_s * self.speed + 0.5 * dt_s * pushed
        self.speed += pushed

    def update(self, x: float, y: float) -> None:
        """Take in where its middle was seen."""
        total = self.place + MIDDLE_M**2
        gain_place, gain_speed = self.place / total, self.common / total
        off_x, off_y = x - self.state[0], y - self.state[1]
        self.state += np.array([gain_place * off_x, gain_place * off_y, gain_speed * off_x, gain_speed * off_y])
        self.speed -= gain_speed * self.common
        self.common *= 1 - gain_place
        self.place *= 1 - gain_place

    def row(self, time_ns: int) -> np.ndarray:
        """Return it at ``time_ns`` in the columns of ``traffic``, float64 ``[8]``."""
        speed_mps = math.hypot(self.state[2], self.state[3])
        if self.is_wall or self.num_seen < NUM_BELIEVED or speed_mps < STANDING_MPS:
            speed_mps, heading = 0.0, self.axis_rad
        else:
            heading = math.atan2(self.state[3], self.state[2])
        ahead_s = (time_ns - self.time_ns) / 1e9 if speed_mps > 0 else 0.0
        x, y = self.state[:2] + ahead_s * self.state[2:]
        if max(self.length_m, self.width_m) > PERSON_M:
            return np.array([self.id, CAR, x, y, heading, speed_mps, self.length_m, self.width_m])
        if speed_mps > 2.5:
            return np.array([self.id, CYCLIST, x, y, heading, speed_mps, *CYCLIST_SIZE_M])
        return np.array([self.id, PERSON, x, y, heading, speed_mps, PERSON_SIZE_M, PERSON_SIZE_M])


class Tracker:
    """Everybody that the sweeps showed."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everybody."""
        self._tracks: list[Track] = []
        self._next_id = 1
        self._swept_ns: int | None = None

    def sweep(self, time_ns: int, points: np.ndarray, sensor: np.ndarray) -> None:
        """Take in a sweep.

        Args:
            time_ns: when it was taken.
            points: float64 ``[points, 2]`` in the frame of the odometry, in the order of their columns.
            sensor: where the sensor was, ``[3]``: x, y, heading.
        """
        self._swept_ns = time_ns
        for track in self._tracks:
            track.predict(time_ns)
        boxes = find_boxes(points, sensor)
        free = set(range(len(boxes)))
        places = np.array([track.state[:2] for track in self._tracks]).reshape(-1, 2)
        apart = np.hypot(boxes[:, :1] - places[:, 0], boxes[:, 1:2] - places[:, 1])
        near = np.argwhere(apart <= GATE_M)
        pairs = near[np.argsort(apart[near[:, 0], near[:, 1]], kind="stable")].tolist()
        met: set[int] = set()
        for i, t in pairs:
            if i in free and t not in met:
                free.discard(i)
                met.add(t)
                self._see(self._tracks[t], points, boxes[i], sensor, time_ns)
        for i in sorted(free):
            x, y, axis, length_m, width_m, is_wall, *_ = boxes[i]
            state = np.array([x, y, 0.0, 0.0])
            self._tracks.append(
                Track(self._next_id, state, length_m, width_m, axis, bool(is_wall), time_ns, time_ns, time_ns, (x, y))
            )
            self._next_id += 1
        self._tracks = [track for track in self._tracks if time_ns - track.seen_ns <= HIDDEN_S * 1e9]

    def rows(self, time_ns: int) -> np.ndarray:
        """Return everybody at ``time_ns``, float64 ``[objects, 8]`` in the columns of ``traffic``, in the odometry's frame."""
        if self._swept_ns is None or time_ns - self._swept_ns > SILENT_S * 1e9:
            return np.zeros((0, NUM_COLUMNS))
        rows = [track.row(time_ns) for track in self._tracks]
        return np.stack(rows) if rows else np.zeros((0, NUM_COLUMNS))

    def num_seen(self, time_ns: int) -> np.ndarray:
        """Return how many sweeps have shown each of ``rows``, int64 ``[objects]``."""
        return np.array([track.num_seen for track in self._tracks[: len(self.rows(time_ns))]], np.int64)

    def stood_s(self, time_ns: int) -> np.ndarray:
        """Return for how long each of ``rows`` has not moved, float64 ``[objects]``."""
        return np.array([(time_ns - track.stood_ns) / 1e9 for track in self._tracks[: len(self.rows(time_ns))]])

    def age_s(self, time_ns: int) -> float:
        """Return how old the newest sweep is; infinite before the first."""
        return math.inf if self._swept_ns is None else (time_ns - self._swept_ns) / 1e9

    def _see(self, track: Track, points: np.ndarray, box: np.ndarray, sensor: np.ndarray, time_ns: int) -> None:
        x, y, axis, length_m, width_m, is_wall, start, stop = box
        speed_mps = math.hypot(track.state[2], track.state[3])
        if not is_wall and length_m > PERSON_M and track.num_seen >= NUM_BELIEVED and speed_mps > 2.0:
            # Who moves has its long side along its way, whatever of it is seen.
            piece = points[int(start) : int(stop)]
            axis = math.atan2(track.state[3], track.state[2])
            x, y, length_m, width_m = filled_out(piece, axis, max(track.length_m, LENGTH_M), WIDTH_M, sensor)
        track.update(x, y)
        track.axis_rad, track.is_wall = axis, bool(is_wall)
        track.length_m, track.width_m = length_m, width_m
        track.seen_ns = time_ns
        track.num_seen += 1
        if math.hypot(x - track.place_m[0], y - track.place_m[1]) > STOOD_M:
            track.stood_ns, track.place_m = time_ns, (x, y)


def find_boxes(points: np.ndarray, sensor: np.ndarray) -> np.ndarray:
    """Return a box for each piece of a sweep, float64 ``[pieces, 8]``: x, y, axis, length, width, wall or not, and where
    the piece begins and ends in ``points`` ``[points, 2]``.
    """
    if not len(points):
        return np.zeros((0, 8))
    ranges = np.hypot(points[:, 0] - sensor[0], points[:, 1] - sensor[1])
    apart = np.hypot(*np.diff(points, axis=0).T)
    cuts = np.flatnonzero(apart > CUT_M + CUT_SHARE * np.minimum(ranges[1:], ranges[:-1])) + 1
    starts = np.concatenate([[0], cuts])
    stops = np.concatenate([cuts, [len(points)]])
    boxes = np.empty((len(starts), 8))
    for i, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        piece = points[start:stop]
        boxes[i] = (*_box(piece, sensor), start, stop)
    return boxes


def _box(piece: np.ndarray, sensor: np.ndarray) -> tuple[float, float, float, float, float, bool]:
    spread_m = float(np.hypot(*(piece.max(axis=0) - piece.min(axis=0))))
    if spread_m <= PERSON_M:
        middle = piece.mean(axis=0)
        away = middle - sensor[:2]
        middle = middle + 0.4 * PERSON_SIZE_M * away / max(float(np.hypot(*away)), 1e-6)
        return float(middle[0]), float(middle[1]), float(sensor[2]), PERSON_SIZE_M, PERSON_SIZE_M, False
    angle, along_m, across_m = best_angle(np.ascontiguousarray(piece))
    if across_m > along_m:
        angle, along_m, across_m = angle + math.pi / 2, across_m, along_m
    if along_m > WALL_M or across_m > 3.6:
        x, y, length_m, width_m = filled_out(piece, angle, 0.0, 0.0, sensor)
        return x, y, angle, length_m, max(width_m, 0.2), True
    if along_m < SIDE_M:
        # Only an end is seen: the vehicle lies behind it, across what is seen.
        angle += math.pi / 2
    x, y, length_m, width_m = filled_out(piece, angle, LENGTH_M, WIDTH_M, sensor)
    return x, y, angle, length_m, width_m, False


def filled_out(
    piece: np.ndarray, angle: float, length_m: float, width_m: float, sensor: np.ndarray
) -> tuple[float, float, float, float]:
    """Return x, y, length, width of a box at ``angle`` around a piece, at least ``length_m`` by ``width_m``.

    What is missing of it is added on the side away from the sensor, on both where the sensor sees that side face on.
    """
    axes = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    local, eye = piece @ axes.T, axes @ sensor[:2]
    low, high = local.min(axis=0), local.max(axis=0)
    size = np.maximum(high - low, [length_m, width_m])
    middle = np.where(eye < low, low + size / 2, np.where(eye > high, high - size / 2, (low + high) / 2))
    x, y = middle @ axes
    return float(x), float(y), float(size[0]), float(size[1])


@numba.njit(cache=True)
def best_angle(piece):
    """Return the angle in [0, pi/2) at which most returns lie close to a box's sides, and the box's size there."""
    best, answer, answer_along, answer_across = -1.0, 0.0, 0.0, 0.0
    for k in range(NUM_ANGLES):
        angle = 0.5 * math.pi * k / NUM_ANGLES
        c, s = math.cos(angle), math.sin(angle)
        low_a, high_a, low_b, high_b = 1e9, -1e9, 1e9, -1e9
        for i in range(len(piece)):
            a, b = piece[i, 0] * c + piece[i, 1] * s, -piece[i, 0] * s + piece[i, 1] * c
            low_a, high_a, low_b, high_b = min(low_a, a), max(high_a, a), min(low_b, b), max(high_b, b)
        score = 0.0
        for i in range(len(piece)):
            a, b = piece[i, 0] * c + piece[i, 1] * s, -piece[i, 0] * s + piece[i, 1] * c
            near = min(min(high_a - a, a - low_a), min(high_b - b, b - low_b))
            score += 1.0 / max(near, 0.05)
        if score > best:
            best, answer, answer_along, answer_across = score, angle, high_a - low_a, high_b - low_b
    return answer, answer_along, answer_across
