"""Train the world model on the first part of a recorded drive and measure what it foretells of the rest.

    python perf/real_drive.py [--seeds 2] [--steps 1600] [--out docs/measurements/comma2k19.json]

The drive is the minute of comma2k19 in ``$GENBA_SAMPLES/vehicle``, split by time. The model is the ordinary one at preset ``debug``,
trained by the ordinary loop on what the powertrain bus says (steering wheel, wheel speeds, yaw rate and accelerations), once for each
horizon, as a world head looks one horizon ahead. As forty seconds are little, it trains on the drive's first part
and on weighted sums of stretches of it (``genba.data.superpose``); lateral and longitudinal signals have weights of their own.

At the same moments of the later part, ten a second, it is held against three forecasts without learning (``genba.machines.vehicle.
extrapolation``); the bicycle's steering ratio and offsets are fitted to the first part. What counts is the root of the mean squared
error, mean over seeds; intervals are a bootstrap over blocks of two seconds. The number of steps was chosen on seconds 30 to
40 with models of the 30 before (``--train-until 30 --measure-until 40``). Read next: ``genba.report.vehicle_logs``, which makes the table.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genba.bench.results import commit, hardware
from genba.data.mixture import Mixture
from genba.data.readers.comma2k19 import EMBODIMENT_ID, Comma2k19Reader
from genba.data.superpose import superpose
from genba.data.vault import Vault
from genba.data.windows import WindowSource
from genba.machines.vehicle.extrapolation import (
    Foretold,
    Going,
    Steering,
    constant_acceleration,
    kinematic_bicycle,
    persistence,
    slopes,
)
from genba.spec.embodiment import ActionSpace, Embodiment, load_embodiment
from genba.spec.episode import Episode
from genba.spec.normalise import Normalizer
from genba.spec.streams import Stream
from genba.spec.units import SECOND_NS, to_ns
from genba.train.data import TrainingData
from genba.train.forecast import forecast
from genba.train.loop import train
from genba.train.recipe import Recipe, recipe
from genba.trust.keys import FileKeys

FORMAT, VERSION = "genba-real-drive", 1
#: what the car's own bus says, and which numbers of it say how it turns
LATERAL = {"steering_angle": (True, True), "wheel_speeds": (False,) * 4, "motion": (True, False, True)}
#: control periods (0.1 s) ahead
HORIZONS = (5, 10, 20)
#: made-up drives: how many stretches are summed, how long they are, and how far speeds are shifted
NUM_STRETCHES, STRETCH_S, SHIFT_MPS = 3, 12.0, 5.0
#: rates of change are taken over this long, the model's own history
HISTORY_S = 0.5
#: Toyota RAV4 2017, manufacturer's data
WHEELBASE_M = 2.66
BLOCK_S, NUM_RESAMPLES = 2.0, 2000
QUANTITIES = {"speed": "m/s", "steering wheel": "rad", "yaw rate": "rad/s"}


def main() -> None:
    """Parse the command line, train, measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--copies", type=int, default=200, help="made-up drives beside the recorded one")
    parser.add_argument("--train-until", type=float, default=40.0, help="seconds of the drive that may be trained on")
    parser.add_argument("--measure-until", type=float, default=61.0, help="and where measuring ends")
    parser.add_argument("--out", type=Path, default=Path("docs/measurements/comma2k19.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    logs = Path(os.environ.get("GENBA_SAMPLES", "")) / "vehicle"
    if not Comma2k19Reader().recognises(logs / "comma2k19"):
        sys.exit(f"{logs}: got no drive of comma2k19; name the folder of recordings in GENBA_SAMPLES")
    (drive,) = Comma2k19Reader().read(logs / "comma2k19", dbc=logs / "dbc" / "toyota_2017.dbc")
    split_ns = drive.start_ns + to_ns(given.train_until)
    earlier = part(drive, drive.start_ns, split_ns)
    later = part(drive, split_ns, drive.start_ns + to_ns(given.measure_until))
    began_s, models = time.process_time(), dict[tuple[int, int], Foretold]()
    for seed in range(given.seeds):
        for horizon in HORIZONS:
            moments_ns, models[seed, horizon] = foretell(
                earlier, later, horizon=horizon, seed=seed, steps=given.steps, copies=given.copies
            )
    cpu_s = time.process_time() - began_s
    going, steering = how_it_goes(later, moments_ns), fitted(earlier)
    others: dict[str, Callable[[float], Foretold]] = {
        "persistence": lambda ahead_s: persistence(going, ahead_s),
        "constant acceleration": lambda ahead_s: constant_acceleration(going, ahead_s),
        "kinematic bicycle": lambda ahead_s: kinematic_bicycle(going, ahead_s, steering),
    }
    rows = []
    for horizon in HORIZONS:
        ahead_s = horizon * 0.1
        truth = as_table(happened(later, moments_ns + to_ns(ahead_s)))
        errors = {"world model": np.stack([as_table(models[seed, horizon]) - truth for seed in range(given.seeds)])}
        errors |= {name: (as_table(foretold(ahead_s)) - truth)[None] for name, foretold in others.items()}
        rows += [
            {"ahead_s": ahead_s, "quantity": name, "unit": QUANTITIES[name]}
            | compared({who: error[:, i] for who, error in errors.items()}, moments_ns)
            for i, name in enumerate(QUANTITIES)
        ]
    result = {
        "format": FORMAT,
        "version": VERSION,
        "command": shlex.join(["python", *sys.argv]),
        "commit": commit(),
        "hardware": hardware(),
        "cpu_s": round(cpu_s),
        "preset": "debug",
        "steps": given.steps,
        "seeds": given.seeds,
        "made_up_drives": given.copies,
        "trained_on_s": [0.0, given.train_until],
        "moments": len(moments_ns),
        "measured_on_s": [(int(t) - drive.start_ns) / SECOND_NS for t in (moments_ns[0], moments_ns[-1])],
        "bicycle": {"steering_ratio": steering.ratio, "wheelbase_m": WHEELBASE_M},
        "rows": rows,
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        shown = ", ".join(f"{who} {value['rmse']:.5f}" for who, value in row["errors"].items())
        print(f"{row['ahead_s']:.1f} s {row['quantity']:14} {shown}; less than the best other by {row['gain']}")


def part(drive: Episode, start_ns: int, stop_ns: int) -> Episode:
    """Return what the bus said between two times."""
    streams: dict[str, Stream] = {}
    for name in LATERAL:
        first, last = np.searchsorted(drive.streams[name].times_ns, [start_ns, stop_ns]).tolist()
        streams[name] = drive.streams[name].slice(first, last)
    return Episode(drive.metadata, streams)


def facts_of(horizon: int) -> Embodiment:
    """Return the car as the bus alone shows it, with a world head that looks so many control periods ahead."""
    car = load_embodiment(EMBODIMENT_ID)
    return replace(
        car,
        id=f"perf/toyota-bus-{horizon}@1",
        telemetry=tuple(channel for channel in car.telemetry if channel.name in LATERAL),
        entities=(),
        # Nothing is commanded in this log.
        action=ActionSpace(),
        control=replace(car.control, horizon=horizon),
    )


def foretell(
    earlier: Episode, later: Episode, *, horizon: int, seed: int, steps: int, copies: int
) -> tuple[np.ndarray, Foretold]:
    """Train a model on the earlier part; return the moments of the later one, and what it foretells one horizon after each."""
    facts, rng = facts_of(horizon), np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        vault = Vault.open(place / "vault", create=True, keys=FileKeys(place / "keys"))
        vault.keep_embodiment(facts)
        drives = {"recorded": earlier, "later": later}
        drives |= {f"made-up-{i}": made_up(earlier, rng) for i in range(copies)}
        entries = {}
        for name, drive in drives.items():
            named = replace(drive.metadata, episode_id=f"{facts.id}/{name}", embodiment_id=facts.id)
            vault.append(Episode(named, drive.streams))
            entries[name] = vault.entry(named.episode_id)
        statistics = vault.statistics(facts.id, [entries["recorded"].episode_id])
        normalizer = Normalizer(facts, statistics)
        trained_on = [entry for name, entry in entries.items() if name != "later"]
        training = WindowSource(vault, facts, normalizer, trained_on)
        recorded = WindowSource(vault, facts, normalizer, [entries["recorded"]])
        measured = WindowSource(vault, facts, normalizer, [entries["later"]])
        chosen = choices(seed, steps)
        sizes = {facts.id: chosen.default_batch}
        data = TrainingData(
            {facts.id: facts},
            {facts.id: statistics},
            Mixture({facts.id: training}, sizes, seed),
            Mixture({facts.id: recorded}, sizes, seed),
        )
        model = train(chosen, data, place / "run")
        # The same moments for every horizon: after a whole history, and where the farthest does not reach beyond the drive.
        times_ns, period_s = measured.times_ns, facts.control.period_s
        begun = times_ns >= times_ns[0] + to_ns(HISTORY_S + period_s)
        indices = np.flatnonzero(begun & (times_ns + to_ns(max(HORIZONS) * period_s) <= later.end_ns))
        found = forecast(model, measured, indices)
        return times_ns[indices], Foretold(
            speed_mps=found["wheel_speeds"].mean(1),
            wheel_rad=found["steering_angle"][:, 0],
            yaw_rate_radps=found["motion"][:, 0],
        )


def choices(seed: int, steps: int) -> Recipe:
    """Return what is chosen about the training: the debug recipe, longer, with smaller batches and steps."""
    return replace(
        recipe("debug"),
        seed=seed,
        num_steps=steps,
        default_batch=32,
        learning_rate=1e-3,
        warmup_steps=20,
        mean_decay=0.98,
        log_every=steps,
        evaluate_every=steps,
        checkpoint_every=steps,
        evaluate_batches=1,
    )


def made_up(drive: Episode, rng: np.random.Generator) -> Episode:
    """Sum some stretches of a drive: weights of one length for how it speeds up, others for how it turns, and another speed."""
    length_ns = to_ns(STRETCH_S)
    latest_ns = drive.end_ns - length_ns - to_ns(0.2)
    starts_ns = rng.integers(drive.start_ns + to_ns(0.1), latest_ns, NUM_STRETCHES)
    drawn = rng.normal(0, 1, (2, NUM_STRETCHES))
    # As large as the recorded ones, from half to one and a half times.
    drawn *= (np.exp(rng.uniform(-0.7, 0.4, 2)) / np.linalg.norm(drawn, axis=1))[:, None]
    weights = {name: np.where(lateral, drawn[1][:, None], drawn[0][:, None]) for name, lateral in LATERAL.items()}
    shifts = {"wheel_speeds": np.full(4, rng.uniform(-SHIFT_MPS, SHIFT_MPS))}
    return superpose(
        drive, "made-up", starts_ns=starts_ns.tolist(), length_ns=length_ns, weights=weights, shifts=shifts
    )


def happened(drive: Episode, moments_ns: np.ndarray) -> Foretold:
    """Return what the newest samples said at some moments."""

    def newest(name: str) -> np.ndarray:
        stream = drive.streams[name]
        return stream.values[np.searchsorted(stream.times_ns, moments_ns, side="right") - 1].astype(np.float64)

    return Foretold(
        speed_mps=newest("wheel_speeds").mean(1),
        wheel_rad=newest("steering_angle")[:, 0],
        yaw_rate_radps=newest("motion")[:, 0],
    )


def how_it_goes(drive: Episode, moments_ns: np.ndarray) -> Going:
    """Return how the car goes at some moments, by what the bus said until then."""
    now = happened(drive, moments_ns)

    def slope(name: str, values: np.ndarray) -> np.ndarray:
        return slopes(drive.streams[name].times_ns, values, moments_ns, over_s=HISTORY_S)

    return Going(
        speed_mps=now.speed_mps,
        wheel_rad=now.wheel_rad,
        yaw_rate_radps=now.yaw_rate_radps,
        acceleration_mps2=slope("wheel_speeds", drive.streams["wheel_speeds"].values.mean(1)),
        wheel_rate_radps=slope("steering_angle", drive.streams["steering_angle"].values[:, 0]),
        yaw_acceleration_radps2=slope("motion", drive.streams["motion"].values[:, 0]),
    )


def fitted(drive: Episode) -> Steering:
    """Fit a bicycle's steering ratio and both offsets to a drive: yaw rate = offset + speed * (wheel - offset) / (ratio * wheelbase)."""
    moments_ns = drive.streams["motion"].times_ns[10:]
    said = happened(drive, moments_ns)
    columns = [np.ones_like(said.speed_mps), said.speed_mps, said.speed_mps * said.wheel_rad]
    offset, straight, gain = np.linalg.lstsq(np.stack(columns, 1), said.yaw_rate_radps, rcond=None)[0].tolist()
    return Steering(
        wheelbase_m=WHEELBASE_M,
        ratio=1 / (gain * WHEELBASE_M),
        wheel_offset_rad=-straight / gain,
        yaw_offset_radps=offset,
    )


def as_table(foretold: Foretold) -> np.ndarray:
    """Return ``[quantity, moment]`` in the order of ``QUANTITIES``."""
    return np.stack([foretold.speed_mps, foretold.wheel_rad, foretold.yaw_rate_radps])


def compared(errors: dict[str, np.ndarray], moments_ns: np.ndarray) -> dict[str, Any]:
    """Return everybody's root mean squared error, and how much less the model's is, with 95 % intervals.

    Args:
        errors: who -> ``[seed, moment]``; the first is the model.
    """
    block = (moments_ns - moments_ns[0]) // to_ns(BLOCK_S)
    count = int(block[-1]) + 1
    drawn = np.random.default_rng(0).integers(0, count, (NUM_RESAMPLES, count))
    sizes = np.bincount(block, minlength=count)

    def resampled(error: np.ndarray) -> np.ndarray:
        squares = np.stack([np.bincount(block, seed**2, minlength=count) for seed in error])
        return np.sqrt(squares[:, drawn].sum(-1) / sizes[drawn].sum(-1)).mean(0)

    value = {who: float(np.sqrt((error**2).mean(-1)).mean()) for who, error in errors.items()}
    spread = {who: resampled(error) for who, error in errors.items()}
    model, *others = errors
    best = min(others, key=value.__getitem__)
    return {
        "errors": {who: {"rmse": value[who]} | _interval(spread[who]) for who in errors},
        "per_seed": np.sqrt((errors[model] ** 2).mean(-1)).tolist(),
        "best_other": best,
        "gain": {"value": value[best] - value[model]} | _interval(spread[best] - spread[model]),
    }


def _interval(resampled: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(resampled, [0.025, 0.975]).tolist()
    return {"low": low, "high": high}


if __name__ == "__main__":
    main()
