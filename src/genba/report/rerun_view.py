"""An episode as a Rerun recording: pictures, points and rows where the facts place them, every number on its own clock.

What is stored is what is written: no stream is resampled, times are the streams' own nanoseconds, JPEG frames go over as
they lie in the shard. Rerun's usage reports are switched off before it is imported and in every viewer that is started
here (``quiet``). Nothing is drawn here; ``blueprint`` says what a viewer shall show where.

Where things stand in the recording::

    telemetry/<channel>/<dimension>     entities/<channel>/<dimension>     relations/<relation>
    action/<dimension>  label/<dimension>  action/<choice>  label/<choice>
    world/<frame>/<channel>             cameras and points, under their frames' calibration
    episode  instruction                documents
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from genba.data.codecs import JPEGS
from genba.data.shard import Shard
from genba.errors import DataError
from genba.spec.embodiment import (
    ActionDimension,
    CameraChannel,
    Dimension,
    Embodiment,
    EntitiesChannel,
    PointsChannel,
    TelemetryChannel,
)
from genba.spec.episode import ACTION, LABEL
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS

#: The timeline that every sample stands on: nanoseconds of the episode's own clock.
TIMELINE = "time"

#: A clock beyond this counts from 1970 and is shown as a date.
EPOCH_NS = 100_000_000 * SECOND_NS

#: What switches Rerun's reports off, in this process and in a viewer: its PostHog events stop where CI is set, its
#: OpenTelemetry export where TELEMETRY_ENABLED is false (re_analytics and re_perf_telemetry of rerun 0.41).
QUIET = {"CI": "1", "TELEMETRY_ENABLED": "false"}


def quiet(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which Rerun reports nothing home."""
    return {name: value for name, value in environment.items() if name != "FORCE_RERUN_ANALYTICS"} | QUIET


def write_recording(path: Path, embodiment: Embodiment, shard: Shard) -> None:
    """Write an episode to ``path``, a ``.rrd`` file.

    Raises:
        DataError: Rerun is not installed, or the file could not be written.
        CorruptShardError: bytes that do not decode.
    """
    rr, _ = load_rerun()
    recording = rr.RecordingStream("genba", recording_id=shard.metadata.episode_id)
    try:
        recording.save(str(path), default_blueprint=blueprint(embodiment, list(shard.streams)))
        _log_episode(rr, recording, embodiment, shard)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: could not write the recording: {error}") from error
    finally:
        recording.disconnect()


def load_rerun() -> tuple[ModuleType, ModuleType]:
    """Import Rerun and its blueprints, silenced.

    Raises:
        DataError: it is not installed.
    """
    os.environ.pop("FORCE_RERUN_ANALYTICS", None)
    os.environ["TELEMETRY_ENABLED"] = QUIET["TELEMETRY_ENABLED"]
    # Imported here: rerun is 170 MB that only looking at episodes needs, and must be silenced before.
    try:
        import rerun
        import rerun.blueprint
    except ModuleNotFoundError as error:
        raise DataError("looking at an episode needs rerun-sdk; install it with: pip install 'genba[view]'") from error
    return rerun, rerun.blueprint


def blueprint(embodiment: Embodiment, streams: list[str], *, num_pictures: int = 0) -> Any:
    """Lay a machine out: cameras and space on the left, on the right a plot per channel and unit, actions and pictures below."""
    _, rrb = load_rerun()
    left = [rrb.Spatial2DView(origin=_place(c), name=c.name) for c in embodiment.camera if c.name in streams]
    if embodiment.points or any(_places(c) for c in embodiment.entities):
        left.append(rrb.Spatial3DView(origin="world", name="space"))
    plots = []
    for name, folders, group in _groups(embodiment):
        for unit in dict.fromkeys(d.unit for d in group) if name in streams else ():
            contents = [f"/{folder}/{d.name}" for folder in folders for d in group if d.unit == unit]
            plots.append(rrb.TimeSeriesView(origin="/", contents=contents, name=f"{name} [{unit}]"))
    plots += [
        rrb.TimeSeriesView(origin=f"/{ACTION}/{choice.name}", name=f"{ACTION} {choice.name}")
        for choice in embodiment.action.choice
    ]
    documents = rrb.Tabs(
        rrb.TextDocumentView(origin="/episode", name="episode"),
        *([rrb.TextDocumentView(origin="/instruction", name="instruction")] if embodiment.instruction else []),
        *(rrb.Spatial2DView(origin=f"/pictures/{i}", name=f"picture {i + 1}") for i in range(num_pictures)),
    )
    right = rrb.Vertical(rrb.Grid(*plots) if plots else documents, documents, row_shares=[5, 2 if num_pictures else 1])
    body = rrb.Horizontal(rrb.Vertical(*left), right, column_shares=[2, 3]) if left else right
    return rrb.Blueprint(body, rrb.TimePanel(timeline=TIMELINE))


def _log_episode(rr: ModuleType, recording: Any, embodiment: Embodiment, shard: Shard) -> None:
    meta = shard.metadata
    lines = [f"{name}: {value}" for name, value in asdict(meta).items() if value not in ("", {}, -1)]
    recording.log("episode", rr.TextDocument("\n".join(lines)), static=True)
    if meta.instruction:
        recording.log("instruction", rr.TextDocument(meta.instruction), static=True)
    for name, numbers in meta.calibration.items():
        parent, found, child = name.partition("_from_")
        # The machine's base is the world of this recording; what hangs on anything else stays where it is.
        if found and parent == "base" and child in embodiment.frames and len(numbers) in (12, 16):
            matrix = np.array(numbers[:12]).reshape(3, 4)
            place = rr.Transform3D(translation=matrix[:, 3], mat3x3=matrix[:, :3])
            recording.log(f"world/{child}", place, static=True)
    name_lines(rr, recording, embodiment, shard.streams)
    cameras = {channel.name: channel for channel in embodiment.camera}
    for name, stored in shard.streams.items():
        if name in cameras and stored.codec in JPEGS.values() and stored.samples_per_block == 1:
            blobs = stored.blocks(0, stored.num_blocks)
            columns = rr.EncodedImage.columns(blob=blobs, media_type=["image/jpeg"] * len(blobs))
            recording.send_columns(_place(cameras[name]), [_times(rr, stored.times_ns)], columns)
        else:
            log_stream(rr, recording, embodiment, name, stored.decode())


def name_lines(rr: ModuleType, recording: Any, embodiment: Embodiment, streams: Iterable[str]) -> None:
    """Name every plotted number of these streams with its unit."""
    for name, folders, group in _groups(embodiment):
        for folder in folders:
            if folder in streams or (folder not in (ACTION, LABEL) and name in streams):
                for dimension in group:
                    line = rr.SeriesLines(names=[f"{dimension.name} ({dimension.unit})"])
                    recording.log(f"{folder}/{dimension.name}", line, static=True)


def log_stream(rr: ModuleType, recording: Any, embodiment: Embodiment, name: str, stream: Stream) -> None:
    """Log samples of one stream, an episode's or those since the last control step, at their own times.

    Args:
        rr: what ``load_rerun`` returned.
        recording: a ``RecordingStream`` of it.
        embodiment: whose stream it is; a stream that it does not name (a choice's scores) is logged as numbers.
        name: the stream.
        stream: its samples.
    """
    channels = {channel.name: channel for channel in (*embodiment.channels, *embodiment.relation)}
    channel = channels.get(name)
    if isinstance(channel, CameraChannel):
        form = rr.components.ImageFormat(channel.width, channel.height, color_model="RGB", channel_datatype="U8")
        frames = stream.values.reshape(len(stream), -1)
        columns = rr.Image.columns(buffer=frames, format=[form] * len(frames))
        recording.send_columns(_place(channel), [_times(rr, stream.times_ns)], columns)
    elif isinstance(channel, PointsChannel):
        _log_points(rr, recording, channel, stream)
    elif isinstance(channel, TelemetryChannel | EntitiesChannel):
        folder = "telemetry" if isinstance(channel, TelemetryChannel) else "entities"
        _log_numbers(rr, recording, f"{folder}/{name}", channel.dimensions, stream)
        if isinstance(channel, EntitiesChannel) and (places := _places(channel)):
            positions = np.nan_to_num(stream.values[:, list(places)])
            positions = np.pad(positions, ((0, 0), (0, 3 - len(places))))
            columns = rr.Points3D.columns(positions=positions).partition(_lengths(stream))
            recording.send_columns(_place(channel), [_times(rr, stream.times_ns)], columns)
    elif name in (ACTION, LABEL):
        _log_numbers(rr, recording, name, embodiment.action.continuous, stream)
    else:
        path = f"relations/{name}" if channel is not None else name.replace(".", "/")
        width = int(np.prod(stream.values.shape[1:], dtype=np.int64))
        columns = rr.Scalars.columns(scalars=stream.values.ravel()).partition(_lengths(stream) * width)
        recording.send_columns(path, [_times(rr, stream.times_ns)], columns)


def _log_numbers(
    rr: ModuleType, recording: Any, path: str, dimensions: tuple[Dimension | ActionDimension, ...], stream: Stream
) -> None:
    """Log one entity per dimension; a ragged stream gives one number per row."""
    for i, dimension in enumerate(dimensions):
        columns = rr.Scalars.columns(scalars=stream.values[:, i].astype(np.float64)).partition(_lengths(stream))
        recording.send_columns(f"{path}/{dimension.name}", [_times(rr, stream.times_ns)], columns)


def _log_points(rr: ModuleType, recording: Any, channel: PointsChannel, stream: Stream) -> None:
    lengths = _lengths(stream)
    columns = [*rr.Points3D.columns(positions=stream.values[:, :3]).partition(lengths)]
    for i, attribute in enumerate(channel.attributes, start=3):
        columns += [*rr.AnyValues.columns(**{attribute.name: stream.values[:, i]}).partition(lengths)]
    recording.send_columns(_place(channel), [_times(rr, stream.times_ns)], columns)


def _place(channel: CameraChannel | PointsChannel | EntitiesChannel) -> str:
    return f"world/{channel.name}" if channel.frame == "none" else f"world/{channel.frame}/{channel.name}"


def _times(rr: ModuleType, times_ns: np.ndarray) -> Any:
    if len(times_ns) and int(times_ns[0]) > EPOCH_NS:
        return rr.TimeColumn(TIMELINE, timestamp=times_ns.astype("datetime64[ns]"))
    return rr.TimeColumn(TIMELINE, duration=times_ns.astype("timedelta64[ns]"))


def _lengths(stream: Stream) -> np.ndarray:
    return np.ones(len(stream), np.int64) if stream.splits is None else np.diff(stream.splits)


def _places(channel: EntitiesChannel) -> tuple[int, ...]:
    """Return the columns of x, y and, where there is one, z, in metres; nothing where rows have no place."""
    at = {
        re.sub(r"^(position|center|centre)_", "", d.name): i for i, d in enumerate(channel.dimensions) if d.unit == "m"
    }
    return tuple(at[axis] for axis in "xyz" if axis in at) if {"x", "y"} <= set(at) else ()


def _groups(
    embodiment: Embodiment,
) -> Iterator[tuple[str, tuple[str, ...], tuple[Dimension | ActionDimension, ...]]]:
    """Yield (stream, folders, dimensions) of everything that is plotted by name."""
    for channel in embodiment.telemetry:
        yield channel.name, (f"telemetry/{channel.name}",), channel.dimensions
    for channel in embodiment.entities:
        yield channel.name, (f"entities/{channel.name}",), channel.dimensions
    if embodiment.action.continuous:
        yield ACTION, (ACTION, LABEL), embodiment.action.continuous
