"""Collection keeps whole episodes, labels what it visits, resumes, and never touches a test seed."""

from __future__ import annotations

import numpy as np
import pytest
import toy

from genba.bench.collect import collect
from genba.data.vault import Vault
from genba.errors import ConfigError
from genba.spec.conformance import check_episode
from genba.spec.observation import observe


def gather(sink, **options):
    options = {"policy": "expert", "seeds": range(4), "workers": 0, "progress": False} | options
    return collect(options.pop("task", "toy:CART"), sink=sink, **options)


def test_each_seed_gives_one_whole_episode_with_its_origin_and_outcome(sink):
    collected = gather(sink, workers=2)
    assert (collected.num_new, collected.num_existing) == (4, 0)
    assert collected.simulated_s == pytest.approx(4 * 3.0)
    episodes = {episode.metadata.seed: episode for episode in sink.episodes}
    assert sorted(episodes) == [0, 1, 2, 3]
    for seed, episode in episodes.items():
        check_episode(toy.CART_FACTS, episode)
        assert episode.metadata.episode_id == f"toy/reach@1/expert/{seed:07d}"
        assert (episode.metadata.task_id, episode.metadata.policy) == ("toy/reach@1", "expert")
        assert set(episode.metadata.outcome) == {"success", "error"}
        # 60 actions in the world of that seed: the first sample is the seed's start
        assert len(episode.streams["action"]) == 60
        start_m = toy.Cart().reset(seed).samples["cart"].values[0, 0]
        assert episode.streams["cart"].values[0, 0] == start_m


def test_a_labelled_collection_holds_what_was_done_and_what_should_have_been(sink):
    gather(sink, policy="zero", labeller="expert", tag="dagger1", seeds=[7])
    (episode,) = sink.episodes
    assert episode.metadata.episode_id == "toy/reach@1/dagger1/0000007"
    assert set(episode.streams["action"].values[:, 0]) == {0.0}
    label = episode.streams["label"]
    for i in (0, 59):
        seen = observe(toy.CART_FACTS, episode.streams, int(label.times_ns[i]))
        assert label.values[i, 0] == pytest.approx(toy.Pusher().act(seen).continuous[0, 0])


def test_a_bundle_collects_too(sink, bundle):
    gather(sink, policy=bundle, labeller="expert", seeds=[1], workers=1, allow_unchecked=True)
    assert sink.episodes[0].metadata.policy == "model"
    assert len(sink.episodes[0].streams["label"]) == 60


def test_what_is_already_there_is_not_made_again_and_both_ways_lead_to_the_same_episodes(sink):
    gather(sink, seeds=range(4))
    whole = {episode.metadata.episode_id: episode for episode in sink.episodes}
    sink.episodes.clear()
    gather(sink, seeds=range(2))
    there = [episode.metadata.episode_id for episode in sink.episodes]
    collected = gather(sink, seeds=range(4), existing=there)
    assert (collected.num_new, collected.num_existing) == (2, 2)
    resumed = {episode.metadata.episode_id: episode for episode in sink.episodes}
    assert set(resumed) == set(whole)
    for name, episode in whole.items():
        for stream, values in episode.streams.items():
            np.testing.assert_array_equal(resumed[name].streams[stream].values, values.values)


def test_choices_are_labelled_too(sink):
    gather(sink, task="toy:LINES", policy="most_slack", labeller="expert", seeds=[0])
    streams = sink.episodes[0].streams
    assert {"action.next_order", "label.next_order", "action.line_for_order", "label.line_for_order"} <= set(streams)


def test_a_test_seed_an_unknown_labeller_and_an_unknown_policy_are_refused(sink):
    with pytest.raises(ConfigError, match=r"got 1000000, expected train seeds range\(0, 1000\)"):
        gather(sink, seeds=[1, 1_000_000])
    with pytest.raises(ConfigError, match="no labeller 'expart'; did you mean 'expert'"):
        gather(sink, labeller="expart")
    with pytest.raises(ConfigError, match="neither one of the task's nor a bundle"):
        gather(sink, policy="nobody")
    assert sink.episodes == []


def test_a_vault_is_a_sink_and_says_what_need_not_be_made_again(tmp_path):
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[toy.CART_FACTS])
    gather(vault, seeds=range(2))
    collected = gather(vault, seeds=range(3), existing={entry.episode_id for entry in vault.entries()})
    assert (collected.num_new, collected.num_existing) == (1, 2)
    assert len(vault.entries(task_id="toy/reach@1")) == 3
    check_episode(toy.CART_FACTS, vault.read("toy/reach@1/expert/0000002"))
