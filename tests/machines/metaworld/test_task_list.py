"""Names, sets and groups are those of the package and of published scores; instructions tell the tasks apart."""

from collections import Counter

import pytest

from genba.machines.metaworld import task_list
from genba.spec.embodiment import load_embodiment

metaworld = pytest.importorskip("metaworld", reason="Meta-World is not installed: pip install 'genba[metaworld]'")


def test_the_sets_and_their_order_are_the_packages():
    package = metaworld.env_dict
    assert list(package.MT10_V3) == list(task_list.MT10)
    assert list(package.MT50_V3) == list(task_list.MT50)
    assert set(package.ML45_V3["train"]) == set(task_list.ML45_TRAIN)
    assert list(package.ML45_V3["test"]) == list(task_list.ML45_TEST)


def test_the_groups_have_the_sizes_that_published_scores_are_means_over():
    counts = Counter(task_list.group(name) for name in task_list.MT50)
    assert counts == {"easy": 28, "medium": 11, "hard": 6, "very_hard": 5}
    assert set().union(*task_list.HARDER.values()) <= set(task_list.MT50)


def test_every_task_has_words_of_its_own_that_fit_the_channel():
    (channel,) = load_embodiment("metaworld/sawyer@1").instruction
    words = list(task_list.INSTRUCTIONS.values())
    assert len(set(words)) == 50
    assert max(len(sentence.encode()) for sentence in words) <= channel.max_bytes
