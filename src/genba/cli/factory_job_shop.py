"""``genba factory job-shop``: a flexible job shop benchmark's files, scheduled in every way and beside the best known."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from genba.bench.results import commit, hardware
from genba.machines.factory.fjsp.features import EMBODIMENT_ID, observe_situation
from genba.machines.factory.fjsp.instance import Situation
from genba.machines.factory.fjsp.measure import Propose, mean_gaps, measure, ways
from genba.report.job_shops import FORMAT, VERSION
from genba.runtime.bundle import Bundle
from genba.runtime.engine import OnnxEngine
from genba.runtime.policy import EnginePolicy
from genba.spec.embodiment import load_embodiment


def job_shop(
    folder: Annotated[Path, typer.Argument(help="A folder of flexible job shops in the classic text format.")],
    best_known: Annotated[Path | None, typer.Option(help="JSON list with instance and upper_bound of each.")] = None,
    seconds: Annotated[
        list[float] | None,
        typer.Option(help="CPU seconds of searches and of each of the solver's workers; several columns."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="A model's folder: alone, with search and as the solver's start.")
    ] = None,
    pattern: Annotated[str, typer.Option(help="Which files.")] = "*.txt",
    out: Annotated[Path | None, typer.Option(help="Write the table here as JSON.")] = None,
) -> None:
    """Measure dispatching rules, searches, CP-SAT and a model on flexible job shops; every schedule is verified."""
    opened = None if bundle is None else Bundle.read(bundle, load_embodiment(EMBODIMENT_ID))
    compared = ways(tuple(seconds or (1.0,)), None if opened is None else proposer(opened))
    found = measure(sorted(folder.glob(pattern)), best_known, compared)
    names = [row["instance"] for row in found]
    table = Table("", *names, "[bold]mean gap, %[/]")
    gaps = mean_gaps(found)
    table.add_row("best known", *(str(row["best_known"]) for row in found), "")
    for name in compared:
        table.add_row(name, *(str(row["makespan"][name]) for row in found), f"{gaps[name]:.1f}")
    Console().print(table)
    if out is not None:
        result = {
            "format": FORMAT,
            "version": VERSION,
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "mean_gap_percent": gaps,
            "weights_digest": "" if opened is None else opened.weights_digest,
            "commit": commit(),
            "hardware": hardware(),
            "rows": found,
        }
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def proposer(bundle: Bundle) -> Propose:
    """Return what shows a situation to a bundle's model and gives its scores.

    It acts on no machine, so no leave to act is asked for.
    """
    policy = EnginePolicy(OnnxEngine(bundle))

    def propose(situation: Situation) -> tuple[np.ndarray, np.ndarray]:
        observation = observe_situation(situation, bundle.embodiment)
        action = policy.act(observation).at(observation.time_ns)
        assert action is not None
        return action.choices["sequence"], action.choices["machine"]

    return propose
