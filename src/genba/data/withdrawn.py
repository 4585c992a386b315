"""What must not come back into a vault: the lists of withdrawn content that it holds, and when an episode is on one.

Each withdrawal leaves its lists in the vaults that it purged (``withdrawn/<name>.json``) and, for every vault that a trust folder
governs, in that folder. An episode is refused where its owner's data set was withdrawn, and, whoever it is said to belong to,
where one of its channels has withdrawn content: at least half of what it says and at least ``LEAST`` different pieces, or
``MANY`` pieces whatever else it says. So neither a scene that every machine sees, nor the beginning that two simulated
episodes share, refuses anybody's data. What a piece is, and what is not recognised, is in ``fingerprint``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genba.data.codecs import EncodedStream
from genba.data.fingerprint import Content, episode_content
from genba.data.storage import Storage
from genba.errors import DataError, PermissionDeniedError
from genba.spec.embodiment import Embodiment
from genba.spec.episode import EpisodeMetadata
from genba.spec.streams import Stream
from genba.trust.denied import DeniedList
from genba.trust.keys import KeyProvider

FOLDER, SUFFIX = "withdrawn", ".json"
#: where a trust folder keeps withdrawals, and the lists of each
WITHDRAWALS, LISTS = "withdrawals", "*/denied-*.json"

#: different pieces of one channel that must be withdrawn ones: at least, where they are half of it; and in any case
LEAST, MANY = 4, 64


class Withdrawn:
    """The lists that hold for one vault, read when they are first met; a list never changes."""

    def __init__(self, storage: Storage, keys: KeyProvider, beside: Path | None = None) -> None:
        """Read nothing yet.

        Args:
            storage: the vault's.
            keys: who unwraps the lists' keys.
            beside: a folder of more lists, for vaults that stand under a trust folder.
        """
        self._storage, self._keys, self._beside = storage, keys, beside
        self._lists: dict[str, DeniedList] = {}

    def __getstate__(self) -> dict[str, Any]:
        # The lists' keys stay in this process.
        return self.__dict__ | {"_lists": {}}

    def lists(self) -> list[DeniedList]:
        """Return every list that is there now.

        Raises:
            DataError: one is damaged: what it denies is not known, so nothing is stored.
            KeyUnavailableError: likewise, without the key of one.
        """
        for name in self._storage.names(FOLDER):
            if name.endswith(SUFFIX) and name not in self._lists:
                size_bytes = self._storage.size_bytes(name) or 0
                data = self._storage.open(name).view(0, size_bytes).tobytes()
                self._lists[name] = DeniedList.from_bytes(data, self._keys, place=self._storage.place(name))
        for path in sorted(self._beside.glob(LISTS)) if self._beside else ():
            if str(path) not in self._lists:
                self._lists[str(path)] = DeniedList.from_bytes(_read(path), self._keys, place=str(path))
        return list(self._lists.values())

    def refuse_name(self, metadata: EpisodeMetadata) -> None:
        """Refuse an episode of a data set that was withdrawn.

        Raises:
            PermissionDeniedError: it was.
            DataError, KeyUnavailableError: as ``lists`` says.
        """
        if any(one.denies_name(metadata.owner, metadata.dataset) for one in self.lists()):
            raise PermissionDeniedError(
                f"{metadata.episode_id}: data set {metadata.dataset!r} of {metadata.owner!r} was withdrawn; nothing is stored "
                f"under its name any more: new data needs another name and an agreement of its own"
            )

    def refuse(
        self,
        embodiment: Embodiment,
        metadata: EpisodeMetadata,
        streams: Mapping[str, Stream],
        encoded: Mapping[str, EncodedStream],
    ) -> None:
        """Refuse an episode that was withdrawn, by name or by content.

        Raises:
            PermissionDeniedError: it was.
            DataError, KeyUnavailableError: as ``lists`` says.
        """
        self.refuse_name(metadata)
        if not self._lists:
            return
        content = episode_content(embodiment, streams, {n: (s.codec, s.blocks) for n, s in encoded.items()})
        for one in self._lists.values():
            if found := match(one, content):
                channel, known, total = found
                raise PermissionDeniedError(
                    f"{metadata.episode_id}: {channel}: {known} of {total} pieces of what it says were withdrawn by their "
                    f"owner; they are not stored again, whatever container or name they come in"
                )


def match(one: DeniedList, content: Content) -> tuple[str, int, int] | None:
    """Return the first channel with withdrawn content, how many of its pieces are, and of how many; None where none is."""
    for channel, pieces in content.items():
        known = sum(map(one.denies, pieces))
        if known >= MANY or (known >= LEAST and 2 * known >= len(pieces)):
            return channel, known, len(pieces)
    return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: the list of what was withdrawn cannot be read: {error.strerror}") from error
