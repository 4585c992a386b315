"""A sensor that dies is found by its twin and shown no more; training leaves one out exactly as the machine does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from genba.spec.embodiment import load_embodiment
from genba.spec.normalise import Normalizer
from genba.spec.observation import Observation
from genba.spec.statistics import Statistics, measure
from genba.spec.streams import dense
from genba.spec.twins import TwinWatch, hide, left_out

FACTS = load_embodiment("arm/panda-grip@1")
(PADS,) = FACTS.twins
#: samples of ``touch`` at 100 Hz in 0.08 s
NUM_SAMPLES = 8


def felt(left_n: float, right_n: float, num_samples: int = NUM_SAMPLES) -> Observation:
    touch = dense(np.arange(num_samples), [[left_n, 0.5, 0.1, right_n, 0.6, 0.2]] * num_samples)
    load = dense([0], [[left_n, 0.5, right_n, 0.6]])
    return Observation(FACTS.id, num_samples, {"touch": touch, "load": load})


@pytest.mark.parametrize(("forces_n", "silent"), [((0.0, 2.0), 0), ((2.0, 0.0), 1), ((2.0, -0.1), 1)])
def test_the_silent_one_of_two_is_named_and_all_it_says_is_missing(forces_n, silent):
    watch = TwinWatch(FACTS)
    watch.look(felt(*forces_n))
    assert watch.silent == (PADS.compared[silent],)
    shown = watch.without_silent(felt(*forces_n)).streams
    columns = left_out(FACTS, PADS, silent)
    assert columns == {"touch": [3 * silent, 3 * silent + 1, 3 * silent + 2], "load": [2 * silent, 2 * silent + 1]}
    for channel, missing in columns.items():
        expected = np.isin(np.arange(shown[channel].values.shape[1]), missing)
        np.testing.assert_array_equal(np.isnan(shown[channel].values).all(axis=0), expected)
        np.testing.assert_array_equal(np.isnan(shown[channel].values).any(axis=0), expected)


@pytest.mark.parametrize(
    "observation",
    [
        felt(0.0, PADS.speaks_above - 0.01),
        felt(PADS.silent_below + 0.01, 5.0),
        felt(0.0, 5.0, NUM_SAMPLES - 1),
        Observation(FACTS.id, 0, {}),
    ],
    ids=["too light to tell", "both speak", "too short", "nothing came"],
)
def test_what_does_not_show_a_dead_one_is_shown_as_it_is(observation):
    watch = TwinWatch(FACTS)
    watch.look(observation)
    assert watch.silent == ()
    assert watch.without_silent(observation) is observation


def test_one_that_speaks_again_is_shown_again_and_reset_forgets():
    watch = TwinWatch(FACTS)
    watch.look(felt(0.0, 5.0))
    # A light touch of both is no proof of life yet.
    watch.look(felt(0.0, 0.0))
    assert watch.silent
    watch.look(felt(PADS.speaks_above, 5.0))
    assert not watch.silent
    watch.look(felt(0.0, 5.0))
    watch.reset()
    assert not watch.silent


def test_training_leaves_out_what_a_machine_with_a_dead_pad_lacks():
    widths = {c.name: len(c.dimensions) for c in FACTS.telemetry} | {"action": 2}
    plain = {n: measure(np.array([[-1.0] * w, [1.0] * w])) for n, w in widths.items()}
    normalizer = Normalizer(FACTS, Statistics(FACTS.id, plain))
    whole = normalizer.pack(felt(0.0, 5.0))
    watch = TwinWatch(FACTS)
    watch.look(felt(0.0, 5.0))
    on_machine = normalizer.pack(watch.without_silent(felt(0.0, 5.0)))
    batch = {name: np.stack([array] * 3) for name, array in whole.items()}
    trained = hide(FACTS, batch, {"pads": np.array([-1, 0, 1])})
    for name, array in whole.items():
        np.testing.assert_array_equal(batch[name][1], array)
        np.testing.assert_array_equal(trained[name][0], array)
        np.testing.assert_array_equal(trained[name][1], on_machine[name])
    assert trained["touch.mask"][2, -1].tolist() == [True] * 3 + [False] * 3
    # Where nothing was drawn, as when a trained model is only asked, both are shown.
    for name, array in hide(FACTS, batch, {}).items():
        np.testing.assert_array_equal(array, batch[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"silent_below": 0.9}, "silent_below, speaks_above: got 0.9, 0.8"),
        ({"for_s": 0.0}, "for_s: got 0.0"),
        ({"left_out": (("touch.normal_left",), ("touch.normal_left",))}, "stands on both sides"),
    ],
)
def test_twins_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PADS, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compared": ("touch.normal_left", "load.normal_left")}, "got channels 'touch' and 'load'"),
        ({"compared": ("touch.normal_left", "touch.normal_rigth")}, "normal_rigth"),
        ({"left_out": (("touch.nothing",), ("touch.normal_right",))}, "nothing"),
    ],
)
def test_twins_that_name_what_is_not_there_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(FACTS, twins=(replace(PADS, **change),))


def test_class_numbers_have_no_twins():
    car = load_embodiment("vehicle/urban-car@1")
    twins = replace(
        PADS,
        compared=("telemetry.speed", "telemetry.acceleration"),
        left_out=(("signal.colour",), ("telemetry.speed",)),
    )
    with pytest.raises(ValueError, match="signal holds class numbers"):
        replace(car, twins=(twins,))
