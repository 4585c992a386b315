"""The scene in MuJoCo: a Franka Panda with rubber pads, a table and one box with sprung sides; and the arm's way up.

The arm's geometry, masses and servos are those of the Panda that ships with Gymnasium-Robotics (Apache-2.0); this file
changes its gripper from position to force control and adds pads with force sensors. It holds no task and no episode.
Read next: ``simulator``.
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from genba.errors import SimulatorError
from genba.machines.arm.objects import GRAVITY_MPS2, HALF_DEPTH_M, HALF_HEIGHT_M, GripObject

#: Physics step in seconds; ten make a control step.
PHYSICS_PERIOD_S = 0.002
#: First-order lag between commanded and exerted grip force, in seconds.
GRIP_LAG_S = 0.030
#: Top of the table, and where over it the gripper works, in metres in the arm's base frame.
TABLE_HEIGHT_M = 0.20
PINCH_X_M = 0.50
#: Heights of the pinch point for which the arm's joints are tabulated, in metres.
LOWEST_M = TABLE_HEIGHT_M + HALF_HEIGHT_M - 0.02
HIGHEST_M = TABLE_HEIGHT_M + HALF_HEIGHT_M + 0.20
#: Pad centre along the finger and half sizes of a pad (18 x 3 x 22 mm), in metres.
PAD_ALONG_FINGER_M = 0.080
PAD_HALF_SIZE_M = (0.009, 0.0015, 0.011)
#: Half thickness of a sprung side, in metres.
SIDE_HALF_THICKNESS_M = 0.002

_ARM_JOINTS = tuple(f"robot:panda0_joint{i}" for i in range(1, 8))
#: Each pad touches one side only, as the sides of a cylinder reach through each other. The gripper's left is the object's
#: right, as it looks down.
_PAD_BIT, _SIDE_BIT = {"left": 2, "right": 32}, {"left": 64, "right": 4}
_FACING = {"left": "right", "right": "left"}
_FINGERS = (("left", "robot:panda0_finger_joint1"), ("right", "robot:panda0_finger_joint2"))
#: A posture near the work, elbow up and gripper down, from which the joints of the lowest height are solved (rad).
_POSTURE_RAD = (0.0, 0.35, 0.0, -2.3, 0.0, 2.1, -0.785)
#: The pinch point's orientation with the gripper pointing down and closing along y, as a quaternion (w, x, y, z).
GRIPPER_DOWN = np.array([0.0, 1.0, 0.0, 0.0])
#: How hard contacts are: 500 Hz physics, friction without creep (see README.md).
_OPTIONS = (
    f'<option timestep="{PHYSICS_PERIOD_S}" cone="elliptic" impratio="10" noslip_iterations="5" '
    f'gravity="0 0 {-GRAVITY_MPS2}" integrator="implicitfast"><flag midphase="disable"/></option>'
)


@dataclass(frozen=True, slots=True, eq=False)
class Ids:
    """Where things stand in the model's arrays."""

    arm_qpos: np.ndarray
    arm_dofs: np.ndarray
    finger_qpos: np.ndarray
    finger_dofs: np.ndarray
    object_body: int
    object_qpos: int
    object_dof: int
    core_geom: int
    #: a visible hull around a cylinder; touches nothing
    shell_geom: int
    side_bodies: tuple[int, int]
    side_geoms: tuple[int, int]
    side_joints: tuple[int, int]
    pinch_site: int
    #: columns of ``sensordata``: normal, vertical and depth-wise force per pad ``[2, 3]``; touch per pad ``[2]``
    force_columns: np.ndarray
    touch_columns: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """The arm's joints as polynomials of the pinch height, scaled to [-1, 1] between ``LOWEST_M`` and ``HIGHEST_M``.

    Attributes:
        position_rad: coefficients ``[degree + 1, 7]`` of the joint positions.
        slope: the derivative of the positions after height, rad/m.
        push: servo set-point that makes the arm accelerate upwards, rad per m/s^2.
        damping: servo set-point that balances joint damping, s, ``[7]``.
    """

    position_rad: np.ndarray
    slope: np.ndarray
    push: np.ndarray
    damping_s: np.ndarray

    def set_points(self, height_m: np.ndarray, speed_mps: np.ndarray, push_mps2: np.ndarray) -> np.ndarray:
        """Return the servo set-points ``[samples, 7]`` in rad that follow a motion of the pinch point ``[samples]``."""
        u = (2.0 * height_m - LOWEST_M - HIGHEST_M) / (HIGHEST_M - LOWEST_M)
        powers = np.vander(u, len(self.position_rad), increasing=True)
        position = powers @ self.position_rad
        velocity = (powers @ self.slope) * speed_mps[:, None]
        return position + velocity * self.damping_s + (powers @ self.push) * push_mps2[:, None]


def _asset_folder() -> Path:
    found = importlib.util.find_spec("gymnasium_robotics")
    if found is None or not found.submodule_search_locations:
        raise SimulatorError("gymnasium_robotics: not installed; expected the Panda model it ships; install genba[arm]")
    return Path(found.submodule_search_locations[0]) / "envs" / "assets" / "kitchen_franka"


def _scene_xml(folder: Path) -> str:
    parts = folder / "franka_assets"
    half = HALF_HEIGHT_M
    side = f'type="box" size="{HALF_DEPTH_M} {SIDE_HALF_THICKNESS_M} {half}" mass="0.005" priority="1" condim="3"'
    shell = f'type="cylinder" size="0.02 {half}" mass="0" contype="0" conaffinity="0" group="3"'
    sides = "".join(
        f'<body name="side_{name}" pos="0 {sign * 0.02} 0">'
        f'<joint name="side_{name}" type="slide" axis="0 {sign} 0" armature="0.08" stiffness="5000" damping="50"/>'
        f'<geom name="side_{name}" {side} contype="{_SIDE_BIT[name]}" conaffinity="{_PAD_BIT[_FACING[name]]}" '
        f'rgba="0.85 0.45 0.2 1"/></body>'
        for name, sign in (("left", 1), ("right", -1))
    )
    return f"""<mujoco>
      <include file="{parts}/assets.xml"/>
      <compiler meshdir="{parts}/meshes" angle="radian" autolimits="true"/>
      {_OPTIONS}
      <visual><quality shadowsize="0" offsamples="0"/><global offwidth="640" offheight="480"/></visual>
      <asset><texture name="sky" type="skybox" builtin="gradient" rgb1="1 1 1" rgb2="0.8 0.86 0.92" width="64" height="64"/>
      </asset>
      <worldbody>
        <light pos="1.2 -0.8 2" dir="-0.5 0.4 -1" diffuse="0.7 0.7 0.7"/>
        <camera name="close" pos="1.12 0.5 0.5" xyaxes="-0.6278 0.7784 0.0000 -0.1579 -0.1273 0.9792" fovy="36"/>
        <geom name="table" type="box" size="0.3 0.4 0.02" pos="0.55 0 {TABLE_HEIGHT_M - 0.02}" contype="16"
              conaffinity="8" rgba="0.75 0.72 0.68 1"/>
        <include file="{parts}/chain.xml"/>
        <body name="object" pos="{PINCH_X_M} 0 {TABLE_HEIGHT_M + half}">
          <freejoint name="object"/>
          <inertial pos="0 0 0" mass="0.3" diaginertia="2.25e-4 2.425e-4 6.25e-5"/>
          <geom name="core" type="box" size="{HALF_DEPTH_M} 0.015 {half}" mass="0.3" contype="8" conaffinity="16"
                condim="3" rgba="0.95 0.75 0.35 1"/>
          <geom name="shell" {shell} rgba="0.85 0.45 0.2 1"/>
          {sides}
        </body>
      </worldbody>
      <include file="{parts}/actuator.xml"/>
    </mujoco>"""


def _compose() -> mujoco.MjModel:
    spec = mujoco.MjSpec.from_string(_scene_xml(_asset_folder()))
    for body in spec.bodies:
        if body.name.startswith("panda0"):
            body.gravcomp = 1.0
            for geom in body.geoms:
                geom.contype = geom.conaffinity = 0
    for name, joint_name in _FINGERS:
        joint = spec.joint(joint_name)
        joint.armature, joint.damping = 0.15, 20.0
        finger = spec.body(f"panda0_{name}finger")
        inward = 1.0 if name == "left" else -1.0
        pad = finger.add_body(
            name=f"pad_{name}", pos=[0, inward * PAD_HALF_SIZE_M[1], PAD_ALONG_FINGER_M], gravcomp=1.0
        )
        geom = pad.add_geom(
            name=f"pad_{name}", type=mujoco.mjtGeom.mjGEOM_BOX, size=list(PAD_HALF_SIZE_M), mass=0.0005,
            contype=_PAD_BIT[name], conaffinity=_SIDE_BIT[_FACING[name]], condim=3, group=0, rgba=[0.15, 0.15, 0.18, 1],
        )  # fmt: skip
        # The finger's defaults reach into the pad: their 1 mm margin makes contacts chatter between 0 and 7 N.
        geom.margin, geom.friction, geom.solref, geom.solimp = (
            0.0,
            [1, 0.005, 0.0001],
            [0.02, 1],
            [0.9, 0.95, 0.001, 0.5, 2],
        )
        pad.add_site(
            name=f"pad_{name}", type=mujoco.mjtGeom.mjGEOM_BOX, size=[x + 0.002 for x in PAD_HALF_SIZE_M], group=4
        )
        for kind, sensor in (("force", mujoco.mjtSensor.mjSENS_FORCE), ("touch", mujoco.mjtSensor.mjSENS_TOUCH)):
            spec.add_sensor(name=f"{kind}_{name}", type=sensor, objtype=mujoco.mjtObj.mjOBJ_SITE, objname=f"pad_{name}")
    hand = spec.body("panda0_link7")
    hand.add_site(name="pinch", pos=[0, 0, 0.1654 + PAD_ALONG_FINGER_M], quat=[0.92388, 0, 0, -0.382683], group=4)
    spec.add_equality(
        name="mimic", type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT, name1=_FINGERS[0][1],
        name2=_FINGERS[1][1], data=[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    )  # fmt: skip
    for name in ("r_gripper_finger_joint", "l_gripper_finger_joint"):
        actuator = spec.actuator(name)
        actuator.dyntype, actuator.dynprm[0] = mujoco.mjtDyn.mjDYN_FILTEREXACT, GRIP_LAG_S
        actuator.gaintype, actuator.gainprm[0] = mujoco.mjtGain.mjGAIN_FIXED, -1.0
        actuator.biastype, actuator.biasprm[:] = mujoco.mjtBias.mjBIAS_NONE, 0.0
        actuator.ctrlrange, actuator.ctrllimited = [0.0, 70.0], 1
    return spec.compile()


def _find(model: mujoco.MjModel) -> Ids:
    joints = [model.joint(name) for name in _ARM_JOINTS]
    fingers = [model.joint(name) for _, name in _FINGERS]
    # A pad's frame: x is depth, y the closing direction, z along the finger (down); normal first, as sensed.
    columns = np.array([[int(model.sensor(f"force_{n}").adr[0]) + axis for axis in (1, 2, 0)] for n, _ in _FINGERS])
    return Ids(
        arm_qpos=np.array([int(j.qposadr[0]) for j in joints]),
        arm_dofs=np.array([int(j.dofadr[0]) for j in joints]),
        finger_qpos=np.array([int(j.qposadr[0]) for j in fingers]),
        finger_dofs=np.array([int(j.dofadr[0]) for j in fingers]),
        object_body=model.body("object").id,
        object_qpos=int(model.joint("object").qposadr[0]),
        object_dof=int(model.joint("object").dofadr[0]),
        core_geom=model.geom("core").id,
        shell_geom=model.geom("shell").id,
        side_bodies=(model.body("side_left").id, model.body("side_right").id),
        side_geoms=(model.geom("side_left").id, model.geom("side_right").id),
        side_joints=(model.joint("side_left").id, model.joint("side_right").id),
        pinch_site=model.site("pinch").id,
        force_columns=columns,
        touch_columns=np.array([int(model.sensor(f"touch_{name}").adr[0]) for name, _ in _FINGERS]),
    )


def _solve_way(model: mujoco.MjModel, ids: Ids, num_heights: int = 24, degree: int = 9) -> Way:
    """Solve the arm's joints for heights by damped least squares and fit polynomials through them.

    Source: Buss and Kim (2005), "Selectively damped least squares for inverse kinematics", eq. 11.
    """
    data = mujoco.MjData(model)
    data.qpos[ids.arm_qpos] = _POSTURE_RAD
    # Gripper down: its z axis points down, its closing direction along y.
    wanted = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
    heights = np.linspace(LOWEST_M, HIGHEST_M, num_heights)
    solved, jac_p, jac_r = [], np.zeros((3, model.nv)), np.zeros((3, model.nv))
    for height in heights:
        for _ in range(200):
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            rotation = data.site_xmat[ids.pinch_site].reshape(3, 3)
            turn = 0.5 * sum(np.cross(rotation[:, i], wanted[:, i]) for i in range(3))
            error = np.concatenate([np.array([PINCH_X_M, 0.0, height]) - data.site_xpos[ids.pinch_site], turn])
            if np.abs(error).max() < 1e-10:
                break
            mujoco.mj_jacSite(model, data, jac_p, jac_r, ids.pinch_site)
            jac = np.concatenate([jac_p, jac_r])[:, ids.arm_dofs]
            data.qpos[ids.arm_qpos] += jac.T @ np.linalg.solve(jac @ jac.T + 1e-6 * np.eye(6), error)
        else:
            raise SimulatorError(f"arm: no joint positions reach {height:.3f} m (error {np.abs(error).max():.1e})")
        mujoco.mj_forward(model, data)
        mass = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, mass, data.qM)
        solved.append((data.qpos[ids.arm_qpos].copy(), mass[np.ix_(ids.arm_dofs, ids.arm_dofs)]))
    u = np.linspace(-1.0, 1.0, num_heights)
    fit = np.polynomial.polynomial.polyfit
    position = fit(u, np.array([q for q, _ in solved]), degree)
    slope = np.polynomial.polynomial.polyder(position) * 2.0 / (HIGHEST_M - LOWEST_M)
    slope = np.concatenate([slope, np.zeros((1, 7))])
    along = np.vander(u, degree + 1, increasing=True) @ slope
    kp = model.actuator_gainprm[:7, 0]
    push = fit(u, np.array([mass @ d for (_, mass), d in zip(solved, along, strict=True)]) / kp, degree)
    return Way(position, slope, push, model.dof_damping[ids.arm_dofs] / kp)


@functools.cache
def compiled() -> tuple[mujoco.MjModel, Ids, Way]:
    """Return the compiled scene, once per process; copy the model before changing it.

    Raises:
        SimulatorError: the Panda model is not installed or its pose cannot be solved.
    """
    model = _compose()
    ids = _find(model)
    return model, ids, _solve_way(model, ids)


def put_object(model: mujoco.MjModel, data: mujoco.MjData, ids: Ids, thing: GripObject) -> None:
    """Make the scene's box this object, at rest on the table; ``data`` is reset."""
    shape_object(model, ids, thing.width_m, thing.shape)
    for geom, joint in zip(ids.side_geoms, ids.side_joints, strict=True):
        model.geom_friction[geom, 0] = thing.friction
        model.jnt_stiffness[joint] = thing.stiffness_npm
        # Close to critical for the side's armature and a share of the finger's; less rings at 2 ms steps.
        model.dof_damping[model.jnt_dofadr[joint]] = 1.4 * np.sqrt(thing.stiffness_npm * 0.25)
    set_mass(model, ids, thing.mass_kg)
    model.body_ipos[ids.object_body] = thing.offset_m, 0.0, 0.0
    if thing.offset_m:
        # Compiled as a body whose mass lies in its frame's origin; MuJoCo looks no further where it says so.
        model.body_sameframe[ids.object_body] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE
    mujoco.mj_resetData(model, data)
    mujoco.mj_setConst(model, data)
    mujoco.mj_resetData(model, data)


def shape_object(model: mujoco.MjModel, ids: Ids, width_m: float, shape: str) -> None:
    """Give the scene's object its width and shape, ``"box"`` or ``"cylinder"``.

    A cylinder's sprung sides are capsules around its axis: MuJoCo lets a box touch a capsule in two points, and a
    cylinder in one that jumps. Their round ends stand out above and below, where nothing can touch them; what is seen is
    the shell.
    """
    half_width, round_ = width_m / 2.0, shape == "cylinder"
    core = np.array([HALF_DEPTH_M, half_width - 2.0 * SIDE_HALF_THICKNESS_M, HALF_HEIGHT_M])
    kind, size = mujoco.mjtGeom.mjGEOM_BOX, np.array([HALF_DEPTH_M, SIDE_HALF_THICKNESS_M, HALF_HEIGHT_M])
    if round_:
        kind, size = mujoco.mjtGeom.mjGEOM_CAPSULE, np.array([half_width, HALF_HEIGHT_M, 0.0])
        # The box whose inertia is a cylinder's: 2 a^2 / 3 = r^2 / 2.
        core[:2] = np.sqrt(0.75) * half_width
    _resize(model, ids.core_geom, core)
    for sign, body, geom in zip((1, -1), ids.side_bodies, ids.side_geoms, strict=True):
        model.geom_type[geom] = int(kind)
        model.body_pos[body, 1] = 0.0 if round_ else sign * (half_width - SIDE_HALF_THICKNESS_M)
        _resize(model, geom, size)
        if round_:
            model.geom_rbound[geom] = half_width + HALF_HEIGHT_M
            model.geom_aabb[geom, 3:] = half_width, half_width, half_width + HALF_HEIGHT_M
    _resize(model, ids.shell_geom, np.array([half_width, HALF_HEIGHT_M, 0.0]))
    model.geom_group[[ids.core_geom, *ids.side_geoms]] = 3 if round_ else 0
    model.geom_group[ids.shell_geom] = 0 if round_ else 3


def set_mass(model: mujoco.MjModel, ids: Ids, mass_kg: float) -> None:
    """Give the object this total mass, spread evenly over its core; pouring calls this while time goes on."""
    core_kg = mass_kg - float(model.body_mass[list(ids.side_bodies)].sum())
    x, y, z = model.geom_size[ids.core_geom] ** 2
    model.body_mass[ids.object_body] = core_kg
    model.body_inertia[ids.object_body] = core_kg / 3.0 * np.array([y + z, x + z, x + y])


def set_grip_lag(model: mujoco.MjModel, lag_s: float) -> None:
    """Give the gripper's actuators this first-order lag."""
    model.actuator_dynprm[7:, 0] = lag_s


def _resize(model: mujoco.MjModel, geom: int, half_size_m: np.ndarray) -> None:
    model.geom_size[geom] = half_size_m
    model.geom_rbound[geom] = np.linalg.norm(half_size_m)
    model.geom_aabb[geom, 3:] = half_size_m
