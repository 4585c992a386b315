"""``genba factory anomalies``: the world model's surprise as an alarm on recordings of a real bench, beside classical detectors.

The recordings are those of the Skoltech Anomaly Benchmark, which whoever runs this has fetched; its protocol is kept: the first 400 samples of each recording
are for training, unmarked, and scored are the others. What is chosen here (``NUM_MEAN``, ``QUANTILE``, the number of train steps, and that ``--unmarked`` is
off) was chosen on the recordings ``CHOSEN_ON``; the table says how it is on the rest as well. Read next: ``genba.report.anomalies``.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from genba.bench.anomalies import alarms, score
from genba.bench.control_charts import distances, persistence_errors, t_squared, t_squared_and_q
from genba.bench.results import commit, hardware
from genba.data.deviations import deviation_facts, deviations
from genba.data.readers.skab import EMBODIMENT_ID, SkabReader
from genba.errors import ConfigError, DataError
from genba.report.anomalies import FORMAT, MODEL, VERSION, summarise
from genba.spec.embodiment import load_embodiment
from genba.spec.episode import TRACE, Episode
from genba.spec.units import to_ns
from genba.train.recipe import Recipe, recipe

#: The benchmark's training part of each recording, samples.
NUM_NORMAL = 400
#: Scores that are averaged: as many as a window of the bench's facts holds (a minute).
NUM_MEAN = 60
#: Of a recording's normal part, above which there is an alarm.
QUANTILE = 0.99
#: Recordings on which choices were made.
CHOSEN_ON = ("other/1", "other/2", "other/3", "other/4", "valve2/0", "valve2/1", "valve2/2", "valve2/3")


def anomalies(
    folder: Annotated[Path, typer.Argument(help="A folder of the Skoltech Anomaly Benchmark's CSVs.")],
    seeds: Annotated[int, typer.Option(min=1, help="How many models are trained.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Train steps of each.")] = 600,
    unmarked: Annotated[
        bool, typer.Option("--unmarked", help="Train on recordings without marks as well, in pieces of 400 samples.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the result here as JSON.")] = None,
) -> None:
    """Measure the world model's surprise, and detectors without learning, on recordings with marked anomalies."""
    # Here, because the other commands of a factory run on hosts without torch.
    try:
        import torch

        from genba.train.surprise import watch
    except ModuleNotFoundError as error:
        raise ConfigError(f"anomalies: needs the package {error.name}: pip install 'genba[model]'") from error
    torch.set_num_threads(1)
    read = _read(folder)
    marked = {name: episode for name, episode in read.items() if f"{TRACE}.anomaly" in episode.streams}
    if len(marked) < 2:
        raise ConfigError(f"{folder}: got {len(marked)} recordings with marks, expected at least 2 of SKAB")
    facts = load_embodiment(EMBODIMENT_ID)
    ours = deviation_facts(facts)
    made = [deviations(episode, facts, NUM_NORMAL) for episode in marked.values()]
    also = [piece for name, one in read.items() if unmarked and name not in marked for piece in _pieces(one)]
    normal = [deviations(piece, facts, NUM_NORMAL) for piece in also]
    began_s = time.process_time()
    by_seed = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as place:
            found = watch([*made, *normal], ours, choices(seed, steps), Path(place), num_normal=NUM_NORMAL)
        by_seed.append(found[: len(made)])
    cpu_s = time.process_time() - began_s
    ahead_ns, rows = to_ns(ours.control.horizon * ours.control.period_s), []
    for number, (name, episode) in enumerate(marked.items()):
        alarmed = {MODEL: [_alarms(scores[number]) for scores in by_seed]}
        alarmed |= {method: [found] for method, found in _others(episode, made[number], ahead_ns).items()}
        rows.append(
            {"recording": name, "methods": {method: _scored(episode, each) for method, each in alarmed.items()}}
        )
    _show(rows)
    if out is not None:
        result = {
            "format": FORMAT,
            "version": VERSION,
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "commit": commit(),
            "hardware": hardware(),
            "cpu_s": round(cpu_s, 1),
            "recipe": "debug",
            "steps": steps,
            "seeds": seeds,
            "unmarked_pieces": len(normal),
            "num_normal": NUM_NORMAL,
            "num_mean": NUM_MEAN,
            "quantile": QUANTILE,
            "horizon": ours.control.horizon,
            "chosen_on": [name for name in CHOSEN_ON if name in marked],
            "rows": rows,
        }
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def choices(seed: int, steps: int) -> Recipe:
    """Return what is chosen about the training: the debug recipe, longer, with the batch of ``tiny``."""
    return replace(
        recipe("debug"),
        seed=seed,
        num_steps=steps,
        default_batch=64,
        warmup_steps=min(50, steps),
        mean_decay=0.98,
        log_every=steps,
        evaluate_every=steps,
        checkpoint_every=steps,
    )


def _read(folder: Path) -> dict[str, Episode]:
    """Return every recording of the benchmark under a folder, by its folder and file name.

    Raises:
        DataError: a number that is missing, or two recordings of one name.
    """
    reader, found = SkabReader(), dict[str, Episode]()
    for path in sorted(folder.rglob("*.csv")):
        if reader.recognises(path):
            (episode,) = reader.read(path)
            if not np.isfinite(episode.streams["bench"].values).all():
                raise DataError(f"{path}: got cells without a number, expected a number of every sensor in every row")
            name = f"{path.parent.name}/{path.stem}"
            if name in found:
                raise DataError(f"{path}: got a second recording named {name}, expected one copy of the benchmark")
            found[name] = episode
    return found


def _pieces(episode: Episode) -> Iterator[Episode]:
    """Yield a recording cut by time into pieces as long as the others' beginnings; what is left over is not used."""
    bench = episode.streams["bench"]
    for begin in range(0, len(bench) - NUM_NORMAL + 1, NUM_NORMAL):
        yield Episode(episode.metadata, {"bench": bench.slice(begin, begin + NUM_NORMAL)})


def _alarms(scores: np.ndarray) -> np.ndarray:
    return alarms(scores, num_normal=NUM_NORMAL, num_mean=NUM_MEAN, quantile=QUANTILE)[NUM_NORMAL:]


def _others(episode: Episode, deviating: Episode, ahead_ns: int) -> dict[str, np.ndarray]:
    """Return the alarms of detectors without learning after a recording's beginning, by name."""
    bench, shown = episode.streams["bench"], deviating.streams["bench"]
    values = bench.values.astype(np.float64)
    normal, later = values[:NUM_NORMAL], values[NUM_NORMAL:]
    return {
        "persistence error": _alarms(persistence_errors(bench.times_ns, shown.values, ahead_ns)),
        "T-squared, averaged alike": _alarms(distances(normal, values)),
        "T-squared": t_squared(normal, later),
        "T-squared and Q (PCA)": t_squared_and_q(normal, later),
    }


def _scored(episode: Episode, alarmed: list[np.ndarray]) -> list[dict[str, Any]]:
    times_ns = episode.streams["bench"].times_ns[NUM_NORMAL:]
    anomalous, changing = (
        episode.streams[f"{TRACE}.{mark}"].values[NUM_NORMAL:, 0] > 0 for mark in ("anomaly", "changepoint")
    )
    return [asdict(score(times_ns, anomalous, changing, each)) for each in alarmed]


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table("", "F1", "false alarms", "missed", "NAB (standard)")
    for method in rows[0]["methods"]:
        one = summarise(rows, method)
        shown = (f"{one.f1:.3f}", f"{one.false_alarm_rate:.1%}", f"{one.missed_alarm_rate:.1%}")
        table.add_row(method, *shown, f"{one.nab['standard']:.1f}")
    Console().print(table)
