"""Policies on a machine's conditions: a file each, none measured twice, wrong requests refused before anything runs."""

from __future__ import annotations

import pytest
import toy

from genba.bench import conditions
from genba.bench.conditions import measure_conditions, tasks_of
from genba.bench.results import Result
from genba.errors import ConfigError
from genba.registry import HELD_OUT_TASKS


def test_a_machine_s_tasks_are_its_main_one_and_all_that_are_held_out():
    tasks = tasks_of("vehicle")
    assert tasks[0] == "vehicle/intersection@1"
    assert set(tasks[1:]) == {name for name in HELD_OUT_TASKS if name.startswith("vehicle/")}
    with pytest.raises(ConfigError, match=r"no machine 'vehicel'.*vehicle"):
        tasks_of("vehicel")


@pytest.fixture
def cart(monkeypatch):
    """One small task in place of a machine's."""
    monkeypatch.setattr(conditions, "tasks_of", lambda machine: ["toy:CART"])


def measure(out, *policies, episodes=3):
    return list(measure_conditions("cart", policies, out, episodes=episodes, workers=0, progress=False))


def test_each_policy_gets_its_file_and_what_is_there_is_not_measured_again(cart, tmp_path):
    (first,) = measure(tmp_path, "zero")
    path, result = first
    assert path == tmp_path / "toy:CART" / "zero.json"
    assert result.seeds == tuple(toy.CART.test_seeds[:3]) and result.traces[result.seeds[0]]
    assert Result.read(path).success == result.success
    before = path.stat().st_mtime_ns
    again, other = measure(tmp_path, "zero", toy.CART.expert)
    assert again[0] == path and path.stat().st_mtime_ns == before and not again[1].traces
    assert other[0].name == f"{toy.CART.expert}.json" and other[0].exists()


def test_another_number_of_episodes_is_refused_and_not_mixed(cart, tmp_path):
    measure(tmp_path, "zero")
    with pytest.raises(ConfigError, match=r"holds 3 episodes, 4 were asked for; remove it"):
        measure(tmp_path, "zero", episodes=4)


def test_wrong_requests_are_refused_before_anything_is_measured(cart, tmp_path):
    with pytest.raises(ConfigError, match=r"policy 'zeero' is neither one of the task's nor a bundle's folder.*zero"):
        measure(tmp_path, "zero", "zeero")
    with pytest.raises(ConfigError, match="expected distinct ones"):
        measure(tmp_path, "zero", "zero")
    with pytest.raises(ConfigError, match=r"episodes: got 100000, expected between 1 and"):
        measure(tmp_path, "zero", episodes=100_000)
    assert not list(tmp_path.iterdir())
