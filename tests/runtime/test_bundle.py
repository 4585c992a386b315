"""A bundle is read whole or refused, with the file or the fact that is wrong."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import toy

from genba.config import read_toml_text
from genba.errors import BundleError
from genba.runtime.bundle import Bundle, check_facts, is_bundle
from genba.spec.embodiment import Embodiment, load_embodiment
from genba.trust.digest import digest_file


@pytest.fixture
def copy(toy_bundles, tmp_path):
    """A bundle that a test may damage."""
    return shutil.copytree(toy_bundles["toy/cart@1"].path, tmp_path / "bundle")


def rewrite(path, **changes):
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | changes))


def test_a_bundle_gives_back_what_it_was_exported_with(toy_bundles, toy_statistics):
    for facts in (toy.CART_FACTS, toy.LINES_FACTS):
        bundle = Bundle.read(toy_bundles[facts.id].path, facts)
        assert bundle.embodiment == facts
        assert bundle.statistics.to_json() == toy_statistics[facts.id].to_json()
        assert (bundle.flow_steps, bundle.noise) == (4, "zero")
        assert bundle.provenance == {"recipe": "test"}
        assert bundle.weights_digest == toy_bundles[facts.id].weights_digest
        assert ("flow.onnx" in bundle.files) == bool(facts.action.continuous)
        assert is_bundle(bundle.path)


@pytest.mark.parametrize("name", ["encoder.onnx", "flow.onnx", "golden.npz"])
def test_one_changed_byte_is_refused_naming_the_file(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleError, match=rf"{name}: got sha256"):
        Bundle.read(copy)


def test_a_missing_file_a_foreign_folder_and_a_future_format_are_refused(copy, tmp_path):
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        Bundle.read(tmp_path)
    rewrite(copy, version=2)
    with pytest.raises(BundleError, match=r"got format and version \('genba-bundle', 2\)"):
        Bundle.read(copy)
    rewrite(copy, version=1, noise="pink")
    with pytest.raises(BundleError, match="noise: got 4, 'pink'"):
        Bundle.read(copy)
    rewrite(copy, noise="zero")
    (copy / "flow.onnx").unlink()
    with pytest.raises(BundleError, match=r"flow\.onnx: missing"):
        Bundle.read(copy)
    (copy / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match=r"manifest\.json: not valid JSON"):
        Bundle.read(copy)


def test_a_manifest_that_hides_a_graph_is_refused(copy):
    files = {"encoder.onnx": digest_file(copy / "encoder.onnx"), "golden.npz": digest_file(copy / "golden.npz")}
    rewrite(copy, files=files)
    with pytest.raises(BundleError, match=r"files: got no flow\.onnx"):
        Bundle.read(copy)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("high = 10.0", "high = 12.0", r"action\.continuous\[force\]\.high: bundle 10\.0, machine 12\.0"),
        ('"velocity", unit = "m/s"', '"speed", unit = "m/s"', r"name: bundle 'velocity', machine 'speed'"),
        ("rate_hz = 20.0", "rate_hz = 25.0", r"telemetry\[goal\]\.rate_hz: bundle 20\.0, machine 25\.0"),
        ("execute_length = 4", "execute_length = 5", r"control\.execute_length: bundle 4, machine 5"),
    ],
)
def test_another_machine_is_refused_naming_the_fact_that_differs(toy_bundles, old, new, message):
    machine = read_toml_text(toy.CART_TOML.replace(old, new), Embodiment, where="test")
    with pytest.raises(BundleError, match=message):
        Bundle.read(toy_bundles["toy/cart@1"].path, machine)


def test_words_for_people_may_differ(toy_bundles):
    machine = dataclasses.replace(toy.CART_FACTS, description="Better words.")
    assert Bundle.read(toy_bundles["toy/cart@1"].path, machine).embodiment == toy.CART_FACTS


def test_a_bundle_runs_on_a_machine_without_torch(toy_bundles):
    program = (
        "import sys, genba.runtime.loop; from genba.runtime.bundle import Bundle; "
        "from genba.runtime.engine import OnnxEngine; from genba.runtime.policy import EnginePolicy; "
        f"EnginePolicy(OnnxEngine(Bundle.read({str(toy_bundles['toy/cart@1'].path)!r}))); "
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_what_only_the_guard_goes_by_may_change_without_a_new_model():
    car = load_embodiment("vehicle/urban-car@1")
    (bus, *rest), (lidar,) = car.telemetry, car.points
    before = dataclasses.replace(
        car,
        telemetry=(dataclasses.replace(bus, needed=False), *rest),
        points=(dataclasses.replace(lidar, needed=False, max_silence_s=0.0),),
    )
    assert before != car
    check_facts(Path("bundle"), before, car)
    slower = dataclasses.replace(before, points=(dataclasses.replace(lidar, rate_hz=5.0),))
    with pytest.raises(BundleError, match=r"points\[lidar\].rate_hz: bundle 5.0, machine 10.0"):
        check_facts(Path("bundle"), slower, car)


def without_world(path, *names):
    """Take files of the world out of a bundle, as one exported before they existed lacks them all."""
    manifest = json.loads((path / "manifest.json").read_text())
    for name in names:
        if name == "surprise_scale":
            del manifest[name]
        else:
            (path / name).unlink()
            del manifest["files"][name]
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_a_bundle_of_before_the_world_was_deployed_still_loads(copy):
    assert Bundle.read(copy).has_world
    without_world(copy, "world.onnx", "latents.onnx", "surprise_scale")
    bundle = Bundle.read(copy)
    assert not bundle.has_world
    assert not bundle.surprise_scale.size


def test_half_a_world_is_refused(copy):
    without_world(copy, "latents.onnx")
    with pytest.raises(BundleError, match=r"got only surprise_scale, world\.onnx, expected latents\.onnx"):
        Bundle.read(copy)
