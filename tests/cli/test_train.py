"""``genba train run``: what is asked for on the command line is what is trained on, or is refused in words."""

import dataclasses
import json

import numpy as np
import pytest
from random_episodes import random_episode
from toy import CART
from typer.testing import CliRunner

from genba.cli.train import app
from genba.data.mixture import Share
from genba.data.vault import Vault
from genba.errors import ConfigError, DataError
from genba.spec.episode import Episode
from genba.train.data import prepare
from genba.train.recipe import recipe


@pytest.fixture
def vault(tmp_path):
    """A vault with six episodes of one machine: two of owner acme, four of owner zeta."""
    vault = Vault.open(tmp_path / "vault", create=True)
    vault.keep_embodiment(CART.embodiment)
    for seed in range(6):
        episode = random_episode(CART.embodiment, seed)
        owner = "acme" if seed < 2 else "zeta"
        vault.append(Episode(dataclasses.replace(episode.metadata, owner=owner), episode.streams))
    return vault


def train(vault, tmp_path, *more):
    arguments = ["run", "--vault", str(vault.path), "--out", str(tmp_path / "run"), "--recipe", "debug", "--steps", "2"]
    result = CliRunner().invoke(app, [*arguments, *more])
    if isinstance(result.exception, Exception):
        raise result.exception
    return result


def test_a_machine_that_no_registry_knows_is_trained_on(vault, tmp_path):
    train(vault, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert max(line["step"] for line in lines) == 1
    assert any(f"loss/{CART.embodiment.id}/action" in line for line in lines)


def test_owners_get_the_shares_that_they_are_given(vault):
    chosen = dataclasses.replace(
        recipe("debug"), shares=(Share(weight=3, owner="acme"), Share(weight=1)), batch_sizes={CART.embodiment.id: 64}
    )
    mixture = prepare(vault, [CART.embodiment], chosen).training
    source = mixture.sources[CART.embodiment.id]
    owner = np.repeat([e.metadata.owner for e in source.entries], np.diff(source.bounds))
    # 64 batches of 64 are one whole pattern of 4,096 windows: three quarters of them acme's, exactly.
    seen = np.concatenate([owner[mixture.indices(CART.embodiment.id, step)] for step in range(64)])
    assert (seen == "acme").sum() == 3072


def test_shares_are_refused_in_words(vault, tmp_path):
    for share, error, message in (
        ("", ConfigError, r"share: got '', expected WEIGHT \[owner=NAME\]"),
        ("much owner=acme", ConfigError, r"share: got 'much owner=acme', expected WEIGHT"),
        ("1 onwer=acme", ConfigError, r"got 'onwer', expected NAME=VALUE; did you mean 'owner'"),
        ("-1 owner=acme", ConfigError, r"weight: got -1.0, expected a number of at least 0"),
        ("1 owner=acme", DataError, r"\(owner zeta, task test/random@1\) is in no share; name it in one"),
    ):
        with pytest.raises(error, match=message):
            train(vault, tmp_path, "--share", share)
    with pytest.raises(DataError, match=r"share owner=acmee: got no episodes; did you mean 'acme'"):
        train(vault, tmp_path, "--share", "1 owner=acmee", "--share", "1")
    assert not (tmp_path / "run").exists()
