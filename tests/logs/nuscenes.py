"""A small nuScenes-style set: two scenes, one lidar, one radar and one camera at rates of their own, annotated boxes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import simplejpeg

VERSION = "v1.0-mini"

#: sensor -> (time between files in microseconds, first half of its folder is in samples)
PERIODS_US = {"LIDAR_TOP": 50_000, "RADAR_FRONT": 77_000, "CAM_FRONT": 83_000}
START_US = 1_532_402_927_000_000
SCENE_US = 1_000_000
SAMPLE_US = 500_000

RADAR = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("dyn_prop", "i1"), ("id", "<i2"), ("rcs", "<f4"), ("vx", "<f4"),
     ("vy", "<f4"), ("vx_comp", "<f4"), ("vy_comp", "<f4"), ("is_quality_valid", "i1"), ("ambig_state", "i1"),
     ("x_rms", "i1"), ("y_rms", "i1"), ("invalid_state", "i1"), ("pdh0", "i1"), ("vx_rms", "i1"), ("vy_rms", "i1")]
)  # fmt: skip


def write_log(folder: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Write the set into ``folder / "nuscenes"``."""
    rng, root = np.random.default_rng(seed), folder / "nuscenes"
    tables: dict[str, list[dict[str, object]]] = {
        "log": [{"token": "log0", "logfile": "n015-2018", "vehicle": "n015", "date_captured": "2018-07-24", "location": "singapore-onenorth"}],
        "map": [{"token": "map0", "log_tokens": ["log0"], "category": "semantic_prior", "filename": "maps/one.png"}],
        "category": [{"token": "c0", "name": "vehicle.car"}, {"token": "c1", "name": "human.pedestrian.adult"}],
        "visibility": [{"token": "4", "level": "v80-100"}],
        "instance": [{"token": f"i{i}", "category_token": f"c{i % 2}"} for i in range(3)],
        "sensor": [
            {"token": "s_lidar", "channel": "LIDAR_TOP", "modality": "lidar"},
            {"token": "s_radar", "channel": "RADAR_FRONT", "modality": "radar"},
            {"token": "s_cam", "channel": "CAM_FRONT", "modality": "camera"},
        ],
        "calibrated_sensor": [
            # A quarter turn about z: the sensor's x is the car's y.
            {"token": "m_lidar", "sensor_token": "s_lidar", "translation": [1.0, 0.0, 1.8], "rotation": [0.5**0.5, 0, 0, 0.5**0.5], "camera_intrinsic": []},
            {"token": "m_radar", "sensor_token": "s_radar", "translation": [3.4, 0.0, 0.5], "rotation": [1, 0, 0, 0], "camera_intrinsic": []},
            {"token": "m_cam", "sensor_token": "s_cam", "translation": [1.7, 0.0, 1.5], "rotation": [0.5, -0.5, 0.5, -0.5], "camera_intrinsic": [[20.0, 0, 16], [0, 20.0, 12], [0, 0, 1]]},
        ],
        "scene": [], "sample": [], "sample_data": [], "ego_pose": [], "sample_annotation": [],
    }  # fmt: skip
    for scene in range(2):
        start_us = START_US + scene * 20_000_000
        tables["scene"].append(
            {"token": f"scene{scene}", "name": f"scene-{scene:04d}", "log_token": "log0", "nbr_samples": 2}
        )
        for i in range(2):
            sample = f"sample{scene}{i}"
            tables["sample"].append(
                {"token": sample, "timestamp": start_us + i * SAMPLE_US, "scene_token": f"scene{scene}"}
            )
            for k in range(3):
                tables["sample_annotation"].append(
                    {
                        "token": f"a{scene}{i}{k}", "sample_token": sample, "instance_token": f"i{k}", "visibility_token": "4",
                        "attribute_tokens": [], "translation": [400.0 + k, 1100.0 + i, 0.5], "size": [1.9, 4.5, 1.6],
                        "rotation": [1.0, 0.0, 0.0, 0.0], "num_lidar_pts": 10 * k, "num_radar_pts": k,
                    }
                )  # fmt: skip
        for channel, period_us in PERIODS_US.items():
            for n, time_us in enumerate(range(start_us, start_us + SCENE_US, period_us)):
                is_key = (time_us - start_us) % SAMPLE_US < period_us
                suffix = {"L": "pcd.bin", "R": "pcd", "C": "jpg"}[channel[0]]
                name = f"{'samples' if is_key else 'sweeps'}/{channel}/{scene}__{channel}__{time_us}.{suffix}"
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_file(channel, rng))
                token = f"d{scene}{channel}{n}"
                size = (32, 24) if channel[0] == "C" else (0, 0)
                tables["sample_data"].append(
                    {
                        "token": token, "sample_token": f"sample{scene}{min(1, (time_us - start_us) // SAMPLE_US)}",
                        "ego_pose_token": token, "calibrated_sensor_token": "m_" + {"L": "lidar", "R": "radar", "C": "cam"}[channel[0]],
                        "timestamp": time_us, "fileformat": suffix, "is_key_frame": is_key, "width": size[0], "height": size[1],
                        "filename": name,
                    }
                )  # fmt: skip
                # 10 m/s along the map's x
                x_m = 390.0 + (time_us - start_us) * 1e-5
                tables["ego_pose"].append(
                    {"token": token, "timestamp": time_us, "rotation": [1, 0, 0, 0], "translation": [x_m, 1100.0, 0.0]}
                )
    (root / "maps").mkdir()
    (root / "maps" / "one.png").write_bytes(b"a map")
    (root / VERSION).mkdir()
    for table, rows in tables.items():
        (root / VERSION / f"{table}.json").write_text(json.dumps(rows))
    return root, {}


def _file(channel: str, rng: np.random.Generator) -> bytes:
    if channel.startswith("LIDAR"):
        points = rng.uniform(-50, 50, (40, 5)).astype("<f4")
        points[:, 3], points[:, 4] = rng.integers(0, 256, 40), np.arange(40) % 32
        return points.tobytes()
    if channel.startswith("CAM"):
        # Smooth, so that JPEG keeps it within a few levels.
        frame = np.broadcast_to(rng.integers(40, 200, 3), (24, 32, 3)) + np.arange(32)[None, :, None]
        return simplejpeg.encode_jpeg(np.ascontiguousarray(frame.astype(np.uint8)), quality=95, colorspace="RGB")
    points = np.zeros(7, RADAR)
    for field in ("x", "y", "vx", "vy", "rcs"):
        points[field] = rng.uniform(-30, 30, 7)
    points["id"], points["is_quality_valid"], points["dyn_prop"] = np.arange(7), 1, rng.integers(0, 7, 7)
    return pcd(points)


def pcd(points: np.ndarray) -> bytes:
    """Return the bytes of a PCD file as the set's radars write it."""
    fields = [(name, points.dtype[name]) for name in points.dtype.names or ()]
    kinds = {"f": "F", "i": "I", "u": "U"}
    lines = [
        "# .PCD v0.7 - Point Cloud Data file format", "VERSION 0.7",
        "FIELDS " + " ".join(name for name, _ in fields),
        "SIZE " + " ".join(str(dtype.itemsize) for _, dtype in fields),
        "TYPE " + " ".join(kinds[dtype.kind] for _, dtype in fields),
        "COUNT " + " ".join("1" for _ in fields),
        f"WIDTH {len(points)}", "HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {len(points)}", "DATA binary", "",
    ]  # fmt: skip
    return "\n".join(lines).encode() + points.tobytes()
