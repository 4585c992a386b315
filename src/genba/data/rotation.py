"""Giving an owner's data set a new key: data keys are wrapped anew, blocks are neither read nor written.

Two steps, so that nothing can be lost between them: after ``rotate_key`` the old key still opens whatever a process was
about to store; ``retire_key`` forgets it once no such process runs any more. Read next: ``genba.trust.keys``.
"""

from __future__ import annotations

from genba.data.shard import ShardFile, rewrap
from genba.data.vault import Vault
from genba.trust.keys import key_id


def rotate_key(vault: Vault, owner: str, dataset: str) -> int:
    """Begin a new version of a data set's key and wrap every data key with it.

    Interrupted, nothing is lost: ``retire_key`` does the rest first.

    Returns:
        How many shards were wrapped anew.

    Raises:
        KeyUnavailableError: the key is missing or was destroyed.
        PermissionDeniedError: the rules of a governed vault refuse to open a shard; the old key still opens it.
        StorageError: the system refused.
    """
    vault.keys.rotate(key_id(owner, dataset))
    return _rewrap(vault, owner, dataset)


def retire_key(vault: Vault, owner: str, dataset: str) -> int:
    """Wrap every data key with the newest version, then forget the older ones for good.

    Call it when no process is storing episodes that it began to store before ``rotate_key``.

    Returns:
        How many shards were wrapped anew.

    Raises:
        KeyUnavailableError: the key is missing or was destroyed; nothing was forgotten.
        PermissionDeniedError: the rules of a governed vault refuse to open a shard; nothing was forgotten.
        StorageError: the system refused; nothing was forgotten.
    """
    count = _rewrap(vault, owner, dataset)
    vault.keys.retire(key_id(owner, dataset))
    return count


def _rewrap(vault: Vault, owner: str, dataset: str) -> int:
    count = 0
    for name in vault.shard_names():
        header = ShardFile(vault.storage, name, keys=None).header
        if header.key_id == key_id(owner, dataset):
            rewrap(vault.storage, name, header, vault.to_keep().shard_keys)
            count += 1
    return count
