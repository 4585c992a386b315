"""Writes episodes as folders of Parquet files, for people and tools that work with tables.

The layout is in ``parquet_layout``; the reader ``parquet`` reads it back bit for bit.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from genba.config import to_toml
from genba.data.layout import metadata_to_json
from genba.data.parquet_layout import FACTS_NAME, FORMAT, INDEX_NAME, METADATA_NAME, STREAM_NAME, to_table
from genba.errors import DataError, StorageError
from genba.spec.conformance import check_episode
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode


class ParquetWriter:
    """One folder per episode, one Parquet file per stream, metadata and facts beside them."""

    name = "parquet"
    description = "a folder per episode with one Parquet file per stream (t_ns and one column per dimension); holds all"

    def write(self, path: Path, embodiment: Embodiment, episodes: Iterable[Episode]) -> None:
        """Write ``episodes`` to the folder ``path``, which must not exist yet; whole or not at all.

        Raises:
            DataError: ``path`` is there already, or a stream's name cannot be a file's.
            SpecError: an episode that does not fit ``embodiment``.
            StorageError: the disk refused; nothing is left behind.
        """
        path = Path(path)
        if path.exists():
            raise DataError(f"{path}: is there already, expected a new folder; nothing was written")
        partial = path.with_name(f".{path.name}.partial")
        try:
            partial.mkdir(parents=True)
            (partial / FACTS_NAME).write_text(to_toml(embodiment), encoding="utf-8")
            names = []
            for episode in episodes:
                check_episode(embodiment, episode)
                names.append(f"{len(names):06d}")
                _write_episode(partial / names[-1], embodiment, episode)
            index = json.dumps({"format": FORMAT, "episodes": names}, indent=1)
            (partial / INDEX_NAME).write_text(index, encoding="utf-8")
            partial.rename(path)
        except FileExistsError as error:
            raise DataError(
                f"{partial}: is there already: another writer is at work, or one broke off: remove it"
            ) from error
        except BaseException as error:
            with contextlib.suppress(OSError):
                shutil.rmtree(partial)
            if isinstance(error, (OSError, pa.ArrowException)):
                raise StorageError(f"{path}: could not be written ({error}); nothing is left of it") from error
            raise


def _write_episode(folder: Path, embodiment: Embodiment, episode: Episode) -> None:
    folder.mkdir()
    metadata = json.dumps(metadata_to_json(episode.metadata), ensure_ascii=False, indent=1)
    (folder / METADATA_NAME).write_text(metadata, encoding="utf-8")
    for name, stream in episode.streams.items():
        if not STREAM_NAME.fullmatch(name):
            raise DataError(f"{episode.metadata.episode_id}: stream {name!r}: expected a name that can be a file's")
        pq.write_table(to_table(embodiment, name, stream), folder / f"{name}.parquet", compression="zstd")
