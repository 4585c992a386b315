"""The table of anomaly detectors in ``docs/sensor-networks.md``: measured here from a result file, and published ones beside them.

What is measured comes from ``genba factory anomalies``. ``PUBLISHED`` is copied from the benchmark's own leaderboard and was not run here. Read next:
``genba.bench.anomalies``, the definitions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from genba.bench.anomalies import Counts, Score, f1_interval, nab
from genba.report.measurement import read_measurement

FORMAT, VERSION = "genba-anomalies", 1
#: The name of the world model's row.
MODEL = "world model's surprise"
#: Detector -> F1, false and missed alarms in per cent, and NAB in the order of ``PROFILES``, where the leaderboard has it.
#: Source: README of github.com/waico/SKAB at commit b2c0d46, both leaderboards ("Proposed Leaderboard").
PUBLISHED: dict[str, tuple[float, float, float, tuple[float, float, float] | None]] = {
    "Conv-AE": (0.78, 13.55, 28.02, (23.61, 21.54, 27.55)),
    "MSET": (0.78, 39.73, 14.13, (13.84, 10.22, 17.37)),
    "T-squared and Q (PCA)": (0.76, 26.62, 24.92, (25.35, 14.51, 31.33)),
    "LSTM-AE": (0.74, 29.96, 25.92, (23.51, 20.11, 25.91)),
    "T-squared": (0.66, 19.21, 42.60, (19.54, 10.20, 24.31)),
    "LSTM-VAE": (0.56, 9.13, 55.03, None),
    "Vanilla LSTM": (0.54, 12.54, 59.53, (11.31, -3.80, 17.25)),
    "Vanilla AE": (0.39, 2.59, 75.15, (11.41, 6.53, 13.91)),
    "MSCRED": (0.36, 49.94, 69.88, (32.42, 16.53, 40.28)),
    "Isolation forest": (0.29, 2.56, 82.89, (26.16, 19.50, 30.82)),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A detector on all recordings together; means over seeds where it has several."""

    f1_by_seed: tuple[float, ...]
    false_alarm_rate: float
    missed_alarm_rate: float
    nab: Mapping[str, float]

    @property
    def f1(self) -> float:
        """Mean over seeds."""
        return fmean(self.f1_by_seed)


def anomalies_table(path: Path) -> str:
    """Return the table of a result file as Markdown, the published detectors below the measured ones.

    Raises:
        ConfigError: no such file, or not a result of this format.
    """
    result = read_measurement(path, (FORMAT, VERSION), written_by="genba factory anomalies --out")
    rows = result["rows"]
    rest = [row for row in rows if row["recording"] not in result["chosen_on"]]
    lines = [
        f"| | F1, {len(rows)} recordings (95 %) | F1, the {len(rest)} that nothing was chosen on | false alarms | missed | "
        "NAB standard / low FP / low FN |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [_measured(rows, rest, method) for method in rows[0]["methods"]]
    lines.append(_always(rows, rest))
    for method, (f1, false, missed, scores) in PUBLISHED.items():
        shown = "–" if scores is None else _scores(scores)
        lines.append(f"| {method}, published | {f1:.2f} | – | {false:.1f} % | {missed:.1f} % | {shown} |")
    return "\n".join([*lines, "", _compared(rows), "", _how(result)])


def summarise(rows: Sequence[Mapping[str, Any]], method: str) -> Summary:
    """Return what came of one method on all recordings together.

    Args:
        rows: of a result file, at least one.
        method: a name that each row has under ``methods``.
    """
    seeds = range(len(rows[0]["methods"][method]))
    totals = [sum((Score.from_json(row["methods"][method][seed]) for row in rows), Score()) for seed in seeds]
    counts, scores = [one.counts for one in totals], [nab(one.changes) for one in totals]
    return Summary(
        f1_by_seed=tuple(one.f1 for one in counts),
        false_alarm_rate=fmean(one.false_alarm_rate for one in counts),
        missed_alarm_rate=fmean(one.missed_alarm_rate for one in counts),
        nab={profile: fmean(one[profile] for one in scores) for profile in scores[0]},
    )


def _measured(rows: Sequence[Mapping[str, Any]], rest: Sequence[Mapping[str, Any]], method: str) -> str:
    one = summarise(rows, method)
    interval = f1_interval(_counts(rows, method))
    name = method
    if method == MODEL:
        least, most = min(one.f1_by_seed), max(one.f1_by_seed)
        name = f"**{method}** (mean of {len(one.f1_by_seed)} seeds, F1 {least:.2f} to {most:.2f})"
    unseen = f"{summarise(rest, method).f1:.2f}" if rest else "–"
    shares = f"{100 * one.false_alarm_rate:.1f} % | {100 * one.missed_alarm_rate:.1f} %"
    return f"| {name} | {one.f1:.2f} [{interval.low:.2f}, {interval.high:.2f}] | {unseen} | {shares} | {_scores(list(one.nab.values()))} |"


def _always(rows: Sequence[Mapping[str, Any]], rest: Sequence[Mapping[str, Any]]) -> str:
    """Return the row of an alarm at every sample, which follows from how many are anomalous: what an F1 is worth."""
    interval = f1_interval([[_alarmed(row)] for row in rows])
    unseen = f"{f1_interval([[_alarmed(row)] for row in rest]).mean:.2f}" if rest else "–"
    f1 = f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
    return f"| an alarm at every sample | {f1} | {unseen} | 100.0 % | 0.0 % | – |"


def _alarmed(row: Mapping[str, Any]) -> Counts:
    counts = Score.from_json(row["methods"][MODEL][0]).counts
    return Counts(counts.num_found + counts.num_missed, counts.num_false + counts.num_quiet)


def _counts(rows: Sequence[Mapping[str, Any]], method: str) -> list[list[Counts]]:
    return [[Score.from_json(seed).counts for seed in row["methods"][method]] for row in rows]


def _compared(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how the model's F1 is to that of the best detector without learning, on the same recordings."""
    best = max((name for name in rows[0]["methods"] if name != MODEL), key=lambda name: summarise(rows, name).f1)
    gain = f1_interval(_counts(rows, MODEL), _counts(rows, best))
    return f"On the same recordings the model's F1 differs by {gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}] from that of {best}, the best of the others run here."


def _scores(scores: Sequence[float]) -> str:
    return " / ".join(f"{score:.1f}" for score in scores)


def _how(result: dict[str, Any]) -> str:
    return (
        f"Measured with `{result['command']}` at commit {result['commit'][:12]}, {result['cpu_s']:g} CPU-seconds for all {result['seeds']} models on one "
        f"core of {result['hardware']['cpu']}; intervals by the bootstrap over recordings."
    )
