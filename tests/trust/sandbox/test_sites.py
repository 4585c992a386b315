"""Two sites in the country and one host abroad: a job reaches the two, and the one abroad sees nothing of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import pytest
from escape.network import NAMES, Network, loopback, namespaces
from escape.users import HERE

from genba.trust.sandbox.log import read_log
from genba.trust.sandbox.policy import Policy, parse_endpoint, path_rule

pytestmark = pytest.mark.usefixtures("enforcing")
PORT = 7443


@pytest.fixture(params=["namespaces", "loopback"])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    if request.param == "loopback":
        yield loopback()
        return
    with ExitStack() as stack:
        try:
            made = stack.enter_context(namespaces())
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"namespaces are not permitted here: {error}")
        yield made


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
