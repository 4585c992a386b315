"""Files that a crash leaves whole: written beside, synced, renamed; and a lock between processes.

What a refusal of the system means to a user is the caller's to say: ``OSError`` passes through. ``data.storage`` says it for vaults.
Secrets are not written here: their files are made private from the first byte (``keys``, ``signing``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


def write_whole(path: Path, data: bytes | memoryview, *, replace: bool = False) -> None:
    """Write ``data`` under ``path`` so that after a crash the file is there whole or not at all.

    Args:
        replace: whether a file may be there already; after a crash it is the old or the new one.

    Raises:
        OSError: the system refused (a full disk, a quota, no permission); nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    view, written = memoryview(data), temporary
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
        # What stands there now may be all that there is, where an older one was replaced.
        written = temporary if replace else path
        sync_folder(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            written.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Put on disk which names a folder holds.

    Raises:
        OSError: the system refused.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process is in a block under the same lock file, which is made where there is none.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
