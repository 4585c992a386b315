"""A small Argoverse 2 log: three sweeps, poses between them, boxes at two moments, calibration, a map, no cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import feather

START_NS = 315_966_253_660_357_000
PERIOD_NS = 100_196_000


def write_log(folder: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Write the log into a folder named by a made identity."""
    rng, log = np.random.default_rng(seed), folder / "7fab2350-0000-3b7e-a39d-6937a4c1bede"
    for name in ("sensors/lidar", "calibration", "map"):
        (log / name).mkdir(parents=True)
    for i in range(3):
        table = {
            **{axis: pa.array(rng.uniform(-80, 80, 50).astype(np.float16)) for axis in ("x", "y", "z")},
            "intensity": pa.array(rng.integers(0, 256, 50).astype(np.uint8)),
            "laser_number": pa.array(rng.integers(0, 64, 50).astype(np.uint8)),
            "offset_ns": pa.array(np.sort(rng.integers(0, 100_000_000, 50)).astype(np.int32)),
        }
        write(log / "sensors" / "lidar" / f"{START_NS + i * PERIOD_NS}.feather", table)
    times_ns = START_NS + np.arange(0, 3 * PERIOD_NS, 6_000_000)
    write(log / "city_SE3_egovehicle.feather", {"timestamp_ns": times_ns, **poses(len(times_ns), x_m=5000.0)})
    write(
        log / "annotations.feather",
        {
            # Not in the order of time: the set promises none.
            "timestamp_ns": START_NS + PERIOD_NS * np.array([1, 0, 1]),
            "track_uuid": ["b", "b", "a"],
            "category": ["BUS", "BUS", "WHEELED_RIDER"],
            **{f"{side}_m": np.array([1.0, 2.0, 3.0]) for side in ("length", "width", "height")},
            **poses(3, x_m=10.0),
            "num_interior_pts": np.array([5, 6, 7]),
        },
    )
    write(log / "calibration" / "egovehicle_SE3_sensor.feather", {"sensor_name": ["up_lidar"], **poses(1, x_m=1.35)})
    write(
        log / "calibration" / "intrinsics.feather",
        {"sensor_name": ["ring_front_center"]}
        | {name: np.array([float(i)]) for i, name in enumerate(("fx_px", "fy_px", "cx_px", "cy_px", "k1", "k2", "k3"))},
    )
    (log / "map" / "log_map_archive_7fab2350____PIT_city_47896.json").write_text("{}")
    return log, {}


def write(path: Path, columns: dict[str, object]) -> None:
    """Write a feather file, compressed as the set's are."""
    feather.write_feather(pa.table(columns), path, compression="lz4")


def poses(count: int, x_m: float) -> dict[str, np.ndarray]:
    """Return poses without a turn at ``x_m``, one metre apart along y."""
    out = {name: np.zeros(count) for name in ("qx", "qy", "qz", "tz_m")}
    return {"qw": np.ones(count), **out, "tx_m": np.full(count, x_m), "ty_m": np.arange(count, dtype=float)}
