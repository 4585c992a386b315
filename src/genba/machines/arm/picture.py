"""What a grip looks like: a strip of rendered moments, and grip force against what was needed and what would crush.

Frames are rendered again from the trace's poses, so an episode is simulated without a renderer. Read next: ``tasks``.
"""

from __future__ import annotations

import copy
import importlib
import io
import os
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from genba.errors import SimulatorError
from genba.machines.arm import scene
from genba.machines.arm.verifier import verify
from genba.spec.task import Picture

#: Pixels of one frame, and how many stand in a strip.
FRAME_WIDTH, FRAME_HEIGHT, NUM_FRAMES = 300, 360, 5


def draw(trace: Mapping[str, np.ndarray], actor: str) -> list[Picture]:
    """Return a strip of frames and a chart of forces, both PNG.

    Raises:
        SimulatorError: no renderer could start; the message says which packages are missing.
    """
    outcome = verify(trace)
    word = next((w for w in ("dropped", "crushed", "over_slip", "not_lifted") if outcome[w]), "success").replace(
        "_", " "
    )
    facts = (
        f"{float(trace['heaviest_kg']):.2f} kg at its heaviest, friction {float(trace['friction']):.2f}, "
        f"slid {outcome['slip_m'] * 1000:.1f} mm: {word}"
    )
    return [
        Picture(title=f"Grip by {actor}", caption=facts, media_type="image/png", data=_strip(trace)),
        Picture(title=f"Grip force of {actor}", caption=facts, media_type="image/png", data=_chart(trace, actor)),
    ]


def _strip(trace: Mapping[str, np.ndarray]) -> bytes:
    from PIL import Image  # optional (extra `report`): only pictures need it

    compiled, ids, _ = scene.compiled()
    model = copy.deepcopy(compiled)
    scene.shape_object(model, ids, float(trace["width_m"]), "cylinder" if trace["is_cylinder"] else "box")
    data = mujoco.MjData(model)
    options, camera, view = mujoco.MjvOption(), mujoco.MjvCamera(), mujoco.MjvScene(model, maxgeom=200)
    options.geomgroup[3] = 0
    camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, model.camera("close").id
    box = mujoco.MjrRect(0, 0, FRAME_WIDTH, FRAME_HEIGHT)
    frame = np.empty((FRAME_HEIGHT, FRAME_WIDTH, 3), np.uint8)
    poses, frames = trace["picture.qpos"], []
    context = _open_context()
    try:
        target = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, target)
        for index in np.linspace(0, len(poses) - 1, NUM_FRAMES).round().astype(int):
            data.qpos[:] = poses[index]
            mujoco.mj_forward(model, data)
            mujoco.mjv_updateScene(model, data, options, None, camera, mujoco.mjtCatBit.mjCAT_ALL, view)
            mujoco.mjr_render(box, view, target)
            mujoco.mjr_readPixels(frame, None, box, target)
            frames.append(frame[::-1].copy())
        target.free()
    finally:
        context.free()
    out = io.BytesIO()
    Image.fromarray(np.concatenate(frames, axis=1)).save(out, format="PNG")
    return out.getvalue()


def _open_context() -> Any:
    """Return a current OpenGL context without a display: EGL, or OSMesa where ``MUJOCO_GL=osmesa`` asks for it."""
    name = "osmesa" if os.environ.get("MUJOCO_GL") == "osmesa" else "egl"
    try:
        # Chosen here and not when mujoco is imported, so that stepping needs no graphics library.
        module = importlib.import_module(f"mujoco.{name}")
        context = module.GLContext(FRAME_WIDTH, FRAME_HEIGHT)
        context.make_current()
    except Exception as error:  # whatever a missing GL library raises, the remedy is the same
        raise SimulatorError(
            f"arm picture: {name}: no renderer could start ({error}); on Debian install libegl1 and libgl1-mesa-dri, "
            "or set MUJOCO_GL=osmesa and install libosmesa6"
        ) from error
    return context


def _chart(trace: Mapping[str, np.ndarray], actor: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # optional (extra `report`), without pyplot's state
    from matplotlib.figure import Figure

    time_s = (trace["physics.time_ns"] - int(trace["grasp_time_ns"])) * 1e-9
    hand_m = trace["physics.hand_height_m"]
    accelerated = 9.80665 + float(trace["shake_mps2"]) * (hand_m > hand_m[0] + 0.13)
    required_n = trace["physics.mass_kg"] * accelerated / (2.0 * float(trace["friction"]))
    figure = Figure(figsize=(7.5, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(time_s, trace["physics.pad_force_n"].mean(axis=1), color="tab:blue", lw=1.4, label=f"pad force ({actor})")
    axes.plot(time_s, required_n, color="tab:green", lw=1.2, label="needed to hold")
    axes.axhline(float(trace["crush_load_n"]), color="tab:red", lw=1.2, ls="--", label="crushes")
    axes.set(xlabel="time since grasp (s)", ylabel="force per pad (N)", ylim=(0, 1.25 * float(trace["crush_load_n"])))
    other = axes.twinx()
    other.plot(time_s, (hand_m - hand_m[0]) * 1000, color="0.6", lw=1, label="hand height (mm)")
    other.set_ylabel("hand height (mm)")
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()
