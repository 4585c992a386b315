"""Which commands run confined, what their words let them touch, and that every command stands in the table."""

from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import typer.main
from governed import sample_trust

from genba.bench.collect import collect
from genba.cli import confined
from genba.cli.confined import COMMANDS, UNCONFINED, Words, policy_of, run_confined, terms_of, words_of
from genba.cli.demo import FULL, LONG, QUICK
from genba.cli.demo_trust import OWNERS, demo_trust
from genba.cli.main import COMMANDS as NOUNS
from genba.config import read_toml
from genba.data.vault import Vault
from genba.errors import ConfigError, SandboxError
from genba.registry import task
from genba.trust.agreements import OwnerAgreements
from genba.trust.audit import read_entries, verify
from genba.trust.folder import SAMPLES, TrustFolder
from genba.trust.keys import FileKeys, key_id
from genba.trust.ledger import Entry
from genba.trust.sandbox.log import egress_digest, lengths_of, num_lines_of, read_log
from genba.trust.sandbox.run import RUN_VARIABLE
from genba.trust.sandbox.support import Requirement, missing

ARM_WORKS, FLEET = ("Sample Arm Works", "grip", "sample-arm-2026"), ("Sample Fleet", "driving", "sample-fleet-training")


@pytest.fixture
def enforcing() -> None:
    if lacking := missing():
        pytest.skip("this kernel cannot enforce: " + "; ".join(f"{one.name}: {one.found}" for one in lacking))


@pytest.fixture
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrustFolder:
    monkeypatch.setenv("GENBA_KEYS", str(tmp_path / "owners-keys"))
    # What a command line names goes into the environment; it is put back after each test.
    monkeypatch.setenv("GENBA_TRUST", "")
    return sample_trust(tmp_path / "trust")


def commands() -> dict[str, Any]:
    """Every command of every noun, by its words."""
    found: dict[str, Any] = {}
    for noun, (module, _) in NOUNS.items():
        made = typer.main.get_command(importlib.import_module(module).app)
        below = getattr(made, "commands", {})
        found |= {f"{noun} {name}": one for name, one in below.items()} if below else {noun: made}
    return found


def test_every_command_stands_in_the_table_with_every_word_of_it():
    # Of these nouns, only what reads owners' data, makes some, or acts by a model that did is confined.
    assert {name for name in COMMANDS if name.partition(" ")[0] in UNCONFINED} == {
        "trust contribution",
        "factory anomalies",
        "factory run",
        "factory what-if",
        "factory record",
    }
    known = {n: one for n, one in commands().items() if n.partition(" ")[0] not in UNCONFINED or n in COMMANDS}
    assert set(known) == set(COMMANDS)
    for name, one in known.items():
        if not COMMANDS[name]:
            continue
        table = COMMANDS[name].split()
        bare = {word.rstrip("<>^@!"): word for word in table}
        places = [param for param in one.params if param.param_type_name == "argument"]
        assert [word for word in bare if not word.startswith("-")] == [
            param.metavar or param.name.upper() for param in places
        ], name
        options = [param for param in one.params if param.param_type_name == "option" and "--help" not in param.opts]
        # --trust is taken away before any command sees it; the last two are the shell's.
        named = {opt for param in options for opt in (*param.opts, *param.secondary_opts)} - {
            "--trust",
            "--install-completion",
            "--show-completion",
        }
        assert {word for word in bare if word.startswith("-")} == named, name
        for param in options:
            for option in (*param.opts, *param.secondary_opts):
                if option in bare:
                    assert bare[option].endswith("!") == bool(param.is_flag), f"{name} {option}"
            # What a command takes for a path, the table takes for one.
            if param.type_descriptor.annotation is Path and param.opts[0] in bare:
                assert bare[param.opts[0]][-1] in "<>^", f"{name} {param.opts[0]}"


@pytest.mark.parametrize(
    ("line", "paths"),
    [
        ("data import logs --vault v --dbc=x.dbc -o bus=can0", [("<", "logs"), (">", "v"), ("<", "x.dbc")]),
        ("data import --ray --owner logs real --vault v", [("<", "real"), (">", "v")]),
        ("data export out/a --format mcap --vault v", [("^", "out/a"), ("<", "v")]),
        ("train run --vault v --out r --start-from old", [("<", "v"), (">", "r"), ("<", "old")]),
        ("bench arm/grip@1 --policy b --out r.json --no-deadline", [("<", "b"), ("^", "r.json")]),
        ("report demo-run", [(">", "demo-run")]),
        ("report page demo-run --out p.html", [(">", "demo-run"), ("^", "p.html")]),
        ("demo --quick --out d", [(">", "d")]),
        (
            "factory run --floor mqtt://h/g/n --journal j --policy atc",
            [("@", "mqtt://h/g/n"), ("^", "j"), ("<", "atc")],
        ),
        (
            "factory what-if --floor=opc.tcp://h:1 --event e.json --write --page out/p.html",
            [("@", "opc.tcp://h:1"), ("<", "e.json"), ("^", "out/p.html")],
        ),
        ("factory record --floor opc.tcp://h:1 --vault v", [("@", "opc.tcp://h:1"), (">", "v")]),
    ],
)
def test_words_name_paths_by_what_is_done_with_them(line: str, paths: list[tuple[str, str]]):
    words = words_of(line.split())
    assert words
    assert list(words.paths) == paths


def test_vault_that_is_not_named_is_the_one_that_the_command_takes():
    assert words_of(["data", "list"]) == Words(
        command="data list", options=(("--vault", "vault"),), paths=(("<", "vault"),)
    )


@pytest.mark.parametrize(
    "line",
    [
        "data formats",
        "bench list",
        "train recipes",
        "train run --help",
        "demo -h",
        "report readme --check",
        "data nothing",
        "factory what-if --rush order-0001",
    ],
)
def test_command_that_touches_no_data_is_not_confined(line: str):
    assert words_of(line.split()) is None


def test_option_that_is_given_twice_counts_as_it_was_last_given():
    words = words_of(["data", "list", "--vault", "a", "--vault", "b"])
    assert words
    assert words.option("--vault") == "b"
    assert words.option("--owner") == ""


def test_trust_folder_is_named_anywhere_on_the_line(trust: TrustFolder, monkeypatch: pytest.MonkeyPatch):
    for given in (["--trust", str(trust.path)], [f"--trust={trust.path}"]):
        assert confined.enter([*given, "data", "formats"]) == ["data", "formats"]
        assert os.environ["GENBA_TRUST"] == str(trust.path)
    with pytest.raises(ConfigError, match="--trust: got nothing, expected a trust folder"):
        confined.enter(["data", "list", "--trust"])
    with pytest.raises(ConfigError, match=r"no trust folder here \(no party.toml\)"):
        confined.enter(["data", "list", "--trust", str(trust.path / "agreements")])
    # Where the word has another meaning it stays.
    assert confined.enter(["audit", "verify", "--trust", "keys"]) == ["audit", "verify", "--trust", "keys"]


def test_one_owners_import_touches_that_owners_data_alone(trust: TrustFolder, tmp_path: Path):
    line = [
        "data",
        "import",
        "logs",
        "--vault",
        str(tmp_path / "v"),
        "--owner",
        ARM_WORKS[0],
        "--agreement",
        ARM_WORKS[2],
    ]
    words = words_of(line)
    assert words
    # The agreement is about two data sets, of which one may be named.
    assert terms_of(trust, words) == {ARM_WORKS, (ARM_WORKS[0], "reach", ARM_WORKS[2])}
    named = words_of([*line, "--dataset", "grip"])
    assert named
    assert terms_of(trust, named) == {ARM_WORKS}
    # Both sites of that agreement, and none of the one abroad.
    assert {one.host for one in policy_of(trust, named, {ARM_WORKS}).endpoints} == {"127.0.0.1", "127.0.0.2"}


def test_import_that_names_nobody_may_touch_what_may_be_admitted_here(trust: TrustFolder, tmp_path: Path):
    words = words_of(["data", "import", "logs", "--vault", str(tmp_path / "v")])
    assert words
    # Every agreement of the samples with this party at nagoya-lab, that is all of them.
    assert {agreement for _, _, agreement in terms_of(trust, words)} == {
        "sample-arm-2026",
        "sample-factory-home",
        "sample-factory-abroad",
        "sample-fleet-training",
    }


def test_endpoint_of_a_store_that_nobody_declared_is_refused_before_anything_starts(trust: TrustFolder):
    words = words_of(["data", "list", "--vault", "s3://b/p?scheme=http&endpoint_override=10.9.9.9:9000"])
    assert words
    with pytest.raises(SandboxError, match=r"10.9.9.9:9000: no site declares this endpoint, so nobody knows whose law"):
        run_confined(trust, words, ["true"])
    bare = words_of(["data", "list", "--vault", "s3://b/p"])
    assert bare
    with pytest.raises(SandboxError, match=r"s3.amazonaws.com:443: no site declares this endpoint"):
        run_confined(trust, bare, ["true"])
    abroad = words_of(["data", "list", "--vault", "s3://b/p?endpoint_override=127.0.0.3"])
    assert abroad
    with pytest.raises(SandboxError, match=r"127.0.0.3:443: is at site 'overseas-cloud'"):
        run_confined(trust, abroad, ["true"])
    assert not list(trust.path.glob("egress/*"))


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("opc.tcp://127.0.0.1:4841", SandboxError, r"127.0.0.1:4841: no site declares this endpoint"),
        # where no port is said it is the protocol's own
        ("opc.tcp://127.0.0.1", SandboxError, r"127.0.0.1:4840: no site declares this endpoint"),
        ("mqtt://[::1]/plant/line", SandboxError, r"\[::1\]:1883: no site declares this endpoint"),
        (
            "opc.tcp://127.0.0.3:443",
            SandboxError,
            r"127.0.0.3:443: is at site 'overseas-cloud' \(US-OR\), which not every",
        ),
        ("mqtt://127.0.0.1:99999/a/b", ConfigError, r"--floor: got 'mqtt://127.0.0.1:99999/a/b', expected opc.tcp://"),
        ("http://127.0.0.1", ConfigError, r"--floor: got 'http://127.0.0.1', expected opc.tcp://HOST:PORT or mqtt://"),
        (
            "mqtt:///plant/line",
            ConfigError,
            r"--floor: got 'mqtt:///plant/line', expected opc.tcp://HOST:PORT or mqtt://",
        ),
    ],
)
def test_floor_that_no_allowed_site_declares_is_refused_before_anything_starts(
    trust: TrustFolder, tmp_path: Path, address: str, error: type[Exception], message: str
):
    for line in (["run", "--journal", str(tmp_path / "j")], ["record", "--vault", str(tmp_path / "v")]):
        words = words_of(["factory", *line, "--floor", address])
        assert words
        with pytest.raises(error, match=message):
            run_confined(trust, words, ["true"])
    assert not list(trust.path.glob("egress/*")) and not list(tmp_path.glob("v"))


def test_floor_at_an_endpoint_of_this_hosts_site_may_be_reached(trust: TrustFolder, tmp_path: Path):
    words = words_of(["factory", "record", "--floor", "opc.tcp://127.0.0.1:9100", "--vault", str(tmp_path / "v")])
    assert words
    terms = terms_of(trust, words)
    # Who records may store anybody's, so only what every agreement here allows is reached beside this host's own site.
    assert [(one.host, one.low_port) for one in policy_of(trust, words, terms).endpoints] == [("127.0.0.1", 9100)]


def test_ray_is_refused_because_its_processes_are_elsewhere(trust: TrustFolder):
    words = words_of(["data", "import", "logs", "--vault", "v", "--ray"])
    assert words
    with pytest.raises(ConfigError, match="--ray: Ray's processes run outside of this command and cannot be confined"):
        run_confined(trust, words, ["true"])


def test_ranks_of_a_torchrun_outside_are_refused_because_they_could_not_meet(
    trust: TrustFolder, monkeypatch: pytest.MonkeyPatch
):
    words = words_of(["train", "run", "--vault", "v", "--out", "r"])
    assert words
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with pytest.raises(ConfigError, match=r"train run: started by torchrun outside of the sandbox.*--processes N"):
        run_confined(trust, words, ["true"])


@pytest.mark.usefixtures("enforcing")
def test_confined_command_reads_what_it_names_and_no_key_but_its_owners(
    trust: TrustFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    keys = FileKeys(tmp_path / "owners-keys")
    keys.create(key_id(*FLEET[:2]))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "log").write_text("log")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret").write_text("secret")
    (trust.path / "confine.toml").write_text(f'readable = ["{tmp_path / "extra"}"]\n')
    (tmp_path / "extra").write_text("extra")
    line = ["data", "import", str(tmp_path / "logs"), "--vault", str(tmp_path / "v"), "--dataset", "grip"]
    words = words_of([*line, "--owner", ARM_WORKS[0], "--agreement", ARM_WORKS[2]])
    assert words
    code = """
        import os, sys
        from pathlib import Path
        root, keys = Path(sys.argv[1]), sys.argv[2:]
        def try_(name, function):
            try:
                function()
                print(name, "done")
            except PermissionError:
                print(name, "refused")
        try_("log", (root / "logs" / "log").read_text)
        try_("extra", (root / "extra").read_text)
        try_("own key", (root / "owners-keys" / keys[0]).read_text)
        try_("another owner's key", (root / "owners-keys" / keys[1]).read_text)
        try_("change own key", lambda: (root / "owners-keys" / keys[0]).write_text(""))
        try_("make a key", lambda: (root / "owners-keys" / "new").write_text(""))
        try_("other folder", (root / "other" / "secret").read_text)
        try_("vault", lambda: (root / "v" / "file").write_text(""))
        try_("rules", (root / "trust" / "sites.toml").read_text)
        try_("change rules", lambda: (root / "trust" / "sites.toml").write_text(""))
        try_("ledger", (root / "trust" / "ledger" / "entries.jsonl").read_text)
        try_("change ledger", lambda: (root / "trust" / "ledger" / "entries.jsonl").open("a"))
        try_("signing key", (root / "trust" / "keys" / "signing").read_text)
        try_("own log", lambda: next((root / "trust" / "egress").iterdir()).read_text())
        try_("change own log", lambda: next((root / "trust" / "egress").iterdir()).open("a"))
        try_("cache", lambda: Path(os.environ["NUMBA_CACHE_DIR"]).mkdir())
    """
    files = [f"{key_id(*one[:2]).replace('%', '%25').replace('/', '%2F')}.key" for one in (ARM_WORKS, FLEET)]
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path), *files]
    assert run_confined(trust, words, command) == 0
    assert dict(line.rsplit(" ", 1) for line in capfd.readouterr().out.splitlines()) == {
        "log": "done",
        "extra": "done",
        "own key": "done",
        "another owner's key": "refused",
        "change own key": "refused",
        "make a key": "refused",
        "other folder": "refused",
        "vault": "done",
        "rules": "done",
        "change rules": "refused",
        "ledger": "done",
        "change ledger": "refused",
        "signing key": "refused",
        "own log": "done",
        "change own log": "refused",
        "cache": "done",
    }


@pytest.mark.usefixtures("enforcing")
def test_what_was_tried_is_entered_in_the_ledger_when_the_command_has_ended(trust: TrustFolder, tmp_path: Path):
    words = words_of(["report", str(tmp_path / "run")])
    assert words
    code = "import socket, sys; sys.exit(socket.socket().connect_ex(('127.0.0.3', 443)))"
    assert run_confined(trust, words, [sys.executable, "-c", code]) == 13
    (log,) = (trust.path / "egress").iterdir()
    lines = list(read_log(log))
    (entry,) = [one.body for one in _entries(trust) if one.kind == "egress"]
    assert entry == {
        "run": log.stem,
        "command": "report page",
        "log": f"egress/{log.name}",
        "lines": len(lines),
        "digest": egress_digest(log),
        "policy": lines[0]["policy_digest"],
        "is_enforced": True,
        "status": 13,
        "allowed": 0,
        "refused": 1,
    }
    found = verify(trust.path / "ledger", trust=trust.trust_store)
    assert found.holds
    assert found.signed_size == found.size
    # What a passport named before the end is the log's beginning.
    early = tmp_path / "early"
    early.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    assert num_lines_of(log, egress_digest(early)) == 2
    assert num_lines_of(log, "sha256:" + "0" * 64) == 0
    assert lengths_of(log, {egress_digest(early), egress_digest(log), "sha256:" + "0" * 64}) == {
        egress_digest(early): 2,
        egress_digest(log): len(list(read_log(log))),
    }


def _entries(trust: TrustFolder) -> list[Entry]:
    return read_entries(trust.path / "ledger")


@pytest.mark.usefixtures("enforcing")
def test_command_line_runs_again_inside_and_ends_with_its_status(trust: TrustFolder, tmp_path: Path):
    vault = Vault.open(tmp_path / "v", create=True)
    collect("arm/grip@1", policy="reactive", seeds=[0], sink=vault, workers=0, progress=False)
    environment = os.environ | {"GENBA_TRUST": "", "COLUMNS": "200"}
    command = [sys.executable, "-m", "genba.cli.main"]
    listed = [*command, "data", "list", "--vault", str(tmp_path / "v")]
    outside = subprocess.run(listed, capture_output=True, text=True, env=environment)
    assert "1 episodes" in outside.stdout
    assert not (trust.path / "egress").exists()
    inside = subprocess.run([*listed, "--trust", str(trust.path)], capture_output=True, text=True, env=environment)
    assert inside.stdout == outside.stdout, inside.stderr
    # A folder whose parent holds the code itself is not given away.
    checkout = Path(confined.__file__).parents[3]
    save = [*command, "data", "view", "x", "--vault", str(tmp_path / "v"), "--trust", str(trust.path), "--save"]
    refused = subprocess.run([*save, str(checkout / "x.rrd")], capture_output=True, text=True, env=environment)
    assert refused.returncode == 2
    assert "the code that confines the next command" in " ".join(refused.stderr.split())
    assert [one.body["status"] for one in _entries(trust) if one.kind == "egress"] == [0]


def test_where_the_kernel_cannot_enforce_nothing_runs_but_with_the_override(
    trust: TrustFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lacking = Requirement(name="Landlock", is_met=False, found="version 3")
    for module in ("genba.trust.sandbox.run", "genba.cli.confined"):
        monkeypatch.setattr(importlib.import_module(module), "missing", lambda: (lacking,))
    words = words_of(["report", str(tmp_path / "run")])
    assert words
    with pytest.raises(
        SandboxError, match=r"nothing was run \(Landlock: version 3\).*GENBA_SANDBOX_UNENFORCED=1 make demo"
    ):
        run_confined(trust, dataclasses.replace(words, command="demo"), ["true"])
    with pytest.raises(
        SandboxError, match=r"--unenforced or GENBA_SANDBOX_UNENFORCED=1 runs it open and says so in the log$"
    ):
        run_confined(trust, words, ["true"])
    assert [one.kind for one in _entries(trust)] == ["ledger"]
    monkeypatch.setenv("GENBA_SANDBOX_UNENFORCED", "1")
    assert run_confined(trust, words, ["true"]) == 0
    (entry,) = [one.body for one in _entries(trust) if one.kind == "egress"]
    assert entry["is_enforced"] is False
    # The command that was run so does not ask to be confined again.
    monkeypatch.setenv(RUN_VARIABLE, "run")
    assert confined.enter(["report", "run", "--trust", str(trust.path)]) == ["report", "run"]


def test_override_skips_nothing_where_the_kernel_enforces(
    trust: TrustFolder, monkeypatch: pytest.MonkeyPatch, enforcing: None
):
    monkeypatch.setenv("GENBA_SANDBOX_UNENFORCED", "1")
    monkeypatch.setenv(RUN_VARIABLE, "run")
    asked = []
    monkeypatch.setattr(confined, "run_confined", lambda trust, words, command: asked.append(words.command) or 7)
    with pytest.raises(SystemExit, match="7"):
        confined.enter(["report", "run", "--trust", str(trust.path)])
    assert asked == ["report page"]


def test_demo_has_an_owner_for_each_task_whose_agreement_allows_its_whole_way(tmp_path: Path):
    trust = demo_trust(tmp_path / "demo-run")
    assert trust.path == tmp_path / "demo-run-trust"
    assert demo_trust(tmp_path / "demo-run").ledger.id == trust.ledger.id
    machines = {task(name).embodiment.id for name in OWNERS}
    agreements = {one.id: (owner.owner, one) for owner in trust.rules.owners for one in owner.agreements}
    assert len({facts["owner"] for facts in OWNERS.values()}) == 3
    assert set(OWNERS) == set(FULL.shares) | set(LONG.shares) | set(QUICK.shares)
    for facts in OWNERS.values():
        owner, agreement = agreements[facts["agreement"]]
        assert owner == facts["owner"]
        assert facts["dataset"] in agreement.datasets
        # One model learns from all and is deployed on each.
        assert set(agreement.machines) == machines
        assert {"train", "evaluate", "deploy"} <= set(agreement.purposes)
        assert facts["site"] in agreement.sites
        assert trust.rules.sites[facts["site"]].jurisdiction == facts["jurisdiction"]
    for path in (SAMPLES / "demo" / "agreements").iterdir():
        assert read_toml(path, OwnerAgreements).note.startswith("SAMPLE")
