"""Measure windows per CPU-second from several stores of the same mixed set, side by side, and write one result file.

    python perf/stores/measure.py --work DIR [--lerobot-python PYTHON] [--out docs/measurements/stores.json]

Each store is built from the same arrays, checked against them (telemetry and LiDAR byte by byte), warmed up (one that keeps
what it read by a walk over everything), and then measured in rounds: in every round each store gets the same windows in turn, so that whatever else the computer does
falls on all. What counts is the CPU time of the measuring process with all its threads, pinned to one core. The table in
``docs/data.md`` comes from the result file: ``genba report stores``. It needs the extra ``compare``. LeRobot needs a Python of its own, see
``lerobot_store``; without ``--lerobot-python`` it is left out and the result says so.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import genba_store
import lance_store
import mcap_store
import numpy as np
import parquet_store
from mixed_set import EPISODE_S, KINDS, Reference, draw_windows, walk, write_set
from pictures import encode

from genba.bench.results import commit, hardware

FORMAT, VERSION = "genba-stores", 1
LEROBOT_NOTE = (
    "every stream forced to 15 Hz (16 samples of each per window instead of 500, 50 and 100), no LiDAR, frames as lossy "
    "AV1 video; its own `__getitem__`, frames as uint8"
)


@dataclass(frozen=True, eq=False)
class Entry:
    """One row of the table."""

    name: str
    note: str
    folder: str
    build: Callable[[Path, int, Path], None]
    open: Callable[[Path, Path, int], Any]
    #: windows asked for per call
    batch: int
    #: how much colour its JPEGs keep; every store of one kind gets the same bytes
    subsampling: str = "420"
    #: whether it keeps numbers and sweeps in memory once they were read
    keeps: bool = False

    @property
    def place(self) -> str:
        """The folder's name with the subsampling: what was built from other JPEGs is never taken for it."""
        return f"{self.folder}_{self.subsampling}"


def entries() -> list[Entry]:
    """Return every store that runs in this process."""
    out = [Entry(*variant, batch=32, keeps="nothing kept" not in variant[0]) for variant in genba_store.variants()]
    lance_note = "one table per stream; half-second blocks, sweeps, JPEGs; clocks kept in memory"
    out += [
        Entry("Lance, 32 windows per take", lance_note, "lance", lance_store.build, lance_store.Store, 32),
        Entry("Lance, one window per take", lance_note, "lance", lance_store.build, lance_store.Store, 1),
        Entry("MCAP", "a message per sample, zstd chunks of 128 KB", "mcap", mcap_store.build, mcap_store.Store, 1),
        Entry("Parquet", "one row group per episode, zstd", "parquet", parquet_store.build, parquet_store.Store, 1),
        Entry(*genba_store.full_colour(), batch=32, subsampling="444", keeps=True),
    ]
    note = "32 windows per take, JPEGs with full colour resolution"
    out.append(Entry("Lance, 4:4:4", note, "lance", lance_store.build, lance_store.Store, 32, "444"))
    return out


def check(entry: Entry, store: Any, reference: Reference, windows: tuple[np.ndarray, np.ndarray]) -> None:
    """Compare a store's answers with the set, whole windows and telemetry alone."""
    for kind in KINDS:
        for at in range(0, len(windows[0]), entry.batch):
            part = tuple(w[at : at + entry.batch] for w in windows)
            for episode, time_ns, got in zip(*part, store.unpack(store.windows(*part, kind)), strict=True):
                reference.check(
                    int(episode), int(time_ns), got, telemetry_only=kind == "telemetry", who=f"{entry.name}, {kind}"
                )


def measure(store: Any, kind: str, batch: int, windows: tuple[np.ndarray, np.ndarray], seconds: float) -> float:
    """Return windows per CPU-second."""
    count, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds or count == 0:
        at = count % (len(windows[0]) - batch + 1)
        store.windows(windows[0][at : at + batch], windows[1][at : at + batch], kind)
        count += batch
    return count / spent


class LeRobot:
    """The other process."""

    def __init__(self, python: str, set_folder: Path, folder: Path, num_episodes: int, seed: int) -> None:
        command = [python, str(Path(__file__).with_name("lerobot_store.py")), str(set_folder), str(folder)]
        self.process = subprocess.Popen(
            [*command, str(num_episodes), str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.facts = self._answer()

    def measure(self, kind: str, seconds: float, draw: int) -> float:
        """Return windows per CPU-second of that process."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([kind, seconds, draw]) + "\n")
        self.process.stdin.flush()
        count, spent = self._answer()
        return count / spent

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        # The library may say things of its own on the same stream.
        for line in self.process.stdout:
            if line.startswith(("{", "[")):
                return json.loads(line)
        raise SystemExit(f"the LeRobot process ended with {self.process.wait()}")

    def close(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    """Parse the command line, build what is missing, check, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the set and the stores, about 4 GB; kept")
    parser.add_argument("--episodes", type=int, default=48)
    parser.add_argument("--lerobot-episodes", type=int, default=12, help="writing them takes long; rates do not change")
    parser.add_argument("--lerobot-python", default="", help="a Python that has lerobot[dataset]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU seconds per store, kind and round, at least")
    parser.add_argument("--only", action="append", help="stores whose name begins so; may be repeated")
    parser.add_argument("--out", type=Path, help="where to write the result file")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    work, num_episodes = arguments.work, arguments.episodes
    chosen = [e for e in entries() if not arguments.only or e.name.startswith(tuple(arguments.only))]
    # Names tell the JPEGs' subsampling; the numbers, sweeps and moments are the same in both sets.
    sets = {subsampling: work / f"set_{subsampling}" for subsampling in ("420", "444")}
    main_set = sets["420"]
    for subsampling in sorted({"420", *(entry.subsampling for entry in chosen)}):
        write_set(sets[subsampling], arguments.seed, num_episodes, partial(encode, subsampling=subsampling))
    stores, rows, built = {}, {}, {}
    for entry in chosen:
        folder, source = work / entry.place, sets[entry.subsampling]
        if not (work / f"{entry.place}.built").exists():
            shutil.rmtree(folder, ignore_errors=True)
            began = time.process_time()
            entry.build(source, num_episodes, folder)
            (work / f"{entry.place}.built").write_text(str(time.process_time() - began))
        built[entry.place] = float((work / f"{entry.place}.built").read_text())
        stores[entry.name] = entry.open(folder, source, num_episodes)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        rows[entry.name] = {"name": entry.name, "note": entry.note, "batch": entry.batch, "size_bytes": size}
        rows[entry.name] |= {"episodes": num_episodes, "build_cpu_s": built[entry.place], "rates": {}}
    lerobot = None
    if arguments.lerobot_python:
        lerobot = LeRobot(
            arguments.lerobot_python, main_set, work / "lerobot", arguments.lerobot_episodes, arguments.seed
        )
        folder, facts = work / "lerobot" / "with_cameras", lerobot.facts
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        name = f"LeRobotDataset {facts['versions']['lerobot']}"
        rows[name] = {"name": name, "note": LEROBOT_NOTE, "batch": 1, "size_bytes": size, "rates": {}}
        rows[name] |= {"episodes": arguments.lerobot_episodes, "build_cpu_s": facts["build_cpu_s"], "facts": facts}
    reference = Reference(main_set)
    for entry in chosen:
        check(entry, stores[entry.name], reference, draw_windows(main_set, num_episodes, 1, 64))
    print(f"{len(chosen)} stores answer like the set", flush=True)
    everything = walk(main_set, num_episodes)
    for entry in chosen:
        began = time.process_time()
        for kind in KINDS if entry.keeps else []:
            for at in range(0, len(everything[0]), entry.batch):
                stores[entry.name].windows(*(w[at : at + entry.batch] for w in everything), kind)
        rows[entry.name]["walk_cpu_s"] = round(time.process_time() - began, 2)
    for round_number in range(-1, arguments.rounds):
        # The first round warms up and is not kept.
        seconds = arguments.seconds if round_number >= 0 else arguments.seconds / 2
        windows = draw_windows(main_set, num_episodes, 100 + round_number, 4096)
        for kind in KINDS:
            for entry in chosen:
                rate = measure(stores[entry.name], kind, entry.batch, windows, seconds)
                if round_number >= 0:
                    rows[entry.name]["rates"].setdefault(kind, []).append(round(rate, 1))
            for asked in ([kind] if kind != "telemetry" else [kind, "telemetry alone"]) if lerobot else []:
                rate = lerobot.measure(asked, seconds, 100 + round_number)
                if round_number >= 0:
                    rows[name]["rates"].setdefault(asked, []).append(round(rate, 1))
        print(f"round {round_number + 1} of {arguments.rounds}", flush=True)
    if lerobot:
        lerobot.close()
    for row in rows.values():
        best = {kind: max(rates) for kind, rates in row["rates"].items()}
        said = "  ".join(f"{kind} {best[kind]:10,.0f}" for kind in best)
        print(f"{row['name']:44} {said}  {row['size_bytes'] / 1e6:7,.0f} MB")
    if arguments.out:
        packages = ("numpy", "pyarrow", "simplejpeg", "cryptography", "pylance", "mcap", "zstandard")
        result = {
            "format": FORMAT,
            "version": VERSION,
            "set": {"episodes": num_episodes, "episode_s": EPISODE_S, "seed": arguments.seed},
            "rounds": arguments.rounds,
            "seconds": arguments.seconds,
            "stores": list(rows.values()),
            "versions": {package: version(package) for package in packages},
            "hardware": hardware(),
            "commit": commit(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": shlex.join(["python", *sys.argv]),
        }
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
