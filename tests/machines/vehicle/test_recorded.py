"""Recorded scenes: a CommonRoad file reads exactly or is refused by name, and becomes a world that a policy drives in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from commonroad_files import ROAD, car, lanelet, light, problem, write

from genba.bench.rollout import roll_out
from genba.errors import FormatError
from genba.machines.vehicle.baselines import ConstantSpeed, idm
from genba.machines.vehicle.bicycle import CENTRE_M, FRONT_M
from genba.machines.vehicle.commonroad import read_recording
from genba.machines.vehicle.recorded import RecordedEnv
from genba.machines.vehicle.simulator import GREEN, RED
from genba.machines.vehicle.verifier import verify
from genba.registry import task
from genba.spec.conformance import check_env
from genba.spec.observation import observe
from genba.spec.streams import StreamBuffer


def drive(env, policy, seed=1_000_000):
    step, buffer = env.reset(seed), StreamBuffer()
    while not (step.terminated or step.truncated):
        buffer.append(step.samples)
        observation = observe(env.embodiment, buffer.streams(), step.time_ns)
        step = env.step(policy.act(observation).at(step.time_ns))
    return verify(env.trace())


def test_a_file_reads_as_it_says(tmp_path):
    found = read_recording(write(tmp_path / "a.xml", ROAD, light(), car(5, 30.0, 1.5, 8.0, 11), problem()))
    assert found.name == "ZAM_Made-1_1"
    np.testing.assert_array_equal(found.lanelets[1].centre, [[0, 1.5], [25, 1.5], [50, 1.5]])
    assert found.lanelets[2].successors == (3,) and found.lanelets[2].beside == (4,)
    (track,) = found.tracks
    # 11 states, 0.1 s apart, 8 m/s.
    np.testing.assert_allclose(track.times_s, np.arange(11) * 0.1)
    np.testing.assert_allclose(track.states[-1], [38.0, 1.5, 0.0, 8.0])
    (one,) = found.problems
    assert one.lanelets == (3,) and one.until_s == pytest.approx(10.0)
    # Green until 3 s, yellow until 4 s, red until 8 s.
    at = {time_s: found.lights[70].at(time_s) for time_s in (2.5, 3.5, 7.0, 8.5)}
    assert [colour for colour, _ in at.values()] == ["green", "yellow", "red", "green"]
    assert [since_s for _, since_s in at.values()] == pytest.approx([2.5, 0.5, 3.0, 0.5])


def test_what_cannot_be_driven_in_is_refused_by_name(tmp_path):
    vague = car(5, 30.0, 1.5, 8.0, 1).replace(
        "<point><x>30.0</x><y>1.5</y></point>", "<circle><radius>1</radius></circle>"
    )
    for parts, version, said in (
        ((ROAD, problem()), "2017a", "got <commonRoad> of version '2017a', expected <commonRoad> of 2018b or 2020a"),
        ((ROAD,), "2020a", "got 5 lanelets and 0 planning problems"),
        ((ROAD, vague, problem()), "2020a", "got a state without an exact position"),
        ((ROAD, problem(goal="<circle><radius>x</radius></circle>")), "2020a", "radius: got 'x', expected a number"),
    ):
        with pytest.raises(FormatError, match=said):
            read_recording(write(tmp_path / "a.xml", *parts, version=version))
    (tmp_path / "b.xml").write_text("<commonRoad")
    with pytest.raises(FormatError, match="not a CommonRoad file"):
        read_recording(tmp_path / "b.xml")
    apart = lanelet(8, 50.0, (0.0, 50.0))
    with pytest.raises(FormatError, match="planningProblem 900: got no way over its lanes from start to goal"):
        RecordedEnv(write(tmp_path / "a.xml", ROAD, apart, problem(goal='<lanelet ref="8"/>')))
    with pytest.raises(FormatError, match="planningProblem 900: got a start on no lane that goes its way"):
        RecordedEnv(write(tmp_path / "a.xml", apart, problem(goal='<lanelet ref="8"/>')))


def test_the_scene_keeps_the_contract_of_environments(tmp_path):
    env = RecordedEnv(write(tmp_path / "a.xml", ROAD, light(), car(5, 40.0, 1.5, 8.0), problem()))
    check_env(env, idm(env), seed=1_000_000, num_steps=30)


def test_the_light_is_the_file_s_and_the_line_is_where_its_lanelet_ends(tmp_path):
    env = RecordedEnv(write(tmp_path / "a.xml", ROAD, light(), problem()))
    step = env.reset(1_000_000)
    # The line at 50 m, the car's centre at 10 m.
    assert env.world.stop_line_m == pytest.approx(40.0 - (FRONT_M - CENTRE_M), abs=0.3)
    assert env.world.colour == GREEN and step.samples["signal"].values[0, 0] == GREEN
    env = RecordedEnv(write(tmp_path / "a.xml", ROAD, light(offset=-50), problem()))
    env.reset(1_000_000)
    # Begun 5 s before: red for a second.
    assert env.world.colour == RED
    assert env.reset(1_000_000).samples["signal"].values[0, 2] == pytest.approx(1.0, abs=0.1)
    # Green again at 3 s, when a car at 8 m/s has driven 24 of 38 m.
    assert drive(env, ConstantSpeed(env))["ran_red"] == 0.0
    # Begun at the start: red from 4 s, when it has driven 32 m.
    env = RecordedEnv(write(tmp_path / "a.xml", ROAD, light(), problem()))
    assert drive(env, ConstantSpeed(env))["ran_red"] == 1.0


def test_who_ignores_whom_the_recording_shows_collides_and_who_follows_does_not(tmp_path):
    # A car 20 m ahead that crawls: reached at 8 m/s within 5 s.
    env = RecordedEnv(write(tmp_path / "a.xml", ROAD, car(5, 34.0, 1.5, 1.0), problem()))
    assert drive(env, ConstantSpeed(env))["collided"] == 1.0
    outcome = drive(env, idm(env))
    assert outcome["collided"] == 0.0 and outcome["timed_out"] == 1.0
    assert outcome["time_s"] == pytest.approx(10.0)


def test_the_goal_on_a_lane_beside_is_reached_over_a_change_of_lanes(tmp_path):
    env = RecordedEnv(write(tmp_path / "a.xml", ROAD, problem(goal='<lanelet ref="5"/>', until=150)))
    outcome = drive(env, idm(env))
    assert outcome["success"] == 1.0 and outcome["off_road"] == 0.0
    assert env.world.ego.y_m == pytest.approx(4.5, abs=0.3)


def test_the_ego_s_own_recording_is_nobody_else(tmp_path):
    env = RecordedEnv(
        write(tmp_path / "a.xml", ROAD, car(900, 10.0, 1.5, 8.0, begin=20), car(5, 60.0, 4.5, 1.0), problem())
    )
    env.reset(1_000_000)
    assert env.world.objects[:, 0].tolist() == [5.0]


def test_a_file_is_a_task_that_nothing_is_trained_on(tmp_path):
    path = write(tmp_path / "a.xml", ROAD, problem())
    found = task(str(path))
    assert found.id == "vehicle/recorded-zam-made-1-1@1" and not found.train_seeds
    result = roll_out(str(path), "idm", seeds=found.test_seeds[:2], workers=0, progress=False)
    # 70 m from centre to goal, at 8 to 10.5 m/s: there within 10 s.
    assert [outcome["success"] for outcome in result.outcomes] == [1.0, 1.0]


def test_recorded_crossings_load_and_can_be_driven(samples):
    folder = samples / "vehicle" / "commonroad"
    for name, num_tracks, num_objects in (("USA_Peach-4_8_T-1", 9, 9), ("DEU_AAH1-2_76900_T-7049", 10, 8)):
        env = RecordedEnv(folder / f"{name}.xml")
        assert len(env.recording.tracks) == num_tracks
        env.reset(1_000_000)
        assert len(env.world.objects) == num_objects
        assert (
            abs(math.remainder(env.world.ego.heading_rad - env.world.path.at(env.world.along_m)[2], 2 * math.pi)) < 0.1
        )
        assert drive(env, ConstantSpeed(env))["success"] == 1.0
