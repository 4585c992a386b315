"""A masked policy is not shown the channels, and everything else is as it was."""

from __future__ import annotations

import pytest
import toy

from genba.bench.masked import Masked
from genba.bench.rollout import roll_out
from genba.errors import ConfigError
from genba.spec.observation import Observation
from genba.spec.streams import dense

SEEDS = range(1_000_000, 1_000_004)


class Witness:
    """Says which channels it saw."""

    name = "witness"
    anytime = True
    flow_steps_taken = 3

    def reset(self, seed):
        self.seed = seed

    def act(self, observation, deadline=None):
        return sorted(observation.streams), deadline


def test_the_policy_sees_all_but_the_masked_channels_and_keeps_its_deadline():
    masked = Masked(Witness(), toy.CART_FACTS, ["goal"])
    masked.reset(5)
    seen = Observation("toy/cart@1", 0, {"cart": dense([0], [[0.0, 0.0]]), "goal": dense([0], [[1.0]])})
    assert masked.act(seen, 1.5) == (["cart"], 1.5)
    assert (masked.name, masked.anytime, masked.flow_steps_taken) == ("witness", True, 3)
    assert set(seen.streams) == {"cart", "goal"}


def test_a_result_says_what_was_masked_and_nothing_masked_is_the_policy_itself(bundle):
    def measure(**options):
        return roll_out("toy:CART", bundle, seeds=SEEDS, workers=0, progress=False, allow_unchecked=True, **options)

    plain, masked = measure(), measure(masked=["goal"])
    assert (plain.policy, masked.policy) == ("model", "model without goal")
    assert measure().outcomes == plain.outcomes
    assert masked.outcomes != plain.outcomes


def test_a_channel_that_is_none_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"mask: toy/cart@1 has no channel 'gaol'; did you mean 'goal'\?"):
        roll_out("toy:CART", "zero", seeds=SEEDS, workers=0, progress=False, masked=["gaol"])
