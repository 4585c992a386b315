"""Deviations from a recording's own beginning: computed by hand, blind to what comes later, and only for machines that sense."""

from dataclasses import replace

import numpy as np
import pytest

from genba.data.deviations import deviation_facts, deviations
from genba.data.readers.skab import EMBODIMENT_ID
from genba.errors import DataError
from genba.spec.conformance import check_episode
from genba.spec.embodiment import load_embodiment
from genba.spec.episode import Episode, EpisodeMetadata
from genba.spec.streams import dense
from genba.spec.units import SECOND_NS

FACTS = load_embodiment(EMBODIMENT_ID)


def recording(values):
    times_ns = np.arange(len(values)) * SECOND_NS
    marks = dense(times_ns, np.zeros((len(values), 1)))
    streams = {"bench": dense(times_ns, values), "trace.anomaly": marks}
    return Episode(EpisodeMetadata(episode_id=f"{EMBODIMENT_ID}/skab/one", embodiment_id=EMBODIMENT_ID), streams)


def test_numbers_are_standard_deviations_from_the_mean_of_the_beginning():
    values = np.full((6, 8), 300.0)
    # Beginning 1 3 1 3: mean 2, standard deviation 1; the other sensors never move there and keep their unit.
    values[:, 0] = [1, 3, 1, 3, 4, 0]
    values[5, 1] = 302.0
    made = deviations(recording(values), FACTS, 4)
    assert made.streams["bench"].values[:, 0].tolist() == [-1, 1, -1, 1, 2, -2]
    assert made.streams["bench"].values[:, 1].tolist() == [0, 0, 0, 0, 0, 2]
    assert set(made.streams) == {"bench"}
    assert made.metadata.episode_id == "factory/skab-bench-deviations@1/one"
    check_episode(deviation_facts(FACTS), made)


def test_what_comes_later_changes_nothing_before():
    rng = np.random.default_rng(0)
    values = rng.uniform(1, 2, (20, 8))
    changed = values.copy()
    changed[12:] += 1
    before, after = (deviations(recording(each), FACTS, 10).streams["bench"].values for each in (values, changed))
    np.testing.assert_array_equal(before[:12], after[:12])
    assert (before[12:] != after[12:]).all()


def test_a_recording_shorter_than_its_beginning_and_a_machine_that_acts_are_refused():
    with pytest.raises(DataError, match="bench: got 3 samples, expected at least the first 4"):
        deviations(recording(np.ones((3, 8))), FACTS, 4)
    with pytest.raises(DataError, match=r"arm/panda-grip@1: expected a machine that only senses"):
        deviation_facts(load_embodiment("arm/panda-grip@1"))
    kept = deviation_facts(FACTS)
    assert [d.name for d in kept.telemetry[0].dimension] == [d.name for d in FACTS.telemetry[0].dimension]
    assert replace(kept, id=FACTS.id, telemetry=FACTS.telemetry) == FACTS
