"""``genba plan``: lay a model out over thousands of ranks without owning one, and say what a rank would hold."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from genba.errors import ConfigError
from genba.model import counts
from genba.model.config import PRESETS, ModelConfig, preset
from genba.registry import EMBODIMENTS
from genba.spec.embodiment import Embodiment, load_embodiment
from genba.train import dry_run, plan
from genba.train.plan import ACTIVATIONS, GATHERED, KINDS, Layout

app = typer.Typer(add_completion=False, help="Lay a model out over thousands of ranks without owning one.")

UNSEEN = (
    "Not seen: the accelerator's context, NCCL's buffers, workspaces, gaps in the allocator, prefetching on other "
    "streams, unbalanced routing. Time is not estimated. Nothing here was run on an accelerator."
)


@app.command()
def main(
    name: Annotated[str, typer.Argument(help="One of: " + ", ".join(PRESETS) + ".")],
    ranks: Annotated[int, typer.Option(min=1, help="Processes, one per accelerator.")] = 4096,
    experts: Annotated[
        int | None, typer.Option(min=1, help="Ranks among which routed experts are dealt out; chosen by default.")
    ] = None,
    embodiment: Annotated[
        list[str] | None, typer.Option(help="An id or a TOML file (may be repeated); by default all registered.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Windows of each embodiment per rank and train step.")] = 16,
    layers_sample: Annotated[
        str, typer.Option(help="Two depths whose peak memory is measured and carried on; '' to skip.")
    ] = "4,6",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print parameters, operations and bytes per rank of the true model, beside their closed forms."""
    config = preset(name)
    embodiments = [load_embodiment(one) for one in embodiment or EMBODIMENTS]
    layout = plan.choose_layout(config, ranks, experts)
    found = make_plan(config, embodiments, layout, windows=batch, sample=_depths(layers_sample, config))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _show(found, Console())


def make_plan(
    config: ModelConfig, embodiments: list[Embodiment], layout: Layout, *, windows: int, sample: tuple[int, int] | None
) -> dict[str, Any]:
    """Return everything that the command prints, ready for JSON."""
    closed, sharded = counts.parameters(config, embodiments), dry_run.shard(config, embodiments, layout)
    per_embodiment = {}
    for one in embodiments:
        length, once = counts.lengths(config, one), counts.training_operations(config, one)
        per_embodiment[one.id] = {
            "tokens_per_window": dataclasses.asdict(length),
            "operations_forward": dataclasses.asdict(once),
            "operations_per_trunk_token": once.trunk // length.trunk,
            "operations_to_train_on_a_window": plan.training_operations(config, one),
        }
    out: dict[str, Any] = {
        "model": config.name,
        "layout": dataclasses.asdict(layout),
        "windows_per_rank": windows,
        "parameters": dataclasses.asdict(closed)
        | {"total": closed.total, "total_of_the_model": sharded.total, "active": counts.active_parameters(config)},
        "rank_0": dataclasses.asdict(sharded),
        "embodiments": per_embodiment,
        "even_bytes": plan.even_bytes(config, embodiments, layout),
        "peak": None,
        "unseen": UNSEEN,
    }
    if sample is not None:
        few, more = (
            dry_run.measure(dataclasses.replace(config, num_layers=n), embodiments, layout, windows=windows)
            for n in sample
        )
        peak = dry_run.extrapolate(few, more, sample, config.num_layers)
        added = (more.by_kind[ACTIVATIONS] - few.by_kind[ACTIVATIONS]) // (sample[1] - sample[0])
        kept = max(plan.kept_activation_bytes(config, one, windows=windows) for one in embodiments)
        out["peak"] = {"layers_sample": sample} | dataclasses.asdict(peak) | {"total": peak.total}
        out["peak"]["activations_added_by_a_layer"] = {"measured": added, "closed_form": kept}
        # What is gathered at once does not depend on depth; if it does, one of the two is too shallow to prefetch.
        out["peak"]["depths_agree"] = few.by_kind[GATHERED] == more.by_kind[GATHERED]
    return out


def _depths(text: str, config: ModelConfig) -> tuple[int, int] | None:
    if not text:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts) or not 0 < int(parts[0]) < int(parts[1]):
        raise ConfigError(f"--layers-sample: got {text!r}, expected two rising depths such as 3,5")
    few, more = int(parts[0]), int(parts[1])
    dense = config.mixture.num_dense_layers if config.mixture is not None else 0
    if few <= dense:
        raise ConfigError(
            f"--layers-sample: got {text!r}, expected more than the {dense} dense layers of {config.name}"
        )
    return few, more


def _show(found: dict[str, Any], out: Console) -> None:
    layout, parameters, ranks = found["layout"], found["parameters"], found["layout"]["ranks"]
    out.print(
        f"\n[bold]{found['model']}[/bold] on {ranks:,} ranks: every parameter sharded over all of them, routed experts "
        f"dealt out over {layout['expert_parallel']} and shared by {ranks // layout['expert_parallel']}\n"
    )
    table = Table("parameters", "closed form", "true model", title="Model", title_justify="left")
    for part in ("trunk", "routed", "action", "world", "embodiments"):
        table.add_row(part, f"{parameters[part]:,}", "")
    table.add_row("total", f"{parameters['total']:,}", f"{parameters['total_of_the_model']:,}")
    table.add_row("active per observation token", f"{parameters['active']:,}", "")
    out.print(table)

    table = Table("embodiment", title="Operations", title_justify="left", box=None)
    for heading in ("tokens", "action", "world", "FLOP a token", "attention", "FLOP to train on a window"):
        table.add_column(heading, justify="right")
    for embodiment_id, one in found["embodiments"].items():
        tokens, once = one["tokens_per_window"], one["operations_forward"]
        attention = sum(count for part, count in once.items() if part.endswith("_attention"))
        table.add_row(
            embodiment_id,
            *(str(tokens[expert]) for expert in ("trunk", "action", "world")),
            f"{one['operations_per_trunk_token']:.3g}",
            f"{100 * attention / sum(once.values()):.1f} %",
            f"{one['operations_to_train_on_a_window']:.3g}",
        )
    out.print(table)

    sharded, even, peak = found["rank_0"], found["even_bytes"], found["peak"]
    out.print(
        f"Rank 0 holds {sharded['local']:,} parameters ({sharded['local_routed']:,} of routed experts); an even share "
        f"would be {parameters['total'] / ranks:,.0f}."
    )
    table = Table("bytes of rank 0", title="Memory", title_justify="left")
    for heading in ("closed form, GiB", "at the peak, GiB"):
        table.add_column(heading, justify="right")
    for kind in KINDS:
        table.add_row(
            kind, _gib(even[kind]) if kind in even else "", _gib(peak["by_kind"][kind]) if peak is not None else ""
        )
    if peak is not None:
        table.add_row("total", "", _gib(peak["total"]))
    out.print(table)
    if peak is not None:
        few, more = peak["layers_sample"]
        out.print(
            f"Peak of a steady train step with {found['windows_per_rank']} windows of each embodiment, carried on from "
            f"{few} and {more} layers: forward {_gib(peak['forward'])}, backward {_gib(peak['backward'])}, optimizer "
            f"{_gib(peak['optimizer'])} GiB. At the peak not all gradients are there yet. A layer adds "
            f"{_gib(peak['activations_added_by_a_layer']['measured'])} GiB of activations; in closed form "
            f"{_gib(peak['activations_added_by_a_layer']['closed_form'])} are kept at the end of the forward pass."
        )
        if not peak["depths_agree"]:
            out.print(
                f"[yellow]{few} and {more} layers do not peak alike (gathered weights differ): do not trust the "
                "peak; take deeper ones with --layers-sample.[/yellow]"
            )
    out.print(f"[dim]{UNSEEN}[/dim]\n")


def _gib(size: int) -> str:
    return f"{size / 2**30:.3f}"


if __name__ == "__main__":
    app()
