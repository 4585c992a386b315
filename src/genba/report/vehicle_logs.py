"""The tables of ``docs/vehicle-logs.md``: what came out on recorded drives and sweeps, generated from result files.

Read next: ``readme``, which does the same for the README's table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genba.bench.results import Result
from genba.errors import ConfigError
from genba.report.measurement import read_measurement
from genba.report.run import read_results

SWEEPS = ("genba-sweeps", 1)
#: largest distance that storing may move a point, in millimetres
TARGET_MM = 2.0


def vehicle_logs_tables(folder: Path) -> str:
    """Return every table of the page as Markdown.

    Raises:
        ConfigError: a result file is missing or is none.
    """
    return "\n\n".join([sweeps_tables(folder / "sweeps.json"), recorded_table(folder / "vehicle-recorded")])


def sweeps_tables(path: Path) -> str:
    """Return what storing does to recorded sweeps, and how well a sweep foretells the next.

    Raises:
        ConfigError: no such file, or not a result of this format.
    """
    result = read_measurement(path, SWEEPS, written_by="perf/real_sweeps.py --out")
    lines = [
        "| sweeps, stored sealed | points | largest error of an axis | largest distance | places | all that a return says |"
    ]
    lines.append("|---|---:|---:|---:|---:|---:|")
    lines += [
        f"| {row['name']}, {row['sweeps']} | {row['points']:,} | {row['largest_error_mm']:.2f} mm | "
        f"{row['largest_distance_mm']:.2f} mm | {row['ratio_of_places']:.2f} x smaller | "
        f"{row['ratio_of_all']:.2f} x smaller ({row['numbers_per_point']} numbers) |"
        for row in result["recordings"]
    ]
    worst_mm = max(row["largest_distance_mm"] for row in result["recordings"])
    met = "met" if worst_mm < TARGET_MM else "not met"
    lines += ["", f"No point moves by more than {worst_mm:.2f} mm (target below {TARGET_MM:g} mm: {met}).", ""]
    lines += ["| next sweep's occupied cells | overlap (95 % bootstrap) |", "|---|---:|"]
    for row in result["occupancy"]:
        where = f"{row['name']}, {row['ahead_s']:.2f} s later, moved {row['moved_m']:.2f} m, turned {row['turned_rad']:.4f} rad"
        overlap = {name: _interval(value) for name, value in row["overlap"].items()}
        lines.append(f"| {where}: as the last sweep (persistence) | {overlap['persistence']} |")
        lines.append(f"| moved as the car was moving | {overlap['own motion']} |")
        lines.append(f"| moved as the car then did move (not a forecast) | {overlap['true own motion']} |")
        lines.append(f"| what the car's motion adds to persistence | {overlap['gain']} |")
    return "\n".join([*lines, "", _how(result)])


def recorded_table(folder: Path) -> str:
    """Return what came of each policy in each recorded scene.

    Raises:
        ConfigError: a file there is not a result, or there is none.
    """
    results = read_results(folder)
    if not results:
        raise ConfigError(f"{folder}: got no result of a recorded scene; measure with 'genba bench FILE.xml --out'")
    lines = ["| recorded scene | policy | outcome | way driven | least gap | time |", "|---|---|---|---:|---:|---:|"]
    for result in results:
        way, gap_m, time_s = (result.metrics[name].mean for name in ("route_completion", "min_gap_m", "time_s"))
        lines.append(
            f"| `{result.task}` | {result.policy.replace('_', ' ')} | {_outcome(result)} | {way:.0%} | {gap_m:.2f} m | "
            f"{time_s:.1f} s |"
        )
    commits = ", ".join(sorted({result.commit[:12] for result in results}))
    return "\n".join([*lines, "", f"One drive each, measured at commit {commits}."])


def _outcome(result: Result) -> str:
    """Name what happened, worst first."""
    for name in ("collided", "ran_red", "off_road", "success"):
        if result.metrics[name].mean if name != "success" else result.success.mean:
            return name.replace("_", " ")
    return "timed out"


def _interval(value: dict[str, float]) -> str:
    return f"{value['value']:.3f} ({value['low']:.3f} – {value['high']:.3f})"


def _how(result: dict[str, Any]) -> str:
    hardware = result["hardware"]
    return f"`{result['command']}` at commit {result['commit'][:12]}, one core of {hardware.get('cpu', 'an unnamed processor')}."
