"""Meta-World goes the ordinary way: scripts into a vault, the ordinary training, and the bench judges."""

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("metaworld", reason="Meta-World is not installed: pip install 'genba[metaworld]'")

from genba.bench.collect import collect
from genba.bench.rollout import roll_out
from genba.data.vault import Vault
from genba.errors import ConfigError
from genba.machines.metaworld.task_list import INSTRUCTIONS
from genba.spec.embodiment import load_embodiment
from genba.spec.episode import ACTION, LABEL
from genba.train.data import prepare
from genba.train.loop import train
from genba.train.recipe import recipe

#: drawer-open, drawer-close, button-press-topdown of the train worlds of metaworld/mt10@1
SEEDS = [4, 5, 6]


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    made = Vault.open(str(tmp_path_factory.mktemp("metaworld") / "vault"), create=True)
    done = collect(
        "metaworld/mt10@1",
        policy="scripted",
        seeds=SEEDS,
        sink=made,
        workers=0,
        labeller="scripted",
        perturb=0.05,
        progress=False,
    )
    assert done.num_new == len(SEEDS)
    return made


def test_demonstrations_keep_the_words_and_what_the_script_would_have_done(vault):
    entries = vault.entries(embodiment_id="metaworld/sawyer@1", task_id="metaworld/mt10@1")
    episodes = [vault.read(entry.episode_id) for entry in entries]
    wanted = ["drawer-open-v3", "drawer-close-v3", "button-press-topdown-v3"]
    assert [e.metadata.instruction for e in episodes] == [INSTRUCTIONS[name] for name in wanted]
    for episode in episodes:
        done, taught = episode.streams[ACTION], episode.streams[LABEL]
        assert np.array_equal(done.times_ns, taught.times_ns)
        assert np.abs(taught.values).max() <= 1.0
        # 5 % of a range of 2 is a standard deviation of 0.1; where the limits cut it, less
        assert 0.02 < np.abs(done.values - taught.values).mean() < 0.15
        # the last sample is the state after the last action
        assert len(episode.streams["scene"]) == len(done) + 1


def test_the_ordinary_training_learns_from_them(vault, tmp_path):
    chosen = dataclasses.replace(
        recipe("debug"), num_steps=40, default_batch=32, evaluate_every=40, checkpoint_every=40
    )
    data = prepare(vault, [load_embodiment("metaworld/sawyer@1")], chosen)
    train(chosen, data, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss/metaworld/sawyer@1/action"] for line in lines if "loss/metaworld/sawyer@1/action" in line]
    assert len(losses) == 40
    # numbers are normalised: guessing the mean action and no noise would cost about 1
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:3])


def test_what_the_camera_saw_is_kept_and_trained_on_without_the_truth(tmp_path):
    seen = Vault.open(str(tmp_path / "vault"), create=True)
    # two worlds of reach-v3, the shortest
    collect("metaworld/mt10-camera@1", policy="scripted", seeds=[0, 10], sink=seen, workers=0, progress=False)
    episode = seen.read("metaworld/mt10-camera@1/scripted/0000010")
    assert set(episode.streams) == {"hand", "corner2", ACTION}
    assert episode.streams["corner2"].values.shape == (len(episode.streams[ACTION]) + 1, 128, 128, 3)
    chosen = dataclasses.replace(recipe("debug"), num_steps=2, evaluate_every=2, checkpoint_every=2)
    data = prepare(seen, [load_embodiment("metaworld/sawyer-camera@1")], chosen)
    train(chosen, data, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert np.isfinite([line["loss"] for line in lines if "loss" in line]).all()


def test_the_bench_counts_what_the_package_calls_success():
    result = roll_out("metaworld/mt10@1", "scripted", seeds=[1_000_004, 1_000_005], workers=0, progress=False)
    assert (result.success.mean, result.kind) == (1.0, "expert")
    still = roll_out("metaworld/mt10@1", "still", seeds=[1_000_005], workers=0, progress=False)
    assert (still.success.mean, still.kind, still.outcomes[0]["num_steps"]) == (0.0, "baseline", 500)


def test_what_is_held_out_is_not_collected(vault):
    with pytest.raises(ConfigError, match=r"metaworld/ml45-test@1: measures what is never trained on"):
        collect("metaworld/ml45-test@1", policy="scripted", seeds=[0], sink=vault, workers=0)
