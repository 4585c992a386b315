"""The car's bus: what a policy sees is what frames of the DBC hold, and a drive's log of them opens in the reader."""

from __future__ import annotations

import cantools
import numpy as np
import pytest

from genba.data.readers.candump import CandumpReader
from genba.errors import SimulatorError
from genba.machines.vehicle.can_bus import DBC, MESSAGES, CanBus
from genba.machines.vehicle.expert import GapExpert
from genba.machines.vehicle.simulator import TELEMETRY_NOISE
from genba.spec.embodiment import load_embodiment
from genba.spec.observation import observe
from genba.spec.streams import StreamBuffer, concatenate, dense

#: The DBC's steps: m/s, m/s^2, rad/s, rad.
STEPS = np.array([1e-3, 1e-3, 1e-4, 1e-4])


@pytest.fixture
def bus():
    bus = CanBus()
    yield bus
    bus.close()


def test_the_dbc_has_a_field_for_every_dimension_with_its_unit_and_room_for_its_limits():
    database = cantools.database.load_file(DBC)
    channel = load_embodiment("vehicle/urban-car@1").channel("telemetry")
    found = {}
    for message, columns in MESSAGES.items():
        for signal, column in columns.items():
            found[column] = database.get_message_by_name(message).get_signal_by_name(signal)
    assert [found[i].name.lower() for i in range(4)] == [d.name for d in channel.dimensions]
    for i, dimension in enumerate(channel.dimensions):
        assert found[i].unit == dimension.unit
        assert found[i].minimum <= dimension.low
        assert found[i].maximum >= dimension.high
        assert found[i].scale == STEPS[i] <= TELEMETRY_NOISE[i] / 20


def test_a_sample_crosses_as_the_nearest_step_of_its_fields(bus):
    values = [[12.3456, -3.0004, 0.12344, -0.05556], [-1.0, 6.0, -3.0, 0.65], [25.0, -10.0, 3.0, -0.65]]
    sent = dense([1_000_000_000, 1_020_000_000, 1_040_000_000], values)
    received = bus.cross(sent)
    np.testing.assert_array_equal(received.times_ns, sent.times_ns)
    # By hand: thousandths of m/s and m/s^2, ten-thousandths of rad/s and rad.
    np.testing.assert_allclose(received.values[0], [12.346, -3.0, 0.1234, -0.0556], atol=1e-6)
    np.testing.assert_allclose(received.values[1:], values[1:], atol=1e-6)


def test_what_a_field_cannot_hold_is_refused_by_name(bus):
    with pytest.raises(SimulatorError, match=r"urban_car.dbc: LONGITUDINAL: cannot hold .*'SPEED': 40.0"):
        bus.cross(dense([0], [[40.0, 0, 0, 0]]))


def drive(env, num_steps):
    """Drive with the expert; return all of its telemetry."""
    policy, buffer, parts = GapExpert(env), StreamBuffer(), []
    step = env.reset(5)
    for _ in range(num_steps):
        parts.append(step.samples["telemetry"])
        buffer.append(step.samples)
        observation = observe(env.embodiment, buffer.streams(), step.time_ns, "")
        step = env.step(policy.act(observation).at(step.time_ns))
    return concatenate([*parts, step.samples["telemetry"]])


def test_a_drive_crosses_the_bus_unchanged_within_half_a_step_and_its_log_opens_again(env, tmp_path):
    log = tmp_path / "drive.log"
    without = drive(env, 20)
    env.bus = CanBus(log)
    try:
        over = drive(env, 20)
    finally:
        env.bus.close()
        env.bus = None
    np.testing.assert_array_equal(over.times_ns, without.times_ns)
    # Half a step, and float32's own rounding of numbers below 32.
    assert (np.abs(over.values.astype(float) - without.values) <= STEPS / 2 + 2e-6).all()
    assert CandumpReader().recognises(log)
    (episode,) = CandumpReader().read(log, dbc=DBC)
    longitudinal, lateral = episode.streams["longitudinal"], episode.streams["lateral"]
    np.testing.assert_array_equal(longitudinal.times_ns, over.times_ns)
    np.testing.assert_allclose(longitudinal.values[:, :2], over.values[:, :2], atol=2e-6)
    np.testing.assert_allclose(lateral.values[:, :2], over.values[:, 2:], atol=2e-6)
    # One sample at the start, five per control step; the counter has four bits.
    np.testing.assert_array_equal(lateral.values[:, 2], np.arange(101) % 16)
