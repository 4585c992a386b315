"""What is written in robomimic's layout is what a policy could have seen at each control step; the rest is refused."""

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from random_episodes import random_episode

from genba.data.readers.hdf5 import Hdf5Reader
from genba.data.writers.hdf5 import Hdf5Writer
from genba.errors import DataError, SpecError, StorageError
from genba.spec.embodiment import load_embodiment
from genba.spec.episode import Episode

EVERYTHING = Path(__file__).parents[2] / "model" / "everything.toml"


@pytest.fixture(scope="module")
def facts():
    """A machine of what the layout can hold: telemetry, a camera and a continuous action."""
    everything = load_embodiment(EVERYTHING)
    action = dataclasses.replace(everything.action, choice=())
    return dataclasses.replace(everything, id="test/arm@1", action=action, points=(), entities=(), relation=())


@pytest.fixture(scope="module")
def episodes(facts):
    return [random_episode(facts, seed, num_steps=20, missing=0.0) for seed in range(2)]


def test_rows_show_the_newest_sample_at_each_control_step(facts, episodes, tmp_path):
    path = tmp_path / "arm.hdf5"
    Hdf5Writer().write(path, facts, episodes)
    with h5py.File(path) as file:
        data = file["data"]
        assert data.attrs["total"] == sum(data[name].attrs["num_samples"] for name in data)
        assert json.loads(data.attrs["env_args"])["env_kwargs"] == {"control_freq": 10.0}
        for number, episode in enumerate(episodes):
            demonstration = data[f"demo_{number}"]
            times_ns = demonstration["t_ns"][:].tolist()
            begin_ns = max(int(stream.times_ns[0]) for stream in episode.streams.values())
            assert times_ns == [t for t in episode.streams["action"].times_ns.tolist() if t >= begin_ns]
            for name, key in {
                "joints": "obs/joints",
                "force": "obs/force",
                "front": "obs/front",
                "action": "actions",
            }.items():
                stream = episode.streams[name]
                expected = [
                    stream.values[[i for i, t in enumerate(stream.times_ns) if t <= now][-1]] for now in times_ns
                ]
                np.testing.assert_array_equal(demonstration[key][:], expected)
            assert demonstration["dones"][:].tolist() == [0] * (len(times_ns) - 1) + [1]
            # The random episodes say success 1.
            assert demonstration["rewards"][:].tolist() == [0.0] * (len(times_ns) - 1) + [1.0]
            assert json.loads(demonstration.attrs["genba_metadata"])["owner"] == "genba"


def test_own_reader_opens_it(facts, episodes, tmp_path):
    path = tmp_path / "arm.hdf5"
    Hdf5Writer().write(path, facts, episodes)
    reader = Hdf5Reader()
    assert reader.recognises(path)
    found = list(reader.read(path))
    assert [e.metadata.instruction for e in found] == [e.metadata.instruction for e in episodes]
    assert [e.metadata.outcome for e in found] == [{"return": 1.0}] * 2
    for one, two in zip(episodes, found, strict=True):
        rows = len(two.streams["action"])
        np.testing.assert_array_equal(two.streams["action"].values, one.streams["action"].values[-rows:])


def test_what_the_layout_cannot_hold_is_refused_by_name(facts, episodes, tmp_path):
    path = tmp_path / "arm.hdf5"
    everything = load_embodiment(EVERYTHING)
    with pytest.raises(
        DataError, match="got stream 'lidar', which robomimic's layout cannot hold; write it as lerobot"
    ):
        Hdf5Writer().write(path, everything, [random_episode(everything, 0)])
    labelled = random_episode(facts, 0, labelled=True)
    with pytest.raises(DataError, match="got stream 'label'"):
        Hdf5Writer().write(path, facts, [labelled])
    with pytest.raises(DataError, match="got no sample of 'force', expected one per row"):
        Hdf5Writer().write(path, facts, [random_episode(facts, 0, absent=frozenset({"force"}))])
    sensing = dataclasses.replace(facts, action=dataclasses.replace(facts.action, continuous=()))
    with pytest.raises(DataError, match="got no continuous action"):
        Hdf5Writer().write(path, sensing, episodes)
    with pytest.raises(DataError, match="got no episode"):
        Hdf5Writer().write(path, facts, [])
    assert list(tmp_path.iterdir()) == []


def test_it_is_written_whole_or_not_at_all(facts, episodes, tmp_path):
    wrong = Episode(episodes[1].metadata, {**episodes[1].streams, "wings": episodes[1].streams["force"]})
    with pytest.raises(SpecError, match="no channel 'wings'"):
        Hdf5Writer().write(tmp_path / "arm.hdf5", facts, [episodes[0], wrong])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="could not write the file"):
        Hdf5Writer().write(tmp_path / "file" / "arm.hdf5", facts, episodes)
    path = tmp_path / "arm.hdf5"
    path.touch()
    with pytest.raises(DataError, match="is there already"):
        Hdf5Writer().write(path, facts, episodes)
