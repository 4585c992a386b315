"""Noise on what is executed, none on what is taught."""

from pathlib import Path

import numpy as np
import pytest
import toy
from typer.testing import CliRunner

from genba.bench.collect import collect
from genba.bench.perturb import PERSISTENCE, Perturbed
from genba.cli.bench import app
from genba.data.vault import Vault
from genba.errors import ConfigError
from genba.spec.observation import Observation


def test_the_noise_has_the_asked_spread_and_persistence():
    force = toy.CART_FACTS.action.continuous[0]
    policy = Perturbed(toy.Constant(0.0), toy.CART_FACTS, share=0.05)
    policy.reset(3)
    drawn = [policy.act(Observation(toy.CART_FACTS.id, i, {})).continuous[0, 0] for i in range(4000)]
    noise = np.array(drawn[200:])
    # A first-order process x' = p x + sqrt(1 - p^2) n keeps unit variance; 3800 samples with correlation time
    # 1 / (1 - p) = 10 count as about 3800 / 19 = 200 independent ones: a relative error of the spread of 1 / sqrt(400) = 5 %.
    assert noise.std() == pytest.approx(0.05 * (force.high - force.low), rel=0.15)
    assert np.corrcoef(noise[1:], noise[:-1])[0, 1] == pytest.approx(PERSISTENCE, abs=0.03)


def test_the_same_seed_gives_the_same_noise_and_limits_hold():
    def drive(seed: int) -> np.ndarray:
        policy = Perturbed(toy.Constant(0.9), toy.CART_FACTS, share=0.5)
        policy.reset(seed)
        return np.array([policy.act(Observation(toy.CART_FACTS.id, i, {})).continuous[0, 0] for i in range(50)])

    np.testing.assert_array_equal(drive(1), drive(1))
    assert not np.array_equal(drive(1), drive(2))
    force = toy.CART_FACTS.action.continuous[0]
    assert force.low <= drive(1).min() <= drive(1).max() <= force.high


def test_labels_are_the_experts_own_where_noise_led_it(tmp_path: Path):
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[toy.CART_FACTS])
    expert = toy.CART.expert
    collect("toy:CART", policy=expert, seeds=[5], sink=vault, workers=0, labeller=expert, perturb=0.1, progress=False)
    streams = vault.read(vault.entries()[0].episode_id).streams
    assert np.abs(streams["action"].values - streams["label"].values).mean() > 0.01


def test_noise_without_a_labeller_or_without_continuous_actions_is_refused(tmp_path: Path):
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[toy.CART_FACTS])
    with pytest.raises(ConfigError, match="without a labeller"):
        collect("toy:CART", policy=toy.CART.expert, seeds=[1], sink=vault, perturb=0.1, progress=False)
    with pytest.raises(ConfigError, match="no continuous action"):
        Perturbed(toy.Constant(0.0), toy.LINES_FACTS, share=0.1)
    with pytest.raises(ConfigError, match=r"got 0\.9, expected"):
        Perturbed(toy.Constant(0.0), toy.CART_FACTS, share=0.9)


def test_the_command_line_collects_into_a_vault_and_goes_on(tmp_path: Path):
    def ask(count: int) -> str:
        arguments = ["collect", "factory/shortage@1", "--vault", str(tmp_path / "vault"), "--policy", "edd"]
        done = CliRunner().invoke(app, [*arguments, "--episodes", str(count), "--workers", "0"], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    assert "1 new episodes" in ask(1)
    assert "1 new episodes" in ask(2)
    assert len(Vault.open(tmp_path / "vault").entries()) == 2
