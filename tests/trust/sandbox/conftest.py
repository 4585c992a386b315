"""What the tests of the sandbox share: whether this kernel can enforce, a user without rights, a folder for both."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from escape.users import HERE, User

from genba.trust.sandbox.support import missing

NOBODY = 65534


@pytest.fixture(scope="session")
def enforcing() -> None:
    """Skip where the kernel cannot enforce."""
    if lacking := missing():
        pytest.skip("this kernel cannot enforce: " + "; ".join(f"{one.name}: {one.found}" for one in lacking))


@pytest.fixture(scope="session")
def user() -> User:
    """A user without rights where the tests run as root and can find a Python for one; else the user they run as."""
    if os.geteuid() == 0:
        for python in (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")):
            if python is None:
                continue
            nobody = User(NOBODY, python)
            try:
                code = "import sys; sys.path.insert(0, sys.argv[1]); import genba.trust.sandbox.run"
                tried = nobody.start([python, "-c", code, str(HERE.parents[1] / "src")])
            except OSError:
                continue
            tried.communicate()
            if tried.returncode == 0:
                return nobody
    return User(os.geteuid(), sys.executable)


@pytest.fixture(scope="session")
def root() -> User:
    """Root, before the sandbox takes what root can do."""
    if os.geteuid() != 0:
        pytest.skip("only root can try this without the sandbox")
    return User(0, sys.executable)


@pytest.fixture
def folder(user: User) -> Iterator[Path]:
    """A folder of ``user``, outside the folders that pytest keeps to the one who runs it."""
    path = Path(tempfile.mkdtemp(prefix="genba-test-"))
    if os.geteuid() == 0:
        os.chown(path, user.id, user.id)
    yield path
    shutil.rmtree(path)
