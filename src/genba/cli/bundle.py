"""``genba bundle``: from a checkpoint to what runs on a machine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from genba.bench.results import commit
from genba.cli.train import stored_statistics
from genba.cli.trust_option import TrustOption
from genba.errors import CheckpointError, GenbaError, PermissionDeniedError, nearest
from genba.model.weights import weights_digest
from genba.model.world_action_model import WorldActionModel
from genba.runtime.bundle import Bundle
from genba.runtime.clearance import clear
from genba.runtime.export import ExportReport, Papers, export_bundle
from genba.train import checkpoint
from genba.train.optimizer import MeanWeights
from genba.train.passport import read_set
from genba.trust import passport as passports
from genba.trust.folder import TrustFolder
from genba.trust.machine import MachineTrust
from genba.trust.requests import Holding, Request
from genba.trust.sources import read_sources

app = typer.Typer(no_args_is_help=True, help="Export a checkpoint to what runs on a machine; check a bundle.")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A checkpoint, or the folder of a training run.")],
    embodiment: Annotated[str, typer.Option(help="The machine, e.g. arm/panda-grip@1.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; one already there is replaced.")],
    flow_steps: Annotated[int, typer.Option(min=1, help="Flow steps when there is time for all.")] = 1,
    trust: TrustOption = None,
) -> None:
    """Export one machine's part of a jointly trained model; its passport goes with it."""
    keeper = TrustFolder.open(trust) if trust else None
    report = export_run(run, [embodiment], {embodiment: out}, flow_steps=flow_steps, trust=keeper)[embodiment]
    Console().print(
        f"{report.path}: {report.num_bytes / 1e6:.1f} MB, weights {report.weights_digest[:12]}, "
        f"differs from torch by at most {report.max_difference:.1e}",
        highlight=False,
    )


@app.command()
def check(path: Annotated[Path, typer.Argument(help="Folder of a bundle.")]) -> None:
    """Check every digest of a bundle and say what it is; its passport is for 'genba bundle show'."""
    _say_what_it_is(Bundle.read(path))


@app.command()
def show(path: Annotated[Path, typer.Argument(help="Folder of a bundle.")], trust: TrustOption = None) -> None:
    """Say what a bundle is, what its passport says, and whether it may act where --trust stands."""
    bundle = Bundle.read(path)
    _say_what_it_is(bundle)
    state = passport_state(bundle, MachineTrust(trust) if trust else None)
    Console().print(f"passport: {state}", highlight=False, markup=False, soft_wrap=True)


def _say_what_it_is(bundle: Bundle) -> None:
    console = Console()
    console.print(
        f"[bold]{bundle.path}[/] for {bundle.embodiment.id}, weights {bundle.weights_digest}", highlight=False
    )
    for name, value in bundle.provenance.items():
        console.print(f"  {name}: {value}", highlight=False)


def passport_state(bundle: Bundle, trust: MachineTrust | None) -> str:
    """Say in a sentence what is known of a bundle's passport; nothing is decided or recorded by it."""
    if passports.FILE not in bundle.files:
        return "none: only this project's simulators may be driven by it"
    if trust is None:
        return "there is one; whether it holds is said with --trust"
    try:
        found = clear(bundle, trust, record=False)
    except GenbaError as error:
        return f"refused at {trust.site}: {error}"
    return f"holds at {trust.site}, released by {', '.join(found.released_by)}; {found.passport.deploy}"


def export_run(
    run: Path,
    embodiment_ids: list[str],
    paths: dict[str, Path],
    *,
    flow_steps: int = 1,
    trust: TrustFolder | None = None,
) -> dict[str, ExportReport]:
    """Export the mean weights of a run's newest checkpoint (or of one checkpoint) for several machines.

    Args:
        trust: whose agreements decide, and who releases. Without it there is no passport, and a checkpoint that has one is not
            exported.

    Raises:
        CheckpointError: there is none, or it does not fit this version.
        PassportError: with ``trust``, the checkpoint has no passport, or one that does not hold for its weights.
        PermissionDeniedError: an agreement does not allow the export; no bundle was written then.
    """
    found = run if (run / checkpoint.MANIFEST).is_file() else checkpoint.newest(run)
    if found is None:
        raise CheckpointError(f"{run}: no checkpoint here; train one with: genba train run --out {run}")
    manifest = checkpoint.read_manifest(found)
    machines = {machine.id: machine for machine in checkpoint.embodiments_of(found)}
    for embodiment_id in embodiment_ids:
        if embodiment_id not in machines:
            raise CheckpointError(f"{found}: was not trained on {embodiment_id!r}{nearest(embodiment_id, machines)}")
    model = WorldActionModel(checkpoint.config_from_json(manifest["model"]), list(machines.values()))
    mean = MeanWeights(model, 0.0)
    checkpoint.load(found, model=model, mean=mean)
    mean.swap(model)
    papers = _papers(found, f"sha256:{weights_digest(model)}", embodiment_ids, trust)
    statistics = stored_statistics(found)
    provenance = {
        "checkpoint": found.name,
        "train_steps": manifest["step"],
        "recipe": manifest["recipe"],
        "seed": manifest["seed"],
        "architecture": manifest["architecture"],
        "preset": manifest["model"]["name"],
        "trained_jointly_on": sorted(machines),
        "num_parameters": sum(p.numel() for p in model.parameters()),
        "commit": commit(),
    }
    return {
        i: export_bundle(
            model.eval(),
            machines[i],
            statistics[i],
            paths[i],
            provenance=provenance,
            flow_steps=flow_steps,
            papers=papers,
        )
        for i in embodiment_ids
    }


def _papers(checkpoint_path: Path, weights: str, embodiment_ids: list[str], trust: TrustFolder | None) -> Papers | None:
    """Return what goes with a checkpoint's weights, once its passport holds and every agreement allows the export."""
    path = checkpoint_path / passports.FILE
    if trust is None:
        if path.exists():
            raise PermissionDeniedError(
                f"{checkpoint_path}: was made under agreements, and they decide on an export: name the trust folder with --trust"
            )
        return None
    envelope = passports.read(path)
    stated = passports.check(
        envelope,
        trust.trust_store,
        weights=weights,
        embodiment=None,
        site=None,
        party=None,
        now_ns=time.time_ns(),
        revocations=trust.revocations(),
        place=str(path),
    )
    trained_on = read_set(checkpoint_path, stated).to_bytes()
    require_exports(trust, read_sources(checkpoint_path), embodiment_ids)
    return Papers(passport=envelope, weights=stated.weights, trained_on=trained_on, key=trust.signing_key)


def require_exports(trust: TrustFolder, sources: Iterable[Holding], embodiment_ids: Iterable[str]) -> None:
    """Ask every owner's agreement whether what was made from its data may be exported for these machines.

    Raises:
        PermissionDeniedError: naming every refusal; each answer stands in the ledger, under a signed head.
    """
    requests = [
        Request(
            act="export",
            party=trust.party,
            owner=source.owner,
            dataset=source.dataset,
            agreement=source.agreement,
            sites=(trust.site,),
            embodiment=embodiment_id,
        )
        for source in sources
        for embodiment_id in embodiment_ids
    ]
    decisions = [trust.gatekeeper.decide(request) for request in requests]
    trust.sign_head()
    refused = [
        f"{one.request.owner}/{one.request.dataset} for {one.request.embodiment}: {'; '.join(one.reasons)}"
        for one in decisions
        if not one.is_allowed
    ]
    if refused:
        raise PermissionDeniedError(f"export by {trust.party} is refused, nothing was written: {' | '.join(refused)}")
