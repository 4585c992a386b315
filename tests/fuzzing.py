"""Breaking logs: what is done to their bytes, and a guarded process that reads them.

A ``Plan`` is a list of small damages to one file of a log; hypothesis draws plans for the tests (and shrinks them),
``scripts/fuzz_readers.py`` draws them from a seed by the thousand. The process that reads (``Guarded``) may not allocate
beyond its room, run for long, unpickle anything or open a connection. Read next: ``fuzz_worker``, which is that process.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: Everything that can be done to bytes: name -> what its number means.
DAMAGES = {
    "truncate": "keep this share",
    "flip": "flip this bit of the byte there",
    "set": "put this byte there",
    "insert": "insert bytes there, this seed",
    "delete": "delete up to 64 bytes there",
    "zeros": "overwrite up to 64 bytes with zeros",
    "repeat": "repeat up to 256 bytes",
    "length": "overwrite 4 or 8 bytes, little or big endian, with a huge number",
    "text": "put a hostile piece of text there",
    "replace": "replace the file by another format's, by zeros or by nothing",
}

#: Numbers that lengths, counts and offsets are overwritten with.
HUGE = (2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 10**9, 0)

#: Pieces that break parsers of text.
TEXT = (
    b"\xff\xfe", b"\x00", b"NaN", b"1e999", b"-1", b"9" * 400, b"[" * 3000, b"{" * 3000, b'"', b"\n\n", b"%s%n", b"\xed\xa0\x80",
    b"../../../etc/passwd", b"=1+1", b"99999999999999999999",
)  # fmt: skip

#: The first bytes of other formats.
OTHERS = (
    b"", bytes(4096), b"\x89MCAP0\r\n" + bytes(64), b"PK\x03\x04" + bytes(64), b"ARROW1\x00\x00" + bytes(64), b"PAR1" + bytes(64),
    b"\x89HDF\r\n\x1a\n" + bytes(96), b"SQLite format 3\x00" + bytes(96), b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': "
    b"False, 'shape': (4,), }" + b" " * 60 + b"\n" + b"\x80\x04K\x01.", b"\x80\x04cos\nsystem\n(S'exit'\ntR.", b"MDF     4.10    " + bytes(64),
    b"LOGG" + bytes(140), b"\xff\xd8\xff\xe0" + bytes(64), b"{}", b"[]", b"a,b\n1,2\n", b"\x1f\x8b\x08" + bytes(32),
)  # fmt: skip


@dataclass(frozen=True)
class Damage:
    """One damage: what, where (as a share of the file), and a number that says how."""

    what: str
    where: float
    number: int


@dataclass(frozen=True)
class Plan:
    """Damages to one file, chosen by a share of the log's files in order."""

    file: float
    damages: tuple[Damage, ...]


def draw_plan(rng: np.random.Generator) -> Plan:
    """Draw a plan of one to four damages."""
    names = list(DAMAGES)
    # A replaced file says the same whatever else is done to it: seldom.
    weights = np.array([0.2 if name == "replace" else 1.0 for name in names])
    damages = tuple(
        Damage(str(rng.choice(names, p=weights / weights.sum())), float(rng.random()), int(rng.integers(0, 2**16)))
        for _ in range(int(rng.integers(1, 5)))
    )
    return Plan(float(rng.random()), damages)


def log_files(log: Path) -> list[Path]:
    """Return every file of a log, in order."""
    return [log] if log.is_file() else sorted(path for path in log.rglob("*") if path.is_file())


def apply(plan: Plan, log: Path) -> Path:
    """Damage a log in place; return the file that was damaged."""
    files = log_files(log)
    file = files[min(int(plan.file * len(files)), len(files) - 1)]
    data = file.read_bytes()
    for damage in plan.damages:
        data = damaged(data, damage)
    file.write_bytes(data)
    return file


def damaged(data: bytes, damage: Damage) -> bytes:
    """Return ``data`` with one damage."""
    at = min(int(damage.where * len(data)), max(len(data) - 1, 0))
    number = damage.number
    match damage.what:
        case "truncate":
            return data[:at]
        case "flip":
            return data[:at] + bytes([data[at] ^ (1 << number % 8)]) + data[at + 1 :] if data else data
        case "set":
            return data[:at] + bytes([number % 256]) + data[at + 1 :] if data else data
        case "insert":
            rng = np.random.default_rng(number)
            return data[:at] + rng.integers(0, 256, 1 + number % 64, np.uint8).tobytes() + data[at:]
        case "delete":
            return data[:at] + data[at + 1 + number % 64 :]
        case "zeros":
            count = 1 + number % 64
            return data[:at] + bytes(len(data[at : at + count])) + data[at + count :]
        case "repeat":
            return data[: at + 1 + number % 256] + data[at:]
        case "length":
            width, order = (4, 8)[number % 2], ("little", "big")[number // 2 % 2]
            huge = HUGE[number // 4 % len(HUGE)] % 2 ** (8 * width)
            return data[:at] + huge.to_bytes(width, order) + data[at + width :]
        case "text":
            return data[:at] + TEXT[number % len(TEXT)] + data[at:]
        case "replace":
            return OTHERS[number % len(OTHERS)]
    raise AssertionError(damage.what)


class Guarded:
    """A process that reads logs one after another within its limits; started again where it does not survive one."""

    def __init__(self, reader: str, *, room_bytes: int = 1_500_000_000, patience_s: float = 240.0) -> None:
        self.reader, self.room_bytes, self.patience_s = reader, room_bytes, patience_s
        self._process: subprocess.Popen[str] | None = None

    def warm_up(self, log: Path, options: dict[str, Any]) -> dict[str, Any]:
        """Read a sound log before anything is limited, so that libraries which are imported late are there."""
        return self.read(log, options, warm_up=True)

    def read(self, log: Path, options: dict[str, Any], *, warm_up: bool = False) -> dict[str, Any]:
        """Read a log; return ``{"outcome": "refused" | "accepted" | "crash", "detail": ..., "peak_bytes": ...}``."""
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
        try:
            process.stdin.write(json.dumps({"log": str(log), "options": plain, "warm_up": warm_up}) + "\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], self.patience_s)
            answer = process.stdout.readline() if ready else ""
        except BrokenPipeError:
            answer, ready = "", [process.stdout]
        if answer:
            return json.loads(answer)
        self.close()
        why = f"died with status {process.returncode}" if ready else f"gave no answer in {self.patience_s:g} s"
        return {"outcome": "crash", "detail": f"the reading process {why}", "peak_bytes": 0}

    @property
    def is_running(self) -> bool:
        """Say whether there is a process."""
        return self._process is not None

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
        self._process = None

    def _start(self) -> subprocess.Popen[str]:
        here = Path(__file__).parent
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")])}
        # OpenBLAS reserves address space for each of its threads, which the limit would count.
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
        command = [sys.executable, str(here / "fuzz_worker.py"), self.reader, str(self.room_bytes)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=here.parent
        )
        return self._process


def attempt(guarded: Guarded, plan: Plan, sound: Path, options: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Copy a sound log, damage the copy, read it; a crash's answer names what was damaged."""
    copy = scratch / sound.name
    if copy.is_dir():
        shutil.rmtree(copy)
    elif copy.exists():
        copy.unlink()
    if sound.is_dir():
        shutil.copytree(sound, copy)
    else:
        shutil.copy(sound, copy)
    file = apply(plan, copy)
    if not guarded.is_running:
        guarded.warm_up(sound, options)
    answer = guarded.read(copy, options)
    return {**answer, "file": str(file.relative_to(scratch)), "plan": plan}
