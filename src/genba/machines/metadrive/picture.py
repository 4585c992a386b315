"""What an episode looks like: five moments from above, side by side. It judges nothing. Read next: ``tasks``."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping

import numpy as np

from genba.machines.metadrive.verifier import PERIOD_S, verify
from genba.spec.task import Picture

#: Pixels of one frame's side, how many stand in a strip, and how far one sees from the car.
SIDE, NUM_FRAMES, VIEW_M = 240, 5, 40.0
LENGTH_M, WIDTH_M = 4.515, 1.852
GROUND, LANE, EGO, OTHER, DRIVEN = (226, 230, 224), (150, 154, 160), (28, 110, 220), (200, 120, 40), (130, 180, 240)


def draw(trace: Mapping[str, np.ndarray], actor: str) -> list[Picture]:
    """Return a strip of frames around the car, PNG; the last one is the episode's end."""
    from PIL import Image, ImageDraw  # optional (extra `report`): only pictures need it

    ego, splits = trace["ego"], trace["other_splits"]
    strip = Image.new("RGB", (SIDE * NUM_FRAMES, SIDE), GROUND)
    for i, step in enumerate(np.linspace(0, len(ego) - 1, NUM_FRAMES).round().astype(int).tolist()):
        frame = Image.new("RGB", (SIDE, SIDE), GROUND)
        pen, centre = ImageDraw.Draw(frame), ego[step, :2]
        for first, last in zip(trace["lane_splits"][:-1], trace["lane_splits"][1:]):
            pen.line(_pixels(trace["lanes"][first:last], centre), fill=LANE, width=2)
        pen.line(_pixels(ego[: step + 1, :2], centre), fill=DRIVEN, width=3)
        for other in trace["others"][splits[step] : splits[step + 1]]:
            pen.polygon(_pixels(_box(other[:3], other[3], other[4]), centre), fill=OTHER)
        pen.polygon(_pixels(_box(ego[step, :3], LENGTH_M, WIDTH_M), centre), fill=EGO)
        strip.paste(frame, (i * SIDE, 0))
    out = io.BytesIO()
    strip.save(out, format="PNG")
    outcome, seconds = verify(trace), (len(ego) - 1) * PERIOD_S
    ended = next((n.replace("_", " ") for n in ("success", "crash", "out_of_road") if outcome[n]), "timed out")
    return [
        Picture(
            title=f"MetaDrive's scene {int(trace['scene'])}, driven by {actor}",
            caption=f"{ended} after {seconds:.1f} s, {outcome['completion']:.0%} of the route; the middles of the lanes are drawn.",
            media_type="image/png",
            data=out.getvalue(),
        )
    ]


def _pixels(points: np.ndarray, centre: np.ndarray) -> list[tuple[float, float]]:
    seen = (np.asarray(points) - centre) * [1, -1] * (SIDE / (2 * VIEW_M)) + SIDE / 2
    return [(float(x), float(y)) for x, y in seen]


def _box(pose: np.ndarray, length: float, width: float) -> np.ndarray:
    """Return the corners ``[4, 2]`` of a rectangle around ``pose``: x, y, heading."""
    heading = float(pose[2])
    along = np.array([math.cos(heading), math.sin(heading)]) * length / 2
    across = np.array([-math.sin(heading), math.cos(heading)]) * width / 2
    return pose[:2] + np.stack([along + across, along - across, -along - across, -along + across])
