"""A governed vault: nothing is stored or opened before the rules were asked, whichever way one goes in."""

import multiprocessing
import pickle
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from governed import (
    ARM,
    FACTORY,
    FLEET,
    MACHINE,
    PARTY,
    PUBLIC,
    Clock,
    at,
    decisions,
    episode,
    governed_vault,
    opened,
    trust_folder,
)

from genba.data.codecs import StorageChoices
from genba.data.compact import compact, encoded_episode
from genba.data.fsck import fsck_vault
from genba.data.govern import govern, holdings
from genba.data.mixture import Mixture
from genba.data.purge import fingerprints, stock_of
from genba.data.quality.inspect import inspect_vault
from genba.data.query import Span, WindowQuery
from genba.data.rotation import retire_key, rotate_key
from genba.data.salvage import repair
from genba.data.shard import ShardFile
from genba.data.vault import Vault
from genba.data.windows import WindowSource
from genba.errors import ConfigError, CorruptShardError, GenbaError, LedgerError, PermissionDeniedError
from genba.registry import WRITERS, resolve
from genba.spec.normalise import Normalizer
from genba.trust.audit import verify
from genba.trust.folder import TrustFolder
from genba.trust.requests import Holding


@pytest.fixture
def trust(tmp_path: Path) -> TrustFolder:
    return trust_folder(tmp_path / "trust")


def source_of(vault: Vault) -> WindowSource:
    entries = vault.entries(MACHINE.id)
    return WindowSource(vault, MACHINE, Normalizer(MACHINE, vault.statistics(MACHINE.id)), entries)


def test_a_vault_made_under_rules_is_governed_from_its_first_moment(trust, tmp_path, monkeypatch):
    monkeypatch.setenv("GENBA_TRUST", str(trust.path))
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[MACHINE])
    assert vault.gate is not None and vault.gate.ledger_id == trust.ledger.id
    with pytest.raises(
        PermissionDeniedError, match=r"genba/default: admit by Sample Works Research is refused.*genba-demo"
    ):
        vault.append(episode(0, ("genba", "default", "genba-demo")))
    assert vault.entries() == [] and vault.shard_names() == []
    vault.append(episode(0, FLEET))
    assert [e.episode_id for e in vault.entries()] == ["driving/000"]


def test_what_was_stored_reads_back_and_every_question_is_in_the_ledger_once(trust, tmp_path):
    vault = governed_vault(tmp_path / "vault", trust, FLEET, ARM)
    reader = opened(vault, "train")
    for _ in range(2):
        for whose in (FLEET, ARM):
            got, want = reader.read(f"{whose[1]}/001"), episode(1, whose)
            np.testing.assert_array_equal(got.streams["cart"].values, want.streams["cart"].values)
    assert decisions(trust) == [
        ("admit", "Sample Fleet", "", True),
        ("admit", "Sample Arm Works", "", True),
        ("read", "Sample Fleet", "train", True),
        ("read", "Sample Arm Works", "train", True),
    ]
    trust.sign_head()
    assert verify(trust.path / "ledger", trust=trust.trust_store).holds


@pytest.mark.parametrize(
    ("whose", "purpose", "reason"),
    [
        (FACTORY, "evaluate", "purposes: 'read' serves purpose 'evaluate'; allowed: train, deploy"),
        (PUBLIC, "train", "purposes: 'read' serves purpose 'train'; allowed: evaluate"),
        (FLEET, "", r"Sample Fleet/driving: nobody said what it is read for; expected one of train"),
    ],
)
def test_reading_for_what_the_owner_does_not_allow_is_refused(trust, tmp_path, whose, purpose, reason):
    vault = opened(governed_vault(tmp_path / "vault", trust, whose), purpose)
    with pytest.raises(PermissionDeniedError, match=reason):
        vault.read(vault.entries()[0].episode_id)


@pytest.mark.parametrize(
    ("site", "party", "reason"),
    [
        ("kitakyushu-plant", "Sample Works Research", "sites: kitakyushu-plant: not allowed; allowed: nagoya-lab"),
        ("overseas-cloud", "Sample Works Research", "operated by 'Sample Overseas Hosting', which is excluded"),
        ("nagoya-lab", "Sample Arm Works", "'Sample Arm Works' is excluded from data set 'driving'"),
        ("nagoya-lab", "Sample Stranger", "'Sample Stranger' is not among the parties"),
    ],
)
def test_another_place_or_party_stores_nothing(tmp_path, site, party, reason):
    vault = governed_vault(tmp_path / "vault", trust_folder(tmp_path / "trust", site=site, party=party))
    with pytest.raises(PermissionDeniedError, match=reason):
        vault.append(episode(0, FLEET))
    assert vault.shard_names() == []


def test_an_episode_without_an_agreement_is_refused_in_words(trust, tmp_path):
    vault = governed_vault(tmp_path / "vault", trust)
    with pytest.raises(
        PermissionDeniedError, match=r"admit cannot be asked for: agreement: got nothing.*under which agreement"
    ):
        vault.append(episode(0, ("Sample Fleet", "driving", "")))


def test_a_governed_vault_seals_always(trust, tmp_path):
    governed_vault(tmp_path / "vault", trust)
    plain = Vault.open(tmp_path / "vault", embodiments=[MACHINE], trust=trust, choices=StorageChoices(encrypt=False))
    with pytest.raises(PermissionDeniedError, match=r"not to be sealed, but .* is governed and seals always"):
        plain.append(episode(0, FLEET))
    assert plain.shard_names() == []


def test_it_is_not_opened_without_its_trust_folder_nor_with_another(trust, tmp_path, monkeypatch):
    vault = governed_vault(tmp_path / "vault", trust, FLEET)
    monkeypatch.delenv("GENBA_TRUST", raising=False)
    shutil.copytree(vault.path, tmp_path / "copy")
    for path in (vault.path, tmp_path / "copy"):
        with pytest.raises(PermissionDeniedError, match=r"governed by the rules of ledger .*--trust or \$GENBA_TRUST"):
            Vault.open(path)
    with pytest.raises(PermissionDeniedError, match=r"got the trust folder .*other of ledger"):
        Vault.open(vault.path, trust=trust_folder(tmp_path / "other"))


def test_without_its_marker_shards_still_do_not_open(trust, tmp_path, monkeypatch):
    vault = governed_vault(tmp_path / "vault", trust, FLEET)
    monkeypatch.delenv("GENBA_TRUST", raising=False)
    (vault.path / "governed.toml").unlink()
    bare = Vault.open(vault.path, embodiments=[MACHINE])
    with pytest.raises(PermissionDeniedError, match=r"stored under the rules of ledger .*genba trust govern"):
        bare.read("driving/000")
    # Not by the keys themselves either.
    with pytest.raises(PermissionDeniedError, match="stored under the rules of ledger"):
        ShardFile(vault.storage, vault.shard_names()[0], keys=vault.keys)


def test_a_shard_from_an_open_vault_does_not_open_in_a_governed_one(trust, tmp_path):
    open_vault = Vault.open(tmp_path / "open", create=True, embodiments=[MACHINE])
    open_vault.append(episode(0, FLEET))
    vault = governed_vault(tmp_path / "vault", trust)
    (name,) = open_vault.shard_names()
    (vault.path / name).parent.mkdir(parents=True)
    shutil.copy(open_vault.path / name, vault.path / name)
    with pytest.raises(PermissionDeniedError, match="stored under no rules, and not admitted under those of ledger"):
        vault.rebuild()
    assert [p.kind for p in fsck_vault(vault) if p] == ["refused"]
    assert vault.entries() == []


def test_a_header_that_names_another_agreement_does_not_open(trust, tmp_path):
    vault = opened(governed_vault(tmp_path / "vault", trust, FACTORY, each=1), "train")
    path = vault.path / vault.shard_names()[0]
    # As long as the true one, so that every offset stays; both may be read for training here.
    path.write_bytes(
        path.read_bytes().replace(b'"agreement":"sample-factory-home"', b'"agreement":"sample-factory-abro"')
    )
    agreements = vault.trust.path / "agreements" / "sample-factory.toml"
    agreements.write_text(
        agreements.read_text()
        .replace("sample-factory-abroad", "sample-factory-abro")
        .replace('"shifts-public"', '"shifts"')
        .replace('purposes = ["evaluate"]', 'purposes = ["train"]')
    )
    with pytest.raises(CorruptShardError, match="does not verify"):
        vault.read("shifts/000")


def view(vault: Vault) -> None:
    vault.shard(vault.entries()[0]).episode()


def windows(vault: Vault) -> None:
    source_of(vault).batch(np.array([0]))


def mixture(vault: Vault) -> None:
    Mixture({MACHINE.id: source_of(vault)}, {MACHINE.id: 2}, seed=0).batch(0)


def query(vault: Vault) -> None:
    WindowQuery(vault, vault.entries(), {"cart": Span(-0.1, 0.0)}).windows(
        np.array([0]), np.array([vault.entries()[0].end_ns])
    )


def export(vault: Vault) -> None:
    writer = resolve(WRITERS["parquet"])()
    shards = [vault.shard(entry) for entry in vault.entries()]
    writer.write(vault.path.parent / "exported", MACHINE, [shard.episode() for shard in shards])


def check(vault: Vault) -> None:
    list(inspect_vault(vault, vault.entries()))


def pack(vault: Vault) -> None:
    list(compact(vault))


def fsck(vault: Vault) -> None:
    refused = [problem.message for problem in fsck_vault(vault) if problem and problem.kind == "refused"]
    if refused:
        raise PermissionDeniedError(refused[0])


def salvage(vault: Vault) -> None:
    list(repair(vault, [vault.entries()[0].file]))


def rotate(vault: Vault) -> None:
    rotate_key(vault, FLEET[0], FLEET[1])


def retire(vault: Vault) -> None:
    retire_key(vault, FLEET[0], FLEET[1])


def restore(vault: Vault) -> None:
    vault.catalog.path.unlink()
    vault.rebuild()


def in_another_process(vault: Vault) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(view, (vault,))


#: every public way to what is sealed, and the act that is asked for
WAYS: dict[Callable[[Vault], None], str] = {
    view: "read",
    windows: "read",
    mixture: "read",
    query: "read",
    export: "read",
    check: "read",
    in_another_process: "read",
    pack: "keep",
    fsck: "keep",
    salvage: "keep",
    rotate: "keep",
    retire: "keep",
    restore: "keep",
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_to_the_data_asks_and_none_works_once_the_owner_ended_it(trust, tmp_path, way):
    vault = opened(governed_vault(tmp_path / "vault", trust, FLEET), "train")
    way(vault)
    asked = [(act, purpose) for act, owner, purpose, _ in decisions(trust) if act != "admit"]
    assert (WAYS[way], "train" if WAYS[way] == "read" else "") in asked
    vault = opened(governed_vault(tmp_path / "again", trust, FLEET), "train")
    (trust.path / "agreements" / "sample-fleet.toml").unlink()
    trust.renew()
    with pytest.raises(PermissionDeniedError, match=r"no agreement of 'Sample Fleet' is known"):
        way(opened(vault, "train"))


def test_packing_keeps_agreements_apart_and_what_is_packed_still_asks(trust, tmp_path):
    vault = governed_vault(tmp_path / "vault", trust, FLEET, ARM)
    assert [done.num_episodes for done in compact(vault)] == [2, 2]
    reader = opened(vault, "evaluate")
    np.testing.assert_array_equal(
        reader.read("grip/001").streams["cart"].values, episode(1, ARM).streams["cart"].values
    )
    assert decisions(trust)[-1] == ("read", "Sample Arm Works", "evaluate", True)


def test_a_long_run_notices_that_an_agreement_expired(trust, tmp_path):
    clock = Clock(0)
    clock.set("2030-12-31T23:59:58")
    vault = governed_vault(tmp_path / "vault", at(trust, clock), FLEET)
    source = source_of(opened(vault, "train"))
    before = len(decisions(trust))
    for _ in range(20):
        source.batch(np.array([0]))
    # Nothing is asked again while the answer holds.
    assert len(decisions(trust)) == before
    clock.set("2031-01-01T00:00:00")
    for _ in range(2):
        with pytest.raises(PermissionDeniedError, match=r"until: it expired after 2030-12-31"):
            source.batch(np.array([0]))


def test_a_long_run_notices_within_minutes_that_an_owner_ended_its_agreement(trust, tmp_path):
    clock = Clock(0)
    clock.set("2027-05-05T10:00:00")
    source = source_of(opened(governed_vault(tmp_path / "vault", at(trust, clock), FLEET), "train"))
    (trust.path / "agreements" / "sample-fleet.toml").unlink()
    clock.set("2027-05-05T10:09:59")
    source.batch(np.array([0]))
    clock.set("2027-05-05T10:10:00")
    with pytest.raises(PermissionDeniedError, match="no agreement of 'Sample Fleet' is known"):
        source.batch(np.array([0]))


def test_a_clock_set_back_stops_a_run(trust, tmp_path):
    clock = Clock(0)
    clock.set("2027-05-05T10:00:00")
    source = source_of(opened(governed_vault(tmp_path / "vault", at(trust, clock), FLEET), "train"))
    clock.set("2027-05-05T09:00:00")
    with pytest.raises(PermissionDeniedError, match=r"clock: it shows 2027-05-05T09:00:00.*it was set back"):
        source.batch(np.array([0]))


def test_without_its_ledger_nothing_is_allowed(trust, tmp_path):
    vault = governed_vault(tmp_path / "vault", trust, FLEET)
    (trust.path / "ledger").rename(tmp_path / "gone")
    with pytest.raises(LedgerError, match="no ledger here"):
        Vault.open(vault.path, trust=TrustFolder(trust.path), purpose="train")
    # Of one that has the ledger open, what was not answered yet is not allowed either.
    with pytest.raises(LedgerError, match="could not write"):
        vault.append(episode(0, ARM))


def changed(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Return what replaces a text in one file of a trust folder."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def cut(folder: Path) -> None:
    whole = (folder / "ledger" / "entries.jsonl").read_bytes()
    (folder / "ledger" / "entries.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))


FLEET_FILE = "agreements/sample-fleet.toml"
SPOILT = {
    "expired": (changed(FLEET_FILE, "2030-12-31", "2021-12-31"), r"until: it expired after 2021-12-31"),
    "ends before it begins": (
        changed(FLEET_FILE, "2030-12-31", "2019-12-31"),
        r"until: got 2019-12-31, which is before",
    ),
    "allows whom it excludes": (
        changed(FLEET_FILE, 'excluded = ["', f'excluded = ["{PARTY}", "'),
        r"sample-fleet.toml: agreements\[0\].*excluded: 'Sample Works Research' is among the parties too",
    ),
    "unknown jurisdiction": (
        changed(FLEET_FILE, "JP-23", "JP-99"),
        r"jurisdictions\[0\]: got 'JP-99', which is no part",
    ),
    "site without a jurisdiction": (changed("sites.toml", '"nagoya-lab"', '"other-lab"'), r"site 'nagoya-lab'"),
    "damaged time": (changed("latest", "0", "x"), r"latest: got b'.*', expected the latest time seen, 20 digits of ns"),
    "cut ledger": (cut, r"entries.jsonl: .* but a head was signed over .*: it was cut off; nothing is added"),
    "another ledger's entries": (
        changed("ledger/entries.jsonl", '"allowed":true', '"allowed":false'),
        r"entries are not those that a head was signed over: they were changed; nothing is added",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_is_refused_for_bad_rules_times_or_ledgers_is_lost_nowhere(trust, tmp_path, what):
    spoil, reason = SPOILT[what]
    vault = governed_vault(tmp_path / "vault", trust, FLEET)
    trust.ledger.sign_head(trust.signing_key)
    stored = {path: path.read_bytes() for path in vault.path.rglob("*") if path.is_file()}
    shutil.copytree(trust.path, tmp_path / "sound")
    spoil(trust.path)
    spoilt = {path: path.read_bytes() for path in (trust.path / "ledger").rglob("*") if path.is_file()}

    def read() -> np.ndarray:
        return (
            Vault.open(vault.path, trust=TrustFolder(trust.path), purpose="train")
            .read("driving/001")
            .streams["cart"]
            .values
        )

    with pytest.raises(GenbaError, match=reason):
        read()
    assert {path: path.read_bytes() for path in vault.path.rglob("*") if path.is_file()} == stored
    # The ledger grew by the refusal, where it could be entered, and in no other way.
    assert all(path.read_bytes().startswith(data) for path, data in spoilt.items())
    shutil.rmtree(trust.path)
    shutil.copytree(tmp_path / "sound", trust.path)
    np.testing.assert_array_equal(read(), episode(1, FLEET).streams["cart"].values)


def append_two(vault: Vault, first: int) -> None:
    for seed in (first, first + 1):
        vault.append(episode(seed, FLEET))


def test_two_processes_store_at_once_and_each_question_is_recorded(trust, tmp_path):
    vault = governed_vault(tmp_path / "vault", trust)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(append_two, [(vault, 10), (vault, 20)], chunksize=1)
    assert len(vault.entries()) == 4
    assert set(decisions(trust)) == {("admit", "Sample Fleet", "", True)}
    trust.sign_head()
    assert verify(trust.path / "ledger", trust=trust.trust_store).holds


def test_a_vault_travels_to_another_process_without_answers(trust, tmp_path):
    vault = opened(governed_vault(tmp_path / "vault", trust, FLEET), "train")
    vault.read("driving/000")
    before = len(decisions(trust))
    pickle.loads(pickle.dumps(vault)).read("driving/000")
    assert decisions(trust)[before:] == [("read", "Sample Fleet", "train", True)]


def test_governing_a_vault_that_is_there_names_what_no_agreement_covers_and_changes_nothing(trust, tmp_path):
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[MACHINE])
    for seed, whose in enumerate(
        [FLEET, ("Sample Fleet", "private", "sample-fleet-training"), ("genba", "default", "x")]
    ):
        vault.append(episode(seed, whose))
    before = {name: vault.storage.digest(name) for name in vault.shard_names()}
    with pytest.raises(PermissionDeniedError, match=r"2 of 3 data sets are covered by no agreement") as refused:
        list(govern(opened(vault, trust=trust)))
    assert "1 episodes: Sample Fleet/private: admit" in str(refused.value) and "genba/default" in str(refused.value)
    assert {name: vault.storage.digest(name) for name in vault.shard_names()} == before
    assert Vault.open(vault.path).gate is None


def test_governing_binds_every_shard_and_episodes_stay_as_they_were(trust, tmp_path):
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[MACHINE], choices=StorageChoices(encrypt=False))
    for seed in range(2):
        for whose in (FLEET, ARM):
            vault.append(episode(seed, whose))
    list(compact(vault))
    sealed = Vault.open(vault.path, embodiments=[MACHINE])
    sealed.append(episode(2, FLEET))
    want = {e.episode_id: vault.read(e.episode_id).streams["cart"].values for e in vault.entries()}
    done = list(govern(opened(vault, trust=trust)))
    assert sum(one.num_episodes for one in done) == 5
    reader = opened(vault, "train", trust)
    assert holdings(reader) == {Holding(*ARM): 2, Holding(*FLEET): 3}
    for name, values in want.items():
        np.testing.assert_array_equal(reader.read(name).streams["cart"].values, values)
    headers = [ShardFile(vault.storage, name, keys=None).header for name in vault.shard_names()]
    assert {header.ledger for header in headers} == {trust.ledger.id}
    assert {header.cipher for header in headers} == {"aes-256-gcm"}
    assert [p for p in fsck_vault(reader) if p] == []
    # Again: nothing is left to do.
    assert list(govern(opened(vault, trust=trust))) == []


def test_a_shard_with_episodes_under_two_agreements_becomes_two(trust, tmp_path):
    rules = trust.path / "agreements" / "sample-fleet.toml"
    second = rules.read_text().partition("[[agreements]]")[2].replace("sample-fleet-training", "sample-fleet-more")
    rules.write_text(rules.read_text() + "\n[[agreements]]" + second)
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[MACHINE])
    more = ("Sample Fleet", "driving", "sample-fleet-more")
    for seed, whose in ((0, FLEET), (1, more)):
        vault.append(episode(seed, whose))
    encoded = [encoded_episode(vault.shard(entry)) for entry in vault.entries()]
    old = [shard.file for shard in vault.catalog.shards()]
    shard, rows = vault.write_shard(encoded, encrypt=True)
    vault.catalog.replace(old, shard, rows)
    (done,) = govern(opened(vault, trust=trust))
    assert len(done.files) == 2 and done.num_episodes == 2
    reader = opened(vault, "train", trust)
    assert reader.read("driving/001").metadata.agreement == "sample-fleet-more"


def test_governing_goes_on_where_it_was_interrupted(trust, tmp_path):
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[MACHINE])
    for seed in range(3):
        vault.append(episode(seed, FLEET))
    steps = govern(opened(vault, trust=trust))
    next(steps)
    steps.close()
    half = opened(vault, "train", trust)
    # Governed from the first shard on: what was not reached is closed, not open.
    kinds = [problem.kind if problem else "sound" for problem in fsck_vault(half)]
    assert sorted(kinds) == ["refused", "refused", "sound"]
    assert len(list(govern(opened(vault, trust=trust)))) == 2
    assert all(problem is None for problem in fsck_vault(opened(vault, "train", trust)))


def test_governing_without_rules_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("GENBA_TRUST", raising=False)
    vault = Vault.open(tmp_path / "vault", create=True)
    with pytest.raises(ConfigError, match="no rules to put it under; name a trust folder"):
        list(govern(vault))


def test_an_owner_withdraws_by_content_after_the_agreement_has_ended(trust, tmp_path):
    vault = governed_vault(tmp_path / "vault", trust, FLEET)
    want = set(fingerprints(vault, stock_of(vault, "Sample Fleet", "driving"), vault.keys, unread := []))
    (trust.path / "agreements" / "sample-fleet.toml").unlink()
    again = opened(vault, "train", TrustFolder(trust.path))
    got = set(fingerprints(again, stock_of(again, "Sample Fleet", "driving"), again.keys, unread))
    assert got == want != set()
    assert unread == []


def test_an_unknown_purpose_is_refused(trust, tmp_path):
    vault = governed_vault(tmp_path / "vault", trust)
    with pytest.raises(ConfigError, match=r"purpose: got 'training', expected one of train.*did you mean 'train'"):
        opened(vault, "training")


def test_statistics_are_read_for_a_purpose_too(trust, tmp_path):
    vault = opened(governed_vault(tmp_path / "vault", trust, FACTORY, PUBLIC), "train")
    with pytest.raises(PermissionDeniedError, match="Sample Factory/shifts-public: read"):
        vault.statistics(MACHINE.id)
    allowed = [e.episode_id for e in vault.entries() if e.metadata.dataset == "shifts"]
    assert vault.statistics(MACHINE.id, allowed).channels


def test_readers_whose_answers_end_together_ask_once(trust, tmp_path, monkeypatch):
    gate = opened(governed_vault(tmp_path / "vault", trust, FLEET), "train").gate
    renewed, second, truly_holds = [], threading.Event(), type(gate)._holds

    def renew(_gate):
        # The other reader has seen that the answers ended and waits for this one.
        second.wait(10)
        renewed.append(threading.get_ident())
        gate._until_ns = 2**62

    def holds(_gate):
        found = truly_holds(gate)
        if threading.current_thread() is other and not found:
            second.set()
        return found

    other = threading.Thread(target=gate.check)
    monkeypatch.setattr(type(gate), "_renew", renew)
    monkeypatch.setattr(type(gate), "_holds", holds)
    gate._until_ns = 0
    first = threading.Thread(target=gate.check)
    first.start()
    while gate._lock.acquire(blocking=False):
        gate._lock.release()
    other.start()
    first.join(20)
    other.join(20)
    assert renewed == [first.ident]
