"""What is measured of an episode does not depend on how it is cut into pieces, nor on whether it lies in a shard."""

import dataclasses

import numpy as np
import pytest
from random_episodes import random_episode

from genba.data.quality import samples
from genba.data.quality.measures import measure_clock, measure_stream
from genba.data.quality.runs import Run, Runs, changes
from genba.data.quality.samples import view_episode

#: Fields that look at a change from one value to the next, which is not seen where two pieces meet.
ACROSS = {"usual_step", "near_low", "near_high", "reversed"}


def comparable(measure):
    columns = [{k: v for k, v in dataclasses.asdict(c).items() if k not in ACROSS} for c in measure.columns]
    marks = [a.tolist() for a in (measure.marks.hashes, measure.marks.times_ns)]
    return dataclasses.asdict(measure) | {"columns": columns, "marks": marks}


def same(one, two):
    for a, b in zip(one["columns"], two["columns"], strict=True):
        for key, value in a.items():
            assert b[key] == (pytest.approx(value, nan_ok=True) if isinstance(value, float) else value), key
    assert {k: v for k, v in one.items() if k != "columns"} == {k: v for k, v in two.items() if k != "columns"}


def test_pieces_change_nothing(everything, monkeypatch):
    view = view_episode(everything, random_episode(everything, 5, num_steps=60, labelled=True))
    whole = {name: comparable(measure_stream(s)) for name, s in view.streams.items()}
    monkeypatch.setattr(samples, "PIECE_BYTES", 100)
    for name, stream in view.streams.items():
        assert len(list(stream.pieces())) > 1
        same(whole[name], comparable(measure_stream(stream)))


def test_shard_measures_as_the_episode_in_it(everything, vault):
    episode = random_episode(everything, 5, num_steps=30)
    vault.append(episode)
    stored = view_episode(everything, vault.shard(vault.entries()[0]))
    for name, stream in view_episode(everything, vault.read(episode.metadata.episode_id)).streams.items():
        same(comparable(measure_stream(stream)), comparable(measure_stream(stored.streams[name])))


def test_runs_are_the_longest_ones_wherever_the_sequence_is_cut():
    keys = np.array([1, 1, 2, 2, 2, 2, 1, 3, 3, 3])
    times_ns = np.arange(10, dtype=np.int64) * 10
    for cut in range(11):
        runs, before = Runs(), None
        for part in (slice(0, cut), slice(cut, None)):
            runs.update(changes(keys[part], before), np.ones(len(keys[part]), bool), times_ns[part])
            before = keys[cut - 1] if cut else None
        runs.finish()
        # Four twos from 20 to 50, then three threes from 70 to 90.
        assert (runs.longest, runs.second) == (Run(4, 20, 50), Run(3, 70, 90))


def test_clock_measures_are_those_of_the_intervals():
    times_ns = np.concatenate([np.arange(50), 60 + np.arange(50)]).astype(np.int64) * 1000
    clock = measure_clock(times_ns)
    assert (clock.num_samples, clock.first_ns, clock.last_ns, clock.median_ns) == (100, 0, 109_000, 1000.0)
    # 49,000 to 60,000.
    assert clock.longest[0] == (49_000, 60_000)
    assert clock.crowded_ns == 10_000
