"""An embodiment with every modality, and vaults of random episodes of it."""

from pathlib import Path

import pytest
from random_episodes import random_episode

from genba.data.vault import Vault
from genba.spec.embodiment import Embodiment, load_embodiment

EVERYTHING = Path(__file__).parents[1] / "model" / "everything.toml"


@pytest.fixture(scope="session")
def everything() -> Embodiment:
    return load_embodiment(EVERYTHING)


@pytest.fixture
def vault(tmp_path, everything) -> Vault:
    """An empty vault that knows the embodiment."""
    return Vault.open(tmp_path / "vault", create=True, embodiments=[everything])


@pytest.fixture
def three(vault, everything) -> Vault:
    """A vault with three episodes, the second one labelled."""
    for seed in range(3):
        vault.append(random_episode(everything, seed, labelled=seed == 1))
    return vault
