"""Print what the sandbox costs: a connect, an ordinary system call, a training step, and starting a command.

    python perf/sandbox.py [--connects 400] [--calls 200000] [--rounds 7]

The same program runs open and confined in turn, so that whatever else the computer does falls on both. A connect goes to
a listener of this host and is timed by the wall clock, because it waits for the supervisor. System calls and training steps are timed by the CPU time of the process that makes them. Nothing is
asserted: the numbers depend on the computer.
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from genba.trust.sandbox.policy import Policy, parse_endpoint, path_rule
from genba.trust.sandbox.run import run_sandboxed

PROGRAM = """
import json, os, socket, sys, time
what, count, port, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
times = []
if what == "connect":
    for i in range(count):
        one = socket.socket()
        # Two addresses in turn: attempts that repeat would be counted in the log, not written.
        address = (f"127.0.0.{1 + i % 2}", port)
        began = time.perf_counter_ns()
        one.connect(address)
        times.append(time.perf_counter_ns() - began)
        one.close()
elif what == "call":
    getppid = os.getppid
    for _ in range(20):
        began = time.process_time_ns()
        for _ in range(count // 20):
            getppid()
        times.append((time.process_time_ns() - began) / (count // 20))
elif what == "step":
    import torch
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.Linear(512, 256))
    optimizer, batch = torch.optim.AdamW(model.parameters()), torch.randn(256, 256)
    for step in range(count + 5):
        began = time.process_time_ns()
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()
        if step >= 5:
            times.append(time.process_time_ns() - began)
with open(out, "w") as file:
    json.dump(times, file)
"""


def measure(what: str, count: int, rounds: int, sync: str = "end") -> tuple[list[float], list[float]]:
    """Return the medians of each round in nanoseconds, open and confined."""
    with tempfile.TemporaryDirectory() as name, socket.create_server(("0.0.0.0", 0), backlog=4096) as server:
        folder = Path(name)
        out, data = folder / "data" / "out", folder / "data"
        data.mkdir()
        threading.Thread(target=_take, args=(server,), daemon=True).start()
        port = server.getsockname()[1]
        policy = Policy(
            endpoints=tuple(parse_endpoint(f"127.0.0.{i}:{port}", "perf") for i in (1, 2)),
            writable=(path_rule(data, "perf"),),
        )
        command = [sys.executable, "-c", PROGRAM, what, str(count), str(port), str(out)]
        open_, confined = [], []
        for _ in range(rounds):
            subprocess.run(command, check=True)
            open_.append(statistics.median(json.loads(out.read_text())))
            run_sandboxed(command, policy, folder / "log", sync=sync)  # type: ignore[arg-type]
            confined.append(statistics.median(json.loads(out.read_text())))
        server.shutdown(socket.SHUT_RDWR)
    return open_, confined


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _take(server: socket.socket) -> None:
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connects", type=int, default=400)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    print(f"{'':42} {'open':>12} {'confined':>12} {'difference':>14}   (median of {given.rounds} rounds' medians)")
    for title, what, count, sync in (
        ("connect, log on disk before each answer, us", "connect", given.connects, "line"),
        ("connect, log on disk at the end, us", "connect", given.connects, "end"),
        ("system call (getppid, through Python), ns", "call", given.calls, "end"),
        ("training step (256x512 MLP, AdamW), us", "step", given.steps, "end"),
    ):
        open_, confined = measure(what, count, given.rounds, sync)
        unit = 1.0 if title.endswith("ns") else 1e3
        pairs = [(b - a) / unit for a, b in zip(open_, confined, strict=True)]
        a, b = statistics.median(open_) / unit, statistics.median(confined) / unit
        low, high = min(pairs), max(pairs)
        print(f"{title:42} {a:12.1f} {b:12.1f} {statistics.median(pairs):+8.1f} [{low:+.1f}, {high:+.1f}]")
    times = []
    with tempfile.TemporaryDirectory() as name:
        for _ in range(given.rounds):
            began_s, began_cpu_s = time.perf_counter(), _children_s()
            run_sandboxed(["true"], Policy(), Path(name) / "log")
            times.append((time.perf_counter() - began_s, _children_s() - began_cpu_s))
    wall_s, cpu_s = (statistics.median(one) for one in zip(*times, strict=True))
    print(f"{'starting and ending a command (true)':42} {wall_s * 1e3:12.1f} ms, CPU {cpu_s * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
