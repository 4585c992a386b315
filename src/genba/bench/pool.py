"""The parent's side of the workers: hand out seeds, take back what happened, let no error pass.

Workers are started afresh (never forked) with one thread each; a seed goes to whoever is free, so a slow episode holds
up nobody. Order of completion is not order of seeds; the callers sort.
"""

from __future__ import annotations

import multiprocessing.connection
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from genba.bench.worker import Done, Job, Runner
from genba.child import Child
from genba.errors import BundleError, GenbaError, PassportError, SignatureError, SimulatorError

#: what is wrong with the bundle, not with the simulator
_OF_THE_BUNDLE = {kind.__name__: kind for kind in (BundleError, PassportError, SignatureError)}


def run_seeds(job: Job, seeds: Sequence[int], *, num_workers: int) -> Iterator[Done]:
    """Run a job's seeds and yield each as it is done.

    Args:
        job: what to do with each seed.
        seeds: each once.
        num_workers: processes; 0 runs in this one.

    Raises:
        SimulatorError: an episode raised or a worker died, naming task and seed.
        BundleError: the policy's bundle cannot be used.
        PassportError, SignatureError: it may not act here, or not any more.
    """
    if num_workers == 0:
        yield from _run_here(job, seeds)
        return
    workers: list[_Worker] = []
    try:
        workers += [_Worker(Child.start("genba.bench.worker")) for _ in range(min(num_workers, len(seeds)))]
        for worker in workers:
            # the parent's import path, so that a task in a module of the caller's is found
            worker.child.send((job, sys.path))
        waiting, busy = list(reversed(seeds)), {worker.child.connection: worker for worker in workers}
        while busy:
            for connection in multiprocessing.connection.wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                answer = worker.receive(job)
                if isinstance(answer, Done):
                    yield answer
                if waiting:
                    worker.give(waiting.pop())
                else:
                    del busy[connection]  # type: ignore[arg-type]
                    worker.give(None)
    finally:
        for worker in workers:
            worker.child.stop()


def _run_here(job: Job, seeds: Sequence[int]) -> Iterator[Done]:
    runner = Runner(job)
    try:
        for seed in seeds:
            try:
                done = runner.run(seed)
            except Exception as error:
                raise _failed(job, seed, type(error).__name__, str(error)) from error
            yield done
    finally:
        runner.close()


@dataclass(slots=True)
class _Worker:
    child: Child
    seed: int | None = None

    def give(self, seed: int | None) -> None:
        self.seed = seed
        self.child.send(seed)

    def receive(self, job: Job) -> Done | None:
        """Return what came of the worker's seed, or None once it is ready for its first."""
        try:
            answer = self.child.connection.recv()
        except (EOFError, ConnectionResetError):
            code = self.child.process.wait()
            raise _failed(job, self.seed, "worker", f"the process ended by itself with status {code}") from None
        if isinstance(answer, tuple):
            name, message, text = answer
            error = _failed(job, self.seed, name, message)
            error.add_note(text)
            raise error
        return answer


def _failed(job: Job, seed: int | None, name: str, message: str) -> GenbaError:
    if name in _OF_THE_BUNDLE:
        return _OF_THE_BUNDLE[name](message)
    at = "could not start" if seed is None else f"seed {seed}"
    return SimulatorError(f"{job.task}: {job.policy_name}: {at}: {name}: {message}")
