"""A seed is the package's scene; what the car senses is what is there; the package's own words end an episode."""

import numpy as np
import pytest

from genba.errors import SimulatorError, SpecError
from genba.machines.metadrive import simulator
from genba.machines.metadrive.expert import Planner
from genba.machines.metadrive.simulator import ENDINGS, MetaDriveEnv
from genba.spec.action import Action

from .conftest import in_car, play

#: a train scene with traffic within the LiDAR's range from the start
SCENE = 5000


@pytest.fixture(scope="module")
def driven(env):
    """Eighty control steps of the teacher, and their trace."""
    return play(env, Planner(env), SCENE, num_steps=80), env.trace()


def rows(trace, step):
    return trace["others"][trace["other_splits"][step] : trace["other_splits"][step + 1]]


def test_what_the_lidar_hits_is_a_vehicle(driven):
    steps, trace = driven
    num_hits = 0
    for i, step in enumerate(steps):
        hits = step.samples["lidar"].sample(-1)[:, :2]
        c, s = np.cos(trace["ego"][i, 2]), np.sin(trace["ego"][i, 2])
        for place in trace["ego"][i, :2] + hits @ np.array([[c, s], [-s, c]]):
            # It lies within some vehicle's box, and 0.3 m for wheels and bumpers.
            beside = [np.abs(in_car(place[None], other[:3])[0]) - other[3:] / 2 for other in rows(trace, i)]
            assert min(distance.max() for distance in beside) < 0.3
            num_hits += 1
    assert num_hits > 100


def test_the_nearest_vehicle_is_where_the_tracker_says(driven):
    steps, trace = driven
    num_seen = 0
    for i, step in enumerate(steps):
        nearest = step.samples["others"].values[0, :4]
        if np.isnan(nearest).any() or np.abs(nearest[:2]).max() > 45.0:
            continue
        places = in_car(rows(trace, i)[:, :2], trace["ego"][i, :3])
        assert np.linalg.norm(places - nearest[:2], axis=1).min() < 0.05
        num_seen += 1
    assert num_seen > 10


def test_the_car_says_how_it_moves(driven):
    steps, trace = driven
    motion = np.stack([step.samples["motion"].values[0] for step in steps])
    assert np.allclose(motion[:, 0], trace["ego"][:, 3], atol=1e-4)
    assert np.allclose(motion[1:, 2:], trace["action"], atol=1e-6)
    # what it turned since the step before, per 0.1 s; positive to the left, as the world's heading
    turned = np.angle(np.exp(1j * np.diff(trace["ego"][:, 2]))) / 0.1
    assert np.allclose(motion[1:, 1], turned, atol=1e-3)


def test_the_same_scene_is_the_same_drive_whatever_came_before(env):
    def drive():
        play(env, Planner(env), SCENE + 1, num_steps=60)
        return env.trace()

    first = drive()
    play(env, Planner(env), SCENE + 4, num_steps=20)
    second = drive()
    for name in first:
        assert np.array_equal(first[name], second[name]), name


def test_off_the_road_it_ends(env):
    env.reset(SCENE)
    step = env.step(Action(np.array([1.0, 1.0], np.float32)))
    for _ in range(60):
        if step.terminated:
            break
        step = env.step(Action(np.array([1.0, 1.0], np.float32)))
    trace = env.trace()
    assert step.terminated and trace["out_of_road"][-1] and not trace["arrive_dest"].any()
    assert not any(trace[name][:-1].any() for name in ENDINGS)
    with pytest.raises(SimulatorError, match="no episode is under way"):
        env.step(Action(np.zeros(2, np.float32)))


@pytest.mark.parametrize("given", [None, Action(np.zeros(3, np.float32))], ids=["none", "three"])
def test_another_number_of_numbers_is_refused(env, given):
    env.reset(SCENE)
    with pytest.raises(SpecError, match="expected steering and throttle"):
        env.step(given)


def test_what_is_no_number_is_refused(env):
    env.reset(SCENE)
    with pytest.raises(SpecError, match="expected finite numbers"):
        env.step(Action(np.array([np.nan, 0.0], np.float32)))


@pytest.mark.parametrize("seed", [-1, simulator.NUM_SCENES])
def test_a_scene_that_there_is_not_is_refused(env, seed):
    with pytest.raises(SpecError, match=f"got {seed}, expected a scene from 0 to 99999"):
        env.reset(seed)


def test_two_worlds_in_one_process_take_turns(env):
    env.reset(SCENE)
    other = MetaDriveEnv()
    other.reset(SCENE)
    with pytest.raises(SimulatorError, match="took its place"):
        _ = env.world
    with pytest.raises(SimulatorError, match="no episode is under way"):
        env.step(Action(np.zeros(2, np.float32)))
    env.reset(SCENE)
    with pytest.raises(SimulatorError, match="took its place"):
        _ = other.world


def test_nothing_is_shared_with_numpys_own_generator(env):
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random(4)  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    env.reset(SCENE)
    env.step(Action(np.zeros(2, np.float32)))
    assert np.array_equal(np.random.random(4), expected)  # noqa: NPY002


def test_missing_assets_are_named_with_what_installs_them(env, monkeypatch, tmp_path):
    package = simulator.package()
    monkeypatch.setattr(package, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(
        SimulatorError, match=r"assets are missing; install them with: python scripts/metadrive_assets\.py"
    ):
        MetaDriveEnv()


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "metadrive", None)
    with pytest.raises(SimulatorError, match=r"pip install 'genba\[metadrive\]'"):
        MetaDriveEnv()
