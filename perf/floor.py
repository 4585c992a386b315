"""Measure the time from an event on a floor to a new plan in force, with real processes and a real connection.

    python perf/floor.py --carrier opcua [--events 30] [--size 10x200] [--policy search] [--deadline 0.25] [--out FILE]
    python perf/floor.py --carrier mqtt

One process serves the floor, one controls it; this one reports events of every kind, each when the one before has been
answered. Times are of the floor's own clock: from an event being known there to the plan that answers it being in force.
MQTT starts a Mosquitto broker of its own. Nothing is asserted: the numbers depend on the computer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from genba.floor.connect import connect
from genba.floor.draw import draw_change
from genba.floor.protocol import SensingFloor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--carrier", choices=("opcua", "mqtt"), default="opcua")
    parser.add_argument("--events", type=int, default=30)
    parser.add_argument("--size", default="10x200")
    parser.add_argument("--policy", default="search")
    parser.add_argument("--deadline", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        path, processes = Path(folder), []
        try:
            if given.carrier == "mqtt":
                broker = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
                assert broker, "mosquitto is not installed: apt install mosquitto"
                processes.append(subprocess.Popen([broker, "-p", str(port)], stderr=subprocess.DEVNULL))
                address, serve = f"mqtt://127.0.0.1:{port}/genba/floor", "--mqtt"
            else:
                address, serve = f"opc.tcp://127.0.0.1:{port}", "--opcua"
            results = path / "plans.jsonl"
            genba = [sys.executable, "-m", "genba.cli.main", "factory"]
            plant = ["floor", serve, address, "--size", given.size, "--seed", str(given.seed)]
            processes.append(subprocess.Popen([*genba, *plant, "--journal", str(path / "floor.jsonl")]))
            control = ["run", "--floor", address, "--policy", given.policy, "--deadline", str(given.deadline)]
            control += ["--journal", str(path / "controller.jsonl"), "--out", str(results)]
            processes.append(subprocess.Popen([*genba, *control], stdout=subprocess.DEVNULL))
            asyncio.run(_report(address, given.events + 1, given.seed, results))
            # the first one is left out: code is compiled, pages are read
            rows = [json.loads(line) for line in results.read_text().splitlines()][1:]
        finally:
            for process in processes[::-1]:
                process.kill()
                process.wait()
    found = _summary(rows) | {"carrier": given.carrier, "size": given.size, "policy": given.policy}
    found |= {"deadline_s": given.deadline, "seed": given.seed, "hardware": _hardware(), "commit": _commit()}
    print(json.dumps(found, indent=1))
    if given.out is not None:
        known = json.loads(given.out.read_text()) if given.out.exists() else []
        given.out.write_text(json.dumps([*known, found], indent=1) + "\n")


async def _report(address: str, num_events: int, seed: int, results: Path) -> None:
    rng, floor = np.random.default_rng(seed), await _open(address)
    for number in range(num_events):
        await floor.report(f"e{number}", draw_change(rng, await floor.snapshot()))
        for _ in range(6_000):
            if results.exists() and results.read_text().count("\n") > number:
                break
            await asyncio.sleep(0.01)
        else:
            raise TimeoutError(f"event {number} was not answered within a minute")
    await floor.close()


async def _open(address: str) -> SensingFloor:
    for attempt in range(100):
        try:
            return await connect(address)
        except Exception:
            if attempt == 99:
                raise
            time.sleep(0.3)
    raise AssertionError


def _summary(rows: list[dict[str, float]]) -> dict[str, object]:
    reaction_s = sorted(row["reaction_s"] for row in rows)
    n = len(reaction_s)
    # the interval of a median by order statistics: 95 % between these two ranks (binomial, n >= 6)
    spread = round(0.98 * n**0.5)
    return {
        "events": n,
        "median_s": statistics.median(reaction_s),
        "median_95": [reaction_s[max(n // 2 - spread, 0)], reaction_s[min(n // 2 + spread, n - 1)]],
        "worst_s": reaction_s[-1],
        "decision_cpu_median_s": statistics.median(row["decision_s"] for row in rows),
        "cost_kept_h": sum(row["cost_before_s"] for row in rows) / 3600 / n,
        "cost_planned_h": sum(row["cost_after_s"] for row in rows) / 3600 / n,
    }


def _hardware() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{os.cpu_count()} cores of {line.partition(':')[2].strip()}, shared with other work"
    return platform.processor()


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()[:12]


if __name__ == "__main__":
    main()
