"""Every registered reader keeps the same contract: on a log that is made for it, and on a real recording where one is at hand.

What it makes of damaged logs is in ``test_reader_fuzz``.
"""

import importlib
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genba.data.vault import Vault
from genba.errors import ReaderError
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


def write_log(name, folder, seed=0):
    """Make a small log; a reader without a maker fails by name."""
    module = f"logs.{name.replace('-', '_')}"
    assert importlib.util.find_spec(module), (
        f"tests/logs/{name.replace('-', '_')}.py: missing; make a small log of {name}"
    )
    folder.mkdir(exist_ok=True)
    return importlib.import_module(module).write_log(folder, seed)


@pytest.fixture(params=["made", "real"])
def log(request, name, tmp_path):
    """A log and its options."""
    if request.param == "made":
        return write_log(name, tmp_path / "made")
    if name not in LOGS:
        pytest.skip(f"no real recording for {name}")
    return LOGS[name](request.getfixturevalue("samples"))


def same(one, two):
    """Hold two lists of episodes to be equal."""
    assert [e.metadata for e in one] == [e.metadata for e in two]
    for first, second in zip(one, two, strict=True):
        assert list(first.streams) == list(second.streams)
        for name, stream in first.streams.items():
            other = second.streams[name]
            np.testing.assert_array_equal(other.times_ns, stream.times_ns)
            np.testing.assert_array_equal(other.values, stream.values)
            assert (other.splits is None) == (stream.splits is None)
            if stream.splits is not None:
                np.testing.assert_array_equal(other.splits, stream.splits)


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
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "zeros").write_bytes(bytes(4096))
    assert not reader.recognises(tmp_path / "empty")
    assert not reader.recognises(tmp_path / "zeros")


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
    # Another process knows no more than what lies in the folder.
    for episode in episodes:
        stored = Vault.open(tmp_path / "vault").read(episode.metadata.episode_id)
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
    same(first, second)
    facts, again = (resolve(READERS[name])().embodiment(path, **options) for _ in range(2))
    assert facts == again


@readers
def test_log_is_named_by_its_content_not_by_its_place(name, tmp_path):
    path, options = write_log(name, tmp_path / "here")
    elsewhere = tmp_path / "there"
    shutil.copytree(tmp_path / "here", elsewhere)
    moved = elsewhere / path.relative_to(tmp_path / "here")
    others = {
        key: elsewhere / value.relative_to(tmp_path / "here") if isinstance(value, Path) else value
        for key, value in options.items()
    }
    here, there = (
        [e.metadata.episode_id for e in resolve(READERS[name])().read(p, **o)]
        for p, o in ((path, options), (moved, others))
    )
    assert here == there
    assert len(set(here)) == len(here)


@readers
def test_option_that_it_does_not_know_is_refused_by_name(name, tmp_path):
    path, options = write_log(name, tmp_path / "made")
    with pytest.raises(ReaderError, match=r"unknown option 'onwer'; did you mean 'owner'"):
        list(resolve(READERS[name])().read(path, onwer="fleet", **options))


@readers
def test_owner_and_place_are_as_told(name, tmp_path):
    path, options = write_log(name, tmp_path / "made")
    told = {"owner": "fleet", "site": "Aichi", "jurisdiction": "JP", "agreement": "2026-07"}
    for episode in resolve(READERS[name])().read(path, **told, **options):
        assert {key: getattr(episode.metadata, key) for key in told} == told
