"""The closed forms say what the model is: every parameter, and every matrix product of the forward pass."""

import dataclasses

import pytest
import torch
from batches import EVERYTHING, random_batch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from toy import CART_FACTS, LINES_FACTS

from genba.model import counts
from genba.model.config import PRESETS, MixtureConfig, ModelConfig, preset
from genba.model.world_action_model import WorldActionModel
from genba.spec.embodiment import Embodiment, load_embodiment

EMBODIMENTS = [load_embodiment(EVERYTHING), CART_FACTS, LINES_FACTS]
SPARSE = dataclasses.replace(
    preset("debug"), num_layers=3, mixture=MixtureConfig(num_routed=4, num_active=2, num_shared=2, feedforward=24)
)
#: the sizes of the embodiment's numbers differ, so that a closed form cannot be right by accident
UNEVEN = dataclasses.replace(
    SPARSE,
    action=dataclasses.replace(SPARSE.action, width=40, feedforward=56),
    world=dataclasses.replace(SPARSE.world, width=24, feedforward=72),
)
CONFIGS = [PRESETS[name]() for name in PRESETS] + [SPARSE, UNEVEN]


@pytest.mark.parametrize("config", CONFIGS, ids=[c.name for c in CONFIGS[:-2]] + ["sparse", "uneven"])
def test_every_parameter_is_counted(config: ModelConfig):
    with torch.device("meta"):
        model = WorldActionModel(config, EMBODIMENTS)
    expected = counts.parameters(config, EMBODIMENTS)
    found = dict.fromkeys(("trunk", "routed", "action", "world", "embodiments"), 0)
    for name, parameter in model.named_parameters():
        part = "embodiments" if name.startswith("parts.") else "trunk"
        for expert in ("action", "world"):
            part = expert if f".experts.{expert}." in name else part
        found["routed" if ".routed." in name else part] += parameter.numel()
    assert found == dataclasses.asdict(expected)
    assert expected.total == sum(p.numel() for p in model.parameters())


def test_a_token_meets_its_share_of_the_routed_experts():
    # 3 layers of which 1 is dense; 4 experts of 3 matrices of 32 x 24; 2 of 4 are active, so 2 stay silent.
    whole = counts.parameters(SPARSE, [])
    assert whole.routed == 2 * 4 * 3 * 32 * 24
    assert counts.active_parameters(SPARSE) == whole.trunk + whole.routed - 2 * 2 * 3 * 32 * 24


def test_the_trillion_has_a_trillion_of_which_32_billion_are_active():
    # On paper: 60 mixtures of 384 experts, each 3 matrices of 7168 x 2048.
    assert counts.parameters(preset("one_trillion"), []).routed == 60 * 384 * 3 * 7168 * 2048
    assert counts.parameters(preset("one_trillion"), []).total == pytest.approx(1.03e12, rel=0.01)
    assert counts.active_parameters(preset("one_trillion")) == pytest.approx(32.4e9, rel=0.01)


@pytest.mark.parametrize("embodiment", EMBODIMENTS, ids=lambda e: e.id)
@pytest.mark.parametrize("config", [preset("debug"), SPARSE, UNEVEN], ids=["debug", "sparse", "uneven"])
def test_every_matrix_product_is_counted(config: ModelConfig, embodiment: Embodiment):
    torch.manual_seed(0)
    model = WorldActionModel(config, [embodiment])
    batch = random_batch(embodiment, 4, seed=1, flow_samples=config.flow_samples)
    aten = torch.ops.aten
    mapping = {
        aten._grouped_mm: lambda rows, weight, *_, out_shape=None, **__: 2 * rows[0] * rows[1] * weight[2],
        aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, out_shape=None, **__: sdpa_flop_count(
            q, k, v
        ),
    }
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter, torch.no_grad():
        model(embodiment.id, batch, seed=0)
    # Beside the model's own products: the isotropy loss projects the latents, now and later, on 16 directions.
    length = counts.lengths(config, embodiment)
    isotropy = 2 * 2 * length.latents * config.latent_width * 16
    assert counter.get_total_flops() == 4 * (counts.training_operations(config, embodiment).total + isotropy)
