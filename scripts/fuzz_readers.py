"""Break logs at random and read them, for as long as asked; print and keep what came of it.

    python scripts/fuzz_readers.py [--seconds N] [--reader NAME] [--first-seed N] [--out FILE.json]

Every input is a seed: ``--first-seed SEED --inputs 1`` reads the same bytes again. Exit status 1 where anything but a
refusal by name or a fitting episode came out.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fuzzing import Guarded, attempt, draw_plan

from genba.bench.results import commit
from genba.errors import ConfigError, nearest
from genba.registry import READERS
from genba.report.readers import FORMAT, VERSION


def fuzz(name: str, *, seconds: float, first_seed: int, inputs: int, most_crashes: int) -> dict[str, Any]:
    """Break one reader's log until time, inputs or patience with crashes run out; return the counts."""
    guarded, outcomes, crashes = Guarded(name), Counter(), []
    module, begin, seed, peak = f"logs.{name.replace('-', '_')}", time.monotonic(), first_seed, 0
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sound").mkdir()
        (Path(folder) / "broken").mkdir()
        log, options = importlib.import_module(module).write_log(Path(folder) / "sound")
        base = guarded.warm_up(log, options)["peak_bytes"]
        while time.monotonic() - begin < seconds and seed - first_seed < inputs and len(crashes) < most_crashes:
            answer = attempt(guarded, draw_plan(np.random.default_rng(seed)), log, options, Path(folder) / "broken")
            outcomes[answer["outcome"]] += 1
            peak = max(peak, answer["peak_bytes"])
            if answer["outcome"] == "crash":
                crash = {"seed": seed, "file": answer["file"], "plan": str(answer["plan"]), "detail": answer["detail"]}
                crashes.append(crash)
                print(
                    f"{name}: CRASH at seed {seed}: {answer['file']}: {answer['plan']}\n{answer['detail']}", flush=True
                )
            seed += 1
        guarded.close()
    return {
        "reader": name,
        "first_seed": first_seed,
        "inputs": seed - first_seed,
        "refused": outcomes["refused"],
        "accepted": outcomes["accepted"],
        "crashes": crashes,
        "peak_over_sound_bytes": max(peak - base, 0),
        "seconds": round(time.monotonic() - begin, 1),
    }


def main() -> None:
    """Fuzz and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each reader")
    parser.add_argument("--inputs", type=int, default=10**9, help="for each reader, at most")
    parser.add_argument("--reader", action="append", help="only this reader; may be given several times")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--most-crashes", type=int, default=5, help="of one reader, before going on with the next")
    parser.add_argument("--out", type=Path, help="write the counts here as JSON")
    arguments = parser.parse_args()
    for name in arguments.reader or ():
        if name not in READERS:
            raise ConfigError(f"no reader {name!r}{nearest(name, READERS)}")
    rows = []
    for name in arguments.reader or sorted(READERS):
        row = fuzz(
            name,
            seconds=arguments.seconds,
            first_seed=arguments.first_seed,
            inputs=arguments.inputs,
            most_crashes=arguments.most_crashes,
        )
        rows.append(row)
        print(
            f"{name:16} {row['inputs']:8} inputs {row['refused']:8} refused {row['accepted']:8} accepted "
            f"{len(row['crashes']):4} crashes, at most {row['peak_over_sound_bytes'] / 1e6:.0f} MB more than a sound log",
            flush=True,
        )
    if arguments.out:
        command = "python scripts/fuzz_readers.py " + " ".join(sys.argv[1:])
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        table = {"format": FORMAT, "version": VERSION, "command": command, "commit": commit(), "readers": rows}
        arguments.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    sys.exit(1 if any(row["crashes"] for row in rows) else 0)


if __name__ == "__main__":
    main()
