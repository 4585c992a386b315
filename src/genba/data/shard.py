"""A shard: finished episodes of one owner's data set and one embodiment in one Arrow IPC file.

Each episode is two record batches (``layout``): an index, and the blocks. The schema's metadata, in clear, says whose the
shard is and holds its data key, wrapped by the owner's key. A shard is written once, whole, and never changed; when the
owner's key is rotated, the data key wrapped anew is written into a small file beside it. What was stored under rules says
under which, and every block is bound to that: here, where keys and shards meet, it opens only after they were asked
(``genba.trust.gate``). Read next: ``catalog``, which knows the shards; ``vault``, which joins both.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace

import pyarrow as pa

from genba.data.layout import SCHEMA, EncodedEpisode, Shard, batches, read_index
from genba.data.storage import Held, Source, Storage
from genba.errors import CorruptShardError, KeyUnavailableError, PermissionDeniedError
from genba.trust.digest import canonical_json
from genba.trust.envelope import CIPHER, Envelope, new_data_key
from genba.trust.gate import GatedKeys
from genba.trust.keys import KeyProvider, key_id
from genba.trust.requests import Holding

FORMAT = "genba-shard@2"
#: a shard's end, and that of the file beside it that holds its data key wrapped anew after a rotation
SUFFIX, REWRAPPED_SUFFIX = ".arrow", ".key"
PLAIN = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardHeader:
    """What stands in clear at a shard's beginning."""

    #: its own random name, which every sealed block is bound to
    shard: str
    owner: str
    dataset: str
    embodiment_id: str
    #: ``"aes-256-gcm"`` or ``"none"``
    cipher: str
    #: which key wraps the data key, and the data key wrapped, base64; empty where nothing is sealed
    key_id: str = ""
    wrapped_key: str = ""
    #: of what was stored under rules: the agreement of all its episodes, and the id of the ledger of whoever keeps them
    agreement: str = ""
    ledger: str = ""

    @property
    def holding(self) -> Holding:
        """What rules are asked about."""
        return Holding(self.owner, self.dataset, self.agreement)


def new_header(
    shard: str, *, owner: str, dataset: str, embodiment_id: str, agreement: str, keys: KeyProvider | GatedKeys | None
) -> tuple[ShardHeader, Envelope | None]:
    """Return the header of a new shard and what seals its blocks.

    Args:
        agreement: of all its episodes; it stands in the header only where the keys are gated.
        keys: who keeps the owner's key; None to seal nothing.

    Raises:
        KeyUnavailableError: the key cannot be made or was destroyed.
        PermissionDeniedError: the rules refuse it.
    """
    whose = {"shard": shard, "owner": owner, "dataset": dataset, "embodiment_id": embodiment_id}
    if keys is None:
        return ShardHeader(cipher=PLAIN, **whose), None
    if isinstance(keys, GatedKeys):
        whose |= {"agreement": agreement, "ledger": keys.gate.ledger_id}
        keys = keys.to_seal(Holding(owner, dataset, agreement))
    name, data_key = key_id(owner, dataset), new_data_key()
    keys.create(name)
    wrapped = base64.b64encode(keys.wrap(name, data_key)).decode()
    header = ShardHeader(cipher=CIPHER, key_id=name, wrapped_key=wrapped, **whose)
    return header, Envelope(data_key, _context(header))


def shard_bytes(
    header: ShardHeader, envelope: Envelope | None, episodes: Iterable[EncodedEpisode]
) -> tuple[pa.Buffer, list[tuple[int, int]]]:
    """Return the bytes of a shard, and for each episode where its blocks begin and how many bytes they are."""
    # Without what says nothing: as it was before there were rules.
    facts = {name: value for name, value in asdict(header).items() if value or name not in ("agreement", "ledger")}
    clear = {b"format": FORMAT.encode(), b"header": canonical_json(facts)}
    schema, row, sink = SCHEMA.with_metadata(clear), 0, pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        for episode in episodes:
            index, data = batches(episode, row, envelope, schema, header.shard)
            writer.write_batch(index)
            writer.write_batch(data)
            row += index.num_rows
    buffer = sink.getvalue()
    reader, places = pa.ipc.open_file(pa.BufferReader(buffer)), []
    for i in range(1, reader.num_record_batches, 2):
        blocks = reader.get_batch(i).column("data")
        places.append((blocks.buffers()[2].address - buffer.address, len(blocks[0].as_buffer())))
    return buffer, places


class ShardFile:
    """An opened shard file; its episodes are opened one by one."""

    def __init__(
        self,
        storage: Storage,
        name: str,
        *,
        keys: KeyProvider | GatedKeys | None,
        size_bytes: int | None = None,
        whole: bool = False,
    ) -> None:
        """Map a shard and read its footer and header; no episode is read yet.

        Args:
            name: the file, relative to the storage.
            keys: who unwraps the data key; None to read what is in clear only.
            size_bytes: the size that the catalog knows, checked where given.
            whole: whether all of it will be read, so that it is fetched at once where it is not local.

        Raises:
            CorruptShardError: the file is missing, has another size, or is not a whole shard.
            KeyUnavailableError: the owner's key is missing, destroyed, or another one.
            PermissionDeniedError: the rules that it was stored under refuse it, or cannot be asked.
        """
        self.place = storage.place(name)
        try:
            # A file that was cut to nothing cannot even be mapped, so its size comes first.
            found = storage.size_bytes(name) if storage.is_local else None
            if found is None or found == size_bytes or size_bytes is None:
                self.source: Source = storage.open(name, whole=whole)
                found = self.source.size
        except (pa.ArrowException, OSError) as error:
            raise CorruptShardError(f"{self.place}: {_reason(error)}; run: genba data fsck") from error
        if size_bytes is not None and found != size_bytes:
            raise CorruptShardError(
                f"{self.place}: got {found} bytes, expected {size_bytes}; the file was cut or changed; "
                f"run: genba data fsck"
            )
        try:
            self._reader = pa.ipc.open_file(self.source.file)
            self.header = read_header(self._reader.schema, self.place)
        except (pa.ArrowException, OSError) as error:
            raise CorruptShardError(f"{self.place}: not a whole shard ({error}); run: genba data fsck") from error
        self.num_episodes = self._reader.num_record_batches // 2
        self.envelope = open_envelope(storage, name, self.header, keys) if keys else None

    def episode(self, position: int, *, offset: int | None = None) -> Shard:
        """Open one episode.

        Args:
            position: which one, in the order in which they were written.
            offset: where its blocks begin in the file, as the catalog knows it; found in the file where None.

        Raises:
            CorruptShardError: no such episode, or an index that does not verify.
        """
        try:
            index = self._reader.get_batch(2 * position)
            base = self.offset(position) if offset is None else offset
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CorruptShardError(
                f"{self.place}: episode {position} of {self.num_episodes}: {error}; run: genba data fsck"
            ) from error
        if self.header.cipher != PLAIN and self.envelope is None:
            raise KeyUnavailableError(
                f"{self.place}: sealed under key {self.header.key_id!r}, and no keys were given to open it with"
            )
        return replace(read_index(index, self.source, base, self.envelope, self.place), file=self)

    def offset(self, position: int) -> int:
        """Return where an episode's blocks begin in the file; the whole of it is fetched where it is not at hand."""
        source, reader = self.source, self._reader
        if not isinstance(source, Held):
            source = Held(pa.py_buffer(source.view(0, source.size)))
            reader = pa.ipc.open_file(source.file)
        blocks = reader.get_batch(2 * position + 1).column("data")
        return int(blocks.buffers()[2].address - source.address)

    def episodes(self) -> Iterator[tuple[Shard, int, int]]:
        """Open each episode; beside it, where its blocks begin and how many bytes they are.

        Raises:
            CorruptShardError: as ``episode``.
        """
        for position in range(self.num_episodes):
            offset = self.offset(position)
            shard = self.episode(position, offset=offset)
            yield shard, offset, max((int(s.bounds[-1]) for s in shard.streams.values()), default=offset) - offset


def read_header(schema: pa.Schema, place: str) -> ShardHeader:
    """Return the header of a shard from its schema.

    Raises:
        CorruptShardError: another format, or no header.
    """
    metadata = schema.metadata or {}
    found = metadata.get(b"format", b"").decode(errors="replace")
    if found != FORMAT:
        hint = "; an earlier Genba wrote it: import or record it again" if found.startswith("genba-shard@") else ""
        raise CorruptShardError(f"{place}: got format {found!r}, expected {FORMAT!r}{hint}")
    if not schema.equals(SCHEMA):
        raise CorruptShardError(f"{place}: got other columns than those of {FORMAT}; run: genba data fsck")
    try:
        return ShardHeader(**json.loads(metadata[b"header"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptShardError(f"{place}: the header does not read ({error}); run: genba data fsck") from error


def open_envelope(storage: Storage, name: str, header: ShardHeader, keys: KeyProvider | GatedKeys) -> Envelope | None:
    """Return what opens a shard's blocks, None where they are not sealed.

    Raises:
        KeyUnavailableError: the owner's key is missing, destroyed, or another one.
        PermissionDeniedError: the rules that it was stored under refuse it, or cannot be asked.
        CorruptShardError: a cipher that is not known here.
    """
    keys = _asked(storage.place(name), header, keys)
    if header.cipher == PLAIN:
        return None
    if header.cipher != CIPHER:
        raise CorruptShardError(
            f"{storage.place(name)}: got cipher {header.cipher!r}, expected {CIPHER!r} or {PLAIN!r}"
        )
    return Envelope(_data_key(storage, name, header, keys), _context(header))


def rewrap(storage: Storage, name: str, header: ShardHeader, keys: KeyProvider | GatedKeys) -> None:
    """Wrap a shard's data key with the newest version of its owner's key, into a file beside the shard.

    Raises:
        KeyUnavailableError: the owner's key is missing, destroyed, or another one.
        PermissionDeniedError: the rules that it was stored under refuse it, or cannot be asked.
        StorageError: the system refused; the data key stays wrapped as it was.
    """
    keys = _asked(storage.place(name), header, keys)
    wrapped = keys.wrap(header.key_id, _data_key(storage, name, header, keys))
    storage.write(rewrapped_name(name), wrapped, replace=True)


def rewrapped_name(name: str) -> str:
    """Return the file beside a shard that holds its data key wrapped anew."""
    return name.removesuffix(SUFFIX) + REWRAPPED_SUFFIX


def _asked(place: str, header: ShardHeader, keys: KeyProvider | GatedKeys) -> KeyProvider:
    """Return the keys once the rules that a shard was stored under were asked.

    Raises:
        PermissionDeniedError: they refuse it, they are others, or it was stored under none and stands under some now.
    """
    if not isinstance(keys, GatedKeys):
        if header.ledger:
            raise PermissionDeniedError(
                f"{place}: stored under the rules of ledger {header.ledger}, which nobody was asked to open; name its trust "
                f"folder with --trust or $GENBA_TRUST, and where the vault's governed.toml is lost: genba trust govern"
            )
        return keys
    if header.ledger != keys.gate.ledger_id or header.cipher == PLAIN:
        under = f"under the rules of ledger {header.ledger}" if header.ledger else "under no rules"
        raise PermissionDeniedError(
            f"{place}: stored {under}, and not admitted under those of ledger {keys.gate.ledger_id}; nobody knows "
            f"whether its owner allows it: genba trust govern admits what an agreement covers"
        )
    return keys.to_open(header.holding)


def _data_key(storage: Storage, name: str, header: ShardHeader, keys: KeyProvider) -> bytes:
    try:
        return keys.unwrap(header.key_id, base64.b64decode(header.wrapped_key))
    except ValueError as error:
        raise CorruptShardError(
            f"{storage.place(name)}: the wrapped key is not base64; run: genba data fsck"
        ) from error
    except KeyUnavailableError as error:
        # Only a rotation makes a key unwrap no longer what it wrapped: then it is wrapped anew beside the shard.
        beside = rewrapped_name(name)
        size_bytes = storage.size_bytes(beside)
        if not size_bytes:
            raise KeyUnavailableError(f"{storage.place(name)}: {error}") from error
        return keys.unwrap(header.key_id, storage.open(beside).view(0, size_bytes).tobytes())


def _context(header: ShardHeader) -> dict[str, str]:
    """What every sealed block is bound to. The key's name is not in it: another key may wrap the data key later."""
    rules = {"agreement": header.agreement, "ledger": header.ledger} if header.ledger else {}
    return {
        "format": FORMAT,
        "shard": header.shard,
        "owner": header.owner,
        "dataset": header.dataset,
        "embodiment_id": header.embodiment_id,
        **rules,
    }


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
