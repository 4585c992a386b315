"""Genba: one vault, sealed (as it is by default) or plain, read through ``WindowQuery`` in batches of 32 windows.

Clocks, telemetry and points are kept in memory once they were read, within the bound of each query (1 GiB; the set has 366 MB of them);
"nothing kept" reads and opens every block every time, as a vault far larger than memory would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mixed_set import CAMERAS, DENSE, KINDS, LIDAR_HZ, SIZE, SPARSE_NS, TELEMETRY, Source, frames, seed_of

from genba.config import read_toml_text
from genba.data.codecs import StorageChoices
from genba.data.query import Offsets, Samples, Span, WindowQuery
from genba.data.tracks import MEMORY_BYTES
from genba.data.vault import Vault
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import Stream
from genba.trust.keys import FileKeys

_HEAD = """
id = "perf/mixed@1"
description = "The mixed set of perf/stores."
frames = ["base"]
[control]
period_s = 0.1
deadline_s = 0.1
[[points]]
name = "lidar"
rate_hz = {lidar_hz}
frame = "base"
history_s = 0.4
max_points = 2200
range_max_m = 60.0
attribute = [{{ name = "intensity", unit = "1", low = 0.0, high = 255.0 }}]
"""
_TELEMETRY = """
[[telemetry]]
name = "{name}"
rate_hz = {rate_hz}
frame = "base"
history_s = 0.5
dimension = [{{ name = "value", unit = "1", low = -8.0, high = 8.0, repeat = {columns} }}]
"""
_CAMERA = """
[[camera]]
name = "{name}"
rate_hz = 15.0
frame = "base"
history_s = 0.5
height = {size}
width = {size}
"""
FACTS = read_toml_text(
    _HEAD.format(lidar_hz=LIDAR_HZ)
    + "".join(_TELEMETRY.format(name=n, columns=c, rate_hz=r) for n, (c, r) in TELEMETRY.items())
    + "".join(_CAMERA.format(name=n, size=SIZE) for n in CAMERAS),
    Embodiment,
    where="genba_store.py",
)

_NUMBERS = dict.fromkeys(TELEMETRY, Span(-0.5, 0.5))
_SWEEPS = {"lidar": Span(-0.4, 0.0)}
_QUERIES: Mapping[str, Mapping[str, Span | Offsets]] = {
    "sparse": _NUMBERS | _SWEEPS | dict.fromkeys(CAMERAS, Offsets(tuple(ns / 1e9 for ns in SPARSE_NS))),
    "dense": _NUMBERS | _SWEEPS | dict.fromkeys(CAMERAS, Span(float("-inf"), 0.0, newest=DENSE)),
    "telemetry": _NUMBERS,
}


def open_vault(
    folder: Path, *, encrypt: bool, subsampling: Literal["420", "444"] = "420", create: bool = False
) -> Vault:
    """Open a vault of the set; its keys lie beside it."""
    keys, choices = FileKeys(folder.parent / "keys"), StorageChoices(encrypt=encrypt, jpeg_subsampling=subsampling)
    return Vault.open(folder, create=create, embodiments=[FACTS], choices=choices, keys=keys)


def build(
    set_folder: Path, num_episodes: int, folder: Path, *, encrypt: bool, subsampling: Literal["420", "444"] = "420"
) -> None:
    """Append every episode."""
    vault = open_vault(folder, encrypt=encrypt, subsampling=subsampling, create=True)
    for episode in range(num_episodes):
        source = Source(set_folder, episode)
        streams = {name: Stream(source.times(name), np.asarray(source.values(name))) for name in TELEMETRY}
        streams["lidar"] = Stream(source.times("lidar"), np.asarray(source.values("lidar")), source.splits())
        for camera in CAMERAS:
            times = source.times(camera)
            streams[camera] = Stream(times, frames(seed_of(set_folder), episode, camera, len(times)))
        metadata = EpisodeMetadata(episode_id=f"mixed/{episode:03d}", embodiment_id=FACTS.id, owner="perf")
        vault.append(Episode(metadata, streams))


class Store:
    """An opened vault; episodes are opened when windows of them are first asked for."""

    def __init__(self, folder: Path, set_folder: Path, num_episodes: int, *, encrypt: bool, memory_bytes: int) -> None:
        vault = open_vault(folder, encrypt=encrypt)
        entries = vault.entries()
        assert len(entries) == num_episodes
        self.queries = {kind: WindowQuery(vault, entries, _QUERIES[kind], memory_bytes=memory_bytes) for kind in KINDS}

    def windows(self, episodes: np.ndarray, times_ns: np.ndarray, kind: str) -> dict[str, Samples]:
        """Return the windows of all channels at once."""
        return self.queries[kind].windows(episodes, times_ns)

    @staticmethod
    def unpack(answer: dict[str, Samples]) -> list[dict[str, np.ndarray]]:
        """Return one dictionary per window."""
        out: list[dict[str, np.ndarray]] = []
        for w in range(len(answer["joints"].mask)):
            window: dict[str, np.ndarray] = {}
            for name, samples in answer.items():
                mask = samples.mask[w]
                window[f"{name}.times"] = samples.times_ns[w, mask]
                if samples.splits is None:
                    window[f"{name}.values"] = samples.values[w, mask]
                else:
                    splits = samples.splits[w * len(mask) :][: int(mask.sum()) + 1]
                    window[f"{name}.splits"] = splits - splits[0]
                    window[f"{name}.values"] = samples.values[splits[0] : splits[-1]]
            out.append(window | {camera: window[f"{camera}.values"] for camera in CAMERAS if camera in answer})
        return out


def variants() -> list[tuple[str, str, str, Callable[..., None], Callable[..., Any]]]:
    """Return name, note, folder, how to build and how to open, for each way that the vault is measured."""
    out = []
    for name, encrypt, memory_bytes in (
        ("Genba, encrypted", True, MEMORY_BYTES),
        ("Genba, plain", False, MEMORY_BYTES),
        ("Genba, encrypted, nothing kept", True, 0),
        ("Genba, plain, nothing kept", False, 0),
    ):
        kept = (
            "clocks, telemetry and points kept once read" if memory_bytes else "every block read and opened every time"
        )
        note = f"{'AES-256-GCM per block' if encrypt else 'not sealed'}; {kept}"
        folder = "genba_encrypted" if encrypt else "genba_plain"
        opener = partial(Store, encrypt=encrypt, memory_bytes=memory_bytes)
        out.append((name, note, folder, partial(build, encrypt=encrypt), opener))
    return out


def full_colour() -> tuple[str, str, str, Callable[..., None], Callable[..., Any]]:
    """Return the same of the vault as it is by default, but for JPEGs with all colours."""
    note = "as the first row, JPEGs with full colour resolution (a choice, not the default)"
    opener = partial(Store, encrypt=True, memory_bytes=MEMORY_BYTES)
    return "Genba, encrypted, 4:4:4", note, "genba_encrypted", partial(build, encrypt=True, subsampling="444"), opener
