"""The environment of ``arm/grip@1``: lift an unknown box, keep it while the hand shakes, do not crush it.

An episode begins with the box in a light grip on the table. The policy commands the grip force and how fast the hand
rises. When the hand has risen ``LIFT_M``, a disturbance takes over its height: a 3 Hz shake, in half of the episodes
with something poured into the box, then a rest. It ends there, or earlier when the box is dropped, crushed, or not
lifted in time. What came of it is not judged here but in ``verifier``, from ``trace``. What the sensors make of the truth
is in ``sensing``. Read next: ``expert``.
"""

from __future__ import annotations

import copy

import mujoco
import numpy as np

from genba.errors import SimulatorError
from genba.machines.arm import scene
from genba.machines.arm.conditions import NOMINAL, Condition
from genba.machines.arm.objects import HALF_HEIGHT_M, GripObject
from genba.machines.arm.sensing import SENSING, Sensors
from genba.spec.action import Action
from genba.spec.conformance import commanded
from genba.spec.embodiment import load_embodiment
from genba.spec.protocols import Step
from genba.spec.streams import Stream
from genba.spec.units import MILLISECOND_NS

#: Physics steps of a control step, and how long one is.
PHYSICS_STEPS = 10
PHYSICS_NS = 2 * MILLISECOND_NS
#: The force that the pads close with, in N, less than what crushes the weakest box (0.6 N); and how long they settle.
LIGHT_TOUCH_N = 0.4
SETTLE_STEPS = 20
#: How far the policy lifts, in metres, within what time, in control steps, and how hard the hand may start and stop.
LIFT_M = 0.15
LIFT_DEADLINE_STEPS = 255
HAND_ACCELERATION_MPS2 = 0.6
#: The shake and the rest after it. The shake swells and fades over one period.
SHAKE_HZ = 3.0
SHAKE_S = 1.4
REST_S = 0.6
POUR_S = 0.6
#: Broken: longer than this above the crush load, in seconds. Lost: slid this far through the pads, in metres.
CRUSH_TIME_S = 0.010
LOST_M = 0.040

CONTROL_PERIOD_S = PHYSICS_STEPS * scene.PHYSICS_PERIOD_S
_END_STEPS = round((SHAKE_S + REST_S) / CONTROL_PERIOD_S)
#: Most control steps of an episode.
MAX_STEPS = LIFT_DEADLINE_STEPS + _END_STEPS
#: Physics steps between samples of ``touch`` and ``load``.
_TOUCH_EVERY, _LOAD_EVERY = 5, 50
#: Makes a squeezed pad's normal force and a carrying pad's vertical force positive; ``[pad, (normal, shear, depth)]``.
_SIGNS = np.array([[-1.0, -1.0, 1.0], [1.0, -1.0, 1.0]])


class GripEnv:
    """One Panda and one unknown box; see ``spec.protocols.Env``.

    Args:
        condition: what is different from what is trained on.
    """

    def __init__(self, condition: Condition = NOMINAL) -> None:
        self.condition = condition
        self.embodiment = load_embodiment("arm/panda-grip@1")
        self._feels_pose = any(channel.name == "pose" for channel in self.embodiment.telemetry)
        self._sensors = Sensors(SENSING, condition.noise_factor, self.embodiment.telemetry)
        model, self._ids, self._way = scene.compiled()
        self._model = copy.deepcopy(model)
        scene.set_grip_lag(self._model, condition.lag_factor * scene.GRIP_LAG_S)
        self._data = mujoco.MjData(self._model)
        self.thing: GripObject | None = None

    def reset(self, seed: int) -> Step:
        """Draw a box, put it on the table and close the pads lightly on it."""
        model, data, ids = self._model, self._data, self._ids
        self.thing = thing = self.condition.draw(seed)
        self._sensors.reset(seed, self.condition.dead_pad(seed))
        scene.put_object(model, data, ids, thing)
        self._start_m = scene.TABLE_HEIGHT_M + HALF_HEIGHT_M + thing.grasp_height_m
        still = np.array([0.0])
        data.qpos[ids.arm_qpos] = self._way.set_points(still + self._start_m, still, still)[0]
        data.qpos[ids.finger_qpos] = thing.width_m / 2.0 + 0.0005
        data.ctrl[7:] = data.act[:] = LIGHT_TOUCH_N
        self._shake = _shake(thing.shake_mps2)
        self._physics_step = 0
        self._control_step = -SETTLE_STEPS
        self._hand_m = self._hand_mps = 0.0
        self._command = np.array([LIGHT_TOUCH_N, 0.0])
        self._measured_m = 0.0
        self._lifted_step = -1
        self._crushed_for = 0
        self._broken = False
        self._knock_steps = -1
        self._forces_sum = np.zeros((2, 3))
        self._shear_n = np.zeros(2)
        self._log: dict[str, list[np.ndarray]] = {"physics": [], "control": [], "qpos": []}
        samples: dict[str, list[Stream]] = {}
        for _ in range(SETTLE_STEPS):
            for name, stream in self._advance().items():
                samples.setdefault(name, []).append(stream)
        joined = {
            name: Stream(np.concatenate([p.times_ns for p in parts]), np.concatenate([p.values for p in parts]))
            for name, parts in samples.items()
        }
        self._ended = False
        return Step(self._time_ns, joined)

    def step(self, action: Action | None) -> Step:
        """Command grip force and hand speed for 20 ms; both are bounded to the embodiment's limits.

        Raises:
            SpecError: no action, or one that is not two finite numbers.
            SimulatorError: not reset, or the episode has ended.
        """
        if self.thing is None or self._ended:
            raise SimulatorError("arm/grip: step: no episode is under way; call reset(seed) first")
        continuous = commanded(self.embodiment, action, "grip_force and hand_speed")
        for i, dimension in enumerate(self.embodiment.action.continuous):
            self._command[i] = min(max(float(continuous[i]), dimension.low), dimension.high)
        samples = self._advance()
        slid_m = abs(self._object_over_pads_m() - self._seated_m)
        late = self._lifted_step < 0 and self._control_step >= LIFT_DEADLINE_STEPS
        finished = self._lifted_step >= 0 and self._control_step - self._lifted_step >= _END_STEPS
        self._ended = bool(self._broken or slid_m > LOST_M or late or finished)
        return Step(self._time_ns, samples, terminated=self._ended)

    def trace(self) -> dict[str, np.ndarray]:
        """Return the truth of the episode so far: arrays named in ``verifier``, at 500 Hz, 50 Hz and 25 Hz."""
        thing = self._thing
        physics, control = np.array(self._log["physics"]), np.array(self._log["control"])
        return {
            "physics.time_ns": (np.arange(1, len(physics) + 1) * PHYSICS_NS).astype(np.int64),
            "physics.pad_force_n": physics[:, 0:2],
            "physics.object_height_m": physics[:, 2],
            "physics.hand_height_m": physics[:, 3],
            "physics.mass_kg": physics[:, 4],
            "physics.tilt_rad": physics[:, 5],
            "control.time_ns": control[:, 0].astype(np.int64),
            "control.grip_command_n": control[:, 1],
            "control.hand_speed_mps": control[:, 2],
            "grasp_time_ns": np.array(SETTLE_STEPS * PHYSICS_STEPS * PHYSICS_NS, np.int64),
            "friction": np.array(thing.friction),
            "shake_mps2": np.array(thing.shake_mps2),
            "crush_load_n": np.array(thing.crush_load_n),
            "heaviest_kg": np.array(thing.mass_kg * thing.pour_factor),
            "width_m": np.array(thing.width_m),
            "offset_m": np.array(thing.offset_m),
            "is_cylinder": np.array(thing.shape == "cylinder"),
            "picture.time_ns": control[1::2, 0].astype(np.int64),
            "picture.qpos": np.array(self._log["qpos"][1::2]).astype(np.float32),
        }

    def instruction(self) -> str:
        """Return nothing: this machine takes no instruction."""
        return ""

    def close(self) -> None:
        """Nothing to release: the scene lives in this process."""

    def recent_load_n(self, window_s: float) -> np.ndarray:
        """Return what the pads truly carried, N per pad, one number per control step of the last ``window_s``.

        Ground truth for an expert; a policy that is compared must not call it.
        """
        rows = self._log["control"][-max(1, round(window_s / CONTROL_PERIOD_S)) :]
        return np.array([row[3] for row in rows])

    @property
    def hand_height_m(self) -> float:
        """Return how far the hand was told to rise so far, in metres."""
        return self._hand_m

    @property
    def grip_command_n(self) -> float:
        """Return the grip force commanded last, in N."""
        return float(self._command[0])

    @property
    def _thing(self) -> GripObject:
        if self.thing is None:
            raise SimulatorError("arm/grip: no episode is under way; call reset(seed) first")
        return self.thing

    @property
    def _time_ns(self) -> int:
        return self._physics_step * PHYSICS_NS

    def _object_over_pads_m(self) -> float:
        return float(self._data.xpos[self._ids.object_body, 2] - self._data.site_xpos[self._ids.pinch_site, 2])

    def _advance(self) -> dict[str, Stream]:
        """Run one control period and return what the machine's sensors said in it."""
        model, data, ids = self._model, self._data, self._ids
        heights, speeds, pushes = self._hand_motion()
        data.ctrl[7:] = self._command[0]
        set_points = self._way.set_points(self._start_m + heights, speeds, pushes)
        pouring = self._lifted_step >= 0 and self._thing.pour_factor > 1.0
        felt, sensor, physics = self._sensors, data.sensordata, self._log["physics"]
        mass_kg = self._mass_kg()
        for i in range(PHYSICS_STEPS):
            if pouring:
                mass_kg = self._mass_kg()
                scene.set_mass(model, ids, mass_kg)
            data.ctrl[:7] = set_points[i]
            if self._thing.knock_mps2:
                self._knock(float(heights[i]), mass_kg)
            mujoco.mj_step(model, data)
            self._physics_step += 1
            left, right = sensor[ids.touch_columns]
            object_m, hand_m = data.xpos[ids.object_body, 2], data.site_xpos[ids.pinch_site, 2]
            # How far the box has turned between the pads: the z component of its upright axis is the cosine.
            tilt_rad = np.arccos(min(data.xmat[ids.object_body, 8], 1.0))
            physics.append(np.array([left, right, object_m, hand_m, mass_kg, tilt_rad]))
            self._crushed_for = self._crushed_for + 1 if max(left, right) > self._thing.crush_load_n else 0
            self._broken |= self._crushed_for * scene.PHYSICS_PERIOD_S > CRUSH_TIME_S + 1e-9
            self._forces_sum += sensor[ids.force_columns]
            if self._physics_step % _TOUCH_EVERY == 0:
                forces = _SIGNS * self._forces_sum / _TOUCH_EVERY
                self._forces_sum = np.zeros((2, 3))
                self._shear_n = forces[:, 1]
                felt.feel(self._time_ns, forces)
                if self._physics_step % _LOAD_EVERY == 0:
                    felt.average_load(self._time_ns)
            if i == 6 and self._feels_pose:
                felt.measure("pose", self._time_ns, self._pose())
            if i == 7:
                joints = np.concatenate([data.qpos[ids.arm_qpos], data.qvel[ids.arm_dofs]])
                felt.measure("joints", self._time_ns, joints)
            if i == 8:
                width, width_mps = data.qpos[ids.finger_qpos].sum(), data.qvel[ids.finger_dofs].sum()
                felt.measure("gripper", self._time_ns, np.array([self._command[0], width, width_mps]))
        self._hand_m, self._hand_mps = float(heights[-1]), float(speeds[-1])
        self._control_step += 1
        if self._control_step == 0:
            self._seated_m = self._object_over_pads_m()
        if self._lifted_step < 0 and self._hand_m >= LIFT_M - 2e-5:
            self._lifted_step, self._lifted_m = self._control_step, self._hand_m
        self._log["control"].append(np.array([self._time_ns, *self._command, self._shear_n.mean()]))
        self._log["qpos"].append(data.qpos.copy())
        before_m, self._measured_m = self._measured_m, float(data.site_xpos[ids.pinch_site, 2]) - self._start_m
        speed_mps = (self._measured_m - before_m) / CONTROL_PERIOD_S
        since_s = self._control_step * CONTROL_PERIOD_S
        felt.measure("hand", self._time_ns, np.array([self._measured_m, speed_mps, self._command[1], since_s]))
        return felt.arrived(self._time_ns)

    def _pose(self) -> np.ndarray:
        """Return the pinch point's place in the base frame, m, and its rotation vector from gripper-down, rad."""
        site, quaternion, turn_rad = self._ids.pinch_site, np.empty(4), np.empty(3)
        mujoco.mju_mat2Quat(quaternion, self._data.site_xmat[site])
        mujoco.mju_subQuat(turn_rad, quaternion, scene.GRIPPER_DOWN)
        return np.concatenate([self._data.site_xpos[site], turn_rad])

    def _knock(self, height_m: float, mass_kg: float) -> None:
        """Push the box for a moment once the hand has come to the knock's height."""
        thing = self._thing
        if self._knock_steps < 0 and height_m >= thing.knock_height_m:
            self._knock_steps = round(thing.knock_s / scene.PHYSICS_PERIOD_S)
        push_n = mass_kg * thing.knock_mps2 * (self._knock_steps > 0)
        self._data.xfrc_applied[self._ids.object_body, :3] = push_n * np.array(thing.knock_direction)
        self._knock_steps = max(self._knock_steps - 1, 0) if self._knock_steps >= 0 else -1

    def _hand_motion(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the hand's height over its start, speed and acceleration at each physics step of the next period."""
        if self._lifted_step >= 0:
            done = (self._control_step - self._lifted_step) * PHYSICS_STEPS
            height, speed, push = (column[done : done + PHYSICS_STEPS] for column in self._shake)
            return self._lifted_m + height, speed, push
        dt = scene.PHYSICS_PERIOD_S
        height, speed = self._hand_m, self._hand_mps
        out = np.empty((3, PHYSICS_STEPS))
        for i in range(PHYSICS_STEPS):
            # Slow down in time to stop at LIFT_M.
            braking = np.sqrt(2.0 * 0.9 * HAND_ACCELERATION_MPS2 * max(LIFT_M - height, 0.0))
            wanted = min(self._command[1], braking)
            change = min(max(wanted - speed, -HAND_ACCELERATION_MPS2 * dt), HAND_ACCELERATION_MPS2 * dt)
            speed += change
            height += speed * dt
            out[:, i] = height, speed, change / dt
        return out[0], out[1], out[2]

    def _mass_kg(self) -> float:
        thing = self._thing
        if self._lifted_step < 0:
            return thing.mass_kg
        since_s = (self._physics_step - (self._lifted_step + SETTLE_STEPS) * PHYSICS_STEPS) * scene.PHYSICS_PERIOD_S
        share = min(max((since_s - thing.pour_start_s) / POUR_S, 0.0), 1.0)
        return thing.mass_kg * (1.0 + (thing.pour_factor - 1.0) * share)


def _shake(amplitude_mps2: float) -> np.ndarray:
    """Return height, speed and acceleration ``[3, physics steps]`` of the shake and the rest after it."""
    time_s = np.arange(1, _END_STEPS * PHYSICS_STEPS + PHYSICS_STEPS + 1) * scene.PHYSICS_PERIOD_S
    omega = 2.0 * np.pi * SHAKE_HZ
    ramp = np.clip(np.minimum(time_s, SHAKE_S - time_s) * SHAKE_HZ, 0.0, 1.0)
    height = amplitude_mps2 / omega**2 * ramp**2 * (3.0 - 2.0 * ramp) * np.sin(omega * time_s)
    speed = np.gradient(height, scene.PHYSICS_PERIOD_S)
    return np.stack([height, speed, np.gradient(speed, scene.PHYSICS_PERIOD_S)])
