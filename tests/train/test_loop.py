"""A run can be stopped anywhere and goes on as if it had not been; more processes change nothing."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy import CART, LINES

from genba.data.vault import Vault
from genba.errors import CheckpointError, DataError
from genba.model.config import preset
from genba.model.world_action_model import WorldActionModel
from genba.spec.statistics import Statistics
from genba.train import checkpoint
from genba.train.data import prepare
from genba.train.launch import launch
from genba.train.loop import train
from genba.train.optimizer import MeanWeights, make_optimizer
from genba.train.recipe import Recipe, recipe

MACHINES = [CART.embodiment, LINES.embodiment]
RECIPE = replace(recipe("debug"), num_steps=12, checkpoint_every=6, evaluate_every=6, evaluate_batches=1)


def losses(folder: Path) -> dict[int, float]:
    """Train step -> loss, as the run wrote them."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {int(line["step"]): line["loss"] for line in lines if "loss" in line}


def test_a_resumed_run_equals_one_that_never_stopped(vault: Vault, tmp_path: Path):
    data = prepare(vault, MACHINES, RECIPE)
    whole = train(RECIPE, data, tmp_path / "whole")
    train(RECIPE, data, tmp_path / "halves", stop_at=6)
    # Not even the statistics are measured again: they come from the checkpoint.
    stored = checkpoint.read_manifest(tmp_path / "halves" / "step_000006")["statistics"]
    frozen = {name: Statistics.from_json(table) for name, table in stored.items()}
    halves = train(RECIPE, prepare(vault, MACHINES, RECIPE, frozen), tmp_path / "halves")
    assert losses(tmp_path / "whole") == losses(tmp_path / "halves")
    assert sorted(losses(tmp_path / "whole")) == list(range(12))
    for one, other in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_run_says_once_per_start_how_long_it_took_to_begin(vault: Vault, tmp_path: Path):
    data = prepare(vault, MACHINES, RECIPE)
    train(RECIPE, data, tmp_path, stop_at=6)
    train(RECIPE, data, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    said = {int(line["step"]): line["startup_s"] for line in lines if "startup_s" in line}
    # ``debug`` reports every step: the first of each start is 0 and 6. Finding the windows is part of it.
    assert list(said) == [0, 6]
    assert min(said.values()) > data.prepared_s > 0
    assert all(0 <= line["data_wait"] < 1 for line in lines if "data_wait" in line)


@pytest.mark.parametrize("sharded", [True, False])
def test_two_processes_take_the_same_steps_as_one(vault: Vault, tmp_path: Path, sharded: bool):
    train(RECIPE, prepare(vault, MACHINES, RECIPE), tmp_path / "one")
    script = tmp_path / "two.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "import pathlib, test_loop\n"
        "from genba.data.vault import Vault\n"
        "from genba.train.mesh import process_group\n"
        "with process_group('cpu'):\n"
        f"    vault = Vault.open({str(vault.path)!r}, embodiments=test_loop.MACHINES)\n"
        "    data = test_loop.prepare(vault, test_loop.MACHINES, test_loop.RECIPE)\n"
        f"    recipe = test_loop.replace(test_loop.RECIPE, sharded={sharded})\n"
        f"    test_loop.train(recipe, data, pathlib.Path({str(tmp_path / 'two')!r}))\n"
    )
    launch([str(script)], 2, command=[sys.executable])
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert sorted(two) == list(range(12))
    # Sums in another order differ in the last digits, and twelve steps carry them on.
    assert two == pytest.approx(one, rel=2e-4)
    # What two processes wrote, one can read: the tensors are put together on load.
    model = WorldActionModel(RECIPE.model, MACHINES)
    mean = MeanWeights(model, 0.0)
    assert checkpoint.load(tmp_path / "two" / "step_000012", model=model, mean=mean)["step"] == 12


def test_a_checkpoint_of_another_architecture_is_refused(vault: Vault, tmp_path: Path):
    train(RECIPE, prepare(vault, MACHINES, RECIPE), tmp_path, stop_at=6)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    other = WorldActionModel(replace(preset("debug"), num_layers=3), MACHINES)
    with pytest.raises(CheckpointError, match=r"step_000006: model.num_layers: got 2 in the checkpoint, expected 3"):
        checkpoint.load(found, model=other)
    fewer = WorldActionModel(preset("debug"), [CART.embodiment])
    with pytest.raises(CheckpointError, match="embodiments: got"):
        checkpoint.load(found, model=fewer)


def test_a_damaged_checkpoint_is_named_and_an_unfinished_one_is_not_seen(vault: Vault, tmp_path: Path):
    train(RECIPE, prepare(vault, MACHINES, RECIPE), tmp_path)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.name == "step_000012"
    (tmp_path / "step_000099").mkdir()  # no manifest: a write that never ended
    assert checkpoint.newest(tmp_path) == found
    tensors = next(found.glob("*.distcp"))
    tensors.write_bytes(tensors.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="step_000012: damaged"):
        checkpoint.load(found, model=WorldActionModel(RECIPE.model, MACHINES))
    (found / checkpoint.MANIFEST).write_text("{")
    with pytest.raises(CheckpointError, match=r"run\.json: not JSON"):
        checkpoint.load(found, model=WorldActionModel(RECIPE.model, MACHINES))


def test_a_full_disk_is_an_error_and_the_last_checkpoint_stays(vault: Vault, tmp_path: Path, monkeypatch):
    train(RECIPE, prepare(vault, MACHINES, RECIPE), tmp_path, stop_at=6)
    model = WorldActionModel(RECIPE.model, MACHINES)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.dcp, "save", full)
    with pytest.raises(CheckpointError, match=r"step_000007: could not be written .*No space left"):
        checkpoint.save(
            tmp_path,
            step=7,
            model=model,
            optimizer=make_optimizer(model, RECIPE),
            mean=MeanWeights(model, 0.9),
            statistics={},
            extra={},
            keep=1,
        )
    assert checkpoint.newest(tmp_path) == tmp_path / "step_000006"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".writing")] == []


def test_a_machine_without_episodes_is_an_error_that_says_what_to_do(tmp_path: Path):
    empty = Vault.open(tmp_path / "empty", create=True, embodiments=MACHINES)
    with pytest.raises(DataError, match=r"0 episodes of .* expected at least 2; collect some with"):
        prepare(empty, MACHINES, RECIPE)
    shutil.rmtree(tmp_path / "empty")


def test_the_learning_rate_warms_up_and_comes_down():
    made: Recipe = replace(RECIPE, num_steps=110, warmup_steps=10, learning_rate=1.0, final_fraction=0.1)
    assert made.learning_rate_at(0) == pytest.approx(0.1)
    assert made.learning_rate_at(9) == pytest.approx(1.0)
    # Half of the cosine: halfway between 1 and the floor.
    assert made.learning_rate_at(60) == pytest.approx(0.55)
    assert made.learning_rate_at(110) == pytest.approx(0.1)


def test_mean_weights_swap_back_and_forth():
    model = torch.nn.Linear(2, 1)
    mean = MeanWeights(model, 0.5)
    before = model.weight.detach().clone()
    with torch.no_grad():
        model.weight += 1.0
    mean.update(model, step=100)
    mean.swap(model)
    # Decay 0.5: halfway between the first weights and the new ones.
    torch.testing.assert_close(model.weight.detach(), before + 0.5)
    mean.swap(model)
    torch.testing.assert_close(model.weight.detach(), before + 1.0)
