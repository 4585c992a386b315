"""The job shop benchmark from the command line: files in, a table with every way of scheduling them out."""

import json

import pytest
import torch

from genba.cli.main import main
from genba.machines.factory.fjsp.tasks import JOB_SHOP
from genba.model.config import debug
from genba.model.world_action_model import WorldActionModel
from genba.runtime.executor import Executor
from genba.runtime.export import export_bundle
from genba.runtime.loop import run_episode
from genba.runtime.recorder import Recorder
from genba.spec.episode import EpisodeMetadata
from genba.spec.statistics import episode_statistics

# the best of both is 5: job 0 takes 3 and 2, job 1 takes 5 on the other machine
SMALL = "2 2\n2 1 0 3 2 0 2 1 2\n1 2 0 4 1 5\n"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A small network with random weights, exported as any other."""
    facts, env = JOB_SHOP.embodiment, JOB_SHOP.make_env()
    recorder = Recorder(facts)
    executor = Executor(JOB_SHOP.policies["best_of_4"](env), facts, enforce_deadline=False)
    run_episode(env, executor, seed=1, max_steps=2, recorder=recorder)
    episode = recorder.episode(EpisodeMetadata(episode_id="one", embodiment_id=facts.id))
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bundles") / "job-shop"
    model = WorldActionModel(debug(), [facts])
    export_bundle(model, facts, episode_statistics(facts, episode), folder, provenance={"recipe": "test"})
    return folder


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["factory", "job-shop", *map(str, arguments)])
    return ended.value.code


def test_a_bundle_stands_in_one_table_with_rules_searches_and_solver(tmp_path, bundle):
    (tmp_path / "small.txt").write_text(SMALL)
    known, out = tmp_path / "known.json", tmp_path / "out.json"
    known.write_text(json.dumps([{"instance": "small", "upper_bound": 5}]))
    assert run(tmp_path, "--bundle", bundle, "--best-known", known, "--seconds", "0.1", "--out", out) == 0
    found = json.loads(out.read_text())
    (row,) = found["rows"]
    searched = {"local search 0.1 s", "CP-SAT 0.1 s", "model, local search 0.1 s", "model, CP-SAT 0.1 s"}
    alone = {"fifo", "spt", "mwkr", "mopnr", "best of 4", "best of 4, varied 100 times", "model", "model, best of 100"}
    assert set(row["makespan"]) == searched | alone == set(row["cpu_s"])
    assert all(row["makespan"][name] == 5 for name in searched)
    assert found["mean_gap_percent"]["model"] == 100 * (row["makespan"]["model"] / 5 - 1)
    assert found["weights_digest"]


def test_what_cannot_be_measured_is_refused_in_a_line(tmp_path, bundle, capsys):
    assert run(tmp_path) == 2
    assert "got no files, expected flexible job shops" in " ".join(capsys.readouterr().err.split())
    jobs = "\n".join("6 " + "1 0 1 " * 6 for _ in range(100))
    (tmp_path / "large.txt").write_text(f"100 1\n{jobs}\n")
    assert run(tmp_path, "--bundle", bundle, "--seconds", "0.01") == 2
    assert "large: got 600 operations" in " ".join(capsys.readouterr().err.split())
