"""Sums of stretches of an episode: one stretch alone is itself, two are their sum about the mean, and none reaches beyond."""

import numpy as np
import pytest

from genba.data.superpose import superpose
from genba.errors import DataError
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import dense, ragged
from genba.spec.units import SECOND_NS

TENTH_NS = SECOND_NS // 10


@pytest.fixture
def drive():
    """Ten seconds: speed at 10 Hz and an angle at 5 Hz, both with two numbers."""
    rng = np.random.default_rng(0)
    streams = {
        "speed": dense(TENTH_NS * np.arange(100), rng.normal(size=(100, 2))),
        "angle": dense(2 * TENTH_NS * np.arange(50), rng.normal(size=(50, 2))),
        "radar": ragged([0], [np.zeros((1, 2), np.float32)]),
    }
    return Episode(EpisodeMetadata(episode_id="drive", embodiment_id="toy/car@1"), streams)


def test_one_stretch_alone_is_itself_on_its_own_clock_and_shifted(drive):
    weights = {"speed": np.ones((1, 1)), "angle": np.ones((1, 1))}
    made = superpose(
        drive, "made", starts_ns=[SECOND_NS], length_ns=2 * SECOND_NS, weights=weights, shifts={"angle": np.array([1.0, -2.0])}
    )  # fmt: skip
    assert made.metadata.episode_id == "made" and set(made.streams) == {"speed", "angle"}
    # From 1 s: samples 10 to 29 at 10 Hz, 5 to 14 at 5 Hz.
    np.testing.assert_array_equal(made.streams["speed"].times_ns, drive.streams["speed"].times_ns[10:30])
    np.testing.assert_allclose(made.streams["speed"].values, drive.streams["speed"].values[10:30], atol=1e-6)
    shifted = drive.streams["angle"].values[5:15] + np.array([1.0, -2.0])
    np.testing.assert_allclose(made.streams["angle"].values, shifted, atol=1e-6)
    assert made.streams["speed"].values.dtype == np.float32


def test_two_stretches_are_their_weighted_sum_about_the_mean(drive):
    made = superpose(
        drive,
        "made",
        starts_ns=[0, 4 * SECOND_NS],
        length_ns=3 * SECOND_NS,
        weights={"speed": np.array([[2.0, 2.0], [-1.0, 0.5]])},
        shifts={},
    )
    values = drive.streams["speed"].values.astype(np.float64)
    mean = values.mean(0)
    expected = mean + 2 * (values[:30] - mean) + [-1.0, 0.5] * (values[40:70] - mean)
    np.testing.assert_allclose(made.streams["speed"].values, expected, atol=1e-5)


def test_what_cannot_be_summed_is_refused_by_name(drive):
    for weights, starts_ns, said in (
        ({"wheel": np.ones((1, 1))}, [0], "drive: wheel: expected a stream of numbers"),
        ({"radar": np.ones((1, 1))}, [0], "drive: radar: expected a stream of numbers"),
        (
            {"speed": np.ones((2, 1))},
            [0, 9 * SECOND_NS],
            "speed: got stretches of 2 s that end 10 samples beyond its last",
        ),
    ):
        with pytest.raises(DataError, match=said):
            superpose(drive, "made", starts_ns=starts_ns, length_ns=2 * SECOND_NS, weights=weights, shifts={})
