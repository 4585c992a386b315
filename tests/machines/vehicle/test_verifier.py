"""The judge: agrees with honest traces, and finds what was painted over."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from genba.errors import VerificationError
from genba.machines.vehicle.expert import GapExpert
from genba.machines.vehicle.picture import draw
from genba.machines.vehicle.simulator import VehicleEnv
from genba.machines.vehicle.verifier import METRICS, verify
from genba.spec.observation import Observation


@pytest.fixture(scope="module")
def trace(env: VehicleEnv) -> dict[str, np.ndarray]:
    policy = GapExpert(env)
    step = env.reset(0)
    while not (step.terminated or step.truncated):
        step = env.step(policy.act(Observation(env.embodiment.id, step.time_ns, {})).at(step.time_ns))
    return env.trace()


def test_an_outcome_has_every_metric_and_a_success(trace):
    outcome = verify(trace)
    assert set(outcome) == {metric.name for metric in METRICS}
    assert outcome["success"] == 1.0 and outcome["route_completion"] > 0.99
    assert outcome["time_s"] == pytest.approx((len(trace["ego"]) - 1) * 0.1)


def test_a_car_put_on_the_ego_is_a_collision_and_one_beside_it_is_not(trace):
    step = len(trace["ego"]) // 2
    at = trace["object_splits"][step]
    _, x, y, heading = trace["ego"][step, :4]
    # Bodies are 1.85 m and 1.8 m wide: side by side they touch at 1.825 m between their axes.
    for sideways_m, collided in ((1.80, 1.0), (1.90, 0.0)):
        tampered = {**trace, "objects": trace["objects"].copy()}
        side = sideways_m * np.array([-np.sin(heading), np.cos(heading)])
        along = 1.4 * np.array([np.cos(heading), np.sin(heading)])
        tampered["objects"][at, 1:] = [0, *(np.array([x, y]) + along + side), heading, 0.0, 4.5, 1.8]
        outcome = verify(tampered)
        assert outcome["collided"] == collided and outcome["success"] == 1.0 - collided
        # Whose speed is 0 is hit by whoever moves: the car's fault, no PDM score, and 0.6 of CARLA's.
        assert outcome["at_fault"] == collided and outcome["not_at_fault"] == 0.0
        assert (outcome["pdm_score"] == 0.0) == bool(collided)
        assert outcome["driving_score"] == pytest.approx(outcome["route_completion"] * (0.6 if collided else 1.0))


def test_crossing_while_the_light_is_red_counts(trace):
    painted = {**trace, "colour": np.ones_like(trace["colour"])}
    assert verify(painted)["ran_red"] == 1.0 and verify(painted)["success"] == 0.0


def approach(slowest_mps: float, before_line_m: float, *, has_stop_sign: bool) -> dict[str, np.ndarray]:
    """North along x = 0 over a line, braking and speeding up by 4 m/s^2, slowest with the front so far before the line."""
    speed = slowest_mps + 0.4 * np.abs(np.arange(-20, 21))
    y = np.concatenate([[0.0], np.cumsum(0.05 * (speed[1:] + speed[:-1]))])
    zero, along = np.zeros(41), y - y[20]
    line_m = 3.7 + before_line_m  # of the rear axle, where it is slowest at 0
    return {
        "ego": np.stack([1.0 + 0.1 * np.arange(41), zero, along, zero + np.pi / 2, speed, zero, zero, zero, along], 1),
        "colour": np.zeros(41, np.int64),
        "objects": np.zeros((0, 8)),
        "object_splits": np.zeros(42, np.int64),
        "lidar": np.zeros((0, 3)),
        "lidar_splits": np.zeros(42, np.int64),
        "path": np.array([[0.0, -40.0], [0.0, 40.0]]),
        "path_m": np.array([40.0 + along[0], 40.0 + line_m, 40.0 + along[-2]]),
        "stop_line": np.array([[-1.6, line_m], [1.6, line_m]]),
        "goal_line": np.array([[-5.0, along[-2]], [5.0, along[-2]]]),
        "lanes": np.array([[0.0, -40.0], [0.0, 40.0]]),
        "lane_splits": np.array([0, 2]),
        "has_stop_sign": np.array(has_stop_sign),
    }


@pytest.mark.parametrize(
    ("slowest_mps", "before_line_m", "ran"),
    [(0.45, 0.1, 0.0), (0.45, 2.9, 0.0), (0.55, 2.9, 1.0), (0.45, 3.1, 1.0), (0.45, -0.2, 1.0)],
    ids=["stood at the line", "stood 2.9 m before", "rolled", "stood too early", "stood past it"],
)
def test_a_stop_sign_asks_for_less_than_half_a_metre_per_second_within_three_metres(slowest_mps, before_line_m, ran):
    outcome = verify(approach(slowest_mps, before_line_m, has_stop_sign=True))
    # It is reported, costs a fifth of the driving score, and does not take success: no channel tells of the sign.
    assert outcome["ran_stop"] == ran and outcome["success"] == 1.0
    assert outcome["driving_score"] == pytest.approx(outcome["route_completion"] * (0.8 if ran else 1.0))
    assert verify(approach(slowest_mps, before_line_m, has_stop_sign=False))["ran_stop"] == 0.0


def test_a_car_moved_off_the_lanes_is_off_the_road(trace):
    ego = trace["ego"].copy()
    ego[:, 1] += 6.0  # the northbound arm ends 0.5 m beside its 6.4 m half-width
    outcome = verify({**trace, "ego": ego})
    assert outcome["off_road"] == 1.0 and outcome["success"] == 0.0


def test_an_episode_cut_short_is_no_success(trace):
    stop = len(trace["ego"]) // 2
    rows, points = trace["object_splits"][stop], trace["lidar_splits"][stop]
    cut = {
        **trace,
        "ego": trace["ego"][:stop],
        "colour": trace["colour"][:stop],
        "objects": trace["objects"][:rows],
        "object_splits": trace["object_splits"][: stop + 1],
        "lidar": trace["lidar"][:points],
        "lidar_splits": trace["lidar_splits"][: stop + 1],
    }
    outcome = verify(cut)
    assert outcome["success"] == 0.0 and outcome["timed_out"] == 1.0 and outcome["route_completion"] < 0.9


def test_a_trace_that_jumps_or_lies_about_its_clock_is_refused(trace):
    ego = trace["ego"].copy()
    ego[50:, 2] += 30.0
    with pytest.raises(VerificationError, match="moved 3"):
        verify({**trace, "ego": ego})
    ego = trace["ego"].copy()
    ego[:, 0] *= 0.5
    with pytest.raises(VerificationError, match="clock steps"):
        verify({**trace, "ego": ego})
    ego = trace["ego"].copy()
    ego[:, 4] += 5.0
    with pytest.raises(VerificationError, match="positions and speeds differ"):
        verify({**trace, "ego": ego})


def test_the_pictures_are_an_animation_and_a_strip_of_bounded_size(trace):
    animation, strip = draw(trace, "gap")
    assert animation.media_type == "image/gif" and animation.data[:6] == b"GIF89a"
    assert 50_000 < len(animation.data) < 1_500_000
    with Image.open(io.BytesIO(strip.data)) as image:
        assert strip.media_type == "image/png" and image.size == (5 * 240, 240)
    assert len(strip.data) < 200_000
