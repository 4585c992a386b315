"""``genba bundle``: from a checkpoint to what runs on a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from genba.bench.results import commit
from genba.cli.train import stored_statistics
from genba.errors import CheckpointError, nearest
from genba.model.world_action_model import WorldActionModel
from genba.runtime.bundle import Bundle
from genba.runtime.export import ExportReport, export_bundle
from genba.train import checkpoint
from genba.train.optimizer import MeanWeights

app = typer.Typer(no_args_is_help=True, help="Export a checkpoint to what runs on a machine; check a bundle.")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A checkpoint, or the folder of a training run.")],
    embodiment: Annotated[str, typer.Option(help="The machine, e.g. arm/panda-grip@1.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; one already there is replaced.")],
    flow_steps: Annotated[int, typer.Option(min=1, help="Flow steps when there is time for all.")] = 1,
) -> None:
    """Export one machine's part of a jointly trained model."""
    report = export_run(run, [embodiment], {embodiment: out}, flow_steps=flow_steps)[embodiment]
    Console().print(
        f"{report.path}: {report.num_bytes / 1e6:.1f} MB, weights {report.weights_digest[:12]}, "
        f"differs from torch by at most {report.max_difference:.1e}",
        highlight=False,
    )


@app.command()
def check(path: Annotated[Path, typer.Argument(help="Folder of a bundle.")]) -> None:
    """Check every digest of a bundle and say what it is."""
    bundle = Bundle.read(path)
    console = Console()
    console.print(f"[bold]{path}[/] for {bundle.embodiment.id}, weights {bundle.weights_digest}", highlight=False)
    for name, value in bundle.provenance.items():
        console.print(f"  {name}: {value}", highlight=False)


def export_run(
    run: Path, embodiment_ids: list[str], paths: dict[str, Path], *, flow_steps: int = 1
) -> dict[str, ExportReport]:
    """Export the mean weights of a run's newest checkpoint (or of one checkpoint) for several machines.

    Raises:
        CheckpointError: there is none, or it does not fit this version.
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
            model.eval(), machines[i], statistics[i], paths[i], provenance=provenance, flow_steps=flow_steps
        )
        for i in embodiment_ids
    }
