"""What tests of every folder share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real recordings: ``$GENBA_SAMPLES``, or ``../shared/samples`` beside the repository.

    Tests that need it skip where it is absent: recordings are not part of the project.
    """
    folder = Path(os.environ.get("GENBA_SAMPLES") or Path(__file__).parents[2] / "shared" / "samples")
    if not folder.is_dir():
        pytest.skip(f"no real recordings at {folder}; name their folder in GENBA_SAMPLES")
    return folder
