"""What tests of every folder share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def keys_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of keys for this run, so that no test writes into the configuration of whoever runs it."""
    folder = tmp_path_factory.mktemp("keys")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENBA_KEYS", str(folder))
        yield folder


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real recordings: ``$GENBA_SAMPLES``, or ``../shared/samples`` beside the repository.

    Tests that need it skip where it is absent: recordings are not part of the project.
    """
    folder = Path(os.environ.get("GENBA_SAMPLES") or Path(__file__).parents[2] / "shared" / "samples")
    if not folder.is_dir():
        pytest.skip(f"no real recordings at {folder}; name their folder in GENBA_SAMPLES")
    return folder
