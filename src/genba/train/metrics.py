"""Where a run's numbers go: one JSON line per report, TensorBoard, and a progress bar with rate and time left."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

#: seconds between lines where there is no terminal
SAY_EVERY_S = 20.0


class Metrics:
    """Writes ``metrics.jsonl`` and TensorBoard files under a run's folder; a silent one writes nothing."""

    def __init__(self, folder: Path, *, num_steps: int, start: int, silent: bool = False) -> None:
        self.silent = silent
        self.began_s = time.monotonic()
        self.start = start
        if silent:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        # A resumed run repeats the steps after its checkpoint: their first lines go.
        kept = [line for line in _lines(path) if json.loads(line)["step"] < start]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self.offset_s = json.loads(kept[-1])["time_s"] if kept else 0.0
        self.file = path.open("a", encoding="utf-8")
        self.writer = SummaryWriter(str(folder / "tensorboard"))
        self.console = Console(stderr=True)
        self.num_steps, self.said_s = num_steps, self.began_s
        self.progress = Progress(
            TextColumn("[bold]train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.0f} windows/s, loss {task.fields[loss]:.4f}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.bar = self.progress.add_task("train", total=num_steps, completed=start, rate=0.0, loss=float("nan"))

    def __enter__(self) -> Metrics:
        if not self.silent:
            self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.silent:
            self.progress.stop()
            self.file.close()
            self.writer.close()

    def report(self, step: int, values: dict[str, float]) -> None:
        """Write the numbers of a train step (0-based)."""
        if self.silent:
            return
        line = {"step": step, "time_s": round(self.offset_s + time.monotonic() - self.began_s, 3)} | values
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def advance(self, step: int, *, rate: float, loss: float) -> None:
        """Move the progress bar; where there is no terminal, say a line now and then."""
        if self.silent:
            return
        self.progress.update(self.bar, completed=step + 1, rate=rate, loss=loss)
        now_s = time.monotonic()
        if not self.console.is_terminal and (now_s - self.said_s > SAY_EVERY_S or step + 1 == self.num_steps):
            left_s = (self.num_steps - step - 1) * (now_s - self.began_s) / (step + 1 - self.start)
            said = (
                f"train: {step + 1}/{self.num_steps} steps, {rate:.0f} windows/s, loss {loss:.4f}, {left_s:.0f} s left"
            )
            self.console.print(said, highlight=False)
            self.said_s = now_s


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    # A line that a kill cut short is not a line.
    return [line for line in lines if line.endswith("}")]
