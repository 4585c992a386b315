"""A new passport for the same weights, once the agreements that they stand under were renewed.

What was made does not change: weights, code, config, parents, what was read. What the agreements allow does, and it is asked anew:
every owner whose data a checkpoint's weights come from (``sources.json``) is asked whether a model may be trained on it today, and where
the new passport lets it run is what the agreements in force allow together. The passport that it replaces is named in the ledger's
entry and stays in the ledger. Bundles carry the passport that they were exported with; export again.

Nothing is asked of an owner who has withdrawn, and nothing is made anew of what was revoked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from genba.errors import PassportError, PermissionDeniedError, StorageError
from genba.train import checkpoint as checkpoints
from genba.train.passport import read_set
from genba.trust import passport as passports
from genba.trust import withdrawal
from genba.trust.audit import read_entries
from genba.trust.durable import write_whole
from genba.trust.folder import TrustFolder
from genba.trust.passport import Passport
from genba.trust.requests import Holding, Request
from genba.trust.sources import read_sources
from genba.trust.terms import agreement_digest, agreement_of, deployment_under


@dataclass(frozen=True, kw_only=True, slots=True)
class Reissued:
    """What became of a passport."""

    passport: Passport
    """The one that lies beside the weights now."""
    digest: str
    """Of it."""
    replaces: str
    """Digest of the one before it; empty where the agreements allow what it says already, and nothing was changed."""


def reissue(trust: TrustFolder, checkpoint: Path) -> Reissued:
    """Replace a checkpoint's passport by one under the agreements in force.

    Args:
        trust: who issued it; whose agreements decide, whose ledger keeps both.
        checkpoint: the checkpoint's folder.

    Raises:
        PassportError: there is none that holds, it was issued elsewhere or revoked, or the papers do not fit each other.
        CheckpointError: the record of what was read is missing or another one.
        PermissionDeniedError: an owner has withdrawn, or an agreement in force does not allow it; every refusal is named.
        StorageError: the disk refused; the new passport is in the ledger then, and the same call makes another.
    """
    place = checkpoint / passports.FILE
    envelope = passports.read(place)
    known, _ = passports.verify(envelope, trust.trust_store, place=str(place))
    passports.refuse_revoked(known, envelope.digest, trust.revocations(), place=str(place))
    entered = {str(one.body.get("digest")) for one in read_entries(trust.ledger.folder) if one.kind == "passport"}
    if envelope.digest not in entered or not trust.ledger.passport_path(envelope.digest).exists():
        raise PassportError(
            f"{place}: passport {envelope.digest} is not in ledger {trust.ledger.id}; expected one that was issued here: ask who "
            f"issued it for a new one"
        )
    # That it is the one that the passport commits to: it goes with the new one.
    read_set(checkpoint, known)
    sources = _sources(checkpoint, known)
    # What an owner renewed since is what is asked for.
    trust.renew()
    _require(trust, sources, place)
    allowed = deployment_under(trust.rules, sources)
    if known.deploy.is_anywhere and not allowed.is_anywhere:
        raise PermissionDeniedError(
            f"{place}: {known.deploy}, but {allowed} that are in force now; the old passport stays: ask the owners for the "
            f"purpose 'deploy', and for a machine, a site and a party that all of them list"
        )
    hashes = {agreement_digest(one.owner, agreement_of(trust.rules, one)) for one in sources}
    renewed = replace(known, made_ns=trust.now_ns(), agreements=tuple(sorted(hashes)), deploy=allowed)
    if replace(renewed, made_ns=known.made_ns) == known:
        return Reissued(passport=known, digest=envelope.digest, replaces="")
    signed = renewed.signed(trust.signing_key)
    trust.ledger.enter_passport(signed, replaces=envelope.digest)
    trust.sign_head()
    try:
        write_whole(place, signed.to_bytes(), replace=True)
    except OSError as error:
        raise StorageError(
            f"{place}: could not be written: {error.strerror}; free some space and do it again"
        ) from error
    return Reissued(passport=renewed, digest=signed.digest, replaces=envelope.digest)


def _sources(checkpoint: Path, known: Passport) -> list[Holding]:
    """Return whose data the weights come from, once the list names everything that the passport's record of reads does."""
    sources, reads = set(read_sources(checkpoint)), checkpoints.reads_of(checkpoint)
    if reads is None or reads.root != known.reads:
        raise PassportError(
            f"{checkpoint}: its record of what was read has root {reads.root if reads else 'none'}, the passport says "
            f"{known.reads or 'none'}; copy the whole checkpoint again"
        )
    # A list can be shortened; the passport's signature holds the record.
    for one in sorted(reads.shards):
        if (one.owner, one.dataset, one.agreement) not in sources:
            raise PassportError(
                f"{checkpoint}: its list of sources does not name {one.owner}/{one.dataset} under {one.agreement}, which its "
                f"record of reads names; copy the whole checkpoint again"
            )
    return sorted(sources)


def _require(trust: TrustFolder, sources: list[Holding], place: Path) -> None:
    """Refuse where an owner has withdrawn or does not allow it; each answer stands in the ledger, under a signed head."""
    refused = [
        f"{one.owner}/{one.dataset}: withdrawn (ledger entry {found[0].number})"
        for one in sources
        if (found := withdrawal.find(trust.ledger, one.owner, one.dataset))
    ]
    if not refused:
        decisions = [
            trust.gatekeeper.decide(
                Request(
                    act="train",
                    party=trust.party,
                    owner=one.owner,
                    dataset=one.dataset,
                    agreement=one.agreement,
                    sites=(trust.site,),
                )
            )
            for one in sources
        ]
        trust.sign_head()
        refused = [
            f"{one.request.owner}/{one.request.dataset}: {'; '.join(one.reasons)}"
            for one in decisions
            if not one.is_allowed
        ]
    if refused:
        raise PermissionDeniedError(f"{place}: no new passport, and the old one stays as it is: {' | '.join(refused)}")
