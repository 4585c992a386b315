"""Programs that know nothing of the sandbox: training runs in it unchanged, and object stores elsewhere hear nothing."""

from __future__ import annotations

import http.server
import importlib.util
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from escape.users import HERE

from genba.trust.sandbox.log import read_log
from genba.trust.sandbox.policy import Policy, path_rule
from genba.trust.sandbox.run import run_sandboxed

pytestmark = pytest.mark.usefixtures("enforcing")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_gloo_ranks_and_loader_workers_run_unchanged(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    port = free_port()
    command = [sys.executable, str(HERE / "two_ranks.py"), str(port)]
    policy = Policy(has_own_ports=True, readable=(path_rule(HERE, "test"),))
    status = run_sandboxed(command, policy, tmp_path / "log", sync="end")
    out, errors = capfd.readouterr()
    # 0 + 1 + ... + 63 = 2016
    assert (status, out) == (0, "[0, 0] 2016\n"), errors
    operations = {one["operation"] for one in read_log(tmp_path / "log") if one.get("decision") == "allowed"}
    assert {"connect", "bind", "listen", "accept"} <= operations


@pytest.mark.parametrize("name", ["arrow", "lance"])
def test_native_client_of_an_object_store_reaches_it_without_the_sandbox_and_not_within(name: str, tmp_path: Path):
    if name == "lance" and importlib.util.find_spec("lance") is None:
        pytest.skip("pylance is not installed")
    heard: list[str] = []

    class Store(http.server.BaseHTTPRequestHandler):
        def handle(self) -> None:
            heard.append(self.client_address[0])
            super().handle()

        def do_GET(self) -> None:
            self.send_error(404)

        do_HEAD = do_PUT = do_GET

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.2", 0), Store) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        host, port = "127.0.0.2", str(server.server_address[1])
        command = [sys.executable, str(HERE / "object_stores.py"), name, host, port]
        subprocess.run(command, capture_output=True, timeout=120)
        assert heard, "not a probe: without the sandbox the client did not come"
        heard.clear()
        run_sandboxed(command, Policy(readable=(path_rule(HERE, "test"),)), tmp_path / "log", sync="end")
        server.shutdown()
        thread.join()
    assert heard == []
    refused = [one for one in read_log(tmp_path / "log") if one.get("decision") == "refused"]
    assert f"{host}:{port}" in {one["address"] for one in refused}


#: by these onnxruntime knows a machine that builds and tests, and stays silent there by itself
BUILD_MACHINES = [
    "CI",
    "TF_BUILD",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "CIRCLECI",
    "TRAVIS",
    "JENKINS_URL",
    "CODEBUILD_BUILD_ID",
    "BUILDKITE",
    "TEAMCITY_VERSION",
    "APPVEYOR",
    "BITBUCKET_BUILD_NUMBER",
]


def test_what_drives_a_bundle_reports_to_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    # onnxruntime that may report to its maker says within that it cannot keep an identifier of this computer.
    said, switch = {}, {}
    # Whoever imported genba.runtime before has switched it off for every child as well.
    silent = {"ORT_DISABLE_TELEMETRY", *BUILD_MACHINES}
    environment = {name: value for name, value in os.environ.items() if name not in silent}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    for name, first in {"plain": "", "ours": "import genba.runtime.engine; "}.items():
        program = f"{first}import onnxruntime, os; print(os.environ.get('ORT_DISABLE_TELEMETRY'))"
        command = [sys.executable, "-c", program]
        assert run_sandboxed(command, Policy(), tmp_path / name, sync="end", environment=environment) == 0
        switch[name], errors = capfd.readouterr()
        said[name] = "telemetry" in errors
    assert switch == {"plain": "None\n", "ours": "1\n"}
    assert not said["ours"]
    if not said["plain"]:
        pytest.skip("not a probe on this computer: onnxruntime that may report does not try to")
