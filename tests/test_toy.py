"""The toys obey the contracts that every machine obeys."""

from __future__ import annotations

import pytest
import toy

from genba.spec.conformance import check_env


@pytest.mark.parametrize("task", [toy.CART, toy.LINES], ids=lambda task: task.id)
def test_every_toy_policy_drives_its_env_and_the_same_seed_gives_the_same_world(task):
    for name, make in task.policies.items():
        if name != "broken":
            env = task.make_env()
            check_env(env, make(env), seed=3, num_steps=30)
