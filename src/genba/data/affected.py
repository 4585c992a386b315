"""Which checkpoints and bundles hold what was learnt from a data set, and which do not, by records and not by claims.

A checkpoint is judged by its read record (``reads.json``) if the ledger names that record, a model with a passport by the set of
blinded claims that the passport commits to. Affected is also whatever has an affected model among its parents, and a bundle
whose weights are an affected checkpoint's. What has neither a record nor a passport that holds is **undecided**: nobody can say, and it
is never called clean. Only files are read: no weights, no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from genba.data.reads import Reads
from genba.errors import GenbaError
from genba.trust import passport, trained_on
from genba.trust.audit import read_entries
from genba.trust.folder import TrustFolder
from genba.trust.trained_on import Claim, TrainedOn, check_set

READS_FILE, CHECKPOINT_FILE, BUNDLE_FILE = "reads.json", "run.json", "manifest.json"
#: what only a checkpoint's, and only a bundle's, says: other files have these names too
_CHECKPOINTS_ONLY, _BUNDLES_ONLY = "architecture", "weights_digest"
#: what a checkpoint says of the weights that its run began with (``train.checkpoint``)
BEGAN = "started_from"

State = Literal["affected", "clean", "undecided"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A checkpoint or a bundle, and what is known of it."""

    path: Path
    kind: Literal["checkpoint", "bundle"]
    state: State
    #: why it is in this state
    reason: str
    #: train steps taken; 0 for a bundle
    step: int = 0
    #: digest of its weights and of its passport, empty where nothing says
    weights: str = ""
    passport: str = ""
    #: digests of the weights it was trained from
    parents: tuple[str, ...] = ()

    def to_json(self) -> dict[str, str]:
        """Return what a receipt says of it."""
        return {
            "kind": self.kind,
            "passport": self.passport,
            "path": str(self.path),
            "reason": self.reason,
            "weights": self.weights,
        }


def find_models(
    trust: TrustFolder, owner: str, dataset: str, *, runs: Iterable[Path] = (), bundles: Iterable[Path] = ()
) -> list[Model]:
    """Return every checkpoint and bundle at or below some folders, judged.

    Raises:
        LedgerError: the ledger does not read.
    """
    checkpoints, exported = checkpoints_below(runs), bundles_below(bundles)
    if not checkpoints and not exported:
        return []
    records = {str(e.body.get("digest")) for e in read_entries(trust.ledger.folder) if e.kind == "read"}
    claim = Claim(owner, dataset).blinded(trust.blinding_key(owner))
    found = [_judge_checkpoint(trust, path, records, owner, dataset, claim) for path in checkpoints]
    found += [_judge_bundle(trust, path, claim) for path in exported]
    # Round after round: a child of a child is affected too.
    while True:
        by_weights = {
            m.weights: m for m in sorted(found, key=lambda m: m.state != "affected", reverse=True) if m.weights
        }
        inherited = [_inherit(m, by_weights) for m in found]
        if inherited == found:
            return found
        found = inherited


def checkpoints_below(runs: Iterable[Path]) -> list[Path]:
    """Return the folder of every checkpoint at or below some folders, sorted."""
    return _below(runs, CHECKPOINT_FILE, _CHECKPOINTS_ONLY)


def bundles_below(folders: Iterable[Path]) -> list[Path]:
    """Return the folder of every bundle at or below some folders, sorted."""
    return _below(folders, BUNDLE_FILE, _BUNDLES_ONLY)


def last_clean(models: Iterable[Model]) -> dict[Path, Model | None]:
    """Return each run's newest checkpoint that is clean, by the run's folder; None where it has none."""
    out: dict[Path, Model | None] = {}
    for model in sorted((m for m in models if m.kind == "checkpoint"), key=lambda m: m.step):
        out.setdefault(model.path.parent, None)
        if model.state == "clean":
            out[model.path.parent] = model
    return out


def _judge_checkpoint(
    trust: TrustFolder, path: Path, records: set[str], owner: str, dataset: str, claim: bytes
) -> Model:
    said = _table(path, CHECKPOINT_FILE)
    step, began = said.get("step", 0), said.get(BEGAN)
    model = replace(_judge_passport(trust, path, claim), kind="checkpoint", step=step if type(step) is int else 0)
    if model.state == "affected":
        return model
    try:
        reads = Reads.from_bytes((path / READS_FILE).read_bytes(), place=str(path / READS_FILE))
    except FileNotFoundError:
        return model
    except (OSError, GenbaError) as error:
        return replace(model, state="undecided", reason=str(error))
    # A record that is affected by its own word is believed; one that says nothing of the data set must be in the ledger.
    if any((o, d) == (owner, dataset) for o, d, _ in reads.trained_on):
        count = reads.windows_by_owner.get((owner, dataset), 0)
        reason = f"its read record: {count} windows trained on" if count else "its read record: in its statistics"
        return replace(model, state="affected", reason=reason)
    if reads.digest not in records:
        reason = f"its read record {reads.digest} is not in the ledger"
        return model if model.state == "clean" else replace(model, state="undecided", reason=reason)
    if not reads.is_complete or reads.step != model.step:
        return replace(model, state="undecided", reason="its read record does not cover every train step")
    # What the first weights depend on is in this record too, but only if theirs was known, and so on.
    while began is not None:
        if not isinstance(began, dict) or began.get("reads") not in records:
            reason = "it began with weights whose read record is not in the ledger"
            return replace(model, state="undecided", reason=reason)
        began = began.get(BEGAN)
    return replace(model, state="clean", reason="its read record, which is in the ledger")


def _judge_bundle(trust: TrustFolder, path: Path, claim: bytes) -> Model:
    model = replace(_judge_passport(trust, path, claim), kind="bundle")
    weights = f"sha256:{_table(path, BUNDLE_FILE)[_BUNDLES_ONLY]}"
    if model.weights and model.weights != weights:
        reason = f"its passport is for weights {model.weights}, these are {weights}"
        return replace(model, state="undecided", weights=weights, reason=reason)
    return replace(model, weights=weights)


def _judge_passport(trust: TrustFolder, path: Path, claim: bytes) -> Model:
    """Judge by the set that a passport commits to; undecided where there is none that holds."""
    model = Model(path=path, kind="bundle", state="undecided", reason="no read record and no passport")
    if not (path / passport.FILE).is_file():
        return model
    try:
        envelope = passport.read(path / passport.FILE)
        said, _ = passport.verify(envelope, trust.trust_store, place=str(path / passport.FILE))
        model = replace(model, weights=said.weights, passport=envelope.digest, parents=said.parents)
        place = str(path / trained_on.FILE)
        whole = TrainedOn.from_table(json.loads((path / trained_on.FILE).read_bytes()), place=place)
        if check_set(whole, said.trained_on, claim, place=place):
            return replace(model, state="affected", reason="its passport's set names the data set")
        return replace(model, state="clean", reason="its passport's set does not name the data set")
    except (OSError, ValueError, GenbaError) as error:
        return replace(model, reason=str(error))


def _inherit(model: Model, by_weights: Mapping[str, Model]) -> Model:
    if model.state == "affected":
        return model
    if (same := by_weights.get(model.weights)) and same.state == "affected":
        return replace(model, state="affected", reason=f"the same weights as {same.path}")
    # A passport's set takes in its parents' sets; this finds what was trained on with a parent whose papers lie here alone.
    for parent in model.parents:
        if (known := by_weights.get(parent)) and known.state == "affected":
            return replace(model, state="affected", reason=f"trained from {known.path}")
    return model


def _below(folders: Iterable[Path], name: str, field: str) -> list[Path]:
    found = {path.parent for folder in folders for path in Path(folder).absolute().rglob(name)}
    return sorted(path for path in found if field in _table(path, name))


def _table(path: Path, name: str) -> dict[str, Any]:
    try:
        table = json.loads((path / name).read_bytes())
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
