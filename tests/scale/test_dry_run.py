"""A dry run tells the truth at sizes where it can be derived, and a trillion parameters fit a test."""

import dataclasses
import json

import pytest
import torch
from batches import EVERYTHING
from toy import CART_FACTS, LINES_FACTS
from typer.testing import CliRunner

from genba.cli.plan import app
from genba.errors import ConfigError
from genba.model import counts
from genba.model.config import MixtureConfig, preset
from genba.model.world_action_model import WorldActionModel
from genba.spec.embodiment import load_embodiment
from genba.train import dry_run
from genba.train.parallelize import _num_shards
from genba.train.plan import (
    GATHERED,
    OPTIMIZER,
    PARAMETERS,
    Layout,
    choose_layout,
    even_bytes,
    kept_activation_bytes,
    largest_shard,
)

EMBODIMENTS = [load_embodiment(EVERYTHING), CART_FACTS, LINES_FACTS]
SPARSE = dataclasses.replace(
    preset("debug"),
    num_layers=4,
    mixture=MixtureConfig(num_routed=8, num_active=2, feedforward=32),
    checkpoint_activations=True,
)
LAYOUT = Layout(ranks=8, expert_parallel=4)


@pytest.fixture(scope="module")
def peaks() -> dict[int, dry_run.Peak]:
    """Peaks at three depths."""
    return {
        depth: dry_run.measure(dataclasses.replace(SPARSE, num_layers=depth), [LINES_FACTS], LAYOUT, windows=16)
        for depth in (4, 6, 8)
    }


def test_rank_0_holds_its_share():
    found = dry_run.shard(SPARSE, EMBODIMENTS, LAYOUT)
    closed = counts.parameters(SPARSE, EMBODIMENTS)
    assert found.total == closed.total
    # 8 experts over 4 ranks, each shared by 2: everything divides.
    assert found.local_routed == closed.routed // 8
    with torch.device("meta"):
        model = WorldActionModel(SPARSE, EMBODIMENTS)
    rest = [tuple(p.shape) for name, p in model.named_parameters() if ".routed." not in name]
    assert found.local == closed.routed // 8 + sum(largest_shard(shape, 8) for shape in rest)


def test_every_shard_is_held_once():
    # What the gradient norm relies on; 16 experts over 4 ranks are cut again, along the same axis, by their 2 copies.
    mixture = MixtureConfig(num_routed=16, num_active=2, feedforward=32)
    config = dataclasses.replace(SPARSE, mixture=mixture)
    with dry_run._fake_ranks(8):
        model = dry_run._laid_out(config, [CART_FACTS], LAYOUT)
        assert {_num_shards(p) for p in model.parameters()} == {8}


def test_a_trillion_parameters_are_laid_over_4096_ranks():
    config = preset("one_trillion")
    layout = choose_layout(config, 4096)
    found = dry_run.shard(config, EMBODIMENTS, layout)
    assert found.total == counts.parameters(config, EMBODIMENTS).total
    # 384 experts of 3 matrices of 7168 x 2048 in 60 layers, over 4096 ranks.
    assert found.local_routed == 60 * 384 * 3 * 7168 * 2048 // 4096
    # What does not divide by 4096 costs rank 0 less than 2 % over an even share.
    assert 1.0 <= found.local / (found.total / 4096) < 1.02


def test_what_lasts_is_what_the_closed_form_says(peaks: dict[int, dry_run.Peak]):
    config = dataclasses.replace(SPARSE, num_layers=8)
    local = dry_run.shard(config, [LINES_FACTS], LAYOUT).local
    with torch.device("meta"):
        count = len(list(WorldActionModel(config, [LINES_FACTS]).parameters()))
    kept = peaks[8].by_kind
    assert kept[PARAMETERS] == 4 * local
    # Two means in float32, and a counter per parameter.
    assert kept[OPTIMIZER] == 8 * local + 4 * count
    # An even share is a little less: toy shapes do not divide by 8.
    assert even_bytes(config, [LINES_FACTS], LAYOUT)[PARAMETERS] == pytest.approx(4 * local, rel=0.03)


def test_a_layer_keeps_what_the_closed_form_says(peaks: dict[int, dry_run.Peak]):
    # What two more layers add to the forward pass, less the parameters and means that they add too.
    lasting = [peaks[depth].by_kind[PARAMETERS] + peaks[depth].by_kind[OPTIMIZER] for depth in (6, 8)]
    added = (peaks[8].forward - lasting[1] - peaks[6].forward + lasting[0]) / 2
    # Beside activations, a layer brings the routing bias and load of 8 experts, in float32.
    assert added == kept_activation_bytes(SPARSE, LINES_FACTS, windows=16) + 2 * 8 * 4


def test_two_depths_foretell_a_third(peaks: dict[int, dry_run.Peak]):
    foretold = dry_run.extrapolate(peaks[4], peaks[6], (4, 6), 8)
    assert peaks[4].by_kind[GATHERED] == peaks[8].by_kind[GATHERED]
    assert foretold.total == pytest.approx(peaks[8].total, rel=0.005)


def test_the_command_prints_json_with_closed_forms_beside():
    arguments = ["debug", "--ranks", "8", "--embodiment", str(EVERYTHING), "--layers-sample", "", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["parameters"]["total"] == found["parameters"]["total_of_the_model"] == found["rank_0"]["total"]
    assert found["layout"] == {"ranks": 8, "expert_parallel": 1}
    assert found["peak"] is None


def test_depths_that_say_nothing_are_refused():
    result = CliRunner().invoke(app, ["one_trillion", "--embodiment", str(EVERYTHING), "--layers-sample", "1,2"])
    assert isinstance(result.exception, ConfigError)
    assert "more than the 1 dense layers" in str(result.exception)
