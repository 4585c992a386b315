"""Two sites in the country and one host abroad: a job reaches the two, and the one abroad sees nothing of it.

Each host is a network namespace of its own, cabled to a bridge in the job's; where namespaces are not permitted, each is
another loopback address. No packet leaves this computer either way.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from escape.users import HERE

from genba.trust.sandbox.log import read_log
from genba.trust.sandbox.policy import Policy, parse_endpoint, path_rule

pytestmark = pytest.mark.usefixtures("enforcing")
PORT = 7443
NAMES = ("site a", "site b", "abroad")


@dataclass
class Network:
    """Three hosts, and how to start a program on each and on the one where the job runs."""

    addresses: dict[str, str]
    enter: dict[str, list[str]]


@pytest.fixture(params=["namespaces", "loopback"])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    if request.param == "loopback":
        yield Network(
            {name: f"127.0.1.{i + 1}" for i, name in enumerate(NAMES)}, {name: [] for name in (*NAMES, "job")}
        )
        return
    with ExitStack() as stack:
        try:
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
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"namespaces are not permitted here: {error}")
        yield Network(addresses, enter)


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


def test_job_reaches_the_sites_of_its_agreement_and_the_host_abroad_sees_nothing(network: Network, tmp_path: Path):
    hosts = {}
    try:
        for name, address in network.addresses.items():
            command = [*network.enter[name], sys.executable, str(HERE / "site_host.py"), name, address, str(PORT)]
            hosts[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for one in hosts.values():
            assert one.stdout
            assert one.stdout.readline() == "ready\n"
        facts = json.dumps({"hosts": network.addresses, "port": PORT})
        job = [sys.executable, str(HERE / "site_job.py"), facts]
        policy = Policy(
            endpoints=tuple(parse_endpoint(f"{network.addresses[one]}:{PORT}", one) for one in ("site a", "site b")),
            readable=(path_rule(HERE, "test"),),
        )
        request = json.dumps({"policy": asdict(policy), "command": job, "log": str(tmp_path / "log")})
        confined = [*network.enter["job"], sys.executable, str(HERE / "launch.py"), request]
        within = json.loads(subprocess.run(confined, check=True, capture_output=True, text=True).stdout)
        refused_abroad = _seen(hosts["abroad"])
        open_run = [*network.enter["job"], *job]
        without = json.loads(subprocess.run(open_run, check=True, capture_output=True, text=True).stdout)
    finally:
        seen = {name: one.communicate("\n", timeout=30)[0].splitlines() for name, one in hosts.items()}
    # Without the sandbox the host abroad is as near as the others: the probes are real.
    for name in NAMES:
        assert without[name] == {"connect": name, "not blocking": name, "fast open": name, "udp": "sent"}
    for name in ("site a", "site b"):
        assert within[name]["connect"] == within[name]["not blocking"] == name
        assert within[name]["fast open"] == within[name]["udp"] == "PermissionError"
    assert set(within["abroad"].values()) == {"PermissionError", "BrokenPipeError"}
    assert refused_abroad == []
    # Only the open run came: three connections and one datagram.
    assert sorted(seen["abroad"]) == ["connection"] * 3 + ["datagram"]
    refused = [one for one in read_log(tmp_path / "log") if one.get("decision") == "refused"]
    to_abroad = [one for one in refused if one["address"] == f"{network.addresses['abroad']}:{PORT}"]
    assert sum(one.get("repeated", 1) for one in to_abroad) == 2
    assert {one["operation"] for one in refused} == {"connect", "sendto", "socket"}


def _seen(host: subprocess.Popen[str]) -> list[str]:
    """Return what a host has said so far, without waiting for more."""
    assert host.stdout
    os.set_blocking(host.stdout.fileno(), False)
    try:
        return [line for line in host.stdout.readlines() if line]
    finally:
        os.set_blocking(host.stdout.fileno(), True)
