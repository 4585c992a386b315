"""Every way out that somebody thought of is really tried: it works without the sandbox, and is refused and logged with it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from escape import probes
from escape.foreign import Foreign
from escape.users import HERE, User

from genba.trust.sandbox.log import read_log
from genba.trust.sandbox.policy import PathRule, Policy, parse_endpoint, path_rule

UNPRIVILEGED = sorted(set(probes.PROBES) - probes.NEEDS_ROOT)


@dataclass
class Tried:
    """What came of a batch of probes, open and confined."""

    open: dict[str, list[str]]
    confined: dict[str, list[str]]
    reached: list[str]
    log: list[dict[str, Any]]


def _try(who: User, names: list[str]) -> Tried:
    base = Path(tempfile.mkdtemp(prefix="genba-escape-"))
    try:
        base.chmod(0o755)
        scratch, other_owner, doors = base / "scratch", base / "other-owner", base / "doors"
        for one in (scratch, other_owner, doors):
            one.mkdir()
            if os.geteuid() == 0:
                os.chown(one, who.id, who.id)
        (other_owner / "episode").write_text("another owner's")
        if os.geteuid() == 0:
            os.chown(other_owner / "episode", who.id, who.id)
        log = doors / "egress.log"
        set_user_id = _set_user_id_program(base) if os.geteuid() == 0 and who.id != 0 else ""
        facts = {
            "names": names,
            "scratch": str(scratch),
            "other_owner": str(other_owner),
            "log": str(log),
            "set_user_id": set_user_id,
        }
        stranger = who.start([who.python, "-c", "print(id([]), flush=True); input()"], stdin=subprocess.PIPE)
        assert stranger.stdout
        facts["memory"] = int(stranger.stdout.readline())
        command = [who.python, str(HERE / "probes.py")]
        with Foreign(doors) as foreign:
            asked = {**facts, **_doors(foreign), "target": stranger.pid, "races": 5000}
            fd = foreign.connected.fileno()
            out = _results(who.start([*command, json.dumps(asked)], pass_fds=[fd], cwd=scratch))
        shutil.rmtree(doors)
        doors.mkdir()
        if os.geteuid() == 0:
            os.chown(doors, who.id, who.id)
        with Foreign(doors) as foreign:
            asked = {**facts, **_doors(foreign), "target": None, "races": 500}
            fd = foreign.connected.fileno()
            rules = Policy(
                endpoints=(parse_endpoint("{}:{}".format(*foreign.allowed), "test"),),
                readable=(path_rule(HERE, "test"), *([path_rule(set_user_id, "test")] if set_user_id else ())),
                # Terminals, so that typing into one is refused for what it is.
                writable=tuple(path_rule(one, "test") for one in (scratch, "/dev/ptmx", "/dev/pts")),
                sockets=(PathRule(path=foreign.service, source="test"),),
            )
            confined = who.sandboxed([*command, json.dumps(asked)], rules, log, pass_fds=[fd], cwd=scratch)
            within = _results(confined)
            reached = list(foreign.received)
        stranger.communicate("\n", timeout=60)
        return Tried(out, within, reached, list(read_log(log)))
    finally:
        shutil.rmtree(base)


def _doors(foreign: Foreign) -> dict[str, Any]:
    names = ["tcp", "tcp6", "local_tcp", "allowed", "udp", "unix_path", "unix_abstract", "unix_datagram", "service"]
    return {name: getattr(foreign, name) for name in names} | {"inherited": foreign.connected.fileno()}


def _results(process: subprocess.Popen[str]) -> dict[str, list[str]]:
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return json.loads(out)


def _set_user_id_program(folder: Path) -> str:
    path = folder / "id"
    shutil.copy("/usr/bin/id", path)
    path.chmod(0o755 | stat.S_ISUID)
    return "" if os.statvfs(folder).f_flag & os.ST_NOSUID else str(path)


@pytest.fixture(scope="module")
def unprivileged(enforcing: None, user: User) -> Tried:
    return _try(user, UNPRIVILEGED)


@pytest.fixture(scope="module")
def privileged(enforcing: None, root: User) -> Tried:
    return _try(root, sorted(probes.NEEDS_ROOT))


@pytest.mark.parametrize("name", UNPRIVILEGED)
def test_way_out_is_open_without_the_sandbox_and_refused_within(name: str, unprivileged: Tried):
    _refused(name, unprivileged)


@pytest.mark.parametrize("name", sorted(probes.NEEDS_ROOT))
def test_way_out_of_root_is_open_without_the_sandbox_and_refused_within(name: str, privileged: Tried):
    _refused(name, privileged)


def _refused(name: str, tried: Tried) -> None:
    if tried.open[name] != ["open"]:
        pytest.skip(f"not a probe on this computer: without the sandbox it is {': '.join(tried.open[name])}")
    assert tried.confined[name][0] == "refused", tried.confined[name]
    if operation := probes.OPERATION.get(name):
        refused = [one for one in tried.log if one["event"] == "attempt" and one["decision"] == "refused"]
        assert operation in {one["operation"] for one in refused}


def test_nobody_outside_received_anything(unprivileged: Tried):
    assert unprivileged.reached == []


def test_every_tcp_address_that_was_tried_is_in_the_log(unprivileged: Tried):
    refused = {one["address"] for one in unprivileged.log if one.get("decision") == "refused"}
    assert any(one.startswith("127.0.0.2:") for one in refused)
    assert any(one.startswith("[::1]:") for one in refused)
    assert any(one.startswith("0.0.0.0:") for one in refused)
    assert any(one.startswith("unix:@genba-foreign") for one in refused)
    assert any(one.endswith("docker.sock") for one in refused)


def test_race_for_the_address_ended_at_the_allowed_one_or_not_at_all(unprivileged: Tried):
    attempts = [one for one in unprivileged.log if one["event"] == "attempt" and one["operation"] == "connect"]
    raced = {one["decision"] for one in attempts if one["address"].startswith(("127.0.0.1:", "127.0.0.2:"))}
    # Both addresses were seen, so the race was one.
    assert raced == {"allowed", "refused"}
