"""Small SVG charts as text: curves over train steps, and histograms over a logarithmic time axis.

Colours and fonts come from the page's CSS classes, so a chart follows light and dark. Drawn at about their final size:
text in them stays readable on a phone. No chart library: the page holds dozens, and these are a few kilobytes each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

#: The drawing's size, and the room for axes, in CSS pixels.
WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 26


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One line of a chart; values that are not finite are gaps."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    #: a CSS class of the page: ``model``, ``expert``, ``baseline`` or ``raw``
    style: str


def curves(series: Sequence[Series], *, label: str, from_zero: bool = False) -> str:
    """Draw lines over train steps; the vertical axis is logarithmic where values span more than a factor of 30.

    Args:
        series: what to draw, first at the back; empty ones are left out.
        label: what the chart shows, for those who cannot see it.
        from_zero: whether a linear axis starts at 0.
    """
    points = {s.name: [(x, y) for x, y in zip(s.x, s.y, strict=True) if math.isfinite(y)] for s in series}
    drawn = [s for s in series if points[s.name]]
    if not drawn:
        return ""
    values = [y for s in drawn for _, y in points[s.name]]
    steps = [x for s in drawn for x, _ in points[s.name]]
    low, high = min(values), max(values)
    logarithmic = low > 1e-12 and high / low > 30
    if logarithmic:
        y_ticks = _log_ticks(low, high)
        low, high = min(low, y_ticks[0]), max(high, y_ticks[-1])
    else:
        low = min(low, 0.0) if from_zero else low
        y_ticks = _ticks(low, high)
        low, high = y_ticks[0], y_ticks[-1]
    x_ticks = [tick for tick in _ticks(0.0, max(steps)) if tick <= max(steps) * 1.001]
    last = max(max(steps), 1.0)

    def place(x: float, y: float) -> tuple[float, float]:
        share = math.log(y / low) / math.log(high / low) if logarithmic else (y - low) / (high - low)
        return LEFT + x / last * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [_open(label)]
    for tick in y_ticks:
        _, y = place(0, tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{short(tick)}</text>')
    for tick in x_ticks:
        x, _ = place(tick, y_ticks[0])
        anchor = "end" if x > WIDTH - 2 * RIGHT else "middle"
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{short(tick)}</text>')
    for s in drawn:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points[s.name]))
        if len(points[s.name]) > 1:
            parts.append(f'<polyline class="line {s.style}" points="{path}"/>')
        if len(points[s.name]) <= 12:
            parts += [
                f'<circle class="dot {s.style}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"><title>{escape(s.name)}, '
                f"step {step:g}: {value:.4g}</title></circle>"
                for (step, value), (x, y) in ((point, place(*point)) for point in points[s.name])
            ]
    return "".join([*parts, "</svg>"])


def smooth(y: Sequence[float]) -> list[float]:
    """Return the trailing mean over a twentieth of the points, so that a trend shows through the noise of batches."""
    window = max(1, len(y) // 20)
    out = []
    for i in range(len(y)):
        known = [value for value in y[max(0, i - window + 1) : i + 1] if math.isfinite(value)]
        out.append(sum(known) / len(known) if known else math.nan)
    return out


def histogram(
    counts: Sequence[int],
    edges_s: Sequence[float],
    *,
    shown_s: tuple[float, float],
    deadline_s: float,
    style: str,
    label: str,
) -> str:
    """Draw how often a decision took how long, on a logarithmic time axis, with the deadline marked.

    Args:
        counts: decisions between consecutive ``edges_s``, in seconds, rising by a constant factor.
        shown_s: the times at the left and the right edge, in seconds.
        deadline_s: in seconds; decisions beyond it are drawn as late.
        style: CSS class of the bars.
        label: what the chart shows, for those who cannot see it.
    """
    height, bottom, top = 118, 24, 20
    low, high = math.log10(shown_s[0]), math.log10(shown_s[1])

    def place(time_s: float) -> float:
        return LEFT / 2 + (math.log10(time_s) - low) / (high - low) * (WIDTH - LEFT / 2 - RIGHT)

    most = max(max(counts), 1)
    parts = [_open(label, height)]
    for count, left_s, right_s in zip(counts, edges_s, edges_s[1:]):
        if count and left_s >= shown_s[0] * 0.999 and right_s <= shown_s[1] * 1.001:
            # A square root keeps the few slow decisions visible: they are what a deadline is about.
            tall = max(1.5, math.sqrt(count / most) * (height - bottom - top))
            late = " late" if left_s >= deadline_s * 0.999 else ""
            parts.append(
                f'<rect class="bar {style}{late}" x="{place(left_s) + 0.5:.1f}" width="{place(right_s) - place(left_s) - 1:.1f}" '
                f'y="{height - bottom - tall:.1f}" height="{tall:.1f}"><title>{seconds(left_s)} to {seconds(right_s)}: '
                f"{count} decisions</title></rect>"
            )
    parts.append(
        f'<line class="axis" x1="{LEFT / 2}" x2="{WIDTH - RIGHT}" y1="{height - bottom}" y2="{height - bottom}"/>'
    )
    for exponent in range(math.ceil(low - 1e-6), math.floor(high + 1e-6) + 1):
        x = place(10.0**exponent)
        anchor = "end" if x > WIDTH - 2 * RIGHT else "middle"
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="{anchor}">{seconds(10.0**exponent)}</text>')
    if shown_s[0] <= deadline_s <= shown_s[1]:
        x = place(deadline_s)
        anchor, shift = ("end", -4) if x > WIDTH * 0.6 else ("start", 4)
        parts.append(f'<line class="deadline" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - bottom}"/>')
        parts.append(
            f'<text class="deadline" x="{x + shift:.1f}" y="13" text-anchor="{anchor}">deadline {seconds(deadline_s)}</text>'
        )
    return "".join([*parts, "</svg>"])


def shown_range(
    histograms: Sequence[Sequence[int]], edges_s: Sequence[float], deadline_s: float
) -> tuple[float, float]:
    """Return one time axis for several histograms, in seconds: everything counted, the deadline, whole decades."""
    used = [i for counts in histograms for i, count in enumerate(counts) if count]
    low = min([edges_s[i] for i in used] + [deadline_s])
    high = max([edges_s[i + 1] for i in used] + [deadline_s * 1.01])
    first, last = math.floor(math.log10(low) + 1e-6), math.ceil(math.log10(high) - 1e-6)
    return 10.0**first, 10.0 ** max(last, first + 1)


def short(value: float) -> str:
    """Write an axis' number in few characters: 1.5k, 20k, 0.05."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e3:
        return f"{value / 1e3:g}k"
    return f"{value:.3g}"


def seconds(value_s: float) -> str:
    """Write a time with the unit that suits it: 250 µs, 4.2 ms, 1.5 s, 2 min 5 s, 4 h."""
    if not math.isfinite(value_s):
        return "–"
    if value_s >= 7200:
        return f"{value_s / 3600:{'.0f' if value_s >= 3.6e5 else '.3g'}}\N{NO-BREAK SPACE}h"
    if value_s >= 119.5:
        minutes, rest = divmod(round(value_s), 60)
        return (
            f"{minutes}\N{NO-BREAK SPACE}min {rest}\N{NO-BREAK SPACE}s" if rest else f"{minutes}\N{NO-BREAK SPACE}min"
        )
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value_s >= factor * 0.9995:
            return f"{value_s / factor:.3g}\N{NO-BREAK SPACE}{unit}"
    return f"{value_s / 1e-6:.2g}\N{NO-BREAK SPACE}µs" if value_s else "0 s"


def _open(label: str, height: int = HEIGHT) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label, quote=True)}">'


def _ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers that enclose ``low`` to ``high``."""
    # What does not vary, or only in its last digits, still gets an axis.
    if high - low < max(1e-12 * max(abs(low), abs(high)), 1e-30):
        high = low + (abs(low) if abs(low) > 1e-18 else 1.0)
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / size + 1e-9), math.ceil(high / size - 1e-9)
    return [i * size for i in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    every = max(1, math.ceil((last - first) / 5))
    return [10.0**exponent for exponent in range(first, last + every, every)]
