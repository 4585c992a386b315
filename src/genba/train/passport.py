"""The passport of each checkpoint: what the run was made from and with, signed, entered in the ledger, beside the weights.

Three files lie in a checkpoint: ``passport.json``, ``trained_on.json`` (the blinded set that the passport commits to) and
``sources.json`` (whose data under which agreement; it names owners, stays with the checkpoint, and is what an export is decided by).
A passport names no owner: shares of a recipe stand in it blinded, like what was trained on.

What a run goes on from counts as its own: the sources and the blinded set of a parent, or of an earlier start of the same run, are
taken in, and it may run only where those allowed it too. So a checkpoint without a passport is nothing to go on from. Where
nobody keeps a trust folder no passport is made: unsigned, it would be none. What a passport says is in ``genba.trust.passport``.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from genba.data.reads import Reads
from genba.errors import PassportError
from genba.train.data import TrainingData
from genba.train.reads import enter
from genba.train.recipe import Recipe
from genba.trust import origin, sources
from genba.trust import passport as passports
from genba.trust import trained_on as sets
from genba.trust.folder import EGRESS_FOLDER, TrustFolder
from genba.trust.merkle import root_of_digests
from genba.trust.passport import Passport
from genba.trust.requests import Holding
from genba.trust.sandbox.log import egress_digest
from genba.trust.sandbox.run import RUN_VARIABLE, is_sandboxed
from genba.trust.terms import EVERYWHERE, agreement_digest, agreement_of, both, deployment_under
from genba.trust.trained_on import Claim, TrainedOn


class Issuer:
    """Makes the papers of one run's checkpoints."""

    def __init__(
        self,
        trust: TrustFolder,
        recipe: Recipe,
        data: TrainingData,
        *,
        run: str,
        device: str,
        world_size: int,
    ) -> None:
        """Note what the run is made with, as it begins.

        Args:
            trust: who signs, whose ledger, whose agreements.
            recipe: what was chosen.
            data: what can be read.
            run: the run's folder, as the one who runs it names it.
            device: ``"cpu"`` or ``"cuda"``.
            world_size: how many processes train.

        Raises:
            PassportError: no agreement is known for something that can be read.
            SignatureError, LedgerError: a key is missing.
        """
        self.trust, self._run = trust, run
        # Everything that a passport needs is asked for now, not after the first thousand train steps.
        readable = sources_of(data)
        for source in readable:
            agreement_of(trust.rules, source)
        trust.blinding_keys({source.owner for source in readable})
        _ = trust.signing_key
        self._code, self._environment = origin.code(), origin.environment()
        accelerator = torch.cuda.get_device_name() if device == "cuda" else None
        self._hardware = origin.hardware(device=device, accelerator=accelerator, num_processes=world_size)
        self._seeds = {"recipe": recipe.seed}
        self._config = self._plain(recipe) | {"embodiments": sorted(data.embodiments)}
        self._datasets = set(dataset_roots(data))
        # Of what the run goes on from.
        self._parents: set[str] = set()
        self._agreements: set[str] = set()
        self._sources: set[Holding] = set()
        self._blinded: set[bytes] = set()
        self._deploy = EVERYWHERE

    def go_on_from(self, checkpoint: Path, weights: str, *, is_parent: bool) -> None:
        """Take in everything that a checkpoint was made from, before the first train step.

        Args:
            checkpoint: whose weights the run goes on with.
            weights: digest of the weights that its passport must be for.
            is_parent: whether it is another run's; else it is an earlier start of this one.

        Raises:
            PassportError: it has no passport, or one that does not hold: what it was made from is not known.
        """
        place = str(checkpoint / passports.FILE)
        known = passports.check(
            passports.read(checkpoint / passports.FILE),
            self.trust.trust_store,
            weights=weights,
            embodiment=None,
            site=None,
            party=None,
            now_ns=time.time_ns(),
            revocations=self.trust.revocations(),
            place=place,
        )
        self._parents |= {*known.parents, *([weights] if is_parent else [])}
        self._datasets |= set(known.datasets)
        self._agreements |= set(known.agreements)
        self._sources |= set(sources.read_sources(checkpoint))
        self._blinded |= set(read_set(checkpoint, known).blinded)
        self._deploy = both(self._deploy, known.deploy)

    def papers(self, weights: str, reads: Reads) -> dict[str, bytes]:
        """Enter what was read, make, sign and enter the passport of a checkpoint, and return the files that lie beside its weights.

        Args:
            weights: digest of the weights that are deployed from it.
            reads: everything that was read until then.

        Raises:
            PassportError: no agreement is known for something that was read.
            LedgerError, SignatureError: it cannot be signed or entered.
        """
        from_here = {Holding(*one) for one in reads.agreements}
        rules = self.trust.rules
        hashes = {agreement_digest(one.owner, agreement_of(rules, one)) for one in from_here}
        read_here = TrainedOn.of(
            reads.trained_on, self.trust.blinding_keys({owner for owner, _, _ in reads.trained_on})
        )
        trained_on = TrainedOn(self._blinded | set(read_here.blinded))
        envelope = Passport(
            weights=weights,
            made_ns=time.time_ns(),
            code=self._code,
            environment=self._environment,
            config=self._config,
            seeds=self._seeds,
            hardware=self._hardware,
            parents=tuple(sorted(self._parents)),
            datasets=tuple(sorted(self._datasets)),
            agreements=tuple(sorted(self._agreements | hashes)),
            reads=reads.root,
            trained_on=trained_on.commitment.digest,
            egress=egress_so_far(self.trust),
            deploy=both(self._deploy, deployment_under(rules, sorted(from_here))),
        ).signed(self.trust.signing_key)
        # First what was read: wherever a break comes, no passport stands in the ledger without the record that it names.
        enter(self.trust, reads, run=self._run)
        self.trust.ledger.enter_passport(envelope)
        self.trust.sign_head()
        return {
            passports.FILE: envelope.to_bytes(),
            sets.FILE: trained_on.to_bytes(),
            sources.FILE: sources.to_bytes(self._sources | from_here),
        }

    def _plain(self, recipe: Recipe) -> dict[str, Any]:
        """Return a recipe as plain values, in which no owner is named."""
        table = asdict(recipe)
        for share in table["shares"]:
            if share["owner"]:
                share["owner"] = Claim(share["owner"]).blinded(self.trust.blinding_key(share["owner"])).hex()
        return {"recipe": json.loads(json.dumps(table))}


def sources_of(data: TrainingData) -> set[Holding]:
    """Return whose data, under which agreement, a run can read."""
    return {
        entry.holding
        for mixture in (data.training, data.evaluation)
        for source in mixture.sources.values()
        for entry in source.entries
    }


def dataset_roots(data: TrainingData) -> list[str]:
    """Return, for each data set that a run can read, the root of a hash tree over its shards' digests, sorted."""
    shards: Mapping[tuple[str, str], set[str]] = defaultdict(set)
    for mixture in (data.training, data.evaluation):
        for source in mixture.sources.values():
            for entry in source.entries:
                shards[entry.metadata.owner, entry.metadata.dataset].add(entry.digest)
    return sorted(root_of_digests(digests) for digests in shards.values())


def egress_so_far(trust: TrustFolder) -> str:
    """Return the digest of the log of what this confined run tried to reach until now; empty where it runs unconfined.

    The log goes on: ``sandbox.log.num_lines_of`` finds how long it was when it had this digest.

    Raises:
        DataError: the log cannot be read.
    """
    log = trust.path / EGRESS_FOLDER / f"{os.environ.get(RUN_VARIABLE, '')}.jsonl"
    return egress_digest(log) if is_sandboxed() and log.exists() else ""


def read_set(folder: Path, passport: Passport) -> TrainedOn:
    """Return the blinded set of what was trained on, which a passport commits to.

    Raises:
        PassportError: the file is missing, or it is another set.
        LedgerError: it is no such set.
    """
    path = folder / sets.FILE
    try:
        found = TrainedOn.from_table(json.loads(path.read_bytes()), place=str(path))
    except (OSError, ValueError) as error:
        raise PassportError(f"{path}: no set of what was trained on ({error}); copy the whole folder again") from error
    if found.commitment.digest != passport.trained_on:
        raise PassportError(
            f"{path}: the set is {found.commitment.digest}, the passport commits to {passport.trained_on or 'none'}; copy the "
            f"whole folder again"
        )
    return found
