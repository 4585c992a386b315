"""What ``genba data import`` does: plans jobs, runs them, shows how far they are, and says at the end what went wrong.

The command and its options stand in ``data``. Read next: ``genba.data.ingest``, ``genba.data.fanout``.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from genba import __version__
from genba.cli.vault_option import say_rules
from genba.data.codecs import StorageChoices
from genba.data.fanout import Event, Finished, Started, Stored, run_here, run_ray, run_workers
from genba.data.import_journal import ImportJournal
from genba.data.ingest import Job, find_logs, jobs_of, options_of, whole_log
from genba.data.vault import Vault
from genba.errors import ConfigError, GenbaError, StorageError
from genba.spec.protocols import Reader

#: On a log file, at most one line in so many seconds.
LINE_EVERY_S = 15.0

#: what ``--frames`` may say -> how frames are stored
FRAMES = {
    "jpeg": StorageChoices(),
    "jpeg-444": StorageChoices(jpeg_subsampling="444"),
    "h264": StorageChoices(camera="h264"),
}

#: A log with more new episodes than this is told by their number.
MOST_NAMES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """How an import is run."""

    #: only this reader; empty for whichever knows the log
    reader: str = ""
    #: how frames are stored, one of ``FRAMES``
    frames: str = "jpeg"
    #: processes beside this one; 0 for this one alone
    workers: int = 0
    #: whether to run on Ray
    ray: bool = False
    #: whether to say what would be imported, and do nothing
    dry_run: bool = False
    #: whether the first error ends it
    stop_on_error: bool = False

    def __post_init__(self) -> None:
        if self.frames not in FRAMES:
            raise ConfigError(f"--frames: got {self.frames!r}, expected one of {', '.join(FRAMES)}")
        if self.workers < 0:
            raise ConfigError(f"--workers: got {self.workers}, expected 0 (this process) or more")
        if self.ray and self.workers:
            raise ConfigError("--ray, --workers: got both, expected one: Ray counts its processors itself")


@dataclass(slots=True)
class _Plan:
    """What is to be done for each log, and what is done already."""

    jobs: list[Job] = field(default_factory=list)
    #: log -> how many of its jobs are still to do
    num_open: dict[Path, int] = field(default_factory=dict)
    #: log -> the job that it is as a whole, and the episodes that it gave so far
    wholes: dict[Path, Job] = field(default_factory=dict)
    episodes: dict[Path, list[str]] = field(default_factory=dict)
    #: episodes that were stored before
    num_known: int = 0
    #: (log or part, message)
    errors: list[tuple[str, str]] = field(default_factory=list)


def import_into(vault: Path | str, path: Path, given: Mapping[str, Any], choices: Choices, console: Console) -> None:
    """Import every log at or under ``path``.

    Raises:
        ReaderError: no log, several readers for one, or an option that no reader takes; nothing was imported.
        StorageError: the vault cannot be written; what was stored before is intact.
        typer.Exit: with status 1, where some logs could not be imported.
    """
    logs = find_logs(path, choices.reader)
    options = options_of([reader for _, reader in logs], given)
    if choices.dry_run:
        found = Vault(vault)
        there = found.catalog.path.is_file() or (not found.storage.is_local and bool(found.shard_names()))
        _show(_plan(ImportJournal(Vault.open(vault)) if there else None, logs, options), console)
        return
    kept = Vault.open(vault, create=True)
    say_rules(kept, console)
    # A kill between an episode's shard and its row in the catalog left a shard that is whole: found here, it is not stored
    # a second time. One that is damaged is for fsck to name.
    kept.rebuild(refused={})
    journal = ImportJournal(kept)
    plan = _plan(journal, logs, options)
    if plan.errors and choices.stop_on_error:
        _say_errors(plan.errors, console)
        raise typer.Exit(1)
    num_new = _run(vault, journal, plan, choices, console)
    already = f"; {plan.num_known} were there already" if plan.num_known else ""
    console.print(f"[bold]{num_new} episodes[/] stored in {vault}{already}", highlight=False)
    if plan.errors:
        _say_errors(plan.errors, console)
        raise typer.Exit(1)


def _plan(
    journal: ImportJournal | None, logs: list[tuple[Path, Reader]], options: Mapping[str, Mapping[str, Any]]
) -> _Plan:
    plan = _Plan()
    for log, reader in logs:
        try:
            whole = whole_log(log, reader, options[reader.name], __version__)
            done = journal.done(whole) if journal else None
            if done is not None:
                plan.num_known += len(done)
                continue
            jobs = jobs_of(whole, reader)
        except StorageError:
            raise
        except GenbaError as error:
            plan.errors.append((str(log), f"{type(error).__name__}: {error}"))
            continue
        plan.wholes[log], plan.episodes[log] = whole, []
        todo = []
        for job in jobs:
            done = journal.done(job) if journal and job.part else None
            if done is None:
                todo.append(job)
            else:
                plan.num_known += len(done)
                plan.episodes[log] += done
        if todo:
            plan.num_open[log] = len(todo)
            plan.jobs += todo
    return plan


def _run(vault: Path | str, journal: ImportJournal, plan: _Plan, choices: Choices, console: Console) -> int:
    """Run the plan's jobs, remember each that is done, and return how many episodes are new."""
    num_new, new_of, given_by = 0, {}, {}
    # Closed whatever happens: workers end with it, not with the last trace of an error.
    with _ImportProgress(plan.jobs, console) as progress, closing(_events(vault, plan.jobs, choices)) as events:
        for event in events:
            progress.show(event)
            key = (event.job.log, event.job.part)
            if isinstance(event, Stored):
                given_by.setdefault(key, []).append(event.episode.episode_id)
                if event.episode.is_new:
                    num_new += 1
                    new_of.setdefault(key, []).append(event.episode.episode_id)
                else:
                    plan.num_known += 1
            elif isinstance(event, Finished) and event.error:
                plan.errors.append((event.job.name, event.error))
                if event.is_fatal:
                    raise StorageError(
                        f"{event.error.removeprefix('StorageError: ')}; {num_new} episodes were stored before, the "
                        f"same command goes on from there"
                    )
                if choices.stop_on_error:
                    break
            elif isinstance(event, Finished):
                _remember(journal, plan, event.job, given_by.get(key, []))
                names = new_of.get(key, [])
                what = "  ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} episodes"
                if what:
                    progress.say(f"{what}  from {event.job.name} ({event.job.reader})")
    return num_new


def _remember(journal: ImportJournal, plan: _Plan, job: Job, episodes: list[str]) -> None:
    """Note a job as done, and its log once nothing of it is left to do."""
    plan.num_open[job.log] -= 1
    plan.episodes[job.log] += episodes
    if job.part:
        journal.finish(job, episodes)
    if not plan.num_open[job.log]:
        journal.finish(plan.wholes[job.log], plan.episodes[job.log])


def _events(vault: Path | str, jobs: list[Job], choices: Choices) -> Generator[Event]:
    stored_as = FRAMES[choices.frames]
    if choices.ray:
        return run_ray(vault, jobs, stored_as)
    if choices.workers:
        return run_workers(vault, jobs, choices.workers, stored_as)
    return run_here(vault, jobs, stored_as)


def _show(plan: _Plan, console: Console) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("log", "reader", "parts to read", "MB in all"):
        table.add_column(name, justify="left" if name in ("log", "reader") else "right", overflow="fold")
    for log, num_open in plan.num_open.items():
        size_mb = plan.wholes[log].size_bytes / 1e6
        table.add_row(escape(str(log)), plan.wholes[log].reader, str(num_open), f"{size_mb:.1f}")
    console.print(table, highlight=False)
    total_mb = sum(job.size_bytes for job in plan.jobs) / 1e6
    done = f"; {plan.num_known} episodes are there already" if plan.num_known else ""
    console.print(f"{len(plan.num_open)} logs, {total_mb:.1f} MB would be read{done}", highlight=False)
    if plan.errors:
        _say_errors(plan.errors, console)
        raise typer.Exit(1)


def _say_errors(errors: list[tuple[str, str]], console: Console) -> None:
    console.print(f"[bold red]{len(errors)} could not be imported[/]; the others were not held up:", highlight=False)
    for name, message in errors:
        console.print(f"  [bold]{escape(name)}[/]\n    {escape(message)}", highlight=False)


class _ImportProgress:
    """One bar for everything and a line for each log in hand; without a terminal a line now and then."""

    def __init__(self, jobs: list[Job], console: Console) -> None:
        self._num_jobs, self._total_bytes = len(jobs), sum(job.size_bytes for job in jobs)
        self._bar: Progress | None = None
        self._console = console
        self._rows: dict[str, tuple[TaskID, int]] = {}
        self._done_bytes = self._num_episodes = self._num_samples = self._num_ended = 0
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=console, transient=True)

    def __enter__(self) -> _ImportProgress:
        self._began_s = self._said_s = time.monotonic()
        if self._bar is not None:
            self._bar.start()
            # A log without a byte still counts as something, or the bar would never fill.
            self._all = self._bar.add_task("importing", total=max(1, self._total_bytes), note="")
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def show(self, event: Event) -> None:
        """Take in what happened."""
        name = event.job.name
        if isinstance(event, Started) and self._bar is not None:
            shown = name if len(name) < 40 else f"…{name[-39:]}"
            self._rows[name] = (self._bar.add_task(f"  {escape(shown)}", total=None, note=""), 0)
        elif isinstance(event, Stored):
            self._num_episodes += 1
            self._num_samples += event.episode.num_samples
            if self._bar is not None:
                row, count = self._rows[name]
                self._rows[name] = (row, count + 1)
                self._bar.update(row, note=f"{count + 1} episodes")
        elif isinstance(event, Finished):
            self._num_ended += 1
            self._done_bytes += event.job.size_bytes
            if self._bar is not None:
                self._bar.remove_task(self._rows.pop(name)[0])
        self._tell(is_last=isinstance(event, Finished) and self._num_ended == self._num_jobs)

    def _tell(self, *, is_last: bool) -> None:
        now_s = time.monotonic()
        took_s = max(now_s - self._began_s, 1e-9)
        note = (
            f"{self._num_ended}/{self._num_jobs} logs or parts, {self._done_bytes / 1e6:.1f} of "
            f"{self._total_bytes / 1e6:.1f} MB, {self._done_bytes / 1e6 / took_s:.2g} MB/s, "
            f"{self._num_episodes / took_s:.2g} episodes/s, {self._num_samples / took_s:.3g} messages/s"
        )
        if self._bar is not None:
            self._bar.update(self._all, completed=self._done_bytes, note=note)
        elif now_s - self._said_s > LINE_EVERY_S or (is_last and self._said_s != self._began_s):
            self._said_s = now_s
            left_s = (self._total_bytes - self._done_bytes) * took_s / max(1, self._done_bytes)
            self.say(f"importing: {note}" + ("" if is_last or not self._done_bytes else f", {left_s:.0f} s left"))
