"""From a vault to another format: finding the writer, choosing the episodes.

What a format can hold is its writer's business (``writers``). The way in is ``ingest``.
"""

from __future__ import annotations

from collections.abc import Collection

from genba.data.catalog import EpisodeEntry
from genba.data.vault import Vault
from genba.errors import DataError, nearest
from genba.registry import WRITERS, resolve
from genba.spec.protocols import Writer


def find_writer(name: str) -> Writer:
    """Return the writer of a format.

    Raises:
        DataError: no such format, naming the nearest.
    """
    if name not in WRITERS:
        raise DataError(f"no format {name!r}{nearest(name, WRITERS)}")
    return resolve(WRITERS[name])()


def choose_episodes(
    vault: Vault, *, embodiment_id: str | None = None, task_id: str | None = None, episode_ids: Collection[str] = ()
) -> list[EpisodeEntry]:
    """Return the matching episodes, which are all of one machine, ordered by episode id.

    Args:
        episode_ids: only these; empty for all.

    Raises:
        DataError: none match, one that was named does not, or they are of several machines.
    """
    entries = vault.entries(embodiment_id, task_id)
    known = {entry.episode_id for entry in entries}
    for name in episode_ids:
        if name not in known:
            raise DataError(f"{vault.path}: no episode {name!r} among those asked for; see: genba data list --each")
    chosen = [entry for entry in entries if not episode_ids or entry.episode_id in episode_ids]
    if not chosen:
        asked = " and ".join(name for name in (embodiment_id, task_id) if name)
        raise DataError(f"{vault.path}: no episodes{f' of {asked}' if asked else ''}; nothing to export")
    machines = sorted({entry.embodiment_id for entry in chosen})
    if len(machines) > 1:
        raise DataError(
            f"{vault.path}: got episodes of {len(machines)} machines ({', '.join(machines)}), expected one; choose with "
            f"--embodiment"
        )
    return chosen
