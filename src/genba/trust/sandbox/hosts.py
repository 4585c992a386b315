"""Names inside the sandbox: a hosts file with the pinned addresses, seen by the confined command alone.

Name servers are asked over UDP, which is closed, so a library inside resolves names from ``/etc/hosts`` only. Where the
kernel lets us, the run gets a mount namespace in which that file is one of ours; where it does not, the lines must stand
in the host's own file, and the error says which.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from genba.errors import SandboxError
from genba.trust.sandbox import kernel

HOSTS = "/etc/hosts"
_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_BIND, _RECURSIVE, _SLAVE = 1 << 12, 1 << 14, 1 << 19


def hosts_text(names: Mapping[str, tuple[str, ...]], existing: str) -> str:
    """Return a hosts file with the pinned ``names`` first, then what ``existing`` says of all others."""
    lines = [f"{address} {name}" for name, addresses in names.items() for address in addresses]
    for line in existing.splitlines():
        words = line.partition("#")[0].split()
        if not set(words[1:]) & set(names):
            lines.append(line)
    return "\n".join(lines) + "\n"


def missing_lines(names: Mapping[str, tuple[str, ...]], existing: str) -> list[str]:
    """Return the lines that a hosts file lacks for every pinned name to lead to its pinned addresses only."""
    known: dict[str, set[str]] = {}
    for line in existing.splitlines():
        address, *words = line.partition("#")[0].split() or [""]
        for word in words:
            known.setdefault(word, set()).add(address)
    return [
        f"{addresses[0]} {name}"
        for name, addresses in names.items()
        if not known.get(name) or not known[name] <= set(addresses)
    ]


def install(names: Mapping[str, tuple[str, ...]], file: Path) -> None:
    """Make ``names`` resolve in this process and its children, and in no other.

    Args:
        names: name -> pinned addresses.
        file: where the hosts file may be written, in a folder that the confined command cannot write.

    Raises:
        SandboxError: the kernel allows no mount namespace, and the host's own file lacks lines.
    """
    existing = Path(HOSTS).read_text(encoding="utf-8") if os.path.exists(HOSTS) else ""
    if not missing_lines(names, existing):
        return
    file.write_text(hosts_text(names, existing), encoding="utf-8")
    try:
        _new_mounts()
        kernel.mount(str(file), HOSTS, None, _BIND)
    except OSError as error:
        lines = "; ".join(missing_lines(names, existing))
        raise SandboxError(
            f"{HOSTS}: names cannot be given to the command alone ({error}); add these lines to it, or allow addresses "
            f"instead of names: {lines}"
        ) from error


def _new_mounts() -> None:
    user, group = os.geteuid(), os.getegid()
    try:
        kernel.unshare(_NEW_MOUNTS)
    except PermissionError:
        # Without privileges a user namespace is needed, in which this user is only itself.
        kernel.unshare(_NEW_MOUNTS | _NEW_USER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
    kernel.mount("none", "/", None, _SLAVE | _RECURSIVE)
