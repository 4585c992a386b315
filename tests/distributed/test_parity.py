"""Two gloo processes on half batches are one process on the whole batch: losses, gradient norms, statistics."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from genba.model.weights import weights_digest

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))
import ranks  # noqa: E402  (the ranks run the same file)

#: "curves" and "digests", each by scenario
Measured = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Measured]:
    """What each of two ranks measured."""
    target = tmp_path_factory.mktemp("ranks") / "curves"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    facts = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(TESTS / "distributed" / "ranks.py"), str(target)]
    # The ranks import what this process imports.
    paths = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    started = [
        subprocess.Popen(command, env=os.environ | facts | {"RANK": str(rank), "PYTHONPATH": paths})
        for rank in range(2)
    ]
    try:
        codes = [process.wait(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    assert codes == [0, 0]
    return [json.loads(target.with_suffix(f".{rank}").read_text()) for rank in range(2)]


@pytest.mark.parametrize("scenario", ranks.SCENARIOS)
def test_two_processes_train_like_one(two: list[Measured], scenario: str):
    one = ranks.curve(scenario, 0, 1)
    assert one["loss"][0] != one["loss"][-1]
    # Clipping is part of the proof: it bites in every step.
    assert min(one["norm"]) > ranks.MAX_NORM
    for rank in range(2):
        for name, expected in one.items():
            # The usual surprise is a mean over ranks of means over valid samples, of which ranks have not equally many.
            tolerance = 1e-3 if name == "usual" else 1e-5
            assert two[rank]["curves"][scenario][name] == pytest.approx(expected, rel=tolerance, abs=tolerance), name


@pytest.mark.parametrize("scenario", ranks.SCENARIOS)
def test_sharded_weights_have_the_digest_of_whole_ones(two: list[Measured], scenario: str):
    whole = weights_digest(ranks.make_model(scenario, 1))
    assert [measured["digests"][scenario] for measured in two] == [whole, whole]
