"""Draws an episode: Gantt charts of the plan before the supplier's call and of what was made of it."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from genba.spec.task import Picture

HOUR_S = 3600.0


def draw(trace: Mapping[str, np.ndarray], actor: str) -> list[Picture]:
    """Draw the nominal plan and the executed schedule of one episode under ``actor``, as one PNG."""
    figure = Figure(figsize=(11, 6.2), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    _gantt(upper, trace, trace["nominal_start_s"], trace["nominal_line"])
    upper.set_title("Plan before the supplier called", loc="left", fontsize=10)
    late = _gantt(lower, trace, trace["start_s"], trace["line"])
    lower.set_title(f"After the shortage: {actor}", loc="left", fontsize=10)
    lower.set_xlabel("hours since the first shift")
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    tardiness_h = _tardiness_s(trace, trace["start_s"], trace["line"]).sum() / HOUR_S
    caption = (
        f"Colour: product family. Red edge: late. Dashed: the supplier calls; grey: deliveries of short components that "
        f"slipped. Under {actor}, {late} orders are late, {tardiness_h:.0f} weighted hours in all."
    )
    return [Picture(title=f"Lines under {actor}", caption=caption, media_type="image/png", data=stream.getvalue())]


def _gantt(axes: Axes, trace: Mapping[str, np.ndarray], start_s: np.ndarray, line: np.ndarray) -> int:
    colours = colormaps["tab10"]
    rows = np.arange(len(start_s))
    length_s = trace["processing_time_s"][rows, line]
    late = start_s + length_s > trace["due_s"]
    axes.barh(
        line,
        length_s / HOUR_S,
        left=start_s / HOUR_S,
        height=0.8,
        color=[colours(int(family)) for family in trace["family"]],
        edgecolor=["red" if is_late else "white" for is_late in late],
        linewidth=[0.9 if is_late else 0.3 for is_late in late],
    )
    slipped = trace["late_time_s"] > trace["delivery_time_s"]
    for planned_s, late_s in zip(trace["delivery_time_s"][slipped], trace["late_time_s"][slipped]):
        axes.plot([planned_s / HOUR_S, late_s / HOUR_S], [-0.9, -0.9], color="0.6", lw=2, alpha=0.5)
    axes.axvline(float(trace["event_time_s"]) / HOUR_S, color="black", ls="--", lw=1)
    axes.set_ylabel("line")
    axes.set_yticks(range(len(trace["line_family"])))
    axes.invert_yaxis()
    return int(late.sum())


def _tardiness_s(trace: Mapping[str, np.ndarray], start_s: np.ndarray, line: np.ndarray) -> np.ndarray:
    end_s = start_s + trace["processing_time_s"][np.arange(len(start_s)), line]
    return trace["weight"] * np.maximum(end_s - trace["due_s"], 0)
