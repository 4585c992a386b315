"""From import to deployment over two sites in the country: everything runs to its end, and the host abroad sees nothing.

Every command of it also tries to get out: by Python, by C, from a child, by Arrow's own client. To see it by hand:
``pytest -s tests/trust/test_two_sites.py``; it prints what each command tried and what its kernel said.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from escape.network import Network, loopback, namespaces
from escape.planted import PLANTED
from escape.users import HERE

from genba.bench.collect import collect
from genba.data.export import find_writer
from genba.data.vault import Vault
from genba.spec.embodiment import load_embodiment
from genba.trust.audit import verify
from genba.trust.folder import TrustFolder
from genba.trust.keys import FileKeys
from genba.trust.sandbox.log import egress_digest, read_log
from genba.trust.sandbox.support import missing
from genba.trust.signing import TrustStore

ARM, TASK = "arm/panda-grip@1", "arm/grip@1"
FOREIGN_PORT, STORE_PORT = 7443, 29511
OWNER, DATASET, AGREEMENT, PARTY = "maker", "grip", "home", "lab-co"
SITES = """
[[sites]]
id = "{id}"
operator = "{operator}"
jurisdiction = "{jurisdiction}"
endpoints = ["{endpoint}"]
evidence = {{ statement = "lease", digest = "sha256:{digit:064d}", dated = 2026-01-01 }}
"""
AGREEMENTS = f"""
owner = "{OWNER}"

[[agreements]]
id = "{AGREEMENT}"
datasets = ["{DATASET}"]
parties = ["{PARTY}"]
purposes = ["train", "evaluate", "deploy"]
machines = ["{ARM}"]
jurisdictions = ["JP"]
sites = ["a", "b"]
from = 2026-01-01
until = 2099-12-31
"""


@pytest.fixture
def network() -> Iterator[Network]:
    """Namespaces where they are permitted, loopback addresses where they are not."""
    if lacking := missing():
        pytest.skip("this kernel cannot enforce: " + "; ".join(f"{one.name}: {one.found}" for one in lacking))
    with ExitStack() as stack:
        try:
            made = stack.enter_context(namespaces())
        except (OSError, subprocess.CalledProcessError):
            made = loopback()
        yield made


class Site:
    """One site: its trust folder, and how its commands are run."""

    def __init__(self, name: str, network: Network, folder: Path) -> None:
        self.enter, self.folder, self.foreign = network.enter[f"site {name}"], folder, network.addresses["abroad"]
        self.tried = folder / f"out-{name}" / "tried"
        self.tried.parent.mkdir()
        rules = folder / f"rules-{name}"
        rules.mkdir()
        # On loopback both sites' ranks meet at one address, which is then all of site a's.
        hosts = {"a": network.addresses["site a"], "b": network.addresses["site b"], "abroad": self.foreign}
        if network.interface == "lo":
            hosts["a"] = "127.0.0.1"
        kinds = {"a": (PARTY, "JP-13"), "b": (PARTY, "JP-23"), "abroad": ("host-co", "US-OR")}
        text = [
            SITES.format(id=one, operator=kind[0], jurisdiction=kind[1], endpoint=f"{hosts[one]}:1024-65535", digit=i)
            for i, (one, kind) in enumerate(kinds.items())
        ]
        (rules / "sites.toml").write_text("".join(text))
        (rules / "maker.toml").write_text(AGREEMENTS)
        self.trust = TrustFolder.create(
            folder / f"trust-{name}",
            party=PARTY,
            site=name,
            sites_from=rules / "sites.toml",
            agreements_from=[rules / "maker.toml"],
        )
        # What the commands write is named by them; the folder for what was tried is this test's own.
        (self.trust.path / "confine.toml").write_text(f'writable = ["{self.tried.parent}"]\n')
        self.environment = os.environ | {
            "GENBA_TRUST": str(self.trust.path),
            "GENBA_KEYS": str(folder / "keys"),
            "GLOO_SOCKET_IFNAME": network.interface,
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command of this program, which tries to reach the host abroad first."""
        command = [sys.executable, "-c", PLANTED, self.foreign, str(FOREIGN_PORT), str(self.tried), *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen([*self.enter, *command], env=self.environment | variables, cwd=self.folder, **pipes)

    def run(self, *words: str) -> None:
        """Run a command to its end, which must be good."""
        finish([self.start(*words)])


def finish(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        said = process.communicate(timeout=300)[0]
        assert process.returncode == 0, said


def test_import_training_over_two_sites_and_deployment_end_well_and_nothing_reaches_the_host_abroad(
    network: Network, tmp_path: Path
):
    logs = tmp_path / "logs"
    recorded = Vault.open(tmp_path / "recorded", create=True, keys=FileKeys(tmp_path / "recorder-keys"))
    collect(TASK, policy="reactive", seeds=range(3), sink=recorded, workers=0, progress=False)
    episodes = [recorded.read(entry.episode_id) for entry in recorded.entries()]
    find_writer("mcap").write(logs, load_embodiment(ARM), episodes)
    a, b = Site("a", network, tmp_path), Site("b", network, tmp_path)
    abroad = subprocess.Popen(
        [*network.enter["abroad"], sys.executable, str(HERE / "site_host.py"), "abroad", a.foreign, str(FOREIGN_PORT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert abroad.stdout
        assert abroad.stdout.readline() == "ready\n"
        provenance = ["--owner", OWNER, "--dataset", DATASET, "--agreement", AGREEMENT, "--jurisdiction", "JP"]
        for name, site in (("a", a), ("b", b)):
            site.run("data", "import", str(logs), "--vault", f"vault-{name}", *provenance, "--site", name)
        train = ["train", "run", "--out", "run", "--recipe", "debug", "--steps", "2", "--batch", f"{ARM}=4"]
        master = "127.0.0.1" if network.interface == "lo" else network.addresses["site a"]
        group = {"WORLD_SIZE": "2", "MASTER_ADDR": master, "MASTER_PORT": str(STORE_PORT)}
        (tmp_path / "run").mkdir()
        finish(
            [
                a.start(*train, "--vault", "vault-a", RANK="0", **group),
                b.start(*train, "--vault", "vault-b", RANK="1", **group),
            ]
        )
        # Site b's machine believes who signs at site a.
        shutil.copyfile(a.trust.path / "partners" / f"{PARTY}.pub", b.trust.path / "partners" / "site-a.pub")
        a.run("bundle", "export", "run", "--embodiment", ARM, "--out", "bundles/arm")
        b.run(
            "bench", TASK, "--policy", "bundles/arm", "--episodes", "1", "--workers", "1", "--out", "results/arm.json"
        )
    finally:
        seen = abroad.communicate("\n", timeout=30)[0].splitlines()
    assert seen == []
    result = json.loads((tmp_path / "results" / "arm.json").read_text())
    assert result["seeds"] == [1_000_000]
    # Import, training and one more command at each site; Arrow's client is tried in training alone.
    ways = {"python", "ctypes", "child", "udp"}
    for site in (a, b):
        tried = [json.loads(line) for line in site.tried.read_text().splitlines()]
        print(site.trust.site, tried)
        assert [set(one) for one in tried] == [ways, ways | {"arrow"}, ways]
        assert {outcome for one in tried for name, outcome in one.items() if name != "arrow"} == {"PermissionError"}
        assert tried[1]["arrow"] == "OSError"
        _check_record(site)
    crossed = {
        line["address"]
        for path in (b.trust.path / "egress").iterdir()
        for line in read_log(path)
        if line.get("operation") == "connect"
        and line["decision"] == "allowed"
        and not line["address"].startswith("unix")
    }
    # The rank at site b came to the store at site a, and it was the agreement that let it.
    assert f"{master}:{STORE_PORT}" in crossed


def _check_record(site: Site) -> None:
    """Each command's log says what was refused; the ledger holds its digest; and the whole verifies."""
    ledger = site.trust.path / "ledger"
    entered = [json.loads(line) for line in (ledger / "entries.jsonl").read_text().splitlines()]
    egress = {one["body"]["run"]: one["body"] for one in entered if one["kind"] == "egress"}
    logs = sorted((site.trust.path / "egress").iterdir())
    assert len(logs) == len(egress) == 3
    for path in logs:
        lines = list(read_log(path))
        body = egress[path.stem]
        assert body["is_enforced"] is True
        assert body["digest"] == egress_digest(path)
        to_abroad = [one for one in lines if one.get("address") == f"{site.foreign}:{FOREIGN_PORT}"]
        assert {one["decision"] for one in to_abroad} == {"refused"}
        # By Python, by C and from a child; what repeats within a second is one line with a count.
        assert sum(one.get("repeated", 1) for one in to_abroad) >= 3
    acts = {one["body"]["request"]["act"] for one in entered if one["kind"] == "decision" and one["body"]["allowed"]}
    # What was asked at both sites; site a exported besides, and site b's machine was cleared.
    assert {"admit", "read", "train"} | {"a": {"export"}, "b": {"deploy"}}[site.trust.site] <= acts
    assert verify(ledger, trust=TrustStore.load(site.trust.path / "partners")).holds
