"""What messages mean: from a message's schema to the channel that holds it, for ROS 2 and for Foxglove's schemas.

* images become a camera, scans and clouds become points, transforms become telemetry per pair of frames or calibration where
  they are static, joint states get the names of their joints;
* any other message becomes telemetry: every number in it is a dimension named by its path, in SI where the message's type
  says the unit and in ``1`` where nobody does;
* what no channel can hold (texts, images of 16 bits, video) is named with the reason, never dropped in silence.

It knows neither files nor clocks nor encodings. Read next: ``message_log``, which makes channels and episodes of the pieces.

Source: common_interfaces of ROS 2 (sensor_msgs, geometry_msgs, ...: units in REP 103); Foxglove schemas, https://docs.foxglove.dev.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from genba.data.readers.images import Picture, encoded_picture, raw_picture
from genba.data.readers.message_batches import Batch, distinct, snake
from genba.spec.units import SECOND_NS

#: Numbers of one message that become dimensions; what repeats in longer lists is left out by name.
DIMENSION_LIMIT = 512


class UnheldError(Exception):
    """A topic whose messages no channel can hold, and why."""


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """Telemetry: dimension name -> (unit, float64 ``[n]``); ``constants`` go to the calibration if they never change."""

    columns: Mapping[str, tuple[str, np.ndarray]]
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Camera frames, not yet decoded."""

    frames: list[Picture]


@dataclass(frozen=True, slots=True, eq=False)
class Sweeps:
    """Point clouds: float64 ``[points, 3 + attributes]`` each, every place finite."""

    sweeps: list[np.ndarray]
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Transforms:
    """A static transform: float64 ``[n, 7]``, translation in metres and quaternion x, y, z, w."""

    values: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What messages of one structure give to one channel.

    Attributes:
        track: which channel of the topic, empty for its only one.
        rows: int64 ``[n]``, which of the messages each sample comes from, in rising order.
        stamp_ns: int64 ``[n]``, when each was captured as the message says; None where it does not.
        frame: the coordinate frame that the message names, else empty.
        content: the samples.
    """

    track: str
    rows: np.ndarray
    stamp_ns: np.ndarray | None
    frame: str
    content: Numbers | Pictures | Sweeps | Transforms


class Mapper(Protocol):
    """Says what the messages of one schema mean."""

    #: paths of bytes that JSON writes in base64
    binary: frozenset[str]

    def wants(self, path: str) -> bool:
        """Say whether the text at ``path`` matters."""
        ...

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Yield what a batch gives to each channel.

        Raises:
            UnheldError: no channel can hold such messages.
        """
        ...

    def unheld(self, batch: Batch) -> dict[str, str]:
        """Return what of a batch is not held: path -> why."""
        ...


def mapper_for(schema: str) -> Mapper:
    """Return the mapper for a schema's name, e.g. ``"sensor_msgs/msg/Imu"`` or ``"foxglove.PointCloud"``."""
    name = re.sub(r"^foxglove(_msgs)?[./](msg/)?", "foxglove/", schema).replace("/msg/", "/")
    if name in _UNHELD:
        return _Unheld(_UNHELD[name])
    made = _MAPPERS.get(name)
    return made(name) if made else TelemetryMapper(name)


# Units: (schema, beginning of the path) -> unit and, where it is not SI, what to multiply with and then add.

_DEGREES = ("rad", math.pi / 180, 0.0)
_CELSIUS = ("K", 1.0, 273.15)
_AMPERE_HOURS = ("C", 3600.0, 0.0)
_Unit = tuple[str, float, float]


def _si(unit: str) -> _Unit:
    return unit, 1.0, 0.0


_TWIST = {"linear": _si("m/s"), "angular": _si("rad/s")}
_ACCELERATION = {"linear": _si("m/s^2"), "angular": _si("rad/s^2")}
_WRENCH = {"force": _si("N"), "torque": _si("N*m")}
_POSE = {"position": _si("m")}
_POINT = {"x": _si("m"), "y": _si("m"), "z": _si("m")}
_JOINTS = {
    "positions": _si("rad"),
    "velocities": _si("rad/s"),
    "accelerations": _si("rad/s^2"),
    "effort": _si("N*m"),
    "time_from_start": _si("s"),
}
_PLACE = {"latitude": _DEGREES, "longitude": _DEGREES, "altitude": _si("m")}


def _under(prefix: str, units: Mapping[str, _Unit]) -> dict[str, _Unit]:
    return {f"{prefix}.{path}": unit for path, unit in units.items()}


_UNITS: dict[str, dict[str, _Unit]] = {
    "sensor_msgs/Imu": {"angular_velocity": _si("rad/s"), "linear_acceleration": _si("m/s^2")},
    "sensor_msgs/MagneticField": {"magnetic_field": _si("T")},
    "sensor_msgs/NavSatFix": _PLACE,
    "foxglove/LocationFix": _PLACE,
    "sensor_msgs/Temperature": {"temperature": _CELSIUS},
    "sensor_msgs/FluidPressure": {"fluid_pressure": _si("Pa")},
    "sensor_msgs/Illuminance": {"illuminance": _si("lx")},
    "sensor_msgs/Range": {
        "field_of_view": _si("rad"),
        "min_range": _si("m"),
        "max_range": _si("m"),
        "range": _si("m"),
    },
    "sensor_msgs/BatteryState": {
        "voltage": _si("V"),
        "temperature": _CELSIUS,
        "current": _si("A"),
        "charge": _AMPERE_HOURS,
        "capacity": _AMPERE_HOURS,
        "design_capacity": _AMPERE_HOURS,
        "cell_voltage": _si("V"),
        "cell_temperature": _CELSIUS,
    },
    "geometry_msgs/Twist": _TWIST,
    "geometry_msgs/TwistStamped": _under("twist", _TWIST),
    "geometry_msgs/TwistWithCovariance": _under("twist", _TWIST),
    "geometry_msgs/TwistWithCovarianceStamped": _under("twist.twist", _TWIST),
    "geometry_msgs/Accel": _ACCELERATION,
    "geometry_msgs/AccelStamped": _under("accel", _ACCELERATION),
    "geometry_msgs/AccelWithCovarianceStamped": _under("accel.accel", _ACCELERATION),
    "geometry_msgs/Wrench": _WRENCH,
    "geometry_msgs/WrenchStamped": _under("wrench", _WRENCH),
    "geometry_msgs/Point": _POINT,
    "geometry_msgs/PointStamped": _under("point", _POINT),
    "geometry_msgs/Pose": _POSE,
    "geometry_msgs/Pose2D": {"x": _si("m"), "y": _si("m"), "theta": _si("rad")},
    "geometry_msgs/PoseStamped": _under("pose", _POSE),
    "geometry_msgs/PoseWithCovariance": _under("pose", _POSE),
    "geometry_msgs/PoseWithCovarianceStamped": _under("pose.pose", _POSE),
    "nav_msgs/Odometry": _under("pose.pose", _POSE) | _under("twist.twist", _TWIST),
    "foxglove/Pose": _POSE,
    "foxglove/PoseInFrame": _under("pose", _POSE),
    "trajectory_msgs/JointTrajectory": _under("points", _JOINTS),
    "trajectory_msgs/JointTrajectoryPoint": _JOINTS,
    "control_msgs/JointTrajectoryControllerState": {
        f"{part}.{path}": unit
        for part in ("desired", "actual", "error", "reference", "feedback", "output")
        for path, unit in _JOINTS.items()
    },
    "ackermann_msgs/AckermannDrive": {
        "steering_angle": _si("rad"),
        "steering_angle_velocity": _si("rad/s"),
        "speed": _si("m/s"),
        "acceleration": _si("m/s^2"),
        "jerk": _si("m/s^3"),
    },
}
_UNITS["ackermann_msgs/AckermannDriveStamped"] = _under("drive", _UNITS["ackermann_msgs/AckermannDrive"])

#: Where a message says when it was captured, and how its encoding spells seconds and nanoseconds.
_STAMPS = ("header.stamp", "timestamp")
_SECONDS = (("sec", "nanosec"), ("sec", "nsec"), ("seconds", "nanos"))
_WHOLE = {seconds for seconds, _ in _SECONDS}
_SPELLINGS = {name for pair in _SECONDS for name in pair}
_FRAME_IDS = ("header.frame_id", "frame_id")


def _stamp_ns(batch: Batch, path: str) -> np.ndarray | None:
    for seconds, nanos in _SECONDS:
        whole, part = batch.numbers.get(f"{path}.{seconds}"), batch.numbers.get(f"{path}.{nanos}")
        if whole is not None and part is not None and whole.ndim == part.ndim == 1:
            # A stamp that int64 cannot hold is none; it is told apart by being 0, as an unset one is.
            sane = np.abs(whole.astype(np.float64)) < 2**33
            return np.where(sane, whole, 0).astype(np.int64) * SECOND_NS + part.astype(np.float64).astype(np.int64)
    return None


def _capture_ns(batch: Batch) -> np.ndarray | None:
    for path in _STAMPS:
        stamp_ns = _stamp_ns(batch, path)
        if stamp_ns is not None:
            return stamp_ns
    return None


def _frame(batch: Batch) -> str:
    for path in _FRAME_IDS:
        if path in batch.texts:
            return batch.texts[path].lstrip("/")
    return ""


class TelemetryMapper:
    """Any message as telemetry: every number by its path."""

    binary: frozenset[str] = frozenset()

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self._units = _UNITS.get(schema, {})

    def wants(self, path: str) -> bool:
        """Say whether the text at ``path`` matters: the frame does."""
        return path in _FRAME_IDS

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Yield the one piece of a batch."""
        columns, constants = self._columns(batch)
        yield Piece("", batch.rows, _capture_ns(batch), _frame(batch), Numbers(columns, constants))

    def unheld(self, batch: Batch) -> dict[str, str]:
        """Return texts, and lists beyond the limit."""
        return dict(batch.unheld) | dict.fromkeys(self._long(batch), "a longer list than is held")

    def _long(self, batch: Batch) -> list[str]:
        sizes = {path: values.shape[1] if values.ndim == 2 else 1 for path, values in batch.numbers.items()}
        long, total = [], sum(sizes.values())
        for path in sorted(sizes, key=lambda path: -sizes[path]):
            if total <= DIMENSION_LIMIT:
                break
            long.append(path)
            total -= sizes[path]
        return long

    def _columns(self, batch: Batch) -> tuple[dict[str, tuple[str, np.ndarray]], dict[str, np.ndarray]]:
        columns: dict[str, tuple[str, np.ndarray]] = {}
        constants: dict[str, np.ndarray] = {}
        left_out = set(self._long(batch))
        for path, values in batch.numbers.items():
            if path in left_out or path.startswith((*(f"{stamp}." for stamp in _STAMPS), "header.seq")):
                continue
            if self._is_constant(path):
                constants[snake(path)] = values.astype(np.float64).reshape(len(values), -1)
                continue
            base, _, last = path.rpartition(".")
            time_ns = _stamp_ns(batch, base) if last in _SPELLINGS else None
            if time_ns is not None and last in _WHOLE:
                self._put(columns, base, ("s", 1.0, 0.0), time_ns / SECOND_NS)
            elif time_ns is not None:
                continue
            elif values.ndim == 1:
                self._put(columns, path, self._unit(path), values)
            else:
                for i in range(values.shape[1]):
                    self._put(columns, f"{path}[{i}]", self._unit(path), values[:, i])
        return columns, constants

    def _put(self, columns: dict[str, tuple[str, np.ndarray]], path: str, unit: _Unit, values: np.ndarray) -> None:
        symbol, factor, offset = unit
        si = values.astype(np.float64)
        # Two paths may give one name (a.b and a_b): the second gets a number.
        name = distinct([*columns, snake(path)])[-1]
        columns[name] = (symbol, si if (factor, offset) == (1.0, 0.0) else si * factor + offset)

    def _unit(self, path: str) -> _Unit:
        plain = re.sub(r"\[\d+\]", "", path)
        while plain:
            if plain in self._units:
                return self._units[plain]
            plain = plain.rpartition(".")[0]
        return "1", 1.0, 0.0

    def _is_constant(self, path: str) -> bool:
        return "covariance" in path and self.schema.startswith(("sensor_msgs/", "geometry_msgs/", "nav_msgs/"))


class CameraInfoMapper(TelemetryMapper):
    """A camera's calibration: numbers that go to the episode's calibration unless they change."""

    def _is_constant(self, path: str) -> bool:
        return True


class JointStateMapper(TelemetryMapper):
    """Joint states: dimensions are named by their joints, so that their order in a message does not matter.

    Positions are in radians, velocities in rad/s and efforts in N*m; a message does not say which joints are linear, whose
    numbers are metres, m/s and newtons.
    """

    _QUANTITIES = {"position": _si("rad"), "velocity": _si("rad/s"), "effort": _si("N*m")}

    def wants(self, path: str) -> bool:
        """Say whether the text at ``path`` matters: names and the frame do."""
        return path.startswith("name[") or path in _FRAME_IDS

    def _columns(self, batch: Batch) -> tuple[dict[str, tuple[str, np.ndarray]], dict[str, np.ndarray]]:
        names = []
        while f"name[{len(names)}]" in batch.texts:
            names.append(batch.texts[f"name[{len(names)}]"])
        columns: dict[str, tuple[str, np.ndarray]] = {}
        left_out = set(self._long(batch))
        for quantity, unit in self._QUANTITIES.items():
            values = batch.numbers.get(quantity)
            if values is None or quantity in left_out:
                continue
            values = values[:, None] if values.ndim == 1 else values
            for i in range(values.shape[1]):
                joint = names[i] if i < len(names) else f"joint_{i}"
                self._put(columns, f"{joint}_{quantity}", unit, values[:, i])
        return columns, {}


class CameraMapper:
    """``Image``, ``CompressedImage`` and Foxglove's of the same kind: a camera."""

    binary = frozenset({"data"})

    def __init__(self, schema: str) -> None:
        self._is_raw = not schema.endswith("CompressedImage")

    def wants(self, path: str) -> bool:
        """Say whether the text at ``path`` matters."""
        return path in (*_FRAME_IDS, "encoding", "format")

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Yield the one piece of a batch.

        Raises:
            UnheldError: pixels that 8-bit RGB cannot hold.
        """
        data = batch.numbers.get("data")
        if data is None or data.dtype != np.uint8 or data.ndim != 2:
            raise UnheldError("images without data")
        if self._is_raw:
            size = zip(batch.number("height"), batch.number("width"), batch.number("step"), strict=True)
            encoding = batch.texts.get("encoding", "")
            frames = [
                raw_picture(row, encoding, int(height), int(width), int(step))
                for row, (height, width, step) in zip(data, size, strict=True)
            ]
        else:
            frames = [encoded_picture(row.tobytes(), batch.texts.get("format", "")) for row in data]
        reason = next((frame for frame in frames if isinstance(frame, str)), None)
        if reason is not None:
            raise UnheldError(reason)
        yield Piece(
            "", batch.rows, _capture_ns(batch), _frame(batch), Pictures([f for f in frames if not isinstance(f, str)])
        )

    def unheld(self, batch: Batch) -> dict[str, str]:
        """Return alpha, which a camera has no place for."""
        encoding = batch.texts.get("encoding", "")
        return {"alpha": "a camera holds RGB"} if encoding in ("rgba8", "bgra8") else {}


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
        return path in _FRAME_IDS or (path.startswith("fields[") and path.endswith("].name"))

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
        yield Piece("", batch.rows, _capture_ns(batch), _frame(batch), Sweeps(sweeps, attributes))

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
        points = np.stack([*flat, *columns.values()], -1)
        return points[np.isfinite(points[:, :3]).all(1)], tuple(distinct([snake(name) for name in columns]))


class LaserScanMapper:
    """A planar scan as points: every range within its limits at its angle, in the scanner's x-y plane.

    Ranges that are not finite or outside ``range_min`` to ``range_max`` are no return, as the message's definition says.
    """

    binary: frozenset[str] = frozenset()

    def __init__(self, schema: str) -> None:
        self._is_foxglove = schema.startswith("foxglove/")

    def wants(self, path: str) -> bool:
        """Say whether the text at ``path`` matters: the frame does."""
        return path in _FRAME_IDS

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Yield the one piece of a batch."""
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
        yield Piece("", batch.rows, _capture_ns(batch), _frame(batch), Sweeps(sweeps, attributes))

    def unheld(self, batch: Batch) -> dict[str, str]:
        """Return nothing: a scan's timing within itself is in its rate."""
        return {path: "of each ray" for path in ("time_increment", "scan_time") if path in batch.numbers}


class TransformMapper:
    """``TFMessage``, ``foxglove.FrameTransform`` and ``FrameTransforms``: one track per pair of frames.

    A track ``base_from_camera`` holds x, y, z in metres and the quaternion x, y, z, w that take a point in ``camera`` to ``base``.
    """

    binary: frozenset[str] = frozenset()

    def __init__(self, schema: str, *, is_static: bool = False) -> None:
        self._is_foxglove, self._is_static = schema.startswith("foxglove/"), is_static
        self._is_single = schema == "foxglove/FrameTransform"

    def static(self) -> TransformMapper:
        """Return the same for a topic of transforms that never change."""
        made = TransformMapper("foxglove/" if self._is_foxglove else "", is_static=True)
        made._is_single = self._is_single
        return made

    def wants(self, path: str) -> bool:
        """Say whether the text at ``path`` matters: the frames do."""
        return path.rpartition(".")[2] in ("frame_id", "child_frame_id", "parent_frame_id")

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Yield one piece per transform of a message."""
        for i in range(len(batch.numbers) + 1):
            prefix = "" if self._is_single else f"transforms[{i}]."
            parent_path = f"{prefix}parent_frame_id" if self._is_foxglove else f"{prefix}header.frame_id"
            child_path = f"{prefix}child_frame_id"
            if parent_path not in batch.texts and child_path not in batch.texts:
                return
            parent, child = (batch.texts.get(path, "") for path in (parent_path, child_path))
            inner = prefix if self._is_foxglove else f"{prefix}transform."
            paths = [f"translation.{axis}" for axis in "xyz"] + [f"rotation.{axis}" for axis in "xyzw"]
            values = np.stack([batch.number(inner + path).astype(np.float64) for path in paths], -1)
            stamp_ns = _stamp_ns(batch, f"{prefix}timestamp" if self._is_foxglove else f"{prefix}header.stamp")
            track = f"{snake(parent)}_from_{snake(child)}"
            content: Transforms | Numbers
            if self._is_static:
                content = Transforms(values)
            else:
                names = [path.replace(".", "_") for path in paths]
                units = ["m"] * 3 + ["1"] * 4
                content = Numbers({n: (u, values[:, j]) for j, (n, u) in enumerate(zip(names, units, strict=True))})
            yield Piece(track, batch.rows, stamp_ns, parent.lstrip("/"), content)
            if self._is_single:
                return

    def unheld(self, batch: Batch) -> dict[str, str]:
        """Return nothing: everything is held."""
        return {}


class _Unheld:
    """A schema that no channel can hold."""

    binary: frozenset[str] = frozenset()

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def wants(self, path: str) -> bool:
        """Say that no text matters."""
        return False

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Refuse.

        Raises:
            UnheldError: always.
        """
        raise UnheldError(self._reason)

    def unheld(self, batch: Batch) -> dict[str, str]:
        """Return nothing: the whole topic is left out."""
        return {}


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
    return np.concatenate([points[:, :3] @ rotation.T + pose[:3], points[:, 3:]], -1)


_MAPPERS = {
    "sensor_msgs/JointState": JointStateMapper,
    "sensor_msgs/CameraInfo": CameraInfoMapper,
    "foxglove/CameraCalibration": CameraInfoMapper,
    "sensor_msgs/Image": CameraMapper,
    "sensor_msgs/CompressedImage": CameraMapper,
    "foxglove/RawImage": CameraMapper,
    "foxglove/CompressedImage": CameraMapper,
    "sensor_msgs/PointCloud2": PointCloudMapper,
    "foxglove/PointCloud": PointCloudMapper,
    "sensor_msgs/LaserScan": LaserScanMapper,
    "foxglove/LaserScan": LaserScanMapper,
    "tf2_msgs/TFMessage": TransformMapper,
    "tf/tfMessage": TransformMapper,
    "foxglove/FrameTransform": TransformMapper,
    "foxglove/FrameTransforms": TransformMapper,
}

_UNHELD = {
    "foxglove/CompressedVideo": "video, whose frames depend on each other",
    "foxglove/SceneUpdate": "drawings for people",
    "foxglove/ImageAnnotations": "drawings for people",
    "visualization_msgs/Marker": "drawings for people",
    "visualization_msgs/MarkerArray": "drawings for people",
    "visualization_msgs/ImageMarker": "drawings for people",
}
