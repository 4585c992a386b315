"""Draws a job shop's episode: Gantt charts of the best rule's schedule and of what was executed."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from genba.spec.task import Picture


def draw(trace: Mapping[str, np.ndarray], actor: str) -> list[Picture]:
    """Draw the best rule's and the executed schedule of one episode under ``actor``, as one PNG."""
    figure = Figure(figsize=(11, 6.2), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    by_rule = _gantt(upper, trace, trace["rule_start"], trace["rule_machine"])
    upper.set_title("Best of four dispatching rules", loc="left", fontsize=10)
    executed = _gantt(lower, trace, trace["start"], trace["machine"])
    lower.set_title(f"As executed: {actor}", loc="left", fontsize=10)
    lower.set_xlabel("time, in the instance's unit")
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    caption = f"Colour: job. The last operation ends at {by_rule} under the rule and at {executed} under {actor}."
    return [Picture(title=f"Machines under {actor}", caption=caption, media_type="image/png", data=stream.getvalue())]


def _gantt(axes: Axes, trace: Mapping[str, np.ndarray], start: np.ndarray, machine: np.ndarray) -> int:
    colours = colormaps["tab20"]
    length = trace["time"][np.arange(len(start)), machine]
    colour = [colours(int(job) % 20) for job in trace["job"]]
    axes.barh(machine, length, left=start, height=0.8, color=colour, edgecolor="white", linewidth=0.3)
    axes.set_ylabel("machine")
    axes.set_yticks(range(trace["time"].shape[1]))
    axes.invert_yaxis()
    end = int((start + length).max())
    axes.axvline(end, color="black", ls="--", lw=1)
    return end
