"""Writes episodes as one HDF5 file in robomimic's layout: a demonstration per episode, a row per control step.

The layout holds one rate and dense arrays, so a row shows the newest sample of every channel at its control step
(``control_steps``), and what cannot be shown so (points, entities, relations, choices, labels) is refused by name: write that
with ``lerobot``, whose side tables lose nothing. Frames are kept as pixels, compressed without loss. The control rate, the
instruction, owner and terms go into attributes, so that ``readers.hdf5`` and people find them.

``rewards`` hold what the episode's outcome says of its success, in the last row; 0 elsewhere and where nothing is known.
Source: robomimic v0.3, "Dataset structure" (MIT).
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.layout import metadata_to_json
from genba.data.readers.hdf5_file import h5py_module
from genba.data.writers.control_steps import control_steps, newest_samples, sampled_streams
from genba.errors import DataError, StorageError
from genba.spec.conformance import check_episode
from genba.spec.embodiment import Embodiment
from genba.spec.episode import ACTION, Episode
from genba.spec.units import to_ns


class Hdf5Writer:
    """Demonstrations in robomimic's layout."""

    name = "hdf5"
    description = (
        "one HDF5 file in robomimic's layout: telemetry, camera pixels and continuous actions at the control rate; no point "
        "clouds, entities, choices or labels, and nothing between two control steps"
    )

    def write(self, path: Path, embodiment: Embodiment, episodes: Iterable[Episode]) -> None:
        """Write ``episodes`` to the file ``path``, which must not exist yet; whole or not at all.

        Raises:
            DataError: no episode, no continuous action, or a stream that the layout cannot hold.
            SpecError: an episode that does not fit its embodiment.
            StorageError: the disk refused; nothing is left behind.
        """
        path = Path(path)
        if path.exists():
            raise DataError(f"{path}: is there already; choose another name or remove it")
        if not embodiment.action.continuous:
            raise DataError(f"{embodiment.id}: got no continuous action, which robomimic's layout is made of")
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py_module().File(temporary, "w") as file:
                _write(file, embodiment, episodes)
            _sync(temporary)
            temporary.rename(path)
            _sync(path.parent)
        # HDF5 says it either way where a file cannot be closed for want of space.
        except (OSError, RuntimeError) as error:
            raise StorageError(
                f"{path}: could not write the file: {getattr(error, 'strerror', None) or error}; nothing of it is left behind; free some space "
                f"or choose another place"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _write(file: Any, embodiment: Embodiment, episodes: Iterable[Episode]) -> None:
    data = file.create_group("data", track_order=True)
    rows = number = 0
    for number, episode in enumerate(episodes, start=1):
        check_episode(embodiment, episode)
        _refuse_what_has_no_place(embodiment, episode)
        rows += _write_demonstration(data.create_group(f"demo_{number - 1}"), embodiment, episode)
    if not number:
        raise DataError(f"{embodiment.id}: got no episode, expected at least one")
    data.attrs["total"] = rows
    kwargs = {"control_freq": round(1 / embodiment.control.period_s, 9)}
    data.attrs["env_args"] = json.dumps({"env_name": embodiment.id, "type": 0, "env_kwargs": kwargs})


def _refuse_what_has_no_place(embodiment: Embodiment, episode: Episode) -> None:
    held = {channel.name for channel in (*embodiment.telemetry, *embodiment.camera)} | {ACTION}
    for name in episode.streams:
        if name not in held:
            raise DataError(
                f"{episode.metadata.episode_id}: got stream {name!r}, which robomimic's layout cannot hold; write it as lerobot, "
                f"which keeps every stream"
            )
    for channel in (*embodiment.telemetry, *embodiment.camera):
        if not len(episode.streams.get(channel.name, ())):
            raise DataError(
                f"{episode.metadata.episode_id}: got no sample of {channel.name!r}, expected one per row; write it as lerobot"
            )
    if not len(episode.streams.get(ACTION, ())):
        raise DataError(f"{episode.metadata.episode_id}: got no action, expected one per row")


def _write_demonstration(group: Any, embodiment: Embodiment, episode: Episode) -> int:
    streams = sampled_streams(embodiment, episode)
    times_ns = control_steps(episode, streams, to_ns(embodiment.control.period_s))
    shown = newest_samples(streams, times_ns)
    length = len(times_ns)
    for name, rows in shown.items():
        if name == ACTION:
            group["actions"] = streams[name].values[rows]
            continue
        values = streams[name].values
        if values.dtype == np.uint8:
            # A frame at a time: the rows of a long episode need not fit into memory twice.
            frames = group.create_dataset(
                f"obs/{name}",
                (length, *values.shape[1:]),
                np.uint8,
                chunks=(1, *values.shape[1:]),
                compression="gzip",
                compression_opts=4,
            )
            for i, row in enumerate(rows):
                frames[i] = values[row]
        else:
            group[f"obs/{name}"] = values[rows]
    success = episode.metadata.outcome.get("success", 0.0)
    last = np.arange(length) == length - 1
    group["dones"] = last.astype(np.int64)
    group["rewards"] = np.where(last, success if success == success else 0.0, 0.0)
    group["t_ns"] = times_ns
    group.attrs["num_samples"] = length
    group.attrs["ep_meta"] = json.dumps({"lang": episode.metadata.instruction})
    group.attrs["genba_metadata"] = json.dumps(metadata_to_json(episode.metadata), ensure_ascii=False)
    return length


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
