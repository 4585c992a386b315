"""Landlock: which files a process may touch, no TCP of its own, no signals and abstract sockets to processes outside.

A process restricts itself and cannot undo it; its children inherit it. A process inside a domain can neither trace one
outside nor read its memory. Paths are looked up once, when the rules are made. Nothing here knows a policy: it takes two
lists of paths.

Source: Linux 6.18 ``Documentation/userspace-api/landlock.rst`` and ``include/uapi/linux/landlock.h``.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterable

from genba.errors import SandboxError
from genba.trust.sandbox import kernel

#: The first version with scopes for signals and abstract sockets (Linux 6.12). Older ones leave the supervisor open.
ABI_NEEDED = 6

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_CHAR, _MAKE_DIR = 1 << 4, 1 << 5, 1 << 6, 1 << 7
_MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK = 1 << 8, 1 << 9, 1 << 10, 1 << 11
_MAKE_SYM, _REFER, _TRUNCATE, _IOCTL_DEV = 1 << 12, 1 << 13, 1 << 14, 1 << 15
_ALL_FILE_RIGHTS = (1 << 16) - 1
_READ = _EXECUTE | _READ_FILE | _READ_DIR
#: No device files: making one is a way to the disk behind it.
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_FIFO | _MAKE_SYM | _REFER
_WRITE |= _MAKE_SOCK | _TRUNCATE | _IOCTL_DEV
#: What a rule on something that is not a folder may say.
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1 << 0, 1 << 1
_GET_VERSION, _PATH_BENEATH = 1 << 0, 1


def abi_version() -> int:
    """Return which version of Landlock this kernel speaks; 0 where it has none or it is switched off."""
    try:
        return kernel.call("landlock_create_ruleset", None, 0, _GET_VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise
    except SandboxError:
        return 0


def restrict_files(readable: Iterable[str], writable: Iterable[str], *, is_cut_off: bool = False) -> None:
    """Leave this thread and its children only files beneath these paths.

    Args:
        readable: paths that may be read and executed.
        writable: paths that may also be written.
        is_cut_off: forbid TCP of their own, and signals and abstract sockets to processes outside, as well. The
            supervisor, which is outside, makes their connections; so nothing is lost, and a way past the filter over
            system calls would still end here. In the same rules, because a further layer that says nothing of files
            forbids moving them from one folder to another.

    Raises:
        SandboxError: a path is not there.
        OSError: the kernel refused.
    """
    beyond_files = (_BIND_TCP | _CONNECT_TCP, _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS) if is_cut_off else (0, 0)
    rights = struct.pack("<QQQ", _ALL_FILE_RIGHTS, *beyond_files)
    ruleset = kernel.call("landlock_create_ruleset", rights, 24, 0)
    try:
        for path in readable:
            _add_rule(ruleset, path, _READ)
        for path in writable:
            _add_rule(ruleset, path, _WRITE)
        kernel.call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def _add_rule(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxError(f"{path}: {error.strerror}; a path that is allowed must be there") from error
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_A_FILE
        kernel.call("landlock_add_rule", ruleset, _PATH_BENEATH, struct.pack("<Qi", rights, place), 0)
    finally:
        os.close(place)
