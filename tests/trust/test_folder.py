"""The trust folder: made once and whole, opened anywhere, shared by processes."""

import json
import multiprocessing
import pickle
import stat
from pathlib import Path

import pytest
from governed import PARTY, SITE, reading, sample_trust

from genba.errors import ConfigError, PermissionDeniedError, SignatureError
from genba.trust.audit import verify
from genba.trust.decisions import KIND
from genba.trust.digest import digest_file
from genba.trust.folder import SAMPLES, TrustFolder
from genba.trust.revocation import Revoked, revoke

#: within every sample agreement: 2026-12-01
NOW_NS = 1_796_083_200_000_000_000


def december() -> int:
    return NOW_NS


def make(path: Path) -> TrustFolder:
    return TrustFolder(sample_trust(path).path, clock=december)


def test_a_fresh_folder_decides_records_and_signs_and_an_auditor_finds_it_sound(tmp_path: Path) -> None:
    trust = make(tmp_path / "trust")
    assert (trust.party, trust.site) == (PARTY, SITE)
    assert trust.gatekeeper.require(reading()).is_allowed
    with pytest.raises(
        PermissionDeniedError, match=r"Sample Fleet/driving: read by Sample Works Research is refused.*deploy"
    ):
        trust.gatekeeper.require(reading("deploy"))
    head = trust.sign_head()
    # The first entry names the ledger; one for each decision follows.
    assert head.size == 3
    found = verify(trust.path / "ledger", trust=trust.trust_store)
    assert found.holds and found.keeper == PARTY and found.signed_size == 3
    assert trust.trust_store.name(trust.signing_key.public.id) == PARTY


def test_private_keys_are_readable_by_their_user_alone(tmp_path: Path) -> None:
    trust = make(tmp_path / "trust")
    trust.blinding_key("Sample Fleet")
    private = [trust.key_folder / "signing", trust.key_folder / "blinding" / "Sample Fleet"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in private] == [0o600, 0o600]


def test_keys_may_lie_outside_the_folder(tmp_path: Path) -> None:
    trust = TrustFolder.create(tmp_path / "trust", party=PARTY, site=SITE, keys=str(tmp_path / "elsewhere"))
    trust.blinding_key("Sample Fleet")
    assert trust.sign_head().size == 1
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == ["blinding", "signing", "signing.pub"]
    assert not (tmp_path / "trust" / "keys").exists()


@pytest.mark.parametrize("owner", ["A/S Sample", ".hidden", "50% Sample", "架空工業"])
def test_a_blinding_key_is_made_once_whatever_the_owner_is_called(tmp_path: Path, owner: str) -> None:
    trust = make(tmp_path / "trust")
    first = trust.blinding_key(owner)
    assert len(first) == 32
    assert TrustFolder.open(trust.path).blinding_key(owner) == first
    assert trust.blinding_keys([owner, "Sample Fleet"]).keys() == {owner, "Sample Fleet"}
    # Two keys, and no other file: nothing half-made is left.
    assert len(list((trust.key_folder / "blinding").iterdir())) == 2


def test_revocations_are_none_until_something_is_revoked_and_then_verified(tmp_path: Path) -> None:
    trust = make(tmp_path / "trust")
    assert trust.revocations() is None
    one = Revoked(digest="sha256:" + "a" * 64, reason="withdrawn", time_ns=NOW_NS)
    trust.revocation_path.write_bytes(revoke(None, [one], trust.signing_key, now_ns=NOW_NS).to_bytes())
    found = trust.revocations()
    assert found is not None and found.revoked == (one,)
    trust.revocation_path.write_bytes(trust.revocation_path.read_bytes().replace(b"sig", b"gis"))
    with pytest.raises(SignatureError, match=r"revocations\.json"):
        trust.revocations()


def test_it_is_pickled_without_secrets_and_opened_again(tmp_path: Path) -> None:
    trust = make(tmp_path / "trust")
    _ = trust.gatekeeper, trust.signing_key
    data = pickle.dumps(trust)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert again.gatekeeper.require(reading()).now_ns == NOW_NS
    assert trust.ledger.append("decision", {}).number == 2


def test_rules_that_changed_count_once_it_is_renewed(tmp_path: Path) -> None:
    trust = make(tmp_path / "trust")
    assert trust.gatekeeper.require(reading()).is_allowed
    path = trust.path / "agreements" / "sample-fleet.toml"
    path.write_text(path.read_text().replace('purposes = ["train", "evaluate"]', 'purposes = ["evaluate"]'))
    trust.renew()
    with pytest.raises(PermissionDeniedError, match=r"purposes: 'read' serves purpose 'train'; allowed: evaluate"):
        trust.gatekeeper.require(reading())


def test_making_it_again_is_refused_and_finishing_a_half_made_one_is_not(tmp_path: Path) -> None:
    trust = make(tmp_path / "trust")
    with pytest.raises(ConfigError, match="a trust folder is here already"):
        make(trust.path)
    key, size = trust.signing_key.public.id, trust.ledger.size
    (trust.path / "party.toml").unlink()
    with pytest.raises(ConfigError, match=r"no trust folder here \(no party\.toml\); make one: genba trust init"):
        TrustFolder.open(trust.path)
    again = make(trust.path)
    assert (again.signing_key.public.id, again.ledger.size) == (key, size)


def test_rules_that_are_there_are_kept_and_others_do_not_replace_them(tmp_path: Path) -> None:
    kept = tmp_path / "trust" / "sites.toml"
    kept.parent.mkdir()
    kept.write_text((SAMPLES / "sites.toml").read_text() + "# ours\n")
    with pytest.raises(ConfigError, match=r"sites\.toml: is there already and differs from .*; it is not overwritten"):
        make(tmp_path / "trust")
    TrustFolder.create(tmp_path / "trust", party=PARTY, site=SITE)
    assert kept.read_text().endswith("# ours\n")


def test_without_rules_everything_is_refused(tmp_path: Path) -> None:
    trust = TrustFolder.create(tmp_path / "trust", party=PARTY, site=SITE)
    with pytest.raises(ConfigError, match=r"sites\.toml: no such file"):
        _ = trust.gatekeeper


def test_a_site_that_no_file_declares_is_refused_at_the_door_and_later(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no site 'nagoya', where this host is said to stand.*nagoya-lab"):
        TrustFolder.create(tmp_path / "trust", party=PARTY, site="nagoya", sites_from=SAMPLES / "sites.toml")
    assert not (tmp_path / "trust").exists()
    trust = make(tmp_path / "trust")
    party = trust.path / "party.toml"
    party.write_text(party.read_text().replace(SITE, "nagoya"))
    with pytest.raises(ConfigError, match="no site 'nagoya'"):
        _ = TrustFolder.open(trust.path).rules


@pytest.mark.parametrize("party", ["", " Sample"])
def test_a_party_without_a_proper_name_is_refused(tmp_path: Path, party: str) -> None:
    with pytest.raises(ConfigError, match="party: got"):
        TrustFolder.create(tmp_path / "trust", party=party, site=SITE)


def test_the_environment_names_it_or_nothing_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENBA_TRUST", raising=False)
    assert TrustFolder.from_environment() is None
    monkeypatch.setenv("GENBA_TRUST", str(make(tmp_path / "trust").path))
    found = TrustFolder.from_environment()
    assert found is not None and found.party == PARTY
    monkeypatch.setenv("GENBA_TRUST", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="absent: no trust folder here"):
        TrustFolder.from_environment()


def decide_often(trust: TrustFolder, times: int) -> list[bytes]:
    for _ in range(times):
        trust.gatekeeper.require(reading())
    return [trust.blinding_key("Sample Fleet"), trust.blinding_key("Sample Factory")]


def test_processes_decide_at_once_and_every_decision_is_kept(tmp_path: Path) -> None:
    trust = make(tmp_path / "trust")
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        keys = pool.starmap(decide_often, [(trust, 10)] * 3)
    # All agree on each owner's key, whoever made it.
    assert keys[0] == keys[1] == keys[2]
    trust.sign_head()
    found = verify(trust.path / "ledger", trust=trust.trust_store)
    assert found.holds and found.signed_size == 31
    kinds = [line for line in (trust.path / "ledger" / "entries.jsonl").read_text().splitlines() if f'"{KIND}"' in line]
    assert len(kinds) == 30


def test_what_decides_is_kept_by_its_hash_and_what_decided_before_stays(tmp_path: Path) -> None:
    trust = make(tmp_path / "trust")
    first = trust.gatekeeper.require(reading()).policy_hash
    file = trust.path / "agreements" / "sample-fleet.toml"
    file.write_text(file.read_text().replace('"train", "evaluate"', '"train"'))
    trust.renew()
    second = trust.gatekeeper.require(reading()).policy_hash
    kept = {f"sha256:{path.stem}": path for path in (trust.path / "policies").iterdir()}
    assert set(kept) == {first, second} and first != second
    # A file's digest is the hash that the decision in the ledger names.
    assert all(digest_file(path) == name for name, path in kept.items())
    assert '["train", "evaluate"]' in json.loads(kept[first].read_bytes())["policies"]


def test_where_the_policies_cannot_be_kept_nothing_is_decided(tmp_path: Path) -> None:
    trust = make(tmp_path / "trust")
    (trust.path / "policies").write_text("")
    with pytest.raises(ConfigError, match=r"the policies could not be kept: .*; nothing is decided"):
        trust.gatekeeper.require(reading())
    assert trust.ledger.size == 1
