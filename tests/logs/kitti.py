"""A small KITTI drive: one grey and one colour camera, sweeps, GNSS and inertial samples, each with times of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

#: 2011-09-26T13:02:25 read as UTC
START_NS = 1_317_042_145_000_000_000
NUM_SWEEPS = 4
HEIGHT, WIDTH = 24, 40

IDENTITY = "1 0 0 0 1 0 0 0 1"


def write_log(folder: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Write the drive into ``folder / "2011_09_26" / "2011_09_26_drive_0001_sync"``."""
    rng = np.random.default_rng(seed)
    day = folder / "2011_09_26"
    drive = day / "2011_09_26_drive_0001_sync"
    for stream, shape in (("image_00", (HEIGHT, WIDTH)), ("image_02", (HEIGHT, WIDTH, 3))):
        for i in range(NUM_SWEEPS):
            path = drive / stream / "data" / f"{i:010d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            # Few colours: a small file.
            Image.fromarray(np.full(shape, rng.integers(0, 256), np.uint8)).save(path)
    for i in range(NUM_SWEEPS):
        path = drive / "velodyne_points" / "data" / f"{i:010d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sweep(rng).tobytes())
    for i in range(2 * NUM_SWEEPS):
        path = drive / "oxts" / "data" / f"{i:010d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        # North along a meridian, as steadily as the numbers allow.
        rest = rng.uniform(-0.5, 0.5, 20)
        numbers = [49.0 + 1e-5 * i, 8.4, 110.0, *rest, 0.5, 0.1, 4, 9, 5, 5, 6]
        path.write_text(" ".join(f"{number:.12g}" for number in numbers) + "\n")
    for n, (stream, period_ns, count) in enumerate(
        (("image_00", 103_000_001, 4), ("image_02", 103_000_007, 4), ("velodyne_points", 103_000_013, 4), ("oxts", 50_000_003, 8))
    ):  # fmt: skip
        lines = [stamp(START_NS + 1_000 * n + i * period_ns) for i in range(count)]
        (drive / stream / "timestamps.txt").write_text("\n".join(lines) + "\n")
    (day / "calib_velo_to_cam.txt").write_text(
        f"calib_time: 15-Mar-2012 11:37:16\nR: {IDENTITY}\nT: 0.1 0.2 0.3\ndelta_f: 0 0\n"
    )
    (day / "calib_imu_to_velo.txt").write_text(f"calib_time: 25-May-2012 16:47:16\nR: {IDENTITY}\nT: -0.8 0.3 -0.8\n")
    (day / "calib_cam_to_cam.txt").write_text(
        f"calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.95e-02\nR_rect_00: {IDENTITY}\n"
        "P_rect_02: 20 0 20 1 0 20 12 2 0 0 1 3\nD_02: -0.3 0.2 0.001 0.002 -0.07\n"
    )
    return drive, {}


def write_frames(folder: Path, seed: int = 0) -> Path:
    """Write three annotated frames in the benchmark's folders, one of another picture's size: ``folder / "training"``."""
    rng, root = np.random.default_rng(seed), folder / "training"
    for name in ("velodyne", "image_2", "label_2", "calib"):
        (root / name).mkdir(parents=True)
    for i in range(3):
        (root / "velodyne" / f"{i:06d}.bin").write_bytes(sweep(rng).tobytes())
        shape = (HEIGHT + (i == 2), WIDTH, 3)
        Image.fromarray(np.full(shape, rng.integers(0, 256), np.uint8)).save(root / "image_2" / f"{i:06d}.png")
        (root / "label_2" / f"{i:06d}.txt").write_text(LABELS)
        (root / "calib" / f"{i:06d}.txt").write_text(
            f"P2: 20 0 20 1 0 20 12 2 0 0 1 3\nR0_rect: {IDENTITY}\nTr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0\n\n"
        )
    return root


#: A car 2 m to the right and 20 m ahead, its bottom 1.6 m below the camera, turned to look ahead; and a DontCare.
LABELS = (
    "Car 0.10 1 -1.67 10.0 5.0 30.0 20.0 1.50 1.80 4.20 2.00 1.60 20.00 -1.570796327\n"
    "DontCare -1 -1 -10 1.0 2.0 3.0 4.0 -1 -1 -1 -1000 -1000 -1000 -10\n"
)


def sweep(rng: np.random.Generator) -> np.ndarray:
    """Return 30 points with reflectances."""
    points = rng.uniform(-40, 40, (30, 4)).astype("<f4")
    points[:, 3] = rng.uniform(0, 1, 30)
    return points


def stamp(time_ns: int) -> str:
    """Return a line of ``timestamps.txt``."""
    second, rest_ns = divmod(time_ns, 1_000_000_000)
    return f"{np.datetime64(second, 's')}.{rest_ns:09d}".replace("T", " ")
