"""What an episode looks like: a strip of five moments, seen by the camera ``corner2``.

The episode is played again from its seed and actions: worlds repeat exactly, so nothing is rendered while one runs.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from genba.machines.metaworld.simulator import MetaWorldEnv
from genba.machines.metaworld.task_list import INSTRUCTIONS, MT50
from genba.machines.metaworld.verifier import verify
from genba.spec.action import Action
from genba.spec.task import Picture

#: Pixels of one frame's side, and how many stand in a strip.
SIDE, NUM_FRAMES = 240, 5


def draw(trace: Mapping[str, np.ndarray], actor: str) -> list[Picture]:
    """Return a strip of frames, PNG.

    Raises:
        SimulatorError: Meta-World is not installed, or no renderer could start.
    """
    from PIL import Image  # optional (extra `report`): only pictures need it

    name, actions = MT50[int(trace["task"])], trace["action"]
    shown = np.linspace(0, len(actions), NUM_FRAMES).round().astype(int).tolist()
    env = MetaWorldEnv((name,))
    try:
        env.reset(int(trace["seed"]))
        frames = [env.picture(SIDE, SIDE)] * shown.count(0)
        for i, action in enumerate(actions, start=1):
            env.step(Action(action))
            if i in shown:
                frames += [env.picture(SIDE, SIDE)] * shown.count(i)
    finally:
        env.close()
    out = io.BytesIO()
    Image.fromarray(np.concatenate(frames, axis=1)).save(out, format="PNG")
    outcome = verify(trace)
    came = (
        f"success after {outcome['reached_s']:.2f} s" if outcome["success"] else f"no success in {len(actions)} steps"
    )
    return [
        Picture(
            title=f"{name} by {actor}",
            caption=f"{INSTRUCTIONS[name]}: {came}",
            media_type="image/png",
            data=out.getvalue(),
        )
    ]
