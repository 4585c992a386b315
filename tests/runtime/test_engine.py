"""The exported graphs compute what the model does, and an engine that does not is refused before it acts."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import toy

from genba.errors import BundleError
from genba.runtime.bundle import Bundle
from genba.runtime.engine import Engine, OnnxEngine, difference, integrate
from genba.runtime.export import EXPORT_TOLERANCE, export_bundle, random_inputs
from genba.runtime.torch_engine import TorchEngine, weights_digest
from genba.trust.digest import digest_file


def test_onnx_and_torch_agree_on_inputs_with_missing_parts(toy_bundles, toy_model, toy_statistics):
    for facts in (toy.CART_FACTS, toy.LINES_FACTS):
        assert toy_bundles[facts.id].max_difference <= EXPORT_TOLERANCE
        onnx = OnnxEngine(Bundle.read(toy_bundles[facts.id].path))
        torch_engine = TorchEngine(toy_model, facts, toy_statistics[facts.id])
        assert isinstance(onnx, Engine)
        assert isinstance(torch_engine, Engine)
        for seed in range(10, 15):
            packed = random_inputs(facts, np.random.default_rng(seed))
            ours, theirs = onnx.encode(packed), torch_engine.encode(packed)
            assert set(ours) == set(theirs)
            for name in (name for name in ours if name.startswith("choice.")):
                assert difference(ours[name], theirs[name]) <= EXPORT_TOLERANCE
            if facts.action.continuous:
                noise = np.random.default_rng(seed).standard_normal((1, 8, 1)).astype(np.float32)
                ours_actions, their_actions = integrate(onnx, noise, ours, 3), integrate(torch_engine, noise, theirs, 3)
                assert difference(ours_actions, their_actions) <= EXPORT_TOLERANCE
                assert np.abs(ours_actions - noise).max() > 0.01  # the network does something


def test_the_same_inputs_give_the_same_bits(toy_bundles):
    engine = OnnxEngine(Bundle.read(toy_bundles["toy/cart@1"].path))
    packed = random_inputs(toy.CART_FACTS, np.random.default_rng(0))
    noise = np.zeros((1, 8, 1), np.float32)
    first, second = (integrate(engine, noise, engine.encode(packed), 4) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_choice_scores_are_minus_infinity_exactly_where_rows_or_pairs_are_masked(toy_bundles):
    engine = OnnxEngine(Bundle.read(toy_bundles["toy/lines@1"].path))
    packed = random_inputs(toy.LINES_FACTS, np.random.default_rng(3))
    outputs = engine.encode(packed)
    np.testing.assert_array_equal(np.isfinite(outputs["choice.next_order"][0]), packed["orders.mask"])
    np.testing.assert_array_equal(np.isfinite(outputs["choice.line_for_order"][0]), packed["capability.mask"])


def test_a_computer_that_does_not_repeat_the_golden_vectors_is_refused(toy_bundles, tmp_path):
    path = shutil.copytree(toy_bundles["toy/cart@1"].path, tmp_path / "bundle")
    golden = Bundle.read(path).golden()
    golden["expected/actions"] = golden["expected/actions"] + np.float32(0.01)
    np.savez(path / "golden.npz", **golden)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["golden.npz"] = digest_file(path / "golden.npz")
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"actions: differs by 0\.01 from the golden vectors"):
        OnnxEngine(Bundle.read(path))


def test_a_graph_that_is_no_graph_is_refused_naming_the_file(toy_bundles, tmp_path):
    path = shutil.copytree(toy_bundles["toy/cart@1"].path, tmp_path / "bundle")
    (path / "flow.onnx").write_bytes(b"not a graph")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["flow.onnx"] = digest_file(path / "flow.onnx")
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"flow\.onnx: onnxruntime cannot load it"):
        OnnxEngine(Bundle.read(path))


def test_difference_knows_infinities():
    inf = np.inf
    assert difference(np.array([1.0, -inf]), np.array([1.5, -inf])) == 0.5
    assert difference(np.array([1.0, 2.0]), np.array([1.0, -inf])) == inf
    assert difference(np.array([np.nan]), np.array([1.0])) == inf
    assert difference(np.zeros(2), np.zeros(3)) == inf


def test_export_leaves_a_folder_that_is_no_bundle_alone(toy_model, toy_statistics, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match="exists and is no bundle"):
        export_bundle(toy_model, toy.CART_FACTS, toy_statistics["toy/cart@1"], tmp_path, provenance={})
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_the_weights_digest_is_of_the_weights(toy_model):
    before = weights_digest(toy_model)
    assert weights_digest(toy_model) == before
    name, parameter = next(iter(toy_model.named_parameters()))
    old = parameter.data.clone()
    parameter.data.reshape(-1)[0] += 1
    assert weights_digest(toy_model) != before, name
    parameter.data.copy_(old)
    assert weights_digest(toy_model) == before


def test_the_world_foretells_each_candidate_as_the_model_does_and_knows_what_is_usual(
    toy_bundles, toy_model, toy_statistics
):
    engine = OnnxEngine(Bundle.read(toy_bundles["toy/cart@1"].path))
    packed = random_inputs(toy.CART_FACTS, np.random.default_rng(3))
    memory, now = engine.encode(packed), engine.latents(packed)
    parts = toy_model.parts_of("toy/cart@1")
    np.testing.assert_array_equal(engine.surprise_scale, parts.surprise_scale.numpy())
    rng = np.random.default_rng(4)
    for count in (1, 2, 16):
        latents = np.repeat(now["latents"], count, axis=0)
        actions = rng.standard_normal((count, toy.CART_FACTS.control.horizon, 1)).astype(np.float32)
        ours = engine.foretell(latents, actions, memory)
        # Straight from the model's own verb, one candidate after the other.
        inputs = {name: torch.from_numpy(array[None]) for name, array in packed.items()}
        with torch.no_grad():
            encoding = toy_model.encode("toy/cart@1", inputs)
            for i in range(count):
                action = torch.from_numpy(actions[i : i + 1])
                expected = toy_model.predict("toy/cart@1", encoding, torch.from_numpy(now["latents"]), action)
                assert difference(ours["predicted"][i : i + 1], expected.numpy()) <= EXPORT_TOLERANCE
    assert np.abs(ours["predicted"][0] - ours["predicted"][1]).max() > 0.01  # what is done makes a difference
    start = 0
    for name in parts.readouts:
        stop = start + now[f"here.{name}"].shape[1]
        changed = (ours["predicted"] - latents)[:, start:stop] @ parts.readouts[name].weight.detach().numpy().T
        np.testing.assert_allclose(ours[f"change.{name}"], changed, atol=1e-4)
        start = stop
    assert start == len(engine.surprise_scale)


def test_a_machine_that_chooses_has_no_world(toy_bundles):
    bundle = Bundle.read(toy_bundles["toy/lines@1"].path)
    assert not bundle.has_world
    assert not OnnxEngine(bundle).surprise_scale.size
