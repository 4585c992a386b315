"""Models and their papers: from the ledger, and from the checkpoints and bundles that were named.

A model is known by its passport; one that has none by where it lies. Its papers are taken over as they are and judged in the pack: the
passport's signature, the read record against passport and ledger, the blinded set against the passport, a release against manifest
and passport, and whether the list of revoked models names it. Weights stay where they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genba.config import build
from genba.data.affected import (
    CHECKPOINT_FILE,
    READS_FILE,
    bundles_below,
    checkpoints_below,
)
from genba.data.reads import Reads
from genba.errors import BundleError, ConfigError, GenbaError, PassportError
from genba.report.evidence.absent import MODELS, model_name
from genba.report.evidence.folder import PackFolder
from genba.report.evidence.records import LEDGER, Records
from genba.runtime.bundle import MANIFEST, Bundle
from genba.runtime.clearance import weights_of
from genba.spec.embodiment import Embodiment
from genba.trust import passport as passports
from genba.trust import release, sources
from genba.trust import trained_on as sets
from genba.trust.digest import digest_bytes, digest_file
from genba.trust.ledger import PASSPORTS
from genba.trust.passport import Passport
from genba.trust.requests import Holding
from genba.trust.revocation import Revoked
from genba.trust.sandbox.log import lengths_of
from genba.trust.signing import TrustStore
from genba.trust.trained_on import TrainedOn

#: papers of a checkpoint that are taken over besides its passport
_PAPERS = (sets.FILE, sources.FILE, READS_FILE)


@dataclass(kw_only=True, eq=False)
class Model:
    """What is known of one model; filled in place by place."""

    name: str
    """Its folder in the pack."""
    digest: str = ""
    """Its passport's digest; empty where it has none that holds."""
    passport: Passport | None = None
    signers: tuple[str, ...] = ()
    weights: str = ""
    places: list[str] = field(default_factory=list)
    """Where it lies, as it was named."""
    is_in_ledger: bool = False
    sources: tuple[Holding, ...] | None = None
    """Whose data, under which agreement; None where no checkpoint says."""
    reads: Reads | None = None
    is_read_in_ledger: bool = False
    """Whether the ledger names the read record."""
    embodiments: dict[str, Embodiment] = field(default_factory=dict)
    """The machines that it was trained on, or exported for."""
    architecture: Mapping[str, Any] = field(default_factory=dict)
    """The model's choices, where a checkpoint says them."""
    released_for: list[str] = field(default_factory=list)
    """Machines that a bundle, released by somebody believed, is for."""
    revoked: Revoked | None = None
    egress: str = ""
    """The egress log, and how many of its lines had been written when the passport was made."""


def collect(
    pack: PackFolder, records: Records, store: TrustStore, *, runs: Iterable[Path], bundles: Iterable[Path]
) -> tuple[Model, ...]:
    """Put every model's papers into a pack.

    Args:
        runs: folders of training runs, or above such.
        bundles: folders of bundles, or above such.
    """
    found: dict[str, Model] = {}
    entered, read = ({str(e.body.get("digest")) for e in records.of_kind(kind)} for kind in ("passport", "read"))
    for path in sorted((pack.path / LEDGER / PASSPORTS).glob("*.json")):
        model = _model(pack, found, path, f"{LEDGER}/{PASSPORTS}/{path.name}", store)
        if model is not None:
            model.is_in_ledger = model.digest in entered
    for place, path in _named(runs, checkpoints_below):
        _checkpoint(pack, found, place, path, read, store)
    for place, path in _named(bundles, bundles_below):
        _bundle(pack, found, place, path, store)
    models = tuple(found[key] for key in sorted(found))
    logged = _logged(pack, models, records)
    for model in models:
        _judge(pack, model, records)
        model.egress = logged.get(model.passport.egress, "") if model.passport else ""
    _miss(pack, models, runs, bundles)
    return models


def _model(pack: PackFolder, found: dict[str, Model], path: Path, place: str, store: TrustStore) -> Model | None:
    """Return the model that a passport is about, its passport in the pack; None where there is none that holds."""
    try:
        envelope = passports.read(path)
        said, signers = passports.verify(envelope, store, place=place)
    except PassportError as error:
        if path.is_file():
            pack.doubt(place, str(error).replace(str(path), place))
        return None
    if envelope.digest not in found:
        name = model_name(envelope.digest)
        found[envelope.digest] = Model(
            name=name, digest=envelope.digest, passport=said, signers=signers, weights=said.weights
        )
        pack.add(f"{name}/{passports.FILE}", envelope.to_bytes())
    return found[envelope.digest]


def _without_passport(found: dict[str, Model], place: str) -> Model:
    name = f"{MODELS}/without-passport-{digest_bytes(place.encode()).removeprefix('sha256:')[:8]}"
    return found.setdefault(name, Model(name=name))


def _checkpoint(
    pack: PackFolder, found: dict[str, Model], place: str, path: Path, read: Collection[str], store: TrustStore
) -> None:
    model = _model(pack, found, path / passports.FILE, f"{place}/{passports.FILE}", store)
    model = model or _without_passport(found, place)
    model.places.append(place)
    for name in _PAPERS:
        if (path / name).is_file() and not (pack.path / model.name / name).exists():
            pack.copy(f"{model.name}/{name}", path / name)
    try:
        _take_facts(model, path, place)
        if (path / READS_FILE).is_file():
            model.reads = Reads.from_bytes((path / READS_FILE).read_bytes(), place=f"{place}/{READS_FILE}")
        if model.passport is not None:
            model.sources = sources.read_sources(path)
    except GenbaError as error:
        pack.doubt(place, str(error).replace(str(path), place))
    model.is_read_in_ledger = model.reads is not None and model.reads.digest in read


def _take_facts(model: Model, path: Path, place: str) -> None:
    """Take in what a checkpoint says of the model and its machines.

    Raises:
        ConfigError: it does not say that in its form.
    """
    manifest = json.loads((path / CHECKPOINT_FILE).read_bytes())
    machines, choices = manifest.get("embodiments", {}), manifest.get("model", {})
    if not isinstance(machines, dict) or not isinstance(choices, dict):
        raise ConfigError(f"{place}: model, embodiments: got {choices!r}, {machines!r}, expected tables")
    model.architecture = choices
    for one, facts in machines.items():
        model.embodiments[one] = build(facts, Embodiment, where=place, path=f"embodiments.{one}")


def _bundle(pack: PackFolder, found: dict[str, Model], place: str, path: Path, store: TrustStore) -> None:
    try:
        bundle = Bundle.read(path)
    except BundleError as error:
        pack.doubt(place, str(error).replace(str(path), place))
        return
    model = _model(pack, found, path / passports.FILE, f"{place}/{passports.FILE}", store)
    model = model or _without_passport(found, place)
    model.places.append(place)
    weights, machine = weights_of(bundle), bundle.embodiment
    if model.passport is not None and model.weights != weights:
        pack.doubt(place, f"its passport is for weights {model.weights}, its manifest says {weights}")
    model.weights = model.weights or weights
    model.embodiments.setdefault(machine.id, machine)
    folder = f"{model.name}/bundle-{len(model.released_for)}-{digest_file(path / MANIFEST).removeprefix('sha256:')[:8]}"
    pack.copy(f"{folder}/{MANIFEST}", path / MANIFEST)
    if (path / sets.FILE).is_file() and not (pack.path / model.name / sets.FILE).exists():
        pack.copy(f"{model.name}/{sets.FILE}", path / sets.FILE)
    if not (path / release.FILE).is_file():
        pack.miss(f"the release of {place}", "it was exported without a trust folder", "genba bundle export --trust")
        return
    pack.copy(f"{folder}/{release.FILE}", path / release.FILE)
    try:
        release.check(
            release.read(pack.path / folder / release.FILE),
            store,
            manifest=digest_file(path / MANIFEST),
            passport=model.digest,
            weights=weights,
            place=f"{place}/{release.FILE}",
        )
    except PassportError as error:
        pack.doubt(f"{place}/{release.FILE}", error)
    else:
        model.released_for.append(machine.id)


def _judge(pack: PackFolder, model: Model, records: Records) -> None:
    said = model.passport
    if records.revocations is not None:
        digests = filter(None, (model.digest, model.weights, *(said.parents if said else ())))
        model.revoked = next(filter(None, map(records.revocations.find, digests)), None)
    if said is None:
        return
    if model.reads is not None and said.reads != model.reads.root:
        pack.doubt(
            f"{model.name}/{READS_FILE}", f"its root is {model.reads.root}, the passport says {said.reads or 'none'}"
        )
    whole = pack.path / model.name / sets.FILE
    if whole.exists():
        try:
            kept = TrainedOn.from_table(json.loads(whole.read_bytes()), place=sets.FILE)
            if kept.commitment.digest != said.trained_on:
                raise PassportError(
                    f"it is the set {kept.commitment.digest}, the passport commits to {said.trained_on}"
                )
        except (GenbaError, ValueError) as error:
            pack.doubt(f"{model.name}/{sets.FILE}", error)


def _logged(pack: PackFolder, models: Iterable[Model], records: Records) -> dict[str, str]:
    """Return, for each digest of an egress log that a passport names, which log that is, and how long it was then."""
    wanted = {model.passport.egress for model in models if model.passport}
    return {
        digest: f"{log}, its first {number} lines"
        for log in sorted({run.log for run in records.egress})
        for digest, number in lengths_of(pack.path / log, wanted).items()
    }


def _miss(pack: PackFolder, models: Iterable[Model], runs: Iterable[Path], bundles: Iterable[Path]) -> None:
    """List which of the models' papers are missing."""
    models = tuple(models)
    if not models:
        pack.miss("models", "no passport in the ledger, and no checkpoint or bundle was found", "--runs, --bundles")
    for model in models:
        where = ", ".join(model.places) or model.name
        if model.passport is None:
            pack.miss(f"the passport of {where}", "it has none that holds: nobody signed what it was made from")
            continue
        if not model.is_in_ledger:
            pack.miss(f"the ledger's entry of the passport of {where}", f"no entry of this ledger names {model.digest}")
        if model.sources is None:
            pack.miss(f"whose data {model.name} was made from", "no checkpoint of it was found", "--runs RUNS")
        if model.reads is not None and not model.is_read_in_ledger:
            pack.miss(f"the ledger's entry of the read record of {where}", f"none names {model.reads.digest}")
        if not model.passport.egress:
            pack.miss(f"the egress log of {model.name}", "it was made unconfined: what it reached is not known")
    if not runs:
        pack.miss("checkpoints and their read records", "no folder of runs was named", "--runs RUNS")
    if not bundles:
        pack.miss("bundles and their releases", "no folder of bundles was named", "--bundles BUNDLES")


def _named(folders: Iterable[Path], below: Callable[[Iterable[Path]], list[Path]]) -> list[tuple[str, Path]]:
    """Return models' folders below others, each with a name that does not depend on where this host has them."""
    bases = [Path(folder).absolute() for folder in folders]
    out = []
    for number, base in enumerate(bases):
        # Two folders of one name are told apart by their number.
        name = base.name if sum(one.name == base.name for one in bases) == 1 else f"{base.name}-{number}"
        out += [((Path(name) / path.relative_to(base)).as_posix(), path) for path in below([base])]
    return out
