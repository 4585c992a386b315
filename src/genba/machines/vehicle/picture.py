"""An episode from above, as an animation and as a film strip: lanes, buildings, traffic, the light, what the LiDAR returned.

Drawn with Pillow alone at a fixed palette, because 60 frames of matplotlib cost tens of seconds. It judges nothing.
Read next: ``tasks``.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from genba.machines.vehicle.bicycle import CENTRE_M, LENGTH_M, WIDTH_M
from genba.machines.vehicle.geometry import corners
from genba.machines.vehicle.lidar import MOUNT_X_M
from genba.spec.task import Picture

SIZE_PX = 440
MAX_FRAMES = 60
#: the film strip: how many moments, and how large each
STRIP_FRAMES, STRIP_PX = 5, 240
#: half the width of the view, around the junction's centre shifted towards the ego's arm
HALF_VIEW_M = 62.0
CENTRE_Y_M = -22.0
LANE_M = 3.2
#: Pillow draws twice as large and scales down
SUPERSAMPLING = 2

GROUND, ROAD, MARKING, BUILDING = (226, 230, 224), (96, 100, 108), (200, 204, 210), (178, 170, 160)
EGO, CAR, TRUCK, PERSON = (28, 110, 220), (236, 238, 240), (214, 190, 130), (240, 150, 20)
RETURN, ROUTE = (230, 40, 120), (130, 180, 240)
LIGHTS = {0: (120, 124, 130), 1: (220, 40, 40), 2: (240, 200, 30), 3: (40, 190, 80)}


def draw(trace: Mapping[str, np.ndarray], actor: str) -> list[Picture]:
    """Draw the episode of ``actor``: an animated GIF of at most ``MAX_FRAMES`` frames and about half a megabyte, and a PNG of
    ``STRIP_FRAMES`` moments.
    """
    steps = len(trace["ego"])
    stride = max(1, -(-steps // MAX_FRAMES))
    shown = [*range(0, steps - 1, stride), steps - 1]
    ground = _ground(trace)
    shown = shown[-MAX_FRAMES:]
    frames = [_frame(trace, step, ground, actor) for step in shown]
    palette = frames[len(frames) // 2].quantize(64, dither=Image.Dither.NONE)
    small = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    out = io.BytesIO()
    durations = [max(40, stride * 40)] * (len(small) - 1) + [1500]
    small[0].save(out, "GIF", save_all=True, append_images=small[1:], duration=durations, loop=0, optimize=False)
    return [
        Picture(
            title=f"Intersection, driven by {actor}",
            caption=(
                "From above: the car that is driven (blue) and its route, cars (white), trucks (sand), people (orange), "
                "LiDAR returns (pink), and its light at the stop line."
            ),
            media_type="image/gif",
            data=out.getvalue(),
        ),
        Picture(
            title=f"Film strip, driven by {actor}",
            caption=f"{STRIP_FRAMES} moments of the same episode around the car, the last one its end.",
            media_type="image/png",
            data=_strip(frames, [(x / SUPERSAMPLING, y / SUPERSAMPLING) for x, y in _pixels(trace["ego"][shown, 1:3])]),
        ),
    ]


def _strip(frames: list[Image.Image], centres: list[tuple[float, float]]) -> bytes:
    """Put moments of the last two thirds of an episode side by side, cut out around the car, the last one its end."""
    chosen = np.linspace((len(frames) - 1) / 3, len(frames) - 1, STRIP_FRAMES).round().astype(int)
    strip = Image.new("RGB", (STRIP_FRAMES * STRIP_PX, STRIP_PX), (255, 255, 255))
    for i, frame in enumerate(chosen.tolist()):
        left, top = (round(min(max(at - STRIP_PX / 2, 0), SIZE_PX - STRIP_PX)) for at in centres[frame])
        strip.paste(frames[frame].crop((left, top, left + STRIP_PX - 4, top + STRIP_PX)), (i * STRIP_PX, 0))
    out = io.BytesIO()
    strip.quantize(64, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def _pixels(points: np.ndarray) -> list[tuple[float, float]]:
    scale = SIZE_PX * SUPERSAMPLING / (2 * HALF_VIEW_M)
    x = (points[:, 0] + HALF_VIEW_M) * scale
    y = (CENTRE_Y_M + HALF_VIEW_M - points[:, 1]) * scale
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _ground(trace: Mapping[str, np.ndarray]) -> Image.Image:
    """What does not move."""
    size = SIZE_PX * SUPERSAMPLING
    image = Image.new("RGB", (size, size), GROUND)
    brush = ImageDraw.Draw(image)
    scale = size / (2 * HALF_VIEW_M)
    splits = trace["lane_splits"]
    lines = [trace["lanes"][a:b] for a, b in itertools.pairwise(splits)]
    for line in lines:
        brush.line(_pixels(line), fill=ROAD, width=round((LANE_M + 1.0) * scale), joint="curve")
    for line in lines:
        if len(line) == 2 and np.abs(line).max() > 100:  # an arm's lane; dashes on its left edge
            direction = (line[1] - line[0]) / np.linalg.norm(line[1] - line[0])
            edge = line + np.array([-direction[1], direction[0]]) * LANE_M / 2
            length_m = float(np.linalg.norm(edge[1] - edge[0]))
            for along_m in np.arange(0.0, length_m - 3.0, 6.0):
                dash = edge[0] + np.outer([along_m, along_m + 3.0], direction)
                brush.line(_pixels(dash), fill=MARKING, width=2)
    for x0, y0, x1, y1 in trace["buildings"]:
        brush.polygon(_pixels(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])), fill=BUILDING)
    start_m, _, goal_m = trace["path_m"]
    path = trace["path"]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    brush.line(_pixels(path[(along >= start_m) & (along <= goal_m)]), fill=ROUTE, width=3)
    brush.line(_pixels(trace["goal_line"]), fill=ROUTE, width=6)
    return image


def _frame(trace: Mapping[str, np.ndarray], step: int, ground: Image.Image, actor: str) -> Image.Image:
    image = ground.copy()
    brush = ImageDraw.Draw(image)
    brush.line(_pixels(trace["stop_line"]), fill=LIGHTS[int(trace["colour"][step])], width=10)
    rows = trace["objects"][trace["object_splits"][step] : trace["object_splits"][step + 1]]
    for row in rows:
        if row[1] == 2:
            half = np.array([0.6, 0.6])  # drawn larger than life, to be seen
        else:
            half = row[6:8] / 2
        colour = (CAR, TRUCK, PERSON, PERSON)[int(row[1])]
        brush.polygon(_pixels(corners(row[2], row[3], row[4], *half)), fill=colour, outline=(60, 60, 60))
    time_s, x, y, heading, speed = trace["ego"][step, :5]
    c, s = np.cos(heading), np.sin(heading)
    body = corners(x + CENTRE_M * c, y + CENTRE_M * s, heading, LENGTH_M / 2, WIDTH_M / 2)
    brush.polygon(_pixels(body), fill=EGO, outline=(0, 0, 0))
    points = trace["lidar"][trace["lidar_splits"][step] : trace["lidar_splits"][step + 1], :2]
    world = points @ np.array([[c, s], [-s, c]]) + [x + MOUNT_X_M * c, y + MOUNT_X_M * s]
    for px, py in _pixels(world):
        brush.ellipse((px - 2, py - 2, px + 2, py + 2), fill=RETURN)
    image = image.resize((SIZE_PX, SIZE_PX), Image.Resampling.BOX)
    text = f"{actor}   {time_s - trace['ego'][0, 0]:4.1f} s   {speed * 3.6:3.0f} km/h"
    ImageDraw.Draw(image).text((8, SIZE_PX - 18), text, fill=(20, 20, 20), font=ImageFont.load_default())
    return image
