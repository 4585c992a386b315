"""A result: everything needed to believe, repeat or doubt one measurement, as one JSON file.

Tables are generated from these files, never typed. Read next: ``rollout``, which makes them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genba.bench.metrics import Interval
from genba.errors import ConfigError

FORMAT, VERSION = "genba-result", 1
#: histogram edges of decision latencies, in seconds: 10 per decade from 0.1 ms to 100 s
LATENCY_EDGES_S = tuple(float(edge) for edge in np.round(np.logspace(-4, 2, 61), 9))


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """How long decisions took, from the observation's arrival to the answer, in seconds."""

    num_decisions: int
    p50_s: float
    p99_s: float
    max_s: float
    #: decisions between consecutive ``LATENCY_EDGES_S``; the ends take what lies outside
    histogram: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Result:
    """One policy on one task."""

    task: str
    #: its name, e.g. ``"model"`` or ``"idm"``
    policy: str
    #: ``"model"``, ``"expert"``, ``"baseline"`` or ``"other"``
    kind: str
    #: sha256 of a model's weights, empty for other policies
    weights_digest: str
    #: where a model comes from, as its bundle says
    provenance: Mapping[str, Any]
    seeds: tuple[int, ...]
    #: whether all seeds are of the task's frozen test seeds
    on_test_seeds: bool
    #: share of successful episodes, Wilson interval
    success: Interval
    #: metric -> mean over episodes; Wilson interval where it is 0 or 1 in each, else bootstrap
    metrics: Mapping[str, Interval]
    #: per episode, in the order of ``seeds``: metric name (and ``success``, ``num_steps``) -> value
    outcomes: tuple[Mapping[str, float], ...]
    latency: Latency
    #: the machine's deadline, in seconds, and whether late answers were treated as late
    deadline_s: float
    deadline_enforced: bool
    #: counts of the control loop, see ``ControlLog``
    control: Mapping[str, Any]
    #: machine time of all episodes, and the time that the measurement took, in seconds
    simulated_s: float
    wall_s: float
    num_workers: int
    hardware: Mapping[str, Any]
    genba_version: str
    commit: str
    #: ISO 8601, UTC
    date: str
    command: str
    #: whether a model's passport allowed it to act, and who says so; empty for other policies
    passport: str = ""
    #: seed -> ground-truth trace of the episodes that were asked to be kept; not part of the file
    traces: Mapping[int, Mapping[str, np.ndarray]] = field(default_factory=dict)

    def values(self, metric: str) -> np.ndarray:
        """Return one metric per episode, float64 ``[episodes]``, in the order of ``seeds``."""
        return np.array([outcome[metric] for outcome in self.outcomes], np.float64)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; a number that is not finite becomes None."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "traces"}
        plain |= {
            "success": dataclasses.asdict(self.success),
            "metrics": {name: dataclasses.asdict(interval) for name, interval in self.metrics.items()},
            "latency": dataclasses.asdict(self.latency),
        }
        return {"format": FORMAT, "version": VERSION, **_finite(plain)}

    def write(self, path: Path | str) -> None:
        """Write the result file, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)

    @staticmethod
    def read(path: Path | str) -> Result:
        """Read a result file.

        Raises:
            ConfigError: no such file, or not a result of this version.
        """
        try:
            table = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; expected a result written by 'genba bench run'") from None
        except json.JSONDecodeError as error:
            raise ConfigError(f"{path}: not valid JSON ({error})") from error
        got = (table.pop("format", None), table.pop("version", None)) if isinstance(table, dict) else None
        if got != (FORMAT, VERSION):
            raise ConfigError(f"{path}: got format and version {got}, expected {(FORMAT, VERSION)}")
        try:
            table["success"] = _interval(table["success"])
            table["metrics"] = {name: _interval(interval) for name, interval in table["metrics"].items()}
            table["outcomes"] = tuple(
                {name: _nan(value) for name, value in outcome.items()} for outcome in table["outcomes"]
            )
            table["latency"] = _latency(table["latency"])
            table["seeds"] = tuple(table["seeds"])
            return Result(**table)
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path}: not a whole result ({error}); run the measurement again") from error


def measure_latency(latencies_s: Sequence[float]) -> Latency:
    """Summarise decision latencies."""
    if not len(latencies_s):
        return Latency(
            num_decisions=0,
            p50_s=math.nan,
            p99_s=math.nan,
            max_s=math.nan,
            histogram=(0,) * (len(LATENCY_EDGES_S) - 1),
        )
    values = np.asarray(latencies_s, np.float64)
    inside = np.clip(values, LATENCY_EDGES_S[0], np.nextafter(LATENCY_EDGES_S[-1], 0))
    counts, _ = np.histogram(inside, LATENCY_EDGES_S)
    return Latency(
        num_decisions=len(values),
        p50_s=float(np.quantile(values, 0.5)),
        p99_s=float(np.quantile(values, 0.99)),
        max_s=float(values.max()),
        histogram=tuple(int(count) for count in counts),
    )


def hardware() -> dict[str, Any]:
    """Return what this computer is, without saying whose or which one."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model,
        "num_cores": os.cpu_count() or 0,
        "system": platform.system(),
        "python": platform.python_version(),
    }


def commit() -> str:
    """Return the commit of the code that runs, with ``+changes`` where files differ from it; empty outside a checkout."""
    folder = Path(__file__).parent
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return ""
    return head + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _latency(table: Mapping[str, Any]) -> Latency:
    return Latency(
        num_decisions=table["num_decisions"],
        p50_s=_nan(table["p50_s"]),
        p99_s=_nan(table["p99_s"]),
        max_s=_nan(table["max_s"]),
        histogram=tuple(table["histogram"]),
    )


def _interval(table: Mapping[str, float | None]) -> Interval:
    low, high = table["low"], table["high"]
    return Interval(_nan(table["mean"]), -math.inf if low is None else low, math.inf if high is None else high)
