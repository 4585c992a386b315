"""Runs over a sequence that comes in pieces: how long something held without a break, and when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive samples: how many, from when to when."""

    length: int = 0
    start_ns: int = 0
    end_ns: int = 0


class Runs:
    """Keeps the two longest runs, however the sequence is cut."""

    def __init__(self) -> None:
        self.longest, self.second = Run(), Run()
        self._open: Run | None = None

    def update(self, begins: np.ndarray, counts: np.ndarray, times_ns: np.ndarray) -> None:
        """Go on with the next samples.

        Args:
            begins: bool ``[samples]``, whether a sample begins a new run.
            counts: bool ``[samples]``, whether a run that begins here is one to keep.
            times_ns: int64 ``[samples]``.
        """
        if not len(times_ns):
            return
        at = np.flatnonzero(begins)
        head = int(at[0]) if len(at) else len(times_ns)
        if head and self._open is not None:
            self._open = Run(self._open.length + head, self._open.start_ns, int(times_ns[head - 1]))
        if not len(at):
            return
        self._close()
        lengths = np.diff(np.append(at, len(times_ns)))
        kept = np.flatnonzero(counts[at[:-1]])
        # Only the longest two of a piece can be among the longest two of all; of equal ones the first.
        for i in np.sort(kept[np.argsort(-lengths[:-1][kept], kind="stable")[:2]]):
            self._keep(_run(times_ns, int(at[i]), int(lengths[i])))
        self._open = _run(times_ns, int(at[-1]), int(lengths[-1])) if counts[at[-1]] else None

    def finish(self) -> Runs:
        """Close the run that is open."""
        self._close()
        return self

    def _close(self) -> None:
        if self._open is not None:
            self._keep(self._open)
        self._open = None

    def _keep(self, run: Run) -> None:
        if run.length > self.longest.length:
            self.longest, self.second = run, self.longest
        elif run.length > self.second.length:
            self.second = run


def _run(times_ns: np.ndarray, start: int, length: int) -> Run:
    return Run(length, int(times_ns[start]), int(times_ns[start + length - 1]))


def changes(keys: np.ndarray, before: object | None) -> np.ndarray:
    """Say for each of ``keys`` ``[samples]`` whether it differs from the one before: bool ``[samples]``."""
    out = np.ones(len(keys), bool)
    out[1:] = keys[1:] != keys[:-1]
    if before is not None and len(keys):
        out[0] = bool(keys[0] != before)
    return out
