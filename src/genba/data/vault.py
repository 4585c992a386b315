"""The vault: where finished episodes are kept, in shards, known by a catalog.

::

    vault/
      catalog.sqlite                                        a row per episode, a row per shard
      embodiments/<embodiment>.toml                         facts of machines that no registry knows, written once
      shards/<owner>/<data set>/<embodiment>/<name>.arrow   written once; one episode each until they are compacted
      shards/.../<name>.key                                 a shard's data key wrapped anew, after a rotation
      set-aside/...                                         damaged shards, after a repair
      governed.toml                                         whose rules it stands under; none in an open vault
      withdrawn/<name>.json                                 what was withdrawn and is not stored again (``withdrawn``)

An episode is checked against its embodiment at the door and is either stored whole or not at all. Several processes
may append at the same time. Blocks are sealed under the key of the episode's owner and data set unless whoever opens the
vault says otherwise. Shards may lie in object storage; the catalog is then kept in a local folder and made again
from the shards where it is lost. A vault is open, or governed: then nothing is stored and nothing opened before the rules of
its trust folder were asked (``governed``). The vault keeps data; it does not cut windows (``windows``), weigh machines
(``mixture``), pack small shards together (``compact``) or look for damage (``fsck``).
"""

from __future__ import annotations

import copy
import os
import uuid
import weakref
from collections.abc import Collection, Iterable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import quote

from genba.config import read_toml_text, to_toml
from genba.data.anchors import anchor_times
from genba.data.catalog import Catalog, EpisodeEntry, ShardEntry
from genba.data.codecs import StorageChoices, encode
from genba.data.governed import gate_of, gate_to, put_under
from genba.data.layout import EncodedEpisode, Shard
from genba.data.shard import PLAIN, SUFFIX, ShardFile, new_header, shard_bytes
from genba.data.storage import Storage
from genba.data.withdrawn import WITHDRAWALS, Withdrawn
from genba.errors import (
    ConfigError,
    CorruptShardError,
    DataError,
    GenbaError,
    KeyUnavailableError,
    PermissionDeniedError,
    SpecError,
    StorageError,
    nearest,
)
from genba.registry import EMBODIMENTS
from genba.spec.conformance import check_episode
from genba.spec.embodiment import Embodiment, load_embodiment
from genba.spec.episode import Episode
from genba.spec.statistics import Statistics, episode_statistics
from genba.trust.digest import digest_bytes
from genba.trust.folder import TrustFolder
from genba.trust.gate import Gate, GatedKeys
from genba.trust.keys import FileKeys, KeyProvider
from genba.trust.pkcs11 import keys_from_environment

CATALOG_NAME = "catalog.sqlite"
SHARD_FOLDER, EMBODIMENT_FOLDER, SET_ASIDE_FOLDER = "shards", "embodiments", "set-aside"


def shard_folder(owner: str, dataset: str) -> str:
    """Return the folder of an owner's data set, relative to the vault."""
    return "/".join([SHARD_FOLDER, *(quote(part, safe="").replace(".", "%2E") for part in (owner, dataset))])


def file_name(embodiment_id: str) -> str:
    """Return an embodiment's id as a name that every file system takes."""
    return "".join(c if c.isalnum() or c in "-." else "_" for c in embodiment_id)


class Vault:
    """Episodes in shards; an ``EpisodeSink``. It holds no open file, so it may be sent to other processes."""

    #: who is asked before data is used; None in an open vault
    gate: Gate | None
    #: what shards are sealed and opened with; ``keys`` behind the gate where there is one
    shard_keys: KeyProvider | GatedKeys
    #: what is not stored again: by its own lists and, where it stands under a trust folder, by those of every withdrawal there
    withdrawn: Withdrawn

    def __init__(
        self,
        location: Path | str,
        embodiments: Iterable[Embodiment] = (),
        *,
        choices: StorageChoices | None = None,
        keys: KeyProvider | None = None,
        trust: TrustFolder | None = None,
        purpose: str = "",
    ) -> None:
        self.storage = Storage(location)
        self.path = Path(location) if self.storage.is_local else _cache_folder(str(location))
        self.choices, self.keys = choices or StorageChoices(), keys or keys_from_environment()
        if isinstance(self.keys, FileKeys) and self.keys.folder.resolve().is_relative_to(self.path.resolve()):
            raise ConfigError(
                f"{self.keys.folder}: a folder of keys inside the vault {self.path}: whoever copies the vault has the keys "
                f"too; name another folder in $GENBA_KEYS"
            )
        self.catalog = Catalog(self.path / CATALOG_NAME)
        self.trust, self._purpose = trust or TrustFolder.from_environment(), purpose
        self._stand_under(gate_of(self.storage, self.trust, purpose=purpose))
        self._embodiments = {embodiment.id: embodiment for embodiment in embodiments}
        self._opened: weakref.WeakValueDictionary[str, ShardFile] = weakref.WeakValueDictionary()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_opened"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._opened = weakref.WeakValueDictionary()

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        create: bool = False,
        embodiments: Iterable[Embodiment] = (),
        choices: StorageChoices | None = None,
        keys: KeyProvider | None = None,
        trust: TrustFolder | None = None,
        purpose: str = "",
    ) -> Vault:
        """Open a vault.

        Args:
            path: its folder, or an ``s3://`` location (``storage`` says how it is written). A remote vault's catalog is
                brought up to date from its shards.
            create: make it where there is none.
            embodiments: facts of machines that no registry knows; the rest are found by their id.
            choices: how episodes are stored through this vault; sealed, and frames as JPEG, by default.
            keys: who keeps the owners' keys; by default the token that ``$GENBA_PKCS11_LIBRARY`` names, or files in
                ``$GENBA_KEYS`` or the user's configuration folder.
            trust: whose rules a governed vault stands under, and a vault that is made now will; by default the folder that
                ``$GENBA_TRUST`` names. Without one, a new vault is open: nobody asks owners' agreements there.
            purpose: what a governed vault is read for: ``"train"``, ``"evaluate"``, ``"adapt"`` or ``"deploy"``; empty where
                episodes are only stored or listed.

        Raises:
            ConfigError: a location that is not understood, or a folder of keys inside the vault.
            PermissionDeniedError: the vault is governed, and its trust folder was not named.
            DataError: there is no vault and ``create`` is False.
            StorageError: it could not be made.
        """
        vault = cls(path, embodiments, choices=choices, keys=keys, trust=trust, purpose=purpose)
        if not vault.catalog.path.is_file():
            if not create and (vault.storage.is_local or not vault.shard_names()):
                raise DataError(
                    f"{path}: no vault here (no {CATALOG_NAME}); make one by importing or collecting into it"
                )
            try:
                vault.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(f"{path}: cannot make a vault here: {error.strerror}") from error
            if create and vault.trust is not None and vault.gate is None and not vault.shard_names():
                vault.put_under(vault.gate_to(vault.trust))
        if create or not vault.storage.is_local:
            vault.catalog.create()
        # Another process may have made it meanwhile, under its rules: nothing may be stored here as in an open vault.
        if create and vault.gate is None:
            vault._stand_under(gate_of(vault.storage, vault.trust, purpose=purpose))
        if not vault.storage.is_local:
            # A shard that is damaged or another owner's does not keep the rest from being used; fsck names it.
            vault.rebuild(refused={})
        return vault

    def append(self, episode: Episode) -> None:
        """Store one episode whole, or raise and store nothing of it.

        Raises:
            SpecError: it does not fit its embodiment.
            DataError: an episode with this id is stored already.
            PermissionDeniedError: the rules of a governed vault refuse it; or it was withdrawn, by its data set's name or by what
                it holds.
            KeyUnavailableError: its owner's key cannot be made, or was destroyed.
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
        streams = {name: encode(embodiment, name, stream, self.choices) for name, stream in episode.streams.items()}
        self.withdrawn.refuse(embodiment, episode.metadata, episode.streams, streams)
        encoded = EncodedEpisode(episode.metadata, self.facts(episode), streams)
        shard, rows = self.write_shard([encoded], encrypt=self.choices.encrypt)
        try:
            self.catalog.insert(shard, rows)
        except DataError:
            # A process that was bringing the catalog up to date may have found the shard first.
            if self._is_catalogued(shard.file):
                return
            self.storage.remove(shard.file)
            raise
        try:
            # Withdrawn while it was being stored: whoever purges has seen either the shard, or this.
            self.withdrawn.refuse_name(episode.metadata)
        except GenbaError:
            self.catalog.forget([shard.file])
            self.storage.remove(shard.file)
            raise

    def facts(self, episode: Episode) -> dict[str, Any]:
        """Return what the catalog holds of an episode beside its metadata."""
        embodiment = self.embodiment(episode.metadata.embodiment_id)
        return {
            "num_windows": len(anchor_times(embodiment, episode.streams, episode.start_ns, episode.end_ns)),
            "start_ns": episode.start_ns,
            "end_ns": episode.end_ns,
            "statistics": episode_statistics(embodiment, episode).to_json(),
        }

    def write_shard(
        self, episodes: Sequence[EncodedEpisode], *, encrypt: bool
    ) -> tuple[ShardEntry, list[tuple[EpisodeEntry, dict[str, Any]]]]:
        """Write episodes of one owner's data set and one embodiment into a new shard, which the catalog does not know yet.

        In a governed vault they are of one agreement too.

        Returns:
            What to tell the catalog.

        Raises:
            KeyUnavailableError: the owner's key cannot be made, or was destroyed.
            PermissionDeniedError: the rules of a governed vault refuse it, or it was not to be sealed.
            StorageError: the disk refused; nothing is left behind.
        """
        meta, name = episodes[0].metadata, uuid.uuid4().hex
        if self.gate is not None:
            assert len({episode.metadata.agreement for episode in episodes}) == 1, "episodes of several agreements"
            if not encrypt:
                raise PermissionDeniedError(
                    f"{meta.episode_id}: not to be sealed, but {self.path} is governed and seals always: open it without "
                    f"StorageChoices(encrypt=False)"
                )
        header, envelope = new_header(
            name,
            owner=meta.owner,
            dataset=meta.dataset,
            embodiment_id=meta.embodiment_id,
            agreement=meta.agreement,
            keys=self.shard_keys if encrypt else None,
        )
        data, places = shard_bytes(header, envelope, episodes)
        file = f"{shard_folder(meta.owner, meta.dataset)}/{file_name(meta.embodiment_id)}/{name}{SUFFIX}"
        self.storage.write(file, data)
        shard = ShardEntry.of(file, header, digest_bytes(memoryview(data)), data.size)
        rows = [
            (
                EpisodeEntry.of(shard, episode.metadata, episode.facts, position, *place),
                dict(episode.facts["statistics"]),
            )
            for position, (episode, place) in enumerate(zip(episodes, places, strict=True))
        ]
        return shard, rows

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
        """Open an episode's shard at that episode; nothing of it is decoded yet.

        Raises:
            CorruptShardError: it is missing, cut, or another episode's.
            KeyUnavailableError: its owner's key is missing or was destroyed.
            PermissionDeniedError: the rules of a governed vault refuse it, or no longer allow what they did.
        """
        if self.gate is not None:
            self.gate.check()
        try:
            shard = self._file(entry).episode(entry.position, offset=entry.offset)
        except CorruptShardError:
            # Compaction may have moved the episode since the entry was read, with a remote vault on another host.
            if not self.storage.is_local:
                self.rebuild(refused={})
            now = self.catalog.entry(entry.episode_id) if self.catalog.holds(entry.episode_id) else entry
            if now.file == entry.file:
                raise
            return self.shard(now)
        if shard.metadata.episode_id != entry.episode_id:
            raise CorruptShardError(
                f"{shard.place}: got episode {shard.metadata.episode_id!r}, expected {entry.episode_id!r}; "
                f"run: genba data fsck"
            )
        return shard

    def read(self, episode_id: str) -> Episode:
        """Return an episode, decoded.

        Raises:
            DataError: no such episode.
            CorruptShardError: its shard is missing, cut or damaged.
            KeyUnavailableError: its owner's key is missing or was destroyed.
        """
        return self.shard(self.entry(episode_id)).episode()

    def statistics(self, embodiment_id: str, episode_ids: Collection[str] | None = None) -> Statistics:
        """Return the statistics of an embodiment's episodes together; no shard is opened.

        Args:
            episode_ids: only of these; None for all.

        Raises:
            DataError: the vault holds no episode of it.
            PermissionDeniedError: the rules of a governed vault refuse one of them.
        """
        found = self.catalog.statistics(embodiment_id)
        if episode_ids is not None:
            wanted = set(episode_ids)
            found = [(name, statistics) for name, statistics in found if name in wanted]
        if self.gate is not None:
            names = {name for name, _ in found}
            entries = [entry for entry in self.entries(embodiment_id) if entry.episode_id in names]
            for holding in sorted({entry.holding for entry in entries}):
                self.gate.require("read", holding)
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
            self._embodiments[embodiment_id] = self._kept(embodiment_id) or load_embodiment(embodiment_id)
        return self._embodiments[embodiment_id]

    def keep_embodiment(self, embodiment: Embodiment) -> None:
        """Keep the facts of a machine that no registry knows, so that its episodes can be stored and read.

        Raises:
            DataError: other facts are known under its id already.
            StorageError: the disk refused.
        """
        name, kept = _facts_name(embodiment.id), self._kept(embodiment.id)
        known = embodiment.id in self._embodiments or embodiment.id in EMBODIMENTS or kept is not None
        if not known:
            self.storage.write(name, to_toml(embodiment).encode(), replace=True)
        elif self.embodiment(embodiment.id) != embodiment:
            raise DataError(
                f"{self.path}: {embodiment.id} is known already with other facts; give the new machine another id or "
                f"version (its facts: {self.storage.place(name) if kept else 'registered'})"
            )
        self._embodiments[embodiment.id] = embodiment

    def _kept(self, embodiment_id: str) -> Embodiment | None:
        name = _facts_name(embodiment_id)
        size_bytes = self.storage.size_bytes(name)
        if not size_bytes:
            return None
        text = self.storage.open(name).view(0, size_bytes).tobytes().decode()
        return read_toml_text(text, Embodiment, where=self.storage.place(name))

    def to_keep(self) -> Vault:
        """Return the same vault for opening and sealing anew what it holds, to keep it: packing, mending, new keys.

        The rules of a governed vault are then asked for ``keep`` instead of reading for a purpose.
        """
        if self.gate is None:
            return self
        other = copy.copy(self)
        other.shard_keys = GatedKeys(self.keys, self.gate, act="keep")
        return other

    def keys_to_withdraw(self, keys: KeyProvider) -> KeyProvider | GatedKeys:
        """Return ``keys`` so that they open what its owner withdraws, whether or not an agreement still holds."""
        return keys if self.gate is None else GatedKeys(keys, self.gate, act="withdraw")

    def without_rules(self) -> Vault:
        """Return the same vault as it was before it was governed, for ``govern`` alone: what is bound to rules does not open."""
        other = copy.copy(self)
        other.gate, other.shard_keys = None, self.keys
        return other

    def gate_to(self, trust: TrustFolder) -> Gate:
        """Return what asks a trust folder's rules about whatever is done with this vault."""
        return gate_to(self.storage, trust, purpose=self._purpose)

    def put_under(self, gate: Gate) -> None:
        """Put this vault under a gate's rules from now on; what it holds already is for ``govern``.

        Raises:
            StorageError: the disk refused.
        """
        put_under(self.storage, gate)
        self._stand_under(gate)

    def _stand_under(self, gate: Gate | None) -> None:
        self.gate, self.trust = gate, gate.trust if gate else self.trust
        self.shard_keys = GatedKeys(self.keys, gate) if gate else self.keys
        self.withdrawn = Withdrawn(self.storage, self.keys, gate.trust.path / WITHDRAWALS if gate else None)

    def rebuild(self, *, refused: dict[str, GenbaError] | None = None) -> int:
        """Add to the catalog every shard whose episodes it does not know, after a crash or the loss of the catalog.

        Args:
            refused: where given, shards that are damaged, were withdrawn, refused by rules, or whose key is not here are put here
                by file.

        Returns:
            How many episodes were added.

        Raises:
            CorruptShardError: a shard that is not whole, after all others were added; ``fsck`` lists them all.
            KeyUnavailableError: an owner's key is missing or was destroyed, after all others were added.
            PermissionDeniedError: a shard that somebody brought back after it was withdrawn, or that the rules of a governed
                vault refuse, after all others were added.
        """
        self.catalog.create()
        names, known = self.shard_names(), {shard.file for shard in self.catalog.shards()}
        if not self.storage.is_local and (gone := known.difference(names)):
            # Another host packed them. Locally a shard that is gone stays known, so that fsck can name it.
            self.catalog.forget(gone)
        added, failed, keys = 0, {} if refused is None else refused, self.to_keep().shard_keys
        for name in names:
            if name in known:
                continue
            try:
                opened = ShardFile(self.storage, name, keys=keys, whole=True)
                found = list(opened.episodes())
                if opened.header.cipher == PLAIN:
                    # What was sealed and withdrawn has lost its key; nothing else keeps this out.
                    for one, *_ in found:
                        self._refuse_withdrawn(one)
            except (CorruptShardError, KeyUnavailableError, PermissionDeniedError) as error:
                failed[name] = error
                continue
            shard = ShardEntry.of(name, opened.header, self.storage.digest(name), opened.source.size)
            rows = [
                (EpisodeEntry.of(shard, e.metadata, e.facts, position, *place), e.facts["statistics"])
                for position, (e, *place) in enumerate(found)
                if not self.catalog.holds(e.metadata.episode_id)
            ]
            if not rows:
                continue
            try:
                self.catalog.insert(shard, rows)
                added += len(rows)
            except DataError:
                # Whoever was storing it was faster.
                if not self._is_catalogued(name):
                    raise
        if failed and refused is None:
            raise next(iter(failed.values()))
        return added

    def _refuse_withdrawn(self, shard: Shard) -> None:
        if not self.withdrawn.lists():
            return
        embodiment = self.embodiment(shard.metadata.embodiment_id)
        encoded = {name: stored.encoded() for name, stored in shard.streams.items()}
        self.withdrawn.refuse(embodiment, shard.metadata, shard.episode().streams, encoded)

    def shard_names(self) -> list[str]:
        """Return every finished shard's file, relative to the vault, whether the catalog knows it or not."""
        names = self.storage.names(SHARD_FOLDER)
        return [name for name in names if name.endswith(SUFFIX) and not name.rpartition("/")[2].startswith(".")]

    def partial_names(self) -> list[str]:
        """Return files that a crash left half-written, relative to the vault."""
        return [name for name in self.storage.names(SHARD_FOLDER) if name.endswith(".partial")]

    def _is_catalogued(self, file: str) -> bool:
        return any(shard.file == file for shard in self.catalog.shards())

    def _file(self, entry: EpisodeEntry) -> ShardFile:
        opened = self._opened.get(entry.file)
        if opened is None:
            opened = ShardFile(self.storage, entry.file, keys=self.shard_keys, size_bytes=entry.shard_bytes)
            self._opened[entry.file] = opened
        return opened


def _facts_name(embodiment_id: str) -> str:
    return f"{EMBODIMENT_FOLDER}/{file_name(embodiment_id)}.toml"


def _cache_folder(location: str) -> Path:
    """Return where the catalog of a remote vault is kept: ``$GENBA_CACHE`` or ``genba`` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    cache = Path(os.environ.get("GENBA_CACHE") or Path(home).expanduser() / "genba")
    return cache / "vaults" / digest_bytes(location.encode()).removeprefix("sha256:")[:16]
