"""Print how many CAN frames per CPU-second each log format is read at, beside python-can with cantools.

    python perf/can_readers.py [--frames 200000]

One log of made frames (20 messages of 4 signals, two of them nine and more bits apart from byte borders) is written in each
format by python-can, then read: the frames alone, and everything up to a whole episode in SI. The same files go through
python-can's reader, and through it and cantools. Best of three rounds, CPU time of this process. Nothing is asserted: the
numbers depend on the machine.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import can
import cantools

from genba.data.readers.can_log import CanReader
from genba.registry import READERS, resolve

WRITERS = {"candump": (can.CanutilsLogWriter, "log"), "asc": (can.ASCWriter, "asc"), "blf": (can.BLFWriter, "blf")}
NUM_MESSAGES = 20
ROUNDS = 3


def write_dbc(path: Path) -> None:
    """Write the message definitions."""
    text = 'VERSION ""\n\nNS_ :\n\nBS_:\n\nBU_: XXX\n\n'
    for i in range(NUM_MESSAGES):
        text += f"BO_ {256 + i} Message{i}: 8 XXX\n"
        for name, place, unit in (
            ("Speed", "7|15@0+ (0.01,-67.67)", "km/h"),
            ("Angle", "17|12@1- (0.1,0)", "deg"),
            ("Torque", "39|16@0- (0.5,0)", "Nm"),
            ("Level", "48|8@1+ (1,0)", "%"),
        ):
            text += f' SG_ {name} : {place} [0|0] "{unit}" XXX\n'
        text += "\n"
    path.write_text(text)


def write_log(writer: type, path: Path, num_frames: int) -> None:
    """Write a log of frames that come 0.2 ms apart."""
    rng = random.Random(0)
    with writer(str(path)) as log:
        for i in range(num_frames):
            log.on_message_received(
                can.Message(
                    timestamp=1.7e9 + 2e-4 * i,
                    arbitration_id=256 + i % NUM_MESSAGES,
                    data=rng.randbytes(8),
                    channel=0,
                    is_extended_id=False,
                )
            )


def best_s(work: Callable[[], object]) -> float:
    """Return the least CPU time of ``ROUNDS`` rounds."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200_000)
    num_frames = parser.parse_args().frames
    columns = ("format", "MB", "frames", "episode", "python-can", "with cantools", "times as fast")
    print(f"thousand frames per CPU-second, {num_frames} frames of 8 bytes, {NUM_MESSAGES} messages of 4 signals")
    print("{:10}{:>8}{:>12}{:>12}{:>14}{:>16}{:>16}".format(*columns))
    with tempfile.TemporaryDirectory() as folder:
        dbc = Path(folder) / "machine.dbc"
        write_dbc(dbc)
        database = cantools.database.load_file(dbc)
        for name, (writer, suffix) in WRITERS.items():
            path = Path(folder) / f"drive.{suffix}"
            write_log(writer, path, num_frames)
            reader: CanReader = resolve(READERS[name])()

            def frames(reader: CanReader = reader, path: Path = path) -> int:
                return sum(len(block.times_ns) for block in reader.frames(path))

            def episode(reader: CanReader = reader, path: Path = path) -> int:
                return sum(len(stream) for stream in next(reader.read(path, dbc=dbc)).streams.values())

            def theirs(path: Path = path) -> int:
                return sum(1 for _ in can.LogReader(str(path)))

            def theirs_decoded(path: Path = path) -> int:
                frames = can.LogReader(str(path))
                return sum(1 for m in frames if database.decode_message(m.arbitration_id, m.data, decode_choices=False))

            assert frames() == episode() == theirs() == num_frames
            rates = [num_frames / best_s(work) / 1e3 for work in (frames, episode, theirs, theirs_decoded)]
            size_mb = path.stat().st_size / 1e6
            print(f"{name:10}{size_mb:8.1f}" + "{:12,.0f}{:12,.0f}{:14,.0f}{:16,.0f}".format(*rates), end="")
            print(f"{rates[1] / rates[3]:16.1f}")


if __name__ == "__main__":
    main()
