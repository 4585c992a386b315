"""A vault with two toy machines: a cart with continuous actions and lines with both kinds of choice."""

import pytest
from toy import CART, LINES

from genba.bench.collect import collect
from genba.data.vault import Vault


@pytest.fixture(scope="session")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    found = Vault.open(
        tmp_path_factory.mktemp("train") / "vault", create=True, embodiments=[CART.embodiment, LINES.embodiment]
    )
    for name, task in (("toy:CART", CART), ("toy:LINES", LINES)):
        collect(name, policy=task.expert, seeds=range(6), sink=found, workers=0, progress=False)
    return found
