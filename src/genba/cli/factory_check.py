"""``genba factory check``: whether a plant's file can be planned. What may be wrong is in ``genba.machines.factory.plant_file``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from genba.machines.factory.plant_file import read_plant
from genba.machines.factory.problem import situation_at
from genba.machines.factory.search import best_of_atc


def check(file: Annotated[Path, typer.Argument(help="TOML file with lines, components and orders.")]) -> None:
    """Check a plant's file row by row and say what a first plan of it comes to; nothing is put into force."""
    problem = read_plant(file)
    _, _, cost_s = best_of_atc(situation_at(problem, None, 0))
    Console().print(
        f"{file}: {problem.num_orders} orders on {problem.num_lines} lines from {problem.num_components} components can be "
        f"planned; by the best of twenty dispatching rules {cost_s / 3600:.1f} weighted hours late",
        highlight=False,
    )
