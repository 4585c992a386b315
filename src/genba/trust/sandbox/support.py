"""What this computer can enforce, and what a run may find missing.

Each row is asked of the kernel, not guessed from its version. Whether everything works together is only known by doing
it: ``try_for_real`` confines a small command and looks.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from genba.errors import SandboxError
from genba.trust.sandbox import kernel, landlock
from genba.trust.sandbox.bpf import USER_NOTIF
from genba.trust.sandbox.syscalls import ARCHITECTURES, current_architecture

#: Exit status: 0 as it should be, 3 the allowed address was not reached, 4 the other was not refused by a supervisor.
_TRIAL = """
import socket, sys
port = int(sys.argv[1])
try:
    socket.create_connection(("127.0.0.1", port), 5).close()
except OSError:
    sys.exit(3)
try:
    socket.create_connection(("127.0.0.2", port), 5).close()
except PermissionError:
    sys.exit(0)
except OSError:
    pass
sys.exit(4)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """One thing that the sandbox builds on."""

    name: str
    """What it is."""
    is_met: bool
    """Whether this computer has it."""
    found: str
    """What is there."""
    is_needed: bool = True
    """Whether nothing is run without it."""
    purpose: str = ""
    """What it is for, in a few words."""


def requirements() -> tuple[Requirement, ...]:
    """Return everything the sandbox builds on, with what this computer has."""
    try:
        architecture = current_architecture()
    except SandboxError as error:
        return (
            Requirement(
                name="Linux on " + " or ".join(ARCHITECTURES),
                is_met=False,
                found=str(error),
                purpose="everything: filters and file rules are Linux's",
            ),
        )
    abi = landlock.abi_version()
    modes = _status("Seccomp")
    return (
        Requirement(
            name="processor", is_met=True, found=architecture.name, purpose="its numbers of system calls are known"
        ),
        Requirement(
            name="kernel", is_met=True, found=f"{platform.system()} {os.uname().release}", purpose="for the record"
        ),
        Requirement(
            name="seccomp user notification",
            is_met=kernel.has_filter_action(USER_NOTIF),
            found="the kernel's filters can ask a supervisor" if kernel.has_filter_action(USER_NOTIF) else "absent",
            purpose="decides on every connect, bind and listen",
        ),
        Requirement(
            name="filters of this process",
            is_met=True,
            found={"0": "none", "2": "already under one"}.get(modes, f"mode {modes}"),
            is_needed=False,
            purpose="a filter with a supervisor cannot hold another",
        ),
        Requirement(
            name=f"Landlock, version {landlock.ABI_NEEDED} or later",
            is_met=abi >= landlock.ABI_NEEDED,
            found=f"version {abi}" if abi else "absent or switched off",
            purpose="files; no signals, tracing or abstract sockets to processes outside",
        ),
        Requirement(
            name="Yama",
            is_met=_yama() < 2,
            found=f"ptrace_scope {_yama()}" if _yama() >= 0 else "absent",
            purpose="the supervisor reads addresses from its own descendants, which 2 and 3 forbid",
        ),
        Requirement(
            name="user namespaces",
            is_met=_has_namespaces(),
            found="may be made" if _has_namespaces() else "switched off",
            is_needed=False,
            purpose="names of endpoints without touching /etc/hosts",
        ),
    )


def missing() -> tuple[Requirement, ...]:
    """Return what is needed and not there."""
    return tuple(one for one in requirements() if one.is_needed and not one.is_met)


def try_for_real() -> str:
    """Confine a small command that may reach one address and tries two; return what went wrong, or nothing.

    Both addresses are of this host, and the allowed one has a listener of ours: nothing leaves the computer.
    """
    # Imported here: a run asks this module what is missing.
    from genba.trust.sandbox.policy import Policy, parse_endpoint
    from genba.trust.sandbox.run import run_sandboxed

    with socket.create_server(("127.0.0.1", 0)) as allowed, tempfile.TemporaryDirectory() as folder:
        port = allowed.getsockname()[1]
        policy = Policy(endpoints=(parse_endpoint(f"127.0.0.1:{port}", "probe"),))
        try:
            status = run_sandboxed([sys.executable, "-I", "-c", _TRIAL, str(port)], policy, Path(folder) / "log")
        except SandboxError as error:
            return str(error)
    return {0: "", 3: "the allowed address was refused", 4: "an address that is not allowed was reached"}.get(
        status, f"the trial ended with status {status}"
    )


def _status(name: str) -> str:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name + ":"):
            return line.partition(":")[2].strip()
    return ""


def _yama() -> int:
    try:
        return int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return -1


def _has_namespaces() -> bool:
    try:
        return int(Path("/proc/sys/user/max_user_namespaces").read_text(encoding="ascii")) > 0
    except (OSError, ValueError):
        return False
