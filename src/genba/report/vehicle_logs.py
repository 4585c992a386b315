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

SWEEPS, DRIVE = ("genba-sweeps", 1), ("genba-real-drive", 1)
#: largest distance that storing may move a point, in millimetres
TARGET_MM = 2.0
#: where a world model shall be better than every forecast without learning, in seconds
TARGET_AHEAD_S = 1.0


def vehicle_logs_tables(folder: Path) -> str:
    """Return every table of the page as Markdown.

    Raises:
        ConfigError: a result file is missing or is none.
    """
    return "\n\n".join(
        [
            drive_table(folder / "comma2k19.json"),
            sweeps_tables(folder / "sweeps.json"),
            recorded_table(folder / "vehicle-recorded"),
            maps_table(folder / "vehicle-maps"),
        ]
    )


def drive_table(path: Path) -> str:
    """Return what a world model foretells of a recorded drive, beside forecasts without learning.

    Raises:
        ConfigError: no such file, or not a result of this format.
    """
    result = read_measurement(path, DRIVE, written_by="perf/real_drive.py --out")
    who = list(result["rows"][0]["errors"])
    lines = ["| ahead | what | " + " | ".join(who) + " | less than the best other (95 % bootstrap) |"]
    lines.append("|---|---|" + "---:|" * (len(who) + 1))
    for row in result["rows"]:
        errors = {name: value["rmse"] for name, value in row["errors"].items()}
        least = min(errors, key=errors.__getitem__)
        cells = [f"**{value:.3g}**" if name == least else f"{value:.3g}" for name, value in errors.items()]
        gain = row["gain"]
        lines.append(
            f"| {row['ahead_s']:g} s | {row['quantity']}, {row['unit']} | {' | '.join(cells)} | "
            f"{gain['value']:.2g} ({gain['low']:.2g} – {gain['high']:.2g}) |"
        )
    begin_s, end_s = result["measured_on_s"]
    target = [row for row in result["rows"] if row["ahead_s"] == TARGET_AHEAD_S]
    better = [row["quantity"] for row in target if row["gain"]["value"] > 0]
    surely = [row["quantity"] for row in target if row["gain"]["low"] > 0]
    lines += [
        "",
        f"Root mean squared errors; the model's is the mean of {result['seeds']} seeds. {result['moments']} moments between "
        f"seconds {begin_s:.1f} and {end_s:.1f}; trained on the {result['trained_on_s'][1]:g} seconds before. At {TARGET_AHEAD_S:g} s the model is "
        f"better than all three at {' and '.join(better) or 'nothing'} (target: all {len(target)}), by an interval above zero at "
        f"{' and '.join(surely) or 'nothing'}.",
        "",
        f"{result['cpu_s']} CPU-seconds. {_how(result)}",
    ]
    return "\n".join(lines)


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


def maps_table(folder: Path) -> str:
    """Return how policies do at real crossings, each with its Wilson interval.

    Raises:
        ConfigError: a file there is not a result, or there is none.
    """
    results = read_results(folder)
    if not results:
        raise ConfigError(
            f"{folder}: got no result of a real crossing; measure with 'genba bench vehicle/cologne1@1 --out'"
        )
    names = ("collided", "ran_red", "off_road", "timed_out")
    lines = [
        "| real crossing | policy | success (95 % Wilson) | "
        + " | ".join(n.replace("_", " ") for n in names)
        + " | n |"
    ]
    lines.append("|---|---|---:|" + "---:|" * (len(names) + 1))
    for result in results:
        success = result.success
        shares = " | ".join(f"{result.metrics[name].mean:.0%}" for name in names)
        lines.append(
            f"| `{result.task}` | {result.policy.replace('_', ' ')} | {success.mean:.0%} ({success.low:.0%} – {success.high:.0%}) | "
            f"{shares} | {len(result.seeds)} |"
        )
    commits = ", ".join(sorted({result.commit[:12] for result in results}))
    return "\n".join([*lines, "", f"Measured at commit {commits}."])


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
