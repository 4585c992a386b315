"""Point clouds and planar scans: from a message's packed bytes or ranges to points in metres.

Read next: ``ros_messages``, which knows the other messages.

Source: ``PointCloud2``, ``PointField`` and ``LaserScan`` of sensor_msgs (ROS 2); ``PointCloud``, ``PackedElementField`` and ``LaserScan`` of
Foxglove's schemas.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from genba.data.readers.message_batches import Batch, snake
from genba.data.readers.message_pieces import FRAME_IDS, Piece, Sweeps, UnheldError, capture_ns, frame_of
from genba.data.readers.plain_names import numbered

#: The farthest that a point may be: more than the earth's radius, so that points in its frame are held.
REACH_LIMIT_M = 1e7

#: ROS's and Foxglove's numbers for the type of a point's field -> NumPy's name.
_ROS_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_FOXGLOVE_TYPES = {1: "u1", 2: "i1", 3: "u2", 4: "i2", 5: "u4", 6: "i4", 7: "f4", 8: "f8"}


class PointCloudMapper:
    """``PointCloud2`` and ``foxglove.PointCloud``: points with attributes.

    Points without a place (NaN or infinite, as organised clouds have them) are no points and left out. A packed colour
    (``rgb``, ``rgba``) becomes ``red``, ``green`` and ``blue``.
    """

    binary = frozenset({"data"})

    def __init__(self, schema: str) -> None:
        self._is_foxglove = schema.startswith("foxglove/")

    def wants(self, path: str) -> bool:
        """Say whether the text at ``path`` matters: the fields' names and the frame do."""
        return path in FRAME_IDS or (path.startswith("fields[") and path.endswith("].name"))

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Yield the one piece of a batch.

        Raises:
            UnheldError: fields that do not say a place in space, or lie outside the data.
        """
        names = []
        while f"fields[{len(names)}].name" in batch.texts:
            names.append(batch.texts[f"fields[{len(names)}].name"])
        data = batch.numbers.get("data", np.zeros((len(batch.rows), 0), np.uint8))
        keys = ("offset", "type") if self._is_foxglove else ("offset", "datatype", "count")
        table = np.stack(
            [
                batch.number(f"fields[{i}].{key}", 1.0 if key == "count" else 0.0)
                for i in range(len(names))
                for key in keys
            ]
            or [np.zeros(len(batch.rows))],
            -1,
        )
        sizes = self._sizes(batch, data.shape[1])
        pose = _pose(batch)
        sweeps, attributes = [], ()
        for i, row in enumerate(data):
            fields = [
                (name, [int(v) for v in spec])
                for name, spec in zip(names, table[i].reshape(len(names), -1) if names else (), strict=True)
            ]
            points, found = self._sweep(row, fields, *(int(size[i]) for size in sizes))
            if i and found != attributes:
                raise UnheldError("clouds whose fields change")
            attributes = found
            sweeps.append(_move(points, pose[i]) if pose is not None else points)
        yield Piece("", batch.rows, capture_ns(batch), frame_of(batch), Sweeps(sweeps, attributes))

    def unheld(self, batch: Batch) -> dict[str, str]:
        """Return nothing: what is not held of a point is found over the whole log."""
        return {}

    def _sizes(self, batch: Batch, num_bytes: int) -> tuple[np.ndarray, ...]:
        """Return height, width, point step, row step, whether big endian; each ``[n]``."""
        if not self._is_foxglove:
            keys = ("height", "width", "point_step", "row_step", "is_bigendian")
            return tuple(batch.number(key) for key in keys)
        step = batch.number("point_stride")
        width = num_bytes // np.maximum(step, 1)
        one, zero = np.ones(len(batch.rows)), np.zeros(len(batch.rows))
        return one, width, step, width * step, zero

    def _sweep(
        self,
        data: np.ndarray,
        fields: list[tuple[str, list[int]]],
        height: int,
        width: int,
        step: int,
        row: int,
        big: int,
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        if step < 1 or height < 0 or width < 0 or row < width * step or (height * width and height * row > len(data)):
            raise UnheldError(
                f"clouds of {height} x {width} points, {step} bytes each and {row} a row, in {len(data)} bytes"
            )
        types = _FOXGLOVE_TYPES if self._is_foxglove else _ROS_TYPES
        columns: dict[str, np.ndarray] = {}
        cells = np.lib.stride_tricks.as_strided(data, (height, width, step), (row, step, 1)).reshape(-1, step)
        for name, (offset, kind, *count) in fields:
            dtype = np.dtype((">" if big else "<") + types.get(kind, "V1"))
            repeat = count[0] if count else 1
            if kind not in types or repeat < 0 or offset < 0 or offset + dtype.itemsize * repeat > step:
                raise UnheldError(f"clouds whose field {name!r} has type {kind} at byte {offset} of {step}")
            values = np.ascontiguousarray(cells[:, offset : offset + dtype.itemsize * repeat])
            if name in ("rgb", "rgba") and dtype.itemsize == 4 and repeat == 1:
                # Packed as 0x00RRGGBB in the field's byte order, whatever type it claims.
                order = (1, 2, 3) if big else (2, 1, 0)
                for colour, at in zip(("red", "green", "blue"), order, strict=True):
                    columns[colour] = values[:, at].astype(np.float64)
                continue
            numbers = values.view(dtype).reshape(len(values), repeat).astype(np.float64)
            for i in range(repeat):
                columns[name if repeat == 1 else f"{name}_{i}"] = numbers[:, i]
        if "x" not in columns or "y" not in columns:
            raise UnheldError(f"clouds without x and y (fields: {', '.join(columns) or 'none'})")
        places = [columns.pop(axis, None) for axis in "xyz"]
        flat = [np.zeros(len(cells)) if place is None else place for place in places]
        points = _placed(np.stack([*flat, *columns.values()], -1))
        return points, tuple(numbered([snake(name) for name in columns]))


class LaserScanMapper:
    """A planar scan as points: every range within its limits at its angle, in the scanner's x-y plane.

    Ranges that are not finite or outside ``range_min`` to ``range_max`` are no return, as the message's definition says.
    """

    binary: frozenset[str] = frozenset()

    def __init__(self, schema: str) -> None:
        self._is_foxglove = schema.startswith("foxglove/")

    def wants(self, path: str) -> bool:
        """Say whether the text at ``path`` matters: the frame does."""
        return path in FRAME_IDS

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Yield the one piece of a batch.

        Raises:
            UnheldError: ranges that are no lengths.
        """
        ranges = batch.numbers.get("ranges", np.zeros((len(batch.rows), 0)))
        ranges = (ranges[:, None] if ranges.ndim == 1 else ranges).astype(np.float64)
        intensities = batch.numbers.get("intensities")
        count = ranges.shape[1]
        if self._is_foxglove:
            start, end = batch.number("start_angle"), batch.number("end_angle")
            step = (end - start) / max(count - 1, 1)
            low, high = np.zeros(len(ranges)), np.full(len(ranges), np.inf)
        else:
            start, step = batch.number("angle_min"), batch.number("angle_increment")
            low, high = batch.number("range_min"), batch.number("range_max", np.inf)
        angle = start[:, None].astype(np.float64) + step[:, None].astype(np.float64) * np.arange(count)
        if float(np.abs(ranges[np.isfinite(ranges)]).max(initial=0)) > REACH_LIMIT_M:
            raise UnheldError(f"scans with ranges beyond {REACH_LIMIT_M:g} m")
        is_return = np.isfinite(ranges) & (ranges >= low[:, None]) & (ranges <= high[:, None]) & np.isfinite(angle)
        with_intensity = intensities is not None and intensities.shape == ranges.shape
        pose, sweeps = _pose(batch), []
        for i, here in enumerate(is_return):
            kept, at = ranges[i, here], angle[i, here]
            columns = [kept * np.cos(at), kept * np.sin(at), np.zeros(len(kept))]
            if with_intensity:
                assert intensities is not None
                columns.append(intensities[i, here].astype(np.float64))
            points = np.stack(columns, -1)
            sweeps.append(_move(points, pose[i]) if pose is not None else points)
        attributes = ("intensity",) if with_intensity else ()
        yield Piece("", batch.rows, capture_ns(batch), frame_of(batch), Sweeps(sweeps, attributes))

    def unheld(self, batch: Batch) -> dict[str, str]:
        """Return nothing: a scan's timing within itself is in its rate."""
        return {path: "of each ray" for path in ("time_increment", "scan_time") if path in batch.numbers}


def _placed(points: np.ndarray) -> np.ndarray:
    """Return the points that have a place.

    Raises:
        UnheldError: one so far away that its bytes mean something else.
    """
    points = points[np.isfinite(points[:, :3]).all(1)]
    if len(points) and float(np.abs(points[:, :3]).max()) > REACH_LIMIT_M:
        raise UnheldError(f"clouds with points beyond {REACH_LIMIT_M:g} m")
    return points


def _pose(batch: Batch) -> np.ndarray | None:
    """Return ``[n, 7]`` of a message's ``pose``, None where it has none or it changes nothing."""
    paths = [f"pose.position.{axis}" for axis in "xyz"] + [f"pose.orientation.{axis}" for axis in "xyzw"]
    if not any(path in batch.numbers for path in paths):
        return None
    pose = np.stack([batch.number(path).astype(np.float64) for path in paths], -1)
    # A quaternion of zeros is one that was not set.
    pose[~pose[:, 3:].any(1), 6] = 1.0
    return None if bool((pose == [0, 0, 0, 0, 0, 0, 1]).all()) else pose


def _move(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Rotate and shift the places of ``points``; attributes stay."""
    x, y, z, w = pose[3:] / np.linalg.norm(pose[3:])
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return _placed(np.concatenate([points[:, :3] @ rotation.T + pose[:3], points[:, 3:]], -1))
