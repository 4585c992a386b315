"""``genba trust agreements`` and ``decide`` from the command line."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
from random_episodes import random_episode

from genba.cli.main import main
from genba.config import read_toml
from genba.data.vault import Vault
from genba.spec.embodiment import load_embodiment
from genba.trust.agreements import OwnerAgreements, read_rules
from genba.trust.cedar import compile_rules

SAMPLES = files("genba.trust") / "samples"
TRAIN = [
    *("trust", "decide", "train", "Sample Fleet", "driving", "--agreement", "sample-fleet-training", "--party"),
    *("Sample Works Research", "--site", "nagoya-lab", "--rules", str(SAMPLES), "--at"),
]


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    out = capsys.readouterr()
    return end.value.code, " ".join((out.out + out.err).split())


def test_check_names_what_is_there_and_what_contradicts(capsys, tmp_path):
    status, text = run(capsys, "trust", "agreements", "check", str(SAMPLES))
    policies = compile_rules(read_rules(str(SAMPLES))).policy_hash
    assert (status, text) == (0, f"3 owners, 4 agreements, 3 sites: nothing contradicts policies {policies}")
    status, text = run(capsys, "trust", "agreements", "check", str(tmp_path))
    assert status == 2 and "sites.toml: no such file" in text


def test_show_lists_agreements_sites_and_policies(capsys):
    status, text = run(capsys, "trust", "agreements", "show", str(SAMPLES))
    assert status == 0 and "Sample Fleet" in text and "JP-40" in text
    status, text = run(capsys, "trust", "agreements", "show", "--cedar", str(SAMPLES))
    assert status == 0 and 'context.agreement == "sample-factory-home"' in text


def test_odrl_goes_out_and_comes_back(capsys, tmp_path):
    source = str(SAMPLES / "agreements" / "sample-fleet.toml")
    out, back = tmp_path / "fleet.jsonld", tmp_path / "fleet.toml"
    assert run(capsys, "trust", "agreements", "odrl", source, "--out", str(out)) == (0, "")
    assert run(capsys, "trust", "agreements", "odrl", str(out), "--out", str(back)) == (0, "")
    assert read_toml(back, OwnerAgreements) == read_toml(source, OwnerAgreements)
    status, text = run(capsys, "trust", "agreements", "odrl", source, "--out", str(out))
    assert status == 2 and "is there already and is not overwritten" in text
    status, text = run(capsys, "trust", "agreements", "odrl", str(tmp_path / "x.yaml"))
    assert status == 2 and "got suffix '.yaml'" in text
    status, text = run(capsys, "trust", "agreements", "odrl", str(tmp_path / "x.json"))
    assert status == 2 and "cannot be read" in text


def test_decide_says_why(capsys):
    status, text = run(capsys, *TRAIN, "2027-03-31T23:59:59Z")
    assert status == 0 and "allowed at 2027-03-31T23:59:59+00:00" in text and "not met" not in text
    status, text = run(capsys, *TRAIN, "2027-04-01T08:59:59+09:00")
    assert status == 0
    status, text = run(capsys, *TRAIN, "2027-04-01T09:00:00+09:00")
    assert status == 1 and "refused at 2027-04-01T00:00:00+00:00" in text
    assert text.count("not met") == 1 and "it expired after 2027-03-31, 24:00 UTC" in text


def test_rotating_a_key_takes_two_steps(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("GENBA_KEYS", str(tmp_path / "keys"))
    facts = load_embodiment(Path(__file__).parents[1] / "model" / "everything.toml")
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[facts])
    for seed in range(2):
        vault.append(random_episode(facts, seed, num_steps=3))
    (key_file,) = (tmp_path / "keys").glob("*.key")
    rotate = ["trust", "rotate", "genba", "default", "--vault", str(tmp_path / "vault")]
    status, text = run(capsys, *rotate)
    assert status == 0 and "genba/default: 2 shards wrapped with the new key" in text
    assert list(json.loads(key_file.read_bytes())["versions"]) == ["1", "2"]
    status, text = run(capsys, *rotate, "--retire")
    assert status == 0 and "the older versions of the key are forgotten" in text
    assert list(json.loads(key_file.read_bytes())["versions"]) == ["2"]
    again = Vault.open(tmp_path / "vault", embodiments=[facts])
    assert [len(again.read(entry.episode_id).streams) > 0 for entry in again.entries()] == [True, True]
    status, text = run(capsys, "trust", "rotate", "nobody", "default", "--vault", str(tmp_path / "vault"))
    assert status == 2 and "no key 'nobody/default'" in text


def test_a_question_that_makes_no_sense_is_named(capsys):
    status, text = run(capsys, *TRAIN, "tomorrow")
    assert status == 2 and "--at: got 'tomorrow'" in text
    status, text = run(capsys, *TRAIN, "2027-04-01T00:00:00")
    assert status == 2 and "no time zone" in text
    status, text = run(capsys, *TRAIN, "2027-03-31T00:00:00Z", "--embodiment", "x")
    assert status == 2 and "embodiment: got 'x', expected none for 'train'" in text
