"""What the camera ``corner2`` sees, as published vision-language-action models are shown it.

The camera is moved to ``POSITION`` and its image flipped in both axes, as in LeRobot's environment of Meta-World (which follows arXiv
2206.14244). What differs: shadows and anti-aliasing are off, with which a picture costs an eighth of the CPU time, and pictures
are smaller than 480 x 480. Read next: ``simulator``, which asks for pictures.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import mujoco
import numpy as np

from genba.errors import SimulatorError

NAME = "corner2"
#: Where the camera stands, in metres.
POSITION = (0.75, 0.075, 0.7)


class Camera:
    """Renders one of Meta-World's worlds without a display: EGL, or OSMesa where ``MUJOCO_GL=osmesa`` asks for it.

    Args:
        world: one of the package's environments; its camera is moved, and its shadows are switched off.
        height, width: of the picture in pixels.

    Raises:
        SimulatorError: no renderer could start; the message says which packages are missing.
    """

    def __init__(self, world: Any, height: int, width: int) -> None:
        self.shape = (height, width)
        self._model, self._data = world.model, world.data
        self._model.vis.quality.shadowsize = self._model.vis.quality.offsamples = 0
        self._model.camera(NAME).pos[:] = POSITION
        # A camera's place is worked out with each physics step; the first picture may come before one.
        mujoco.mj_camlight(self._model, self._data)
        name = "osmesa" if os.environ.get("MUJOCO_GL") == "osmesa" else "egl"
        try:
            # Chosen here and not when mujoco is imported, so that stepping needs no graphics library.
            self._context = importlib.import_module(f"mujoco.{name}").GLContext(width, height)
            self._context.make_current()
        except Exception as error:  # whatever a missing GL library raises, the remedy is the same
            raise SimulatorError(
                f"metaworld camera: {name}: no renderer could start ({error}); on Debian install libegl1 and libgl1-mesa-dri, "
                "or set MUJOCO_GL=osmesa and install libosmesa6"
            ) from error
        self._target = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._target)
        self._view, self._options = mujoco.MjvScene(self._model, maxgeom=1000), mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, self._model.camera(NAME).id
        self._box = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), np.uint8)

    def frame(self) -> np.ndarray:
        """Return a picture of the world as it is now: uint8 ``[height, width, 3]``."""
        self._context.make_current()
        mujoco.mjv_updateScene(
            self._model, self._data, self._options, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._view
        )
        mujoco.mjr_render(self._box, self._view, self._target)
        mujoco.mjr_readPixels(self._pixels, None, self._box, self._target)
        # OpenGL's rows begin at the bottom; the protocol turns what is then upright by 180 degrees.
        return self._pixels[:, ::-1].copy()

    def close(self) -> None:
        """Release the renderer."""
        self._context.make_current()
        self._target.free()
        self._context.free()
