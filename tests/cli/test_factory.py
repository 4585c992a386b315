import json
import socket

import pytest
from processes import kill, wait_until

from genba.cli.main import main
from genba.data.vault import Vault
from genba.floor.plant import Plant

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
