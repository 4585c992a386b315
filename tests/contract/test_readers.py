"""Every registered reader keeps the same contract, on a real recording where one is at hand."""

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genba.data.vault import Vault
from genba.registry import READERS, resolve
from genba.spec.conformance import check_episode
from genba.spec.protocols import PartedReader, Reader

#: Reader name -> (log, options) in the folder of samples; of the others ``tests/logs/<reader>.py`` makes one.
LOGS: dict[str, Callable[[Path], tuple[Path, dict[str, object]]]] = {
    "argoverse2": lambda samples: (next((samples / "vehicle" / "av2").iterdir()), {}),
    "comma2k19": lambda samples: (
        samples / "vehicle" / "comma2k19",
        {"dbc": samples / "vehicle" / "dbc" / "toyota_2017.dbc"},
    ),
    "kitti": lambda samples: (samples / "vehicle" / "kitti", {}),
    "skab": lambda samples: (samples / "factory" / "skab" / "data" / "valve1" / "0.csv", {}),
}

readers = pytest.mark.parametrize("name", sorted(READERS))


@pytest.fixture(params=["made", "real"])
def log(request, name, tmp_path):
    """A log and its options: one that the tests make, and a real one where there is one."""
    if request.param == "made":
        return importlib.import_module(f"logs.{name.replace('-', '_')}").write_log(tmp_path)
    if name not in LOGS:
        pytest.skip(f"no real recording for {name}")
    return LOGS[name](request.getfixturevalue("samples"))


@readers
def test_reader_is_what_its_name_says(name):
    reader = resolve(READERS[name])()
    assert isinstance(reader, Reader)
    assert reader.name == name
    assert reader.description


@readers
def test_reader_does_not_take_another_folder_for_its_own(name, tmp_path):
    reader = resolve(READERS[name])()
    assert not reader.recognises(tmp_path)
    assert not reader.recognises(tmp_path / "nothing")


@readers
def test_no_other_reader_takes_its_log(name, log):
    path, _ = log
    assert [other for other in sorted(READERS) if resolve(READERS[other])().recognises(path)] == [name]


@readers
def test_reader_gives_episodes_that_fit_and_survive_the_vault(name, log, tmp_path):
    path, options = log
    reader = resolve(READERS[name])()
    facts = reader.embodiment(path, **options)
    vault = Vault.open(tmp_path / "vault", create=True)
    vault.keep_embodiment(facts)
    episodes = list(reader.read(path, **options))
    assert episodes
    lossy = {channel.name for channel in (*facts.camera, *facts.points)}
    for episode in episodes:
        check_episode(facts, episode)
        vault.append(episode)
        stored = vault.read(episode.metadata.episode_id)
        assert stored.metadata == episode.metadata
        for stream_name, stream in episode.streams.items():
            np.testing.assert_array_equal(stored.streams[stream_name].times_ns, stream.times_ns)
            # What the codecs round is held to their bounds in tests/data.
            if stream_name not in lossy:
                np.testing.assert_array_equal(stored.streams[stream_name].values, stream.values)


@readers
def test_parts_together_are_the_log(name, log):
    path, options = log
    reader = resolve(READERS[name])()
    if not isinstance(reader, PartedReader):
        pytest.skip(f"{name} reads whole logs only")
    whole = [episode.metadata for episode in reader.read(path, **options)]
    parts = reader.parts(path, **options)
    assert [e.metadata for part in parts for e in reader.read(path, **options, part=part)] == whole


@readers
def test_reading_twice_gives_the_same(name, log):
    path, options = log
    first, second = (list(resolve(READERS[name])().read(path, **options)) for _ in range(2))
    assert [e.metadata for e in first] == [e.metadata for e in second]
    for one, two in zip(first, second, strict=True):
        for stream_name, stream in one.streams.items():
            np.testing.assert_array_equal(two.streams[stream_name].values, stream.values)
