"""How far a long run is: a bar on a terminal, a line now and then elsewhere, always on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: on a log file, at most one line in so many seconds
LINE_EVERY_S = 15.0


class EpisodeProgress:
    """Shows episodes done, their rate and the time left; a context manager."""

    def __init__(self, title: str, num_episodes: int, *, shown: bool = True) -> None:
        self._title, self._num_episodes = title, num_episodes
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if shown and console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=console,
            )
        self._say: Callable[[str], None] | None = (
            (lambda line: console.print(line, highlight=False, markup=False)) if shown and self._bar is None else None
        )

    def __enter__(self) -> EpisodeProgress:
        self._started = self._said = time.monotonic()
        self._num_done = 0
        if self._bar is not None:
            self._bar.start()
            self._row = self._bar.add_task(self._title, total=self._num_episodes, rate="", note="")
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, note: str = "") -> None:
        """Count one episode as done."""
        self._num_done += 1
        now = time.monotonic()
        rate = self._num_done / max(now - self._started, 1e-9)
        if self._bar is not None:
            self._bar.update(self._row, advance=1, rate=f"{rate:.2g} episodes/s", note=note)
        elif self._say is not None and (now - self._said > LINE_EVERY_S or self._num_done == self._num_episodes):
            self._said = now
            left_s = (self._num_episodes - self._num_done) / rate
            tail = f", {left_s:.0f} s left" if self._num_done < self._num_episodes else ""
            self._say(
                f"{self._title}: {self._num_done}/{self._num_episodes} episodes, {rate:.2g}/s{tail}"
                + (f"  {note}" if note else "")
            )
