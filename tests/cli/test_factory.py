import json
import socket
import subprocess
import sys

import pytest
from governed import FACTORY, SITE, sample_trust
from processes import kill, wait_until

from genba.cli.main import main
from genba.data.vault import Vault
from genba.floor.plant import Plant
from genba.trust.audit import read_entries
from genba.trust.folder import TrustFolder
from genba.trust.sandbox.log import read_log
from genba.trust.sandbox.support import missing

WHAT_IF = ["factory", "what-if", "--size", "5x50", "--seed", "1", "--policy", "atc"]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_what_if_shows_costs_and_moved_orders_and_writes_a_page(tmp_path, capsys):
    page = tmp_path / "plan.html"
    with pytest.raises(SystemExit) as ended:
        main([*WHAT_IF, "--breakdown", "line-1=12h", "--show", "2", "--page", str(page)])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "If line-1 stands still for 12 h" in out
    assert "with the event, plan kept" in out
    assert "orders move; the 2 that it matters most to:" in out
    assert out.count(", because ") == 2
    assert page.read_text().startswith("<!doctype html>")


def test_an_event_can_come_from_a_file(tmp_path, capsys):
    file = tmp_path / "event.json"
    file.write_text(json.dumps({"kind": "line_down", "line": "line-1", "until_s": 10**6}))
    with pytest.raises(SystemExit) as ended:
        main([*WHAT_IF, "--event", str(file), "--show", "0"])
    assert ended.value.code == 0
    assert "line-1 stands still for" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([*WHAT_IF], "got no event, expected one of --delay, --breakdown, --rush, --event"),
        ([*WHAT_IF, "--delay", "component-0=1h", "--rush", "order-0001"], "got --delay and --rush"),
        ([*WHAT_IF, "--rush", "order-0049", "--write"], "expected --floor, the floor to write to"),
        ([*WHAT_IF, "--event", "nowhere.json"], "nowhere.json: not a JSON file"),
        (["factory", "floor", "--journal", "x.jsonl"], "got neither --opcua nor --mqtt"),
        (["factory", "report", "--floor", "http://x", "--rush", "a"], "expected opc.tcp://HOST:PORT or mqtt://"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    # the terminal's width breaks lines anywhere
    assert "".join(says.split()) in "".join(capsys.readouterr().err.split())


def test_what_if_writes_to_a_floor_only_when_told_and_sensors_go_into_a_vault(tmp_path, free_port, start, capsys):
    pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'genba[opcua]'")
    address, journal = f"opc.tcp://127.0.0.1:{free_port}", tmp_path / "floor.jsonl"
    server = start("floor", "--opcua", address, "--size", "5x50", "--seed", "1", "--journal", str(journal), "--sensors")
    wait_until(lambda: listens(free_port), what="the floor is up")
    ask = ["factory", "what-if", "--floor", address, "--policy", "atc", "--breakdown", "line-1=12h", "--show", "0"]
    for arguments, lines in ((ask, 1), ([*ask, "--write"], 3)):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        # the journal's head, then the event and the plan
        assert len(journal.read_text().splitlines()) == lines
    assert "event 1; plan accepted, version 1" in capsys.readouterr().out
    vault = tmp_path / "vault"
    with pytest.raises(SystemExit) as ended:
        main(["factory", "record", "--floor", address, "--vault", str(vault), "--seconds", "1.5"])
    assert ended.value.code == 0
    kill(server)
    (stored,) = list(Vault.open(vault).entries())
    episode = Vault.open(vault).read(stored.episode_id)
    rates = {name: len(stream.times_ns) for name, stream in episode.streams.items()}
    # 50, 10 and 1 a second for a second and a half, each on its own clock
    assert 60 <= rates["vibration"] <= 80
    assert 12 <= rates["power"] <= 18
    assert 1 <= rates["temperature"] <= 3
    again = Plant(journal, size="5x50", seed=1)
    assert again.state.version == 1
    again.close()


def test_under_a_trust_folder_a_floor_is_recorded_and_run_confined_at_an_endpoint_of_its_site(
    tmp_path, free_port, start, monkeypatch
):
    pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'genba[opcua]'")
    if lacking := missing():
        pytest.skip("this kernel cannot enforce: " + "; ".join(f"{one.name}: {one.found}" for one in lacking))
    monkeypatch.setenv("GENBA_KEYS", str(tmp_path / "keys"))
    # What is compiled within is kept in the trust folder, which is new: fifty orders are planned sooner without.
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    trust = sample_trust(tmp_path / "trust")
    sites = trust.path / "sites.toml"
    sites.write_text(sites.read_text().replace('"127.0.0.1:9100"', f'"127.0.0.1:9100", "127.0.0.1:{free_port}"'))
    address = f"opc.tcp://127.0.0.1:{free_port}"
    journal = str(tmp_path / "floor" / "floor.jsonl")
    start("floor", "--opcua", address, "--size", "5x50", "--seed", "1", "--journal", journal, "--sensors")
    wait_until(lambda: listens(free_port), what="the floor is up", within_s=240)
    owner, dataset, agreement = FACTORY
    whose = [
        "--owner",
        owner,
        "--dataset",
        dataset,
        "--agreement",
        agreement,
        "--site",
        SITE,
        "--jurisdiction",
        "JP-23",
    ]
    command, floor = [sys.executable, "-m", "genba.cli.main", "factory"], ["--floor", address]
    recording = [*command, "record", *floor, "--vault", str(tmp_path / "vault"), "--seconds", "1", *whose]
    recorded = subprocess.run([*recording, "--trust", str(trust.path)], capture_output=True, text=True)
    assert recorded.returncode == 0, recorded.stderr
    plans = tmp_path / "plans" / "plans.jsonl"
    given = ["--journal", str(tmp_path / "run" / "j.jsonl"), "--policy", "atc", "--plans", "1", "--out", str(plans)]
    run = start("run", *floor, *given, "--trust", str(trust.path))
    wait_until(lambda: (tmp_path / "run" / "j.jsonl").exists(), what="the controller is up", within_s=240)
    subprocess.run([*command, "report", *floor, "--breakdown", "line-1=12h"], check=True)
    assert run.wait(timeout=240) == 0, (tmp_path / "process-1.txt").read_text()
    assert [json.loads(line)["version"] for line in plans.read_text().splitlines()] == [1]
    asking = [*command, "what-if", *floor, "--policy", "atc", "--breakdown", "line-2=12h", "--write"]
    told = subprocess.run([*asking, "--trust", str(trust.path)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "plan accepted, version 2" in told.stdout
    # All were confined, reached the floor and nothing else, and the ledger has their logs.
    kept = [one.body for one in read_entries(trust.path / "ledger") if one.kind == "egress"]
    assert [(one["command"], one["is_enforced"], one["status"]) for one in kept] == [
        ("factory record", True, 0),
        ("factory run", True, 0),
        ("factory what-if", True, 0),
    ]
    for one in kept:
        tried = {
            (e["operation"], e["address"], e["decision"])
            for e in read_log(trust.path / one["log"])
            if e["event"] == "attempt"
        }
        assert ("connect", f"127.0.0.1:{free_port}", "allowed") in tried
        reached = {to for _, to, decision in tried if decision == "allowed" and not to.startswith("unix:")}
        assert reached == {f"127.0.0.1:{free_port}"}
    # What was recorded is the owner's, admitted by the agreement and sealed with the owner's key.
    vault = Vault.open(tmp_path / "vault", trust=TrustFolder(trust.path), purpose="train")
    (stored,) = vault.entries()
    assert stored.holding == FACTORY
    assert vault.read(stored.episode_id).streams
