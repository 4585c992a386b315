"""What messages mean: from a message's schema to the channel that holds it, for ROS 2 and for Foxglove's schemas.

* images become a camera, scans and clouds become points (``point_messages``), transforms become telemetry per pair of frames
  or calibration where they are static, joint states get the names of their joints;
* any other message becomes telemetry: every number in it is a dimension named by its path, in SI where the message's type
  says the unit (``message_units``) and in ``1`` where nobody does;
* what no channel can hold (texts, images of 16 bits, video) is named with the reason, never dropped in silence.

It knows neither files nor clocks nor encodings. Read next: ``message_log``, which makes channels and episodes of the pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from genba.data.readers.images import encoded_picture, raw_picture
from genba.data.readers.message_batches import Batch, snake
from genba.data.readers.message_pieces import (
    DIMENSION_LIMIT,
    FRAME_IDS,
    SPELLINGS,
    STAMPS,
    WHOLE,
    Mapper,
    Numbers,
    Pictures,
    Piece,
    Transforms,
    UnheldError,
    capture_ns,
    frame_of,
    stamp_ns,
)
from genba.data.readers.message_units import UNITS
from genba.data.readers.plain_names import numbered
from genba.data.readers.point_messages import LaserScanMapper, PointCloudMapper
from genba.data.readers.si import NONE, Conversion
from genba.spec.units import SECOND_NS


def mapper_for(schema: str) -> Mapper:
    """Return the mapper for a schema's name, e.g. ``"sensor_msgs/msg/Imu"`` or ``"foxglove.PointCloud"``."""
    name = re.sub(r"^foxglove(_msgs)?[./](msg/)?", "foxglove/", schema).replace("/msg/", "/")
    if name in _UNHELD:
        return _Unheld(_UNHELD[name])
    made = _MAPPERS.get(name)
    return made(name) if made else TelemetryMapper(name)


class TelemetryMapper:
    """Any message as telemetry: every number by its path."""

    binary: frozenset[str] = frozenset()

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self._units = UNITS.get(schema, {})

    def wants(self, path: str) -> bool:
        """Say whether the text at ``path`` matters: the frame does."""
        return path in FRAME_IDS

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Yield the one piece of a batch."""
        columns, constants = self._columns(batch)
        yield Piece("", batch.rows, capture_ns(batch), frame_of(batch), Numbers(columns, constants))

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
            if path in left_out or path.startswith((*(f"{stamp}." for stamp in STAMPS), "header.seq")):
                continue
            if self._is_constant(path):
                constants[snake(path)] = values.astype(np.float64).reshape(len(values), -1)
                continue
            base, _, last = path.rpartition(".")
            time_ns = stamp_ns(batch, base) if last in SPELLINGS else None
            if time_ns is not None and last in WHOLE:
                self._put(columns, base, Conversion("s"), time_ns / SECOND_NS)
            elif time_ns is not None:
                continue
            elif values.ndim == 1:
                self._put(columns, path, self._unit(path), values)
            else:
                for i in range(values.shape[1]):
                    self._put(columns, f"{path}[{i}]", self._unit(path), values[:, i])
        return columns, constants

    def _put(self, columns: dict[str, tuple[str, np.ndarray]], path: str, unit: Conversion, values: np.ndarray) -> None:
        symbol, factor, offset = unit
        si = values.astype(np.float64)
        # Two paths may give one name (a.b and a_b): the second gets a number.
        name = numbered([*columns, snake(path)])[-1]
        columns[name] = (symbol, si if (factor, offset) == (1.0, 0.0) else si * factor + offset)

    def _unit(self, path: str) -> Conversion:
        plain = re.sub(r"\[\d+\]", "", path)
        while plain:
            if plain in self._units:
                return self._units[plain]
            plain = plain.rpartition(".")[0]
        return NONE

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

    _QUANTITIES = {"position": Conversion("rad"), "velocity": Conversion("rad/s"), "effort": Conversion("N*m")}

    def wants(self, path: str) -> bool:
        """Say whether the text at ``path`` matters: names and the frame do."""
        return path.startswith("name[") or path in FRAME_IDS

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
        return path in (*FRAME_IDS, "encoding", "format")

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
            "", batch.rows, capture_ns(batch), frame_of(batch), Pictures([f for f in frames if not isinstance(f, str)])
        )

    def unheld(self, batch: Batch) -> dict[str, str]:
        """Return alpha, which a camera has no place for."""
        encoding = batch.texts.get("encoding", "")
        return {"alpha": "a camera holds RGB"} if encoding in ("rgba8", "bgra8") else {}


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
            time_ns = stamp_ns(batch, f"{prefix}timestamp" if self._is_foxglove else f"{prefix}header.stamp")
            track = f"{snake(parent)}_from_{snake(child)}"
            content: Transforms | Numbers
            if self._is_static:
                content = Transforms(values)
            else:
                names = [path.replace(".", "_") for path in paths]
                units = ["m"] * 3 + ["1"] * 4
                content = Numbers({n: (u, values[:, j]) for j, (n, u) in enumerate(zip(names, units, strict=True))})
            yield Piece(track, batch.rows, time_ns, parent.lstrip("/"), content)
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
