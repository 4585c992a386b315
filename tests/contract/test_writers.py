"""Every registered writer keeps the same contract; what it writes, the reader of its name reads back."""

import numpy as np
import pytest
import toy
from random_episodes import random_episode

from genba.data.ingest import find_logs
from genba.errors import DataError
from genba.registry import READERS, WRITERS, resolve
from genba.spec.conformance import check_episode
from genba.spec.protocols import Writer

#: Formats with one frame per control step for all channels: name -> so that not every sample can come back.
SAMPLED = {"hdf5": "robomimic's layout"}

writers = pytest.mark.parametrize("name", sorted(WRITERS))


def write(name, path, episodes):
    writer = resolve(WRITERS[name])()
    writer.write(path, toy.CART_FACTS, iter(episodes))
    return path


def carts():
    """Two episodes of a machine that only has numbers, which every format holds."""
    return [random_episode(toy.CART_FACTS, seed, num_steps=20, missing=0.0) for seed in range(2)]


def test_every_writer_is_a_registered_one():
    for name, entry in WRITERS.items():
        assert isinstance(resolve(entry)(), Writer)
        assert resolve(entry)().name == name
        assert resolve(entry)().description


@writers
def test_what_is_there_already_is_never_overwritten(name, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="there"):
        write(name, tmp_path / "there", carts())
    assert (tmp_path / "there" / "mine.txt").read_text() == "mine"


@writers
def test_what_it_writes_the_reader_of_its_name_reads_back(name, tmp_path):
    if name not in READERS:
        pytest.skip(f"nothing reads {name}")
    path, episodes = write(name, tmp_path / "written", carts()), carts()
    read = []
    # Some formats hold many episodes in one log, of others each is a log of its own.
    for log, reader in find_logs(path, name):
        facts, found = reader.embodiment(log), list(reader.read(log))
        for episode in found:
            check_episode(facts, episode)
        read += found
    assert len(read) == len(episodes)
    # In what order the episodes come back is the format's business.
    for episode in episodes if name not in SAMPLED else ():
        assert any(holds_whole(episode, other) for other in read), f"{name}: {episode.metadata.episode_id} is not whole"


def holds_whole(episode, other):
    """Every channel is there again, number by number, at its own times."""
    return all(
        c.name in other.streams
        and np.array_equal(other.streams[c.name].times_ns, episode.streams[c.name].times_ns)
        and np.array_equal(other.streams[c.name].values, episode.streams[c.name].values)
        for c in toy.CART_FACTS.telemetry
    )
