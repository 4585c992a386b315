"""Whose rules a vault stands under: what its ``governed.toml`` says, and the gate that follows from it.

A vault without that file is open. With it, whoever opens the vault names the trust folder whose ledger the file names, and the gate asks
its rules before anything is stored or opened. What is asked is in ``genba.trust.gate``, what the answers stand before in ``shard``; putting
a vault that is there already under rules is ``govern``.
"""

from __future__ import annotations

from dataclasses import dataclass

from genba.config import read_toml_text, to_toml
from genba.data.storage import Storage
from genba.errors import PermissionDeniedError
from genba.trust.folder import VARIABLE, TrustFolder
from genba.trust.gate import Gate

GOVERNED_NAME = "governed.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Governed:
    """What ``governed.toml`` says."""

    ledger: str
    """Id of the ledger of the trust folder whose rules are asked."""


def gate_to(storage: Storage, trust: TrustFolder, *, purpose: str) -> Gate:
    """Return what asks a trust folder's rules about whatever is done with the vault that is stored here.

    Args:
        purpose: what it is read for; empty where episodes are only stored or listed.

    Raises:
        ConfigError: an unknown purpose.
    """
    return Gate(trust, purpose=purpose, endpoints=storage.endpoints)


def gate_of(storage: Storage, trust: TrustFolder | None, *, purpose: str) -> Gate | None:
    """Return what asks the rules that the vault that is stored here stands under; None where it is open.

    Args:
        trust: the trust folder that was named, if any.
        purpose: what the vault is read for; empty where episodes are only stored or listed.

    Raises:
        PermissionDeniedError: it is governed, and no trust folder was named, or another one.
        ConfigError: ``governed.toml`` does not fit, or an unknown purpose.
    """
    size_bytes = storage.size_bytes(GOVERNED_NAME)
    if size_bytes is None:
        return None
    text = storage.open(GOVERNED_NAME).view(0, size_bytes).tobytes().decode() if size_bytes else ""
    ledger_id = read_toml_text(text, Governed, where=storage.place(GOVERNED_NAME)).ledger
    place = storage.location.partition("?")[0]
    if trust is None:
        raise PermissionDeniedError(
            f"{place}: governed by the rules of ledger {ledger_id}, which nobody can ask here; name its trust folder with --trust or "
            f"${VARIABLE}"
        )
    if trust.ledger.id != ledger_id:
        raise PermissionDeniedError(
            f"{place}: governed by the rules of ledger {ledger_id}, got the trust folder {trust.path} of ledger {trust.ledger.id}; name "
            f"the one that it was put under"
        )
    return gate_to(storage, trust, purpose=purpose)


def put_under(storage: Storage, gate: Gate) -> None:
    """Write that the vault that is stored here stands under a gate's rules from now on.

    Raises:
        StorageError: the disk refused.
    """
    storage.write(GOVERNED_NAME, to_toml(Governed(ledger=gate.ledger_id)).encode(), replace=True)
