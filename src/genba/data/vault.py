"""The vault: where finished episodes are kept, one shard each, known by a catalog.

::

    vault/
      catalog.sqlite                    one row per episode
      embodiments/<embodiment>.toml     facts of machines that no registry knows, written once
      shards/<embodiment>/<name>.arrow  one file per episode, written once

An episode is checked against its embodiment at the door and is either stored whole or not at all. Several processes
may append at the same time. It keeps data; it does not cut windows (``windows``), weigh machines (``mixture``) or look
for damage (``check``).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from functools import reduce
from pathlib import Path

from genba.config import to_toml
from genba.data.anchors import anchor_times
from genba.data.catalog import Catalog, EpisodeEntry
from genba.data.shard import Shard, open_shard, shard_bytes, write_durably
from genba.errors import CorruptShardError, DataError, SpecError, StorageError, nearest
from genba.registry import EMBODIMENTS
from genba.spec.conformance import check_episode
from genba.spec.embodiment import Embodiment, load_embodiment
from genba.spec.episode import Episode
from genba.spec.statistics import Statistics, episode_statistics
from genba.trust.digest import digest_bytes, digest_file

CATALOG_NAME = "catalog.sqlite"
SHARD_FOLDER = "shards"
EMBODIMENT_FOLDER = "embodiments"


def file_name(embodiment_id: str) -> str:
    """Return an embodiment's id as a name that every file system takes."""
    return "".join(c if c.isalnum() or c in "-." else "_" for c in embodiment_id)


class Vault:
    """Episodes on disk; an ``EpisodeSink``. It holds no open file, so it may be sent to other processes."""

    def __init__(self, path: Path, embodiments: Iterable[Embodiment] = ()) -> None:
        self.path = Path(path)
        self.catalog = Catalog(self.path / CATALOG_NAME)
        self._embodiments = {embodiment.id: embodiment for embodiment in embodiments}

    @classmethod
    def open(cls, path: Path | str, *, create: bool = False, embodiments: Iterable[Embodiment] = ()) -> Vault:
        """Open a vault.

        Args:
            path: its folder.
            create: make it where there is none.
            embodiments: facts of machines that no registry knows; the rest are found by their id.

        Raises:
            DataError: there is no vault and ``create`` is False.
            StorageError: it could not be made.
        """
        vault = cls(Path(path), embodiments)
        if not vault.catalog.path.is_file():
            if not create:
                raise DataError(
                    f"{path}: no vault here (no {CATALOG_NAME}); make one by importing or collecting into it"
                )
            try:
                vault.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(f"{path}: cannot make a vault here: {error.strerror}") from error
        if create:
            vault.catalog.create()
        return vault

    def append(self, episode: Episode) -> None:
        """Store one episode whole, or raise and store nothing of it.

        Raises:
            SpecError: it does not fit its embodiment.
            DataError: an episode with this id is stored already.
            StorageError: the disk refused; everything before is intact.
        """
        embodiment = self.embodiment(episode.metadata.embodiment_id)
        check_episode(embodiment, episode)
        if not any(len(stream) for stream in episode.streams.values()):
            raise SpecError(f"{episode.metadata.episode_id}: got no sample in any stream, expected at least one")
        if self.catalog.holds(episode.metadata.episode_id):
            raise DataError(
                f"{self.path}: episode {episode.metadata.episode_id!r} is stored already; give the new one another id"
            )
        facts = {
            "num_windows": len(anchor_times(embodiment, episode.streams, episode.start_ns, episode.end_ns)),
            "start_ns": episode.start_ns,
            "end_ns": episode.end_ns,
            "statistics": episode_statistics(embodiment, episode).to_json(),
        }
        data = shard_bytes(embodiment, episode, facts)
        file = f"{SHARD_FOLDER}/{file_name(embodiment.id)}/{uuid.uuid4().hex}.arrow"
        write_durably(self.path / file, data)
        try:
            self.catalog.insert(
                EpisodeEntry(
                    metadata=episode.metadata,
                    file=file,
                    digest=digest_bytes(memoryview(data)),
                    size_bytes=data.size,
                    num_windows=facts["num_windows"],
                    start_ns=facts["start_ns"],
                    end_ns=facts["end_ns"],
                ),
                facts["statistics"],
            )
        except DataError:
            (self.path / file).unlink(missing_ok=True)
            raise

    def entries(self, embodiment_id: str | None = None, task_id: str | None = None) -> list[EpisodeEntry]:
        """Return what the catalog knows of the matching episodes, ordered by episode id."""
        return self.catalog.entries(embodiment_id, task_id)

    def entry(self, episode_id: str) -> EpisodeEntry:
        """Return what the catalog knows of one episode.

        Raises:
            DataError: no such episode.
        """
        return self.catalog.entry(episode_id)

    def shard(self, entry: EpisodeEntry) -> Shard:
        """Map an episode's shard without decoding it.

        Raises:
            CorruptShardError: it is missing, cut, or another episode's.
        """
        shard = open_shard(self.path / entry.file, size_bytes=entry.size_bytes)
        if shard.metadata.episode_id != entry.episode_id:
            raise CorruptShardError(
                f"{shard.path}: got episode {shard.metadata.episode_id!r}, expected {entry.episode_id!r}; "
                f"run: genba data check"
            )
        return shard

    def read(self, episode_id: str) -> Episode:
        """Return an episode: raw streams are views of the mapped file, points and frames are decoded.

        Raises:
            DataError: no such episode.
            CorruptShardError: its shard is missing, cut or damaged.
        """
        return self.shard(self.entry(episode_id)).episode()

    def statistics(self, embodiment_id: str) -> Statistics:
        """Return the statistics of all of an embodiment's episodes together; no shard is opened.

        Raises:
            DataError: the vault holds no episode of it.
        """
        found = self.catalog.statistics(embodiment_id)
        if not found:
            raise DataError(
                f"{self.path}: no episodes of {embodiment_id}{nearest(embodiment_id, self.catalog.embodiment_ids())}"
            )
        return reduce(Statistics.merge, (statistics for _, statistics in found))

    def embodiment(self, embodiment_id: str) -> Embodiment:
        """Return the facts of a machine whose episodes are kept here.

        Raises:
            ConfigError: neither this vault nor the registry knows it.
        """
        if embodiment_id not in self._embodiments:
            kept = self._embodiment_path(embodiment_id)
            self._embodiments[embodiment_id] = load_embodiment(kept if kept.is_file() else embodiment_id)
        return self._embodiments[embodiment_id]

    def keep_embodiment(self, embodiment: Embodiment) -> None:
        """Keep the facts of a machine that no registry knows, so that its episodes can be stored and read.

        Raises:
            DataError: other facts are known under its id already.
            StorageError: the disk refused.
        """
        path = self._embodiment_path(embodiment.id)
        known = embodiment.id in self._embodiments or embodiment.id in EMBODIMENTS or path.is_file()
        if not known:
            write_durably(path, to_toml(embodiment).encode())
        elif self.embodiment(embodiment.id) != embodiment:
            raise DataError(
                f"{self.path}: {embodiment.id} is known already with other facts; give the new machine another id or "
                f"version (its facts: {path if path.is_file() else 'registered'})"
            )
        self._embodiments[embodiment.id] = embodiment

    def _embodiment_path(self, embodiment_id: str) -> Path:
        return self.path / EMBODIMENT_FOLDER / f"{file_name(embodiment_id)}.toml"

    def rebuild(self) -> int:
        """Add to the catalog every shard whose episode it does not know, after a crash or the loss of the catalog.

        Returns:
            How many were added.

        Raises:
            CorruptShardError: a shard that is not whole; ``check`` lists them all.
        """
        self.catalog.create()
        known = {entry.file for entry in self.entries()}
        added = 0
        for path in self.shard_paths():
            file = path.relative_to(self.path).as_posix()
            if file in known:
                continue
            shard = open_shard(path)
            if self.catalog.holds(shard.metadata.episode_id):
                continue
            self.catalog.insert(
                EpisodeEntry(
                    metadata=shard.metadata,
                    file=file,
                    digest=digest_file(path),
                    size_bytes=path.stat().st_size,
                    num_windows=shard.facts["num_windows"],
                    start_ns=shard.facts["start_ns"],
                    end_ns=shard.facts["end_ns"],
                ),
                shard.facts["statistics"],
            )
            added += 1
        return added

    def shard_paths(self) -> list[Path]:
        """Return every finished shard file, whether the catalog knows it or not."""
        return sorted((self.path / SHARD_FOLDER).glob("*/[!.]*.arrow"))

    def partial_paths(self) -> list[Path]:
        """Return files that a crash left half-written."""
        return sorted((self.path / SHARD_FOLDER).glob("*/.*.partial"))
