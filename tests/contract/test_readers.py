"""Every registered reader keeps the same contract, on a real recording where one is at hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genba.data.vault import Vault
from genba.registry import READERS, resolve
from genba.spec.conformance import check_episode
from genba.spec.embodiment import load_embodiment
from genba.spec.protocols import Reader

#: Reader name -> (log, options) in the folder of samples. A new reader is not tested until it stands here.
LOGS: dict[str, Callable[[Path], tuple[Path, dict[str, object]]]] = {
    "comma2k19": lambda samples: (
        samples / "vehicle" / "comma2k19",
        {"dbc": samples / "vehicle" / "dbc" / "toyota_2017.dbc"},
    ),
}

readers = pytest.mark.parametrize("name", sorted(READERS))


@readers
def test_reader_is_what_its_name_says(name):
    reader = resolve(READERS[name])()
    assert isinstance(reader, Reader)
    assert reader.name == name
    assert name in LOGS, f"tests/contract/test_readers.py: add a log for {name} to LOGS"


@readers
def test_reader_does_not_take_another_folder_for_its_own(name, tmp_path):
    reader = resolve(READERS[name])()
    assert not reader.recognises(tmp_path)
    assert not reader.recognises(tmp_path / "nothing")


@readers
def test_reader_gives_episodes_that_fit_and_survive_the_vault(name, samples, tmp_path):
    log, options = LOGS[name](samples)
    reader = resolve(READERS[name])()
    assert reader.recognises(log)
    vault = Vault.open(tmp_path / "vault", create=True)
    episodes = list(reader.read(log, **options))
    assert episodes
    for episode in episodes:
        check_episode(load_embodiment(episode.metadata.embodiment_id), episode)
        vault.append(episode)
        stored = vault.read(episode.metadata.episode_id)
        assert stored.metadata == episode.metadata
        for stream_name, stream in episode.streams.items():
            np.testing.assert_array_equal(stored.streams[stream_name].times_ns, stream.times_ns)
            np.testing.assert_array_equal(stored.streams[stream_name].values, stream.values)


@readers
def test_reading_twice_gives_the_same(name, samples):
    log, options = LOGS[name](samples)
    first, second = (list(resolve(READERS[name])().read(log, **options)) for _ in range(2))
    assert [e.metadata for e in first] == [e.metadata for e in second]
    for one, two in zip(first, second, strict=True):
        for stream_name, stream in one.streams.items():
            np.testing.assert_array_equal(two.streams[stream_name].values, stream.values)
