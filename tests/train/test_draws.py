"""Everything random of a batch is the same for any number of ranks, and its first flow sample is the deployed one."""

from dataclasses import replace

import numpy as np
import toy

from genba.model.config import preset
from genba.spec.embodiment import load_embodiment
from genba.train.draws import TWIN_LEFT_OUT, draw

CONFIG = replace(preset("debug"), modality_dropout=0.3)


def test_ranks_share_one_draw():
    whole = draw(toy.CART_FACTS, CONFIG, seed=1, step=5, batch=8)
    parts = [draw(toy.CART_FACTS, CONFIG, seed=1, step=5, batch=8, rank=r, world_size=2) for r in (0, 1)]
    assert set(whole) == {"flow.noise", "flow.time", *(f"dropout.{c.name}" for c in toy.CART_FACTS.channels)}
    for name, array in whole.items():
        np.testing.assert_array_equal(array, np.concatenate([part[name] for part in parts]))


def test_steps_and_seeds_draw_anew():
    one, other, reseeded = (draw(toy.CART_FACTS, CONFIG, seed=s, step=t, batch=4) for s, t in ((1, 5), (1, 6), (2, 5)))
    assert not np.array_equal(one["flow.noise"], other["flow.noise"])
    assert not np.array_equal(one["flow.noise"], reseeded["flow.noise"])


def test_the_first_flow_sample_is_where_a_single_step_starts():
    drawn = draw(toy.CART_FACTS, CONFIG, seed=1, step=0, batch=500)
    assert not drawn["flow.noise"][:, 0].any()
    assert (drawn["flow.time"][:, 0] == 1.0).all()
    # Beta(1.5, 1) has the mean 1.5 / 2.5 = 0.6 and spread sqrt(1.5 / (2.5^2 3.5)) = 0.26: five errors of the mean of 1,500.
    rest = drawn["flow.time"][:, 1:]
    assert abs(rest.mean() - (0.001 + 0.999 * 0.6)) < 5 * 0.26 / np.sqrt(rest.size)
    assert rest.min() > 0


def test_choices_alone_draw_no_noise():
    assert "flow.noise" not in draw(toy.LINES_FACTS, CONFIG, seed=1, step=0, batch=4)


def test_one_of_two_twins_is_left_out_as_often_as_the_other():
    arm, num_windows = load_embodiment("arm/panda-grip@1"), 4000
    side = draw(arm, CONFIG, seed=1, step=0, batch=num_windows)["twins.pads"]
    assert set(side.tolist()) == {-1, 0, 1}
    for which in (0, 1):
        # binomial with p = TWIN_LEFT_OUT / 2, within five standard deviations
        p = TWIN_LEFT_OUT / 2
        assert abs((side == which).mean() - p) < 5 * np.sqrt(p * (1 - p) / num_windows)
    halves = [draw(arm, CONFIG, seed=1, step=0, batch=8, rank=r, world_size=2)["twins.pads"] for r in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(halves), draw(arm, CONFIG, seed=1, step=0, batch=8)["twins.pads"])
