"""Looking for damage in a vault: every shard read in full, every episode held to its embodiment again.

Opening a vault checks sizes and footers only, because that is what a run can afford. This reads everything, changes
nothing, and says for each problem what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from genba.data.anchors import anchor_times
from genba.data.catalog import EpisodeEntry
from genba.data.vault import Vault
from genba.errors import GenbaError
from genba.spec.conformance import check_episode
from genba.trust.digest import digest_file


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing wrong in a vault."""

    kind: Literal["missing", "cut", "changed", "unreadable", "misfit", "unknown shard", "half-written"]
    #: relative to the vault
    file: str
    #: empty where no episode is known for it
    episode_id: str
    #: what was got, what was expected, what to do
    message: str


def check_vault(vault: Vault) -> Iterator[Problem | None]:
    """Check everything; yield a problem or None once per catalogued episode, then the problems of stray files."""
    known = set()
    for entry in vault.entries():
        known.add(entry.file)
        yield _check_entry(vault, entry)
    for path in vault.shard_paths():
        file = path.relative_to(vault.path).as_posix()
        if file not in known:
            message = "a shard that the catalog does not know (a crash between the two); run: genba data rebuild"
            yield Problem(kind="unknown shard", file=file, episode_id="", message=message)
    for path in vault.partial_paths():
        file = path.relative_to(vault.path).as_posix()
        message = "left by a crash while writing, or being written now; delete it if nothing is writing"
        yield Problem(kind="half-written", file=file, episode_id="", message=message)


def _check_entry(vault: Vault, entry: EpisodeEntry) -> Problem | None:
    path = vault.path / entry.file
    where = {"file": entry.file, "episode_id": entry.episode_id}
    if not path.is_file():
        return Problem(kind="missing", message="the shard is gone; restore it from a copy", **where)
    size_bytes = path.stat().st_size
    if size_bytes != entry.size_bytes:
        message = f"got {size_bytes} bytes, expected {entry.size_bytes}; restore it from a copy"
        return Problem(kind="cut", message=message, **where)
    digest = digest_file(path)
    if digest != entry.digest:
        message = f"got {digest}, expected {entry.digest}; restore it from a copy"
        return Problem(kind="changed", message=message, **where)
    try:
        episode = vault.shard(entry).episode()
    except GenbaError as error:
        return Problem(kind="unreadable", message=str(error), **where)
    try:
        embodiment = vault.embodiment(entry.embodiment_id)
        check_episode(embodiment, episode)
        num_windows = len(anchor_times(embodiment, episode.streams, episode.start_ns, episode.end_ns))
    except GenbaError as error:
        return Problem(kind="misfit", message=str(error), **where)
    if num_windows != entry.num_windows:
        message = f"got {num_windows} windows, the catalog says {entry.num_windows}; the facts changed: store it again"
        return Problem(kind="misfit", message=message, **where)
    return None
