"""Saving what a damaged shard still holds: every block that verifies goes into a new shard, the old one is set aside.

A block is the least that is lost: half a second of one sensor, one sweep, one frame. Nothing is deleted and nothing is
guessed: samples of a lost block are missing from the saved stream, as if the sensor had been silent, and the episode's
``source`` says so. Read next: ``fsck``, which finds the damage.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from genba.data.catalog import EpisodeEntry
from genba.data.codecs import EncodedStream
from genba.data.compact import alone
from genba.data.layout import SCHEMA, EncodedEpisode, Shard, read_index
from genba.data.shard import open_envelope, read_header, rewrapped_name
from genba.data.stored import StoredStream
from genba.data.vault import SET_ASIDE_FOLDER, Vault
from genba.errors import CorruptShardError, DataError, GenbaError, KeyUnavailableError
from genba.spec.episode import Episode
from genba.trust.envelope import Envelope


@dataclass(frozen=True, kw_only=True, slots=True)
class Repaired:
    """What was done about one shard."""

    #: where the damaged shard is now, relative to the vault
    set_aside: str
    #: the ids of the episodes that are readable again
    saved: tuple[str, ...] = ()
    #: what is lost of them: episode id -> stream -> blocks, no block where the whole stream is
    damage: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    #: the ids of the episodes of which nothing could be read, with the reason
    lost: Mapping[str, str] = field(default_factory=dict)


def repair(vault: Vault, files: Iterable[str]) -> Iterator[Repaired]:
    """Save what each of the shards ``files`` still holds, and set them aside.

    Raises:
        KeyUnavailableError: a shard is sealed and its key is not here; it stays as it is.
        PermissionDeniedError: the rules of a governed vault refuse to open a shard; it stays as it is.
        StorageError: another upkeep runs, or the disk refused; what was not repaired stays as it is.
    """
    vault = vault.to_keep()
    with alone(vault):
        for file in sorted(set(files)):
            yield _repair(vault, file)


class DamagedShard:
    """A shard of which some bytes are wrong or missing, read as far as it goes."""

    def __init__(self, vault: Vault, file: str) -> None:
        self._place, self._indices, self._reason = vault.storage.place(file), {}, ""
        try:
            self._source = vault.storage.open(file, whole=True)
            schemas, self._indices = _read_batches(self._source.view(0, self._source.size))
            self._envelope = _first_that_opens(vault, file, schemas)
        except (pa.ArrowException, OSError, CorruptShardError) as error:
            self._reason = str(error)

    def shard(self, entry: EpisodeEntry) -> tuple[Shard, dict[str, str]]:
        """Return one episode, without the streams that do not read, and these with the reason.

        Raises:
            CorruptShardError: nothing of it reads.
        """
        index = self._indices.get(2 * entry.position)
        if self._reason or index is None:
            raise CorruptShardError(self._reason or f"{self._place}: the index of episode {entry.position} is lost")
        lost: dict[str, str] = {}
        shard = read_index(index, self._source, entry.offset, self._envelope, self._place, lost=lost)
        if shard.metadata.episode_id != entry.episode_id:
            raise CorruptShardError(f"{self._place}: got {shard.metadata.episode_id!r}, expected {entry.episode_id!r}")
        return shard, lost

    def damage(self, entry: EpisodeEntry) -> tuple[dict[str, tuple[int, ...]], str]:
        """Return which blocks of which of an episode's streams are damaged, or why nothing of it reads."""
        try:
            shard, lost = self.shard(entry)
        except CorruptShardError as error:
            return {}, str(error)
        found = {name: tuple(stored.damaged_blocks()) for name, stored in shard.streams.items()}
        return {name: blocks for name, blocks in found.items() if blocks} | dict.fromkeys(lost, ()), ""


def _repair(vault: Vault, file: str) -> Repaired:
    damaged, saved, damage, lost = DamagedShard(vault, file), [], {}, {}
    entries = sorted((e for e in vault.entries() if e.file == file), key=lambda e: e.position)
    for entry in entries:
        try:
            shard, gone = damaged.shard(entry)
            episode, blocks = _save(vault, shard, gone)
            saved.append(episode)
            if blocks:
                damage[entry.episode_id] = blocks
        except GenbaError as error:
            lost[entry.episode_id] = str(error)
    shards = {shard.file: shard for shard in vault.catalog.shards()}
    if file in shards:
        new, rows = vault.write_shard(saved, encrypt=bool(shards[file].key_id)) if saved else (None, [])
        vault.catalog.replace([file], new, rows)
    aside = f"{SET_ASIDE_FOLDER}/{file}"
    vault.storage.move(file, aside)
    if vault.storage.size_bytes(rewrapped_name(file)) is not None:
        vault.storage.move(rewrapped_name(file), rewrapped_name(aside))
    ids = tuple(episode.metadata.episode_id for episode in saved)
    return Repaired(set_aside=aside, saved=ids, damage=damage, lost=lost)


def _save(vault: Vault, shard: Shard, gone: Mapping[str, str]) -> tuple[EncodedEpisode, dict[str, tuple[int, ...]]]:
    """Return what is whole of an episode, and what is not.

    Raises:
        GenbaError: too little is whole to be an episode.
    """
    streams: dict[str, EncodedStream] = {}
    damage: dict[str, tuple[int, ...]] = dict.fromkeys(gone, ())
    for name, stored in shard.streams.items():
        bad = set(stored.damaged_blocks())
        kept = [i for i in range(stored.num_blocks) if i not in bad and _opens(stored, i)]
        if len(kept) < stored.num_blocks:
            damage[name] = tuple(sorted(set(range(stored.num_blocks)) - set(kept)))
        if kept or not stored.num_blocks:
            streams[name] = stored.encoded(kept)
    if not any(len(stream.times_ns) for stream in streams.values()):
        raise CorruptShardError(f"{shard.place}: no block of {shard.metadata.episode_id} is whole")
    if not damage:
        return EncodedEpisode(shard.metadata, shard.facts, streams), {}
    decoded = {name: StoredStream.of(stream, f"{shard.place}: {name}").decode() for name, stream in streams.items()}
    source = "; ".join(filter(None, [shard.metadata.source, f"salvaged without parts of {', '.join(sorted(damage))}"]))
    metadata = replace(shard.metadata, source=source)
    return EncodedEpisode(metadata, vault.facts(Episode(metadata, decoded)), streams), damage


def _opens(stored: StoredStream, block: int) -> bool:
    try:
        stored.values(block * stored.samples_per_block, min((block + 1) * stored.samples_per_block, len(stored)))
    except CorruptShardError:
        return False
    return True


def _read_batches(data: object) -> tuple[list[pa.Schema], dict[int, pa.RecordBatch]]:
    """Return what reads of a shard's two copies of its schema and of its index batches.

    An Arrow file is a stream between its magic bytes and its footer: where one way breaks off the other may go on.
    """
    schemas: list[pa.Schema] = []
    found: dict[int, pa.RecordBatch] = {}
    buffer = pa.py_buffer(data)
    with contextlib.suppress(pa.ArrowException, OSError):
        reader = pa.ipc.open_file(pa.BufferReader(buffer))
        if reader.schema.equals(SCHEMA):
            schemas.append(reader.schema)
            for i in range(0, reader.num_record_batches, 2):
                with contextlib.suppress(pa.ArrowException, OSError):
                    found[i] = reader.get_batch(i)
    with contextlib.suppress(pa.ArrowException, OSError):
        stream = pa.ipc.open_stream(pa.BufferReader(buffer.slice(8)))
        if stream.schema.equals(SCHEMA):
            schemas.append(stream.schema)
            for i, batch in enumerate(stream):
                found.setdefault(i, batch)
    return schemas, found


def _first_that_opens(vault: Vault, file: str, schemas: list[pa.Schema]) -> Envelope | None:
    """Return what opens the blocks, from whichever copy of the header is whole.

    Raises:
        CorruptShardError: neither is.
        KeyUnavailableError: they are sealed and the key is not here.
    """
    failed: DataError = CorruptShardError(f"{vault.storage.place(file)}: neither copy of the header reads")
    for schema in schemas:
        try:
            header = read_header(schema, vault.storage.place(file))
            return open_envelope(vault.storage, file, header, vault.shard_keys)
        except (CorruptShardError, KeyUnavailableError) as error:
            failed = error
    raise failed
