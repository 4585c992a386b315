"""Writes episodes as MCAP files that common tools open and that ``readers.mcap`` reads back as they were.

One file per episode, in a folder of its own, or one file where the path ends in ``.mcap`` and there is one episode. Telemetry, actions,
entities and relations are Protobuf messages with a float per dimension; cameras are ``foxglove.CompressedImage``; points are
``foxglove.PointCloud``. Facts and metadata stand in metadata records. Frames are PNG by default, so that nothing is lost; with
``images="jpeg"`` files are a fifth of the size and frames are close to what they were. What an episode's file holds is said in
``readers.episode_records``.

Source: MCAP format specification, https://mcap.dev/spec.
"""

from __future__ import annotations

import io
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from genba.config import to_toml
from genba.data.layout import metadata_to_json
from genba.data.pictures import encode_jpeg, pillow_module
from genba.data.readers import episode_records as records
from genba.data.readers.proto_messages import message_type
from genba.data.writers import foxglove_schemas as schemas
from genba.errors import DataError, StorageError
from genba.spec.conformance import check_episode
from genba.spec.embodiment import CameraChannel, Embodiment, EntitiesChannel, PointsChannel, TelemetryChannel
from genba.spec.episode import Episode
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS
from genba.trust.digest import canonical_json

SUFFIX = ".mcap"


class McapWriter:
    """Episodes as MCAP."""

    name = "mcap"
    description = "MCAP files, one per episode: Protobuf numbers, Foxglove images and point clouds; holds everything"

    def __init__(self, images: Literal["png", "jpeg"] = "png") -> None:
        """Choose how camera frames are written.

        Args:
            images: ``"png"`` keeps every pixel, ``"jpeg"`` (quality 90, 4:4:4) is smaller.

        Raises:
            DataError: another word.
        """
        if images not in ("png", "jpeg"):
            raise DataError(f"images: got {images!r}, expected png or jpeg")
        self.images: Literal["png", "jpeg"] = images

    def write(self, path: Path, embodiment: Embodiment, episodes: Iterable[Episode]) -> None:
        """Write ``episodes`` to ``path``, which must not exist yet; whole or not at all.

        Raises:
            DataError: ``path`` exists, there is no episode, or several for one file, or a time before the clock's zero.
            SpecError: an episode that does not fit ``embodiment``.
            StorageError: the disk refused; nothing is left behind.
        """
        path = Path(path)
        if path.exists():
            raise DataError(f"{path}: exists already, expected a new name")
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            count = self._write_all(partial, embodiment, episodes, is_file=path.suffix == SUFFIX)
            if not count:
                raise DataError(f"{path}: got no episodes, expected at least one")
            partial.rename(path)
        except OSError as error:
            raise StorageError(f"{path}: could not be written ({error}); nothing was left behind") from error
        finally:
            if partial.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
            else:
                partial.unlink(missing_ok=True)

    def _write_all(self, partial: Path, embodiment: Embodiment, episodes: Iterable[Episode], *, is_file: bool) -> int:
        count = 0
        if not is_file:
            partial.mkdir()
        for episode in episodes:
            if is_file and count:
                raise DataError("one .mcap file holds one episode; give the name of a folder for several")
            check_episode(embodiment, episode)
            file = partial if is_file else partial / f"{count:06d}{SUFFIX}"
            with file.open("xb") as out:
                self._write(out, embodiment, episode)
                out.flush()
                os.fsync(out.fileno())
            count += 1
        return count

    def _write(self, out: BinaryIO, embodiment: Embodiment, episode: Episode) -> None:
        mcap = _mcap()
        place = episode.metadata.episode_id
        writer = mcap.Writer(out, compression=mcap.CompressionType.ZSTD, enable_data_crcs=True)
        writer.start(profile="", library="genba")
        writer.add_metadata(records.EMBODIMENT_RECORD, {"id": embodiment.id, "facts": to_toml(embodiment)})
        shapes = {
            name: {"shape": list(s.values.shape[1:]), "ragged": s.splits is not None, "samples": len(s)}
            for name, s in episode.streams.items()
        }
        writer.add_metadata(
            records.EPISODE_RECORD,
            {
                "format": records.FORMAT,
                "metadata": canonical_json(metadata_to_json(episode.metadata)).decode(),
                "streams": canonical_json(shapes).decode(),
            },
        )
        channels = []
        for name, stream in episode.streams.items():
            if len(stream) and int(stream.times_ns[0]) < 0:
                raise DataError(f"{place}: {name}: got a time of {stream.times_ns[0]} ns, expected 0 or more in MCAP")
            written = _written(embodiment, name, stream, self.images)
            schema_id = writer.register_schema(written.schema, "protobuf", written.descriptors)
            channel_id = writer.register_channel(
                f"/{name.replace('.', '/')}", "protobuf", schema_id, {records.STREAM_KEY: name, **written.facts}
            )
            channels.append((channel_id, written.message, stream.times_ns))
        for at, i in _in_order([times_ns for _, _, times_ns in channels]):
            channel_id, message, times_ns = channels[at]
            time_ns = int(times_ns[i])
            writer.add_message(channel_id, time_ns, message(i), time_ns, sequence=i)
        writer.finish()


@dataclass(frozen=True, slots=True)
class _Written:
    """How one stream is written."""

    #: the message's name
    schema: str
    #: a serialised ``FileDescriptorSet``
    descriptors: bytes
    #: units, for whoever looks into the file with another tool
    facts: dict[str, str]
    #: sample -> its message
    message: Callable[[int], bytes]


def _written(embodiment: Embodiment, name: str, stream: Stream, images: Literal["png", "jpeg"]) -> _Written:
    channel = next((c for c in embodiment.channels if c.name == name), None)
    if isinstance(channel, CameraChannel):
        return _camera(channel, stream, images)
    if isinstance(channel, PointsChannel):
        return _points(channel, stream)
    message = name.replace(".", "_")
    facts: dict[str, str] = {}
    match channel:
        case TelemetryChannel():
            dimensions = [d.name for d in channel.dimensions]
            facts = {"units": ",".join(d.unit for d in channel.dimensions), "frame": channel.frame}
            described = schemas.numbers(message, dimensions)
        case EntitiesChannel():
            dimensions = [d.name for d in channel.dimensions]
            facts = {"units": ",".join(d.unit for d in channel.dimensions), "frame": channel.frame}
            described = schemas.rows(message, dimensions)
        case _ if stream.splits is None:
            facts = {"units": ",".join(d.unit for d in embodiment.action.continuous)}
            described = schemas.numbers(message, [d.name for d in embodiment.action.continuous])
        case _:
            described = schemas.values(message) if stream.values.ndim == 1 else schemas.lists(message)
    form = records.form_of(embodiment, name, stream.values.shape[1:], is_ragged=stream.splits is not None)
    return _Written(f"genba.{message}", described.SerializeToString(), facts, _rows_message(stream, form))


def _rows_message(stream: Stream, form: records.FloatRows | None) -> Callable[[int], bytes]:
    if form is None:
        return lambda i: records.encode_scores(stream.sample(i))
    rows = form.encode(stream.values)
    if stream.splits is None:
        return lambda i: rows[i].tobytes()
    splits = stream.splits
    return lambda i: rows[splits[i] : splits[i + 1]].tobytes()


def _camera(channel: CameraChannel, stream: Stream, images: Literal["png", "jpeg"]) -> _Written:
    descriptors = schemas.compressed_image().SerializeToString()
    make = message_type("foxglove.CompressedImage", descriptors)
    encode = _encode_png if images == "png" else partial(encode_jpeg, subsampling="444")

    def message(i: int) -> bytes:
        image = make(data=encode(stream.values[i]), format=images, frame_id=_frame(channel.frame))
        _set_time(image.timestamp, int(stream.times_ns[i]))
        return image.SerializeToString(deterministic=True)

    return _Written("foxglove.CompressedImage", descriptors, {}, message)


def _points(channel: PointsChannel, stream: Stream) -> _Written:
    if not np.isfinite(stream.values[:, :3]).all():
        raise DataError(f"{channel.name}: got a point whose place is not finite, expected none; leave such points out")
    descriptors = schemas.point_cloud().SerializeToString()
    make = message_type("foxglove.PointCloud", descriptors)
    names = ["x", "y", "z", *(attribute.name for attribute in channel.attributes)]
    facts = {"units": ",".join(["m", "m", "m", *(attribute.unit for attribute in channel.attributes)])}

    def message(i: int) -> bytes:
        cloud = make(frame_id=_frame(channel.frame), point_stride=4 * len(names))
        _set_time(cloud.timestamp, int(stream.times_ns[i]))
        cloud.pose.position.SetInParent()
        cloud.pose.orientation.w = 1.0
        for at, name in enumerate(names):
            cloud.fields.add(name=name, offset=4 * at, type=schemas.FLOAT32)
        cloud.data = np.ascontiguousarray(stream.sample(i), "<f4").tobytes()
        return cloud.SerializeToString(deterministic=True)

    return _Written("foxglove.PointCloud", descriptors, facts, message)


def _frame(frame: str) -> str:
    return "" if frame == "none" else frame


def _set_time(timestamp: Any, time_ns: int) -> None:
    timestamp.seconds, timestamp.nanos = divmod(time_ns, SECOND_NS)


def _in_order(clocks: list[np.ndarray]) -> Iterator[tuple[int, int]]:
    """Yield (which clock, which sample) of all clocks in order of time; of one time, in order of the clocks."""
    which = np.repeat(np.arange(len(clocks)), [len(times_ns) for times_ns in clocks])
    sample = np.concatenate([np.arange(len(times_ns)) for times_ns in clocks]) if clocks else which
    order = np.argsort(np.concatenate(clocks), kind="stable") if clocks else which
    yield from zip(which[order].tolist(), sample[order].tolist(), strict=True)


def _encode_png(frame: np.ndarray) -> bytes:
    out = io.BytesIO()
    # Level 1: three times as fast as the default and a tenth larger.
    pillow_module().fromarray(np.asarray(frame)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _mcap():  # type: ignore[no-untyped-def]
    # Imported here: it comes with an extra, and machines that write no such files do without it.
    try:
        import mcap.writer
    except ModuleNotFoundError as error:
        raise DataError("MCAP files need mcap; install it with: pip install 'genba[readers]'") from error
    return mcap.writer
