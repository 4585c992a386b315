"""Two sites in the country and one host abroad, each a network namespace of its own, or another loopback address.

The namespaces are cabled to a bridge in the one where the job runs. No packet leaves this computer either way.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

NAMES = ("site a", "site b", "abroad")


@dataclass
class Network:
    """Three hosts, and how to start a program on each and on the one where the job runs."""

    addresses: dict[str, str]
    enter: dict[str, list[str]]
    #: the interface that leads to the others
    interface: str


def loopback() -> Network:
    """Return the three as loopback addresses of this host."""
    addresses = {name: f"127.0.1.{i + 1}" for i, name in enumerate(NAMES)}
    return Network(addresses, {name: [] for name in (*NAMES, "job")}, "lo")


@contextmanager
def namespaces() -> Iterator[Network]:
    """Make the three as namespaces, as long as a ``with`` lasts.

    Raises:
        OSError, subprocess.CalledProcessError: namespaces are not permitted here.
    """
    with ExitStack() as stack:
        # One namespace holds the others, so all of it ends with the process that keeps it.
        job = stack.enter_context(_namespace([] if os.geteuid() == 0 else ["--user", "--map-root-user"], []))
        inside = [*_enter(job, user=os.geteuid() != 0)]
        _run(inside, "ip link set lo up", "ip link add bridge type bridge", "ip addr add 10.77.0.254/24 dev bridge")
        _run(inside, "ip link set bridge up")
        enter, addresses = {"job": inside}, {}
        for i, name in enumerate(NAMES):
            host = stack.enter_context(_namespace([], inside))
            enter[name] = _enter(host, user=os.geteuid() != 0)
            addresses[name] = f"10.77.0.{i + 1}"
            _run(
                inside,
                f"ip link add cable{i} type veth peer name eth0 netns {host}",
                f"ip link set cable{i} master bridge",
            )
            _run(inside, f"ip link set cable{i} up")
            _run(
                enter[name],
                f"ip addr add {addresses[name]}/24 dev eth0",
                "ip link set eth0 up",
                "ip link set lo up",
            )
        yield Network(addresses, enter, "eth0")


class _namespace:
    """A process that keeps a network namespace until the test ends."""

    def __init__(self, options: list[str], inside: list[str]) -> None:
        if shutil.which("unshare") is None or shutil.which("ip") is None or shutil.which("nsenter") is None:
            raise OSError("unshare, nsenter or ip is not installed")
        command = [*inside, "unshare", *options, "--net", "sh", "-c", "echo $$; exec cat"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> int:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self.__exit__()
            raise OSError("unshare was refused")
        return int(line)

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def _enter(process: int, *, user: bool) -> list[str]:
    return [
        "nsenter",
        f"--net=/proc/{process}/ns/net",
        *([f"--user=/proc/{process}/ns/user", "--preserve-credentials"] if user else []),
    ]


def _run(inside: list[str], *commands: str) -> None:
    for one in commands:
        subprocess.run([*inside, *one.split()], check=True, capture_output=True)
