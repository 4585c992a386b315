"""Every registered writer keeps the same contract; what it writes, the reader of its name reads back."""

import numpy as np
import pytest
import toy
from random_episodes import random_episode

from genba.errors import DataError
from genba.registry import READERS, WRITERS, resolve
from genba.spec.conformance import check_episode
from genba.spec.protocols import Writer

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
    path, episodes = write(name, tmp_path / f"written.{name}", carts()), carts()
    reader = resolve(READERS[name])()
    assert reader.recognises(path)
    facts, read = reader.embodiment(path), list(reader.read(path))
    assert len(read) == len(episodes)
    for episode in read:
        check_episode(facts, episode)
    # In what order the episodes come back is the format's business; each must be there whole.
    for episode in episodes:
        names = [c.name for c in toy.CART_FACTS.telemetry]
        assert any(
            all(
                stream_name in other.streams
                and np.array_equal(other.streams[stream_name].times_ns, episode.streams[stream_name].times_ns)
                and np.array_equal(other.streams[stream_name].values, episode.streams[stream_name].values)
                for stream_name in names
            )
            for other in read
        ), f"{name}: {episode.metadata.episode_id} did not come back"
