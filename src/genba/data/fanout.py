"""Jobs of an import, spread over this process, processes beside it, or a Ray cluster; what happens comes back as events.

A job that fails is an event like any other and stops nobody else, but for a disk that refuses: then no further job is
begun. Workers store episodes themselves (a vault takes several writers); only news of them comes back. A worker ends when the
process that started it does, however that ended. Read next: ``import_worker``, the other side of the pipe.
"""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing.connection
import os
import sys
import traceback
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from genba.child import Child
from genba.data.codecs import StorageChoices
from genba.data.ingest import Ingest, Ingested, Job
from genba.data.vault import Vault
from genba.errors import ConfigError, GenbaError, StorageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """A job was begun."""

    job: Job


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A job gave an episode, and it is in the vault."""

    job: Job
    episode: Ingested


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A job ended."""

    job: Job
    #: the error's name and message; empty where all went well
    error: str = ""
    #: whether the disk refused: then every other job would fail as well
    is_fatal: bool = False


Event = Started | Stored | Finished


def run_here(vault: Path | str, jobs: Sequence[Job], choices: StorageChoices) -> Generator[Event]:
    """Run jobs one after the other in this process; episodes are stored as ``choices`` ask."""
    ingest = Ingest(Vault.open(vault, choices=choices))
    for job in jobs:
        yield from run_job(ingest, job)


def run_workers(vault: Path | str, jobs: Sequence[Job], num_workers: int, choices: StorageChoices) -> Generator[Event]:
    """Run jobs in ``num_workers`` processes; whoever is free takes the next one. Episodes are stored as ``choices`` ask.

    A worker that dies (killed for its memory) costs its job, which is reported, and is replaced.
    """
    waiting, busy = list(reversed(jobs)), {}
    try:
        while waiting or busy:
            while waiting and len(busy) < num_workers:
                worker = _start(vault, choices, waiting.pop())
                busy[worker.child.connection] = worker
                yield Started(job=worker.job)
            for connection in multiprocessing.connection.wait(list(busy)):
                worker = busy[connection]
                event = worker.receive()
                yield event
                if isinstance(event, Finished):
                    if waiting and not worker.is_gone:
                        worker.give(waiting.pop())
                        yield Started(job=worker.job)
                    else:
                        del busy[connection]
                        worker.child.stop()
    finally:
        for worker in busy.values():
            worker.child.stop()


def run_ray(vault: Path | str, jobs: Sequence[Job], choices: StorageChoices) -> Generator[Event]:
    """Run jobs on Ray: the cluster that ``RAY_ADDRESS`` names, else one on this computer. Stored as ``choices`` ask.

    Logs and vault must lie where every node of the cluster sees them. News of a job come when it has ended.

    Raises:
        ConfigError: Ray is not installed.
    """
    # Ray reports its use over the network unless it is told not to before it is imported.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Imported here: Ray comes with an extra, and most imports need none.
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ConfigError("--ray needs Ray; install it with: pip install 'genba[ray]'") from error
    was_running = ray.is_initialized()
    if not was_running:
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        remote = ray.remote(num_cpus=1)(_events_of)
        place = Path(vault).resolve() if Vault(vault).storage.is_local else vault
        waiting, running = list(reversed(jobs)), {}
        # A few more than there are processors, so that nobody waits for the next job.
        room = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        while waiting or running:
            while waiting and len(running) < room:
                job = waiting.pop()
                running[remote.remote(place, choices, _resolved(job))] = job
                yield Started(job=job)
            (ended,), _ = ray.wait(list(running), num_returns=1)
            job = running.pop(ended)
            try:
                for event in ray.get(ended):
                    yield dataclasses.replace(event, job=job)
            # The worker or its node died more often than Ray tries again.
            except ray.exceptions.RayError as error:
                yield Finished(job=job, error=f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
    finally:
        if not was_running:
            ray.shutdown()


def run_job(ingest: Ingest, job: Job) -> Generator[Event]:
    """Run one job and yield all of its events; nothing but a broken process keeps it from its ``Finished``."""
    yield Started(job=job)
    try:
        for episode in ingest.run(job):
            yield Stored(job=job, episode=episode)
    except GenbaError as error:
        yield Finished(job=job, error=f"{type(error).__name__}: {error}", is_fatal=isinstance(error, StorageError))
    # A fault of a reader must not cost the logs behind it; where it is stands in the message.
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}, line {last.lineno}"
        yield Finished(job=job, error=f"{job.log}: a fault of reader {job.reader} ({where}): {error!r}")
    else:
        yield Finished(job=job)


def _events_of(vault: Path | str, choices: StorageChoices, job: Job) -> list[Event]:
    return [event for event in run_job(_ingest(vault, choices), job) if not isinstance(event, Started)]


@functools.lru_cache(maxsize=1)
def _ingest(vault: Path | str, choices: StorageChoices) -> Ingest:
    # A process of Ray serves many jobs: what a reader learnt of a log serves its next part.
    return Ingest(Vault.open(vault, choices=choices))


def _resolved(job: Job) -> Job:
    """Return a job whose paths hold in any working directory."""
    options = {name: value.resolve() if isinstance(value, Path) else value for name, value in job.options.items()}
    return dataclasses.replace(job, log=job.log.resolve(), options=options)


@dataclass(slots=True)
class _Worker:
    child: Child
    job: Job
    is_gone: bool = False

    def give(self, job: Job) -> None:
        self.job = job
        self.child.send(job)

    def receive(self) -> Event:
        try:
            return self.child.connection.recv()
        except (EOFError, ConnectionResetError):
            self.is_gone = True
            status = self.child.process.wait()
            error = f"{self.job.log}: its process ended by itself with status {status}; the same command tries it again"
            return Finished(job=self.job, error=error)


def _start(vault: Path | str, choices: StorageChoices, job: Job) -> _Worker:
    worker = _Worker(Child.start("genba.data.import_worker"), job)
    # The parent's import path, so that a reader in a module of the caller's is found.
    worker.child.send((vault, sys.path))
    worker.child.send(choices)
    worker.give(job)
    return worker
