"""LeRobot's own reader opens what is written here, and what its writer makes opens here: equal numbers, equal frames.

Runs where ``GENBA_LEROBOT_PYTHON`` names a Python that has ``lerobot[dataset]`` (its dependencies cannot live in this
environment: Python 3.12, its own torch and NumPy). Last run against lerobot 0.6.1 with PyAV 15.1 and torchcodec 0.11.1.
"""

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from data import lerobot_official as official
from random_episodes import random_episode

from genba.data.readers.lerobot import LeRobotReader
from genba.data.writers.lerobot import LeRobotWriter
from genba.spec.embodiment import load_embodiment

SCRIPT = Path(__file__).with_name("lerobot_official.py")
EVERYTHING = Path(__file__).parents[1] / "model" / "everything.toml"


@pytest.fixture(scope="module")
def run():
    """Run a command of ``lerobot_official`` under the other Python; skip where none is named."""
    python = os.environ.get("GENBA_LEROBOT_PYTHON")
    if not python:
        pytest.skip("no Python with lerobot; name one in GENBA_LEROBOT_PYTHON, e.g. of a venv with lerobot[dataset]")

    def run(command, folder, truth, choice):
        # Offline, and without a word to anybody.
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "DO_NOT_TRACK": "1",
            "HF_HOME": str(truth.parent / "home"),
        }
        done = subprocess.run(
            [python, str(SCRIPT), command, str(folder), str(truth), choice],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return np.load(truth)

    return run


@pytest.mark.parametrize("backend", ["pyav", "torchcodec"])
@pytest.mark.parametrize("codec", ["h264", "h264-lossless", "av1"])
def test_official_reader_opens_what_is_written_here(codec, backend, run, tmp_path):
    facts = load_embodiment(EVERYTHING)
    # Sides that every encoder takes.
    facts = dataclasses.replace(facts, camera=(dataclasses.replace(facts.camera[0], height=64, width=80),))
    episodes = [random_episode(facts, seed, num_steps=20, instruction=f"task {seed % 2}") for seed in range(3)]
    path = tmp_path / "dataset"
    LeRobotWriter(codec=codec).write(path, facts, episodes)
    seen = run("read", path, tmp_path / "seen.npz", backend)
    ours = list(LeRobotReader().read(path, streams="base"))
    for key, channel in {"observation.state": "state", "action": "action"}.items():
        np.testing.assert_array_equal(seen[key], np.concatenate([e.streams[channel].values for e in ours]))
    frames = np.concatenate([e.streams["front"].values for e in ours])
    assert np.array_equal(seen["observation.images.front"].transpose(0, 2, 3, 1), frames)
    about = json.loads(str(seen["about"]))
    assert (about["fps"], about["num_episodes"], about["num_frames"]) == (10, 3, len(frames))
    assert about["tasks"] == ["task 0", "task 1"]
    assert seen["task"].tolist() == [e.metadata.instruction for e in ours for _ in range(len(e.streams["front"]))]
    assert np.shape(about["stats"]["observation.images.front"]["mean"]) == (3, 1, 1)


@pytest.mark.parametrize("codec", ["libsvtav1", "h264", "hevc"])
def test_what_the_official_writer_makes_opens_here(codec, run, tmp_path):
    folder = tmp_path / "dataset"
    truth = run("write", folder, tmp_path / "truth.npz", codec)
    seen = run("read", folder, tmp_path / "seen.npz", "pyav")
    episodes = list(LeRobotReader().read(folder))
    assert [len(e.streams["state"]) for e in episodes] == [length for length, _ in official.EPISODES]
    channels = {
        "observation.state": "state",
        "observation.wide": "wide",
        "observation.count": "count",
        "observation.small": "small",
        "observation.contact": "contact",
        "observation.touch": "touch",
        "observation.block": "block",
        "next.reward": "next_reward",
        "action": "action",
    }
    for key, channel in channels.items():
        values = np.concatenate([e.streams[channel].values for e in episodes])
        np.testing.assert_array_equal(values, truth[key].reshape(len(values), -1).astype(np.float32), err_msg=key)
    wrist = np.concatenate([e.streams["wrist"].values for e in episodes])
    np.testing.assert_array_equal(wrist, truth["observation.images.wrist"])
    # The same pixels as its own reader sees.
    top = np.concatenate([e.streams["top"].values for e in episodes])
    np.testing.assert_array_equal(top, seen["observation.images.top"].transpose(0, 2, 3, 1))
    assert [e.metadata.instruction for e in episodes] == [tasks[0] for _, tasks in official.EPISODES]
    assert episodes[1].streams["task"].values[:, 0].tolist() == seen["task_index"][23:40].tolist()
