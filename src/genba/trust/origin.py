"""What a run ran on and with: the code, the installed packages and the host, as a passport records them.

Accelerators are named by whoever uses them: nothing here imports what drives one.
"""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import genba
from genba.trust.digest import digest_file, digest_json

PACKAGE = Path(genba.__file__).parent


def code(package: Path = PACKAGE) -> dict[str, Any]:
    """Return the digest of a package's files and, where it lies in a git work tree, the commit and whether it differs.

    The digest is of the file names and their digests, so it says the same for an installed package as for a checkout. Outside
    a work tree ``commit`` and ``dirty`` are None: unknown, not clean.
    """
    files = {
        path.relative_to(package).as_posix(): digest_file(path)
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    # Only files that git tracks: a package installed below somebody's work tree is not that tree's code.
    commit = _git(package, "rev-parse", "HEAD") if _git(package, "ls-files", "--", ".") else None
    dirty = bool(_git(package, "status", "--porcelain", "--", ".")) if commit else None
    return {"commit": commit, "digest": digest_json(files), "dirty": dirty}


def environment() -> dict[str, str]:
    """Return every installed package and its version, and the interpreter's."""
    found = {str(d.metadata["Name"]).lower(): d.version for d in metadata.distributions()}
    return dict(sorted(found.items())) | {"python": platform.python_version()}


def hardware(**accelerators: Any) -> dict[str, Any]:
    """Return what the host is, without its name.

    Args:
        accelerators: plain values to add, e.g. ``accelerator="..."``.
    """
    host = {"machine": platform.machine(), "num_cpus": os.cpu_count(), "system": platform.system()}
    return host | {"kernel": platform.release()} | accelerators


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
