"""The model's promises: nothing leaks from the future, padding does not matter, every part learns."""

import dataclasses

import pytest
import torch
from batches import random_batch

from genba.model import counts
from genba.model.attention import compile_rules
from genba.model.config import PRESETS, preset
from genba.model.graphs import EncoderGraph, FlowGraph
from genba.model.tokenizers import make_tokenizer
from genba.model.world_action_model import WorldActionModel
from genba.spec.embodiment import ActionSpace, Embodiment
from genba.spec.normalise import CROP_ABOVE, crop_rows


def test_rules_compile_to_the_table():
    mask = compile_rules(
        ["prompt", "observation", "observation"],
        torch.tensor([0.0, -1.0, 0.0]),
        ["prompt", "observation", "observation"],
        torch.tensor([0.0, -1.0, 0.0]),
    )
    # The prompt sees itself alone; the older observation does not see the newer one; the newer sees all.
    assert mask.tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def test_no_token_sees_a_later_one(model: WorldActionModel, everything: Embodiment, make_inputs):
    inputs = make_inputs(2, seed=1)
    before = model.encode(everything.id, inputs)
    later = dict(inputs)
    later["joints.values"] = inputs["joints.values"].clone()
    later["joints.values"][:, -3:] += 5.0  # only the newest patch changes
    after = model.encode(everything.id, later)
    parts = model.parts_of(everything.id)
    newest = parts.slices["joints"].stop - 1
    same = (before.tokens - after.tokens).detach().abs().amax((0, 2))
    older = [i for i in range(newest) if i >= parts.slices["joints"].start]
    assert float(same[older].max()) == 0.0
    assert float(same[newest]) > 0.0


def test_actions_of_one_flow_sample_do_not_see_another(model: WorldActionModel, everything: Embodiment, make_inputs):
    _wake(model)
    encoding = model.encode(everything.id, make_inputs(1, seed=2))
    noisy, time = torch.randn(1, 2, 4, 2), torch.full((1, 2, 4), 0.5)
    one = model.velocity(everything.id, encoding, noisy, time)
    noisy[:, 1] += 3.0
    two = model.velocity(everything.id, encoding, noisy, time)
    torch.testing.assert_close(one[:, 0], two[:, 0])
    assert not torch.allclose(one[:, 1], two[:, 1])


def test_what_is_masked_does_not_matter(model: WorldActionModel, everything: Embodiment, make_inputs):
    _wake(model)
    inputs = make_inputs(2, seed=3)
    for name in ("orders", "lines"):
        inputs[f"{name}.mask"][:, -1] = False
    inputs["duration.mask"][:, -1] = False
    inputs["duration.mask"][:, :, -1] = False
    changed = {name: value.clone() for name, value in inputs.items()}
    for name in ("orders", "lines"):
        changed[f"{name}.values"][:, -1] = 99.0
    changed["lidar.values"][~inputs["lidar.mask"]] = 0.01
    one, two = (model.encode(everything.id, x) for x in (inputs, changed))
    valid = one.valid
    torch.testing.assert_close(one.tokens[valid], two.tokens[valid])
    scores, others = (model.choose(everything.id, e, x) for e, x in ((one, inputs), (two, changed)))
    for name in scores:
        torch.testing.assert_close(scores[name], others[name])


def test_rows_that_nothing_fills_may_be_cut(everything: Embodiment):
    """A channel with many rows costs what it holds: losses and scores are those of the padded batch."""
    orders, *others = everything.entities
    wide = dataclasses.replace(everything, entities=(dataclasses.replace(orders, max_rows=CROP_ABOVE + 24), *others))
    torch.manual_seed(0)
    model = WorldActionModel(preset("debug"), [wide])
    _wake(model)
    model.eval()
    padded = random_batch(wide, 4, seed=3)
    for prefix, filled in (("", 7), ("next.", 5)):
        padded[f"{prefix}orders.mask"][:, :filled] = True
        for name, value in padded.items():
            if name.startswith((f"{prefix}orders.m", f"{prefix}orders.v", f"{prefix}duration.")):
                value[:, filled:] = 0
    for name in ("sequence", "line"):
        padded[f"choice.{name}.mask"][:, 7:] = False
    padded["choice.sequence.values"][:, 7:] = 0
    padded["choice.line.values"][:, 7:] = -1
    arrays = {name: value.numpy() for name, value in padded.items()}
    cut = {name: torch.from_numpy(array) for name, array in crop_rows(wide, arrays).items()}
    assert cut["orders.values"].shape[1] == cut["choice.line.values"].shape[1] == cut["duration.mask"].shape[1] == 7
    assert cut["next.orders.mask"].shape[1] == 5
    whole, small = model(wide.id, padded, seed=1), model(wide.id, cut, seed=1)
    for name, value in whole.items():
        torch.testing.assert_close(small[name], value, rtol=1e-5, atol=1e-6)
    encodings = [model.encode(wide.id, batch) for batch in (padded, cut)]
    scores, cut_scores = (
        model.choose(wide.id, encoding, batch) for encoding, batch in zip(encodings, (padded, cut), strict=True)
    )
    torch.testing.assert_close(cut_scores["sequence"], scores["sequence"][:, :7])
    torch.testing.assert_close(cut_scores["line"], scores["line"][:, :7])


def test_every_parameter_learns_from_one_batch(model: WorldActionModel, everything: Embodiment, make_batch):
    _wake(model)
    batch = make_batch(8, seed=4)
    model(everything.id, batch)["total"].backward()
    # The last layer's keys, values and attention of the trunk's instruction are read; all else must have a gradient.
    silent = [name for name, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert silent == []


def test_losses_do_not_depend_on_how_the_batch_is_cut(model: WorldActionModel, everything: Embodiment, make_batch):
    _wake(model)
    batch = make_batch(8, seed=5)
    model.eval()
    whole = model(everything.id, batch, seed=7)
    halves = [model(everything.id, {k: v[i : i + 4] for k, v in batch.items()}, seed=7) for i in (0, 4)]
    for name, value in whole.items():
        torch.testing.assert_close(value, (halves[0][name] + halves[1][name]) / 2, rtol=1e-5, atol=1e-6)


def test_a_hidden_channel_is_not_read(model: WorldActionModel, everything: Embodiment, make_inputs):
    inputs = make_inputs(2, seed=6)
    inputs["dropout.joints"] = torch.tensor([True, True])
    one = model.encode(everything.id, inputs)
    inputs["joints.values"] = inputs["joints.values"] + 5.0
    two = model.encode(everything.id, inputs)
    rest = one.valid
    torch.testing.assert_close(one.tokens[rest], two.tokens[rest])


def test_graphs_equal_the_model(model: WorldActionModel, everything: Embodiment):
    _wake(model)
    model.eval()
    encoder, flow = EncoderGraph(model, everything), FlowGraph(model, everything)
    inputs = encoder.example_inputs()
    out = dict(zip(encoder.output_names, encoder(*inputs), strict=True))
    noisy, time = torch.randn(1, 4, 2), torch.tensor([0.7])
    velocity = flow(noisy, time, out["keys"], out["values"], out["memory_mask"])
    encoding = model.encode(everything.id, dict(zip(encoder.input_names, inputs, strict=True)))
    expected = model.velocity(everything.id, encoding, noisy[:, None], torch.full((1, 1, 4), 0.7))
    torch.testing.assert_close(velocity, expected[:, 0])


def test_training_makes_the_loss_small_on_one_batch(model: WorldActionModel, everything: Embodiment, make_batch):
    batch = make_batch(8, seed=8, flow_samples=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    seen = []
    for step in range(60):
        losses = model(everything.id, batch, seed=step)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        seen.append({name: value.item() for name, value in losses.items()})
    # One batch can be learnt by heart: the choices' scores, and the world beyond persistence.
    assert seen[-1]["choice.sequence"] < 0.5 * seen[0]["choice.sequence"]
    assert seen[-1]["choice.line"] < 0.7 * seen[0]["choice.line"]
    assert seen[-1]["action"] < 0.8 * seen[0]["action"]
    assert seen[-1]["readout"] < 0.9 * seen[-1]["persistence"]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_can_be_built_without_memory(name: str, everything: Embodiment):
    with torch.device("meta"):
        model = WorldActionModel(preset(name), [everything])
    count = sum(p.numel() for p in model.parameters())
    least, most = {
        "debug": (1e4, 1e6),
        "tiny": (3e5, 2e6),
        "small": (1e7, 1e8),
        "base": (2e8, 1e9),
        "one_trillion": (1.0e12, 1.1e12),
    }[name]
    assert least < count < most


def _wake(model: WorldActionModel) -> None:
    """Give the heads that start at zero some weights, so that a test can see through them."""
    torch.manual_seed(1)
    for p in model.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.1)


def test_a_machine_that_only_senses_teaches_how_the_world_goes_on(everything: Embodiment):
    sensing = dataclasses.replace(everything, id="test/sensing@1", action=ActionSpace())
    torch.manual_seed(0)
    model = WorldActionModel(preset("debug"), [sensing])
    found = model(sensing.id, random_batch(sensing, 3, seed=0))
    assert set(found) == {"world", "readout", "persistence", "isotropy", "total"}
    found["total"].backward()
    unused = {name for name, value in model.named_parameters() if value.grad is None}
    # The shared action expert has nothing to do; the machine's own parameters all learn.
    assert not [name for name in unused if name.startswith("parts.")]
    assert counts.parameters(model.config, [sensing]).total == sum(value.numel() for value in model.parameters())


def test_the_world_loss_is_taken_on_every_window_that_the_stride_names(everything: Embodiment):
    config = dataclasses.replace(preset("debug"), world_stride=2)
    torch.manual_seed(0)
    model = WorldActionModel(config, [everything])
    _wake(model)
    # Eight is a multiple of four times the stride: the world loss is that of windows 0, 2, 4 and 6, the action loss of all.
    batch = random_batch(everything, 8, seed=0)
    found = model(everything.id, batch)
    model.config = preset("debug")
    every, chosen = (
        model(everything.id, batch),
        model(everything.id, {name: value[::2] for name, value in batch.items()}),
    )
    for name in ("world", "readout", "persistence", "isotropy"):
        torch.testing.assert_close(found[name], chosen[name])
        assert not torch.allclose(found[name], every[name])
    torch.testing.assert_close(found["action"], every["action"])
    # Six windows are not: all count.
    six = {name: value[:6] for name, value in batch.items()}
    whole = model(everything.id, six)
    model.config = config
    torch.testing.assert_close(model(everything.id, six)["world"], whole["world"])


def test_a_short_window_makes_no_more_tokens_than_it_has_patches(everything: Embodiment):
    config = dataclasses.replace(preset("debug"), telemetry_tokens=4, telemetry_patch=8)
    for samples, tokens in ((1, 1), (8, 1), (9, 2), (24, 3), (100, 4)):
        channel = dataclasses.replace(everything.telemetry[0], rate_hz=float(samples), history_s=1.0)
        assert make_tokenizer(channel, config).num_tokens == tokens
