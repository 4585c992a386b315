"""What tests of every folder share."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
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


@pytest.fixture
def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``genba factory ...`` as a process of its own; what is left of them ends with the test."""
    running: list[subprocess.Popen[str]] = []

    def begin_process(*arguments: str) -> subprocess.Popen[str]:
        number = len(running)
        with (tmp_path / f"process-{number}.txt").open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "genba.cli.main", "factory", *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            )
        running.append(process)
        return process

    yield begin_process
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait()
