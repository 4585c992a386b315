"""Every modality that an embodiment may have exports, with missing samples, rows and pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from genba.config import read_toml_text
from genba.model.config import debug
from genba.model.world_action_model import WorldActionModel
from genba.runtime.bundle import Bundle
from genba.runtime.engine import OnnxEngine
from genba.runtime.export import EXPORT_TOLERANCE, export_bundle, random_inputs
from genba.runtime.policy import EnginePolicy
from genba.spec.conformance import check_chunk
from genba.spec.embodiment import Embodiment
from genba.spec.normalise import packed_shapes
from genba.spec.observation import Observation
from genba.spec.statistics import ChannelStatistics, Statistics
from genba.spec.streams import dense, ragged

EVERYTHING = read_toml_text(
    """
id = "toy/everything@1"
description = "Every modality at once."
frames = ["base"]
[control]
period_s = 0.1
deadline_s = 10.0
chunk_length = 4
execute_length = 2
[[action.continuous]]
name = "speed"
unit = "m/s"
low = -1.0
high = 1.0
relative_to = "state.speed"
[[action.choice]]
name = "pick"
kind = "rank"
over = "things"
[[action.choice]]
name = "put"
kind = "assign"
over = "places"
for_each = "things"
allowed_by = "fits"
[[telemetry]]
name = "state"
rate_hz = 20.0
frame = "base"
history_s = 0.2
dimension = [
  { name = "speed", unit = "m/s", low = -1.0, high = 1.0 },
  { name = "mode", unit = "id", low = 0.0, high = 2.0, categories = 3 },
]
[[camera]]
name = "eye"
rate_hz = 10.0
frame = "base"
history_s = 0.1
height = 16
width = 16
[[points]]
name = "scan"
rate_hz = 10.0
frame = "base"
history_s = 0.1
max_points = 32
range_max_m = 10.0
[[entities]]
name = "things"
rate_hz = 0.0
frame = "none"
max_rows = 4
dimension = [{ name = "mass", unit = "kg", low = 0.0, high = 9.0 }]
[[entities]]
name = "places"
rate_hz = 0.0
frame = "none"
max_rows = 3
dimension = [{ name = "room", unit = "m", low = 0.0, high = 9.0 }]
[[relation]]
name = "fits"
source = "things"
target = "places"
unit = "1"
low = 0.0
high = 1.0
[[instruction]]
name = "wish"
max_bytes = 16
""",
    Embodiment,
    where="test_export.py",
)


def unit_statistics() -> Statistics:
    """Mean 0 and spread 1 of everything."""

    def channel(size: int) -> ChannelStatistics:
        ones = np.ones(size)
        return ChannelStatistics(count=100 * ones, mean=0 * ones, m2=100 * ones, low=-ones, high=ones)

    sizes = {"state": 2, "things": 1, "places": 1, "fits": 1, "action": 1}
    return Statistics(EVERYTHING.id, {name: channel(size) for name, size in sizes.items()})


def test_every_modality_exports_and_acts(tmp_path):
    torch.manual_seed(0)
    model = WorldActionModel(debug(), [EVERYTHING])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.1)
    report = export_bundle(model, EVERYTHING, unit_statistics(), tmp_path / "bundle", provenance={})
    assert report.max_difference <= EXPORT_TOLERANCE
    bundle = Bundle.read(tmp_path / "bundle", EVERYTHING)
    assert bundle.embodiment == EVERYTHING
    able = np.array([[1, np.nan, np.nan], [np.nan, 0.5, np.nan]], np.float32)
    observation = Observation(
        EVERYTHING.id,
        0,
        {
            "state": dense([0], [[0.5, 2.0]]),
            "scan": ragged([0], [np.ones((5, 3), np.float32)]),
            "things": ragged([0], [np.ones((2, 1), np.float32)]),
            "places": ragged([0], [np.ones((2, 1), np.float32)]),
            "fits": ragged([0], [able]),
        },
        "heavy first",
    )
    chunk = EnginePolicy(OnnxEngine(bundle)).act(observation)
    check_chunk(EVERYTHING, chunk, observation)
    assert chunk.continuous.shape == (4, 1)
    np.testing.assert_array_equal(np.isfinite(chunk.choices["put"]), np.isfinite(able[:, :2]))


def test_random_inputs_have_the_packed_shapes_and_zero_where_something_is_missing():
    packed = random_inputs(EVERYTHING, np.random.default_rng(0))
    shapes = packed_shapes(EVERYTHING)
    assert {name: (array.shape, array.dtype) for name, array in packed.items()} == shapes
    for name in ("state", "scan", "things", "fits", "wish", "eye"):
        values, mask = packed[f"{name}.values"], packed[f"{name}.mask"]
        assert not values[~mask].any()
    assert packed["things.mask"].any()


def test_a_bundle_says_nothing_of_the_computer_that_made_it(toy_bundles):
    here = str(Path(export_bundle.__code__.co_filename).parents[1]).encode()
    files = [path for report in toy_bundles.values() for path in Path(report.path).iterdir()]
    assert any(path.suffix == ".onnx" for path in files)
    assert [path.name for path in files if here in path.read_bytes()] == []
