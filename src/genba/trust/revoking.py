"""Revoking models: the next signed list, written and entered in the ledger, by one process at a time.

What a list is, and which may follow which, is in ``revocation``; which models a withdrawal revokes is decided in
``genba.data.withdraw``. Nothing takes back what was revoked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from genba.errors import StorageError
from genba.trust.audit import read_entries
from genba.trust.durable import locked, write_whole
from genba.trust.folder import TrustFolder
from genba.trust.revocation import Revocations, Revoked, revoke

KIND = "revocation"


def revoke_models(
    trust: TrustFolder, digests: Iterable[str], *, reason: str, because: Mapping[str, Any] | None = None
) -> Revocations:
    """Revoke models for good; those that are revoked already keep the reason and the time that they have.

    Interrupted, the same call goes on; done before, it changes nothing. The caller signs a head.

    Args:
        trust: whose list and whose ledger.
        digests: of passports' payloads or of weights, at least one.
        reason: for whoever is refused.
        because: what else the ledger's entry shall say.

    Returns:
        The newest list.

    Raises:
        SignatureError: a digest or a reason that cannot stand in a list, a clock that was set back, or the list that is there does
            not hold.
        LedgerError: it cannot be entered; the list that was signed holds all the same.
        StorageError: the disk refused.
    """
    wanted = sorted(set(digests))
    assert wanted, "nothing to revoke"
    try:
        # Two at once would each sign the next list, and one of them would be forgotten.
        with locked(trust.revocation_path.with_suffix(".lock")):
            old, now_ns = trust.revocations(), trust.now_ns()
            fresh = [
                Revoked(digest=one, reason=reason, time_ns=now_ns)
                for one in wanted
                if old is None or old.find(one) is None
            ]
            if fresh:
                envelope = revoke(old, fresh, trust.signing_key, now_ns=now_ns)
                write_whole(trust.revocation_path, envelope.to_bytes() + b"\n", replace=True)
            newest = trust.revocations()
            assert newest is not None
            # Whose list was written when a break came is entered now.
            said = dict(because or {}) | {
                "revoked": {one.digest: one.reason for one in newest.revoked if one.digest in wanted}
            }
            if fresh or not any(
                e.kind == KIND and said.items() <= e.body.items() for e in read_entries(trust.ledger.folder)
            ):
                trust.ledger.append(KIND, {"digest": newest.digest, "number": newest.number} | said)
            return newest
    except OSError as error:
        raise StorageError(
            f"{trust.revocation_path}: the list of revoked models could not be written: {error.strerror}; free some space and revoke "
            f"again"
        ) from error
