"""One small real model, exported once for all tests."""

from __future__ import annotations

import exported
import pytest


@pytest.fixture(scope="session")
def toy_bundles(tmp_path_factory):
    """Embodiment id -> the report of its export."""
    # one folder for every test package of this process, so that it is exported once
    return exported.toy_bundles(tmp_path_factory.getbasetemp() / "toy-bundles")


@pytest.fixture(scope="session")
def toy_model():
    """The model that was exported."""
    return exported.toy_model()


@pytest.fixture(scope="session")
def toy_statistics():
    """Embodiment id -> statistics of one expert episode."""
    return exported.toy_statistics()
