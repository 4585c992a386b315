"""Small HDF5 demonstrations in ALOHA's and robomimic's layouts, made by hand with h5py."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import simplejpeg

STEPS = 6
DEMONSTRATIONS = {"demo_2": 4, "demo_10": 5}


def write_log(folder: Path, seed: int = 0) -> tuple[Path, dict[str, object]]:
    """Make one ALOHA episode; return it and the rate that its file does not state."""
    return write_aloha(folder / "episode_0.hdf5", seed), {"rate_hz": 50}


def aloha_values(seed: int) -> dict[str, np.ndarray]:
    """Return the numbers of an ALOHA episode, float64 as its recorder stores them."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(STEPS, 14)) for name in ("qpos", "qvel", "effort", "action")}


def aloha_image(seed: int, step: int) -> np.ndarray:
    """Return a smooth picture that JPEG hardly changes."""
    rows, columns = np.mgrid[0:16, 0:24]
    return np.stack([rows * 8 + step * 10, columns * 5, np.full_like(rows, 40 + seed)], axis=-1).astype(np.uint8)


def write_aloha(path: Path, seed: int = 0, *, compressed: bool = False, as_strings: bool = False) -> Path:
    """Make an episode: two arms, one camera; pictures as pixels, or as JPEGs padded with zeros to one length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = aloha_values(seed)
    images = [aloha_image(seed, step) for step in range(STEPS)]
    with h5py.File(path, "w") as file:
        file.attrs["sim"] = False
        file.attrs["compress"] = compressed
        observations = file.create_group("observations")
        for name in ("qpos", "qvel", "effort"):
            observations[name] = values[name]
        cameras = observations.create_group("images")
        if compressed:
            blobs = [jpeg(image) for image in images]
            longest = max(map(len, blobs))
            if as_strings:
                cameras["cam_high"] = np.array(blobs, f"S{longest}")
            else:
                padded = [np.frombuffer(blob.ljust(longest + 3, b"\0"), np.uint8) for blob in blobs]
                cameras["cam_high"] = np.stack(padded)
            file["compress_len"] = np.array([[len(blob) for blob in blobs]], np.float64)
        else:
            cameras.create_dataset("cam_high", data=np.stack(images), chunks=(1, 16, 24, 3), compression="gzip")
        file["action"] = values["action"]
    return path


def jpeg(image: np.ndarray) -> bytes:
    """Return a JPEG of high quality."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=95, colorspace="RGB", colorsubsampling="444")


def robomimic_values(seed: int, name: str) -> dict[str, np.ndarray]:
    """Return the data sets of a robomimic demonstration."""
    length = DEMONSTRATIONS[name]
    rng = np.random.default_rng([seed, length])
    return {
        "actions": rng.uniform(-1, 1, (length, 7)),
        "states": rng.normal(size=(length, 32)),
        "rewards": np.eye(length)[-1],
        "dones": np.eye(length, dtype=np.int64)[-1],
        "obs/robot0_eef_pos": rng.normal(size=(length, 3)),
        "obs/robot0_gripper_qpos": rng.normal(size=(length, 2)),
        "obs/agentview_image": rng.integers(0, 256, (length, 12, 16, 3), np.uint8),
        "obs/agentview_depth": rng.random((length, 40, 40, 1)).astype(np.float32),
        "next_obs/robot0_eef_pos": rng.normal(size=(length, 3)),
    }


def write_robomimic(path: Path, seed: int = 0, *, rate_hz: float | None = 20) -> Path:
    """Make a file of two demonstrations, one of them in a mask; the environment states its rate unless None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kwargs = {} if rate_hz is None else {"control_freq": rate_hz}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = sum(DEMONSTRATIONS.values())
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": kwargs})
        data.attrs["problem_info"] = json.dumps({"language_instruction": "lift the cube"})
        for name, length in DEMONSTRATIONS.items():
            demonstration = data.create_group(name)
            demonstration.attrs["num_samples"] = length
            for key, values in robomimic_values(seed, name).items():
                demonstration[key] = values
        file.create_group("mask")["train"] = np.array([b"demo_10"], "S8")
    return path
