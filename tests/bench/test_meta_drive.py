"""MetaDrive goes the ordinary way: corrections into a vault, the ordinary training, and the bench judges."""

import dataclasses
import json

import numpy as np
import pytest

from genba.bench.collect import collect
from genba.bench.rollout import roll_out
from genba.data.vault import Vault
from genba.errors import SimulatorError
from genba.machines.metadrive.simulator import package
from genba.spec.embodiment import load_embodiment
from genba.spec.episode import ACTION, LABEL
from genba.train.data import prepare
from genba.train.loop import train
from genba.train.recipe import recipe


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    try:
        package()
    except SimulatorError as error:
        pytest.skip(str(error))
    made = Vault.open(str(tmp_path_factory.mktemp("metadrive") / "vault"), create=True)
    # Going straight on ends soon; the teacher says what should have been done on the way.
    done = collect(
        "metadrive/general@1",
        policy="straight",
        seeds=[5001, 5004],
        sink=made,
        workers=0,
        labeller="planner",
        progress=False,
    )
    assert done.num_new == 2
    return made


def test_what_was_done_and_what_should_have_been_are_both_kept(vault):
    for entry in vault.entries(embodiment_id="metadrive/car@1", task_id="metadrive/general@1"):
        episode = vault.read(entry.episode_id)
        done, taught = episode.streams[ACTION], episode.streams[LABEL]
        assert np.array_equal(done.values, np.tile(np.float32([0.0, 0.2]), (len(done), 1)))
        assert np.array_equal(done.times_ns, taught.times_ns) and np.abs(taught.values).max() <= 1.0
        # The teacher gets going faster and slows where the road bends.
        assert taught.values[0, 1] > 0.5 and np.ptp(taught.values[:, 0]) > 0.01
        # the last sample is the state after the last action
        assert len(episode.streams["motion"]) == len(episode.streams["lidar"]) == len(done) + 1


def test_the_ordinary_training_learns_from_it(vault, tmp_path):
    chosen = dataclasses.replace(
        recipe("debug"), num_steps=30, default_batch=32, evaluate_every=30, checkpoint_every=30
    )
    data = prepare(vault, [load_embodiment("metadrive/car@1")], chosen)
    train(chosen, data, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss/metadrive/car@1/action"] for line in lines if "loss/metadrive/car@1/action" in line]
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_the_bench_counts_what_the_package_calls_out_of_the_road(vault):
    result = roll_out("metadrive/general@1", "straight", seeds=[5001], workers=0, progress=False)
    (outcome,) = result.outcomes
    assert (result.success.mean, result.kind, result.on_test_seeds) == (0.0, "baseline", False)
    assert outcome["crash"] or outcome["out_of_road"]
