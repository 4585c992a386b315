"""A withdrawn data set cannot be read by any path, does not come back, and whatever interrupts its withdrawal is finished."""

import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import governed
import numpy as np
import pytest
import withdrawing
from governed import sample_trust
from withdrawing import FLEET, WORKS, open_vault, owned

from genba.data.codecs import StorageChoices
from genba.data.compact import compact
from genba.data.export import find_writer
from genba.data.fsck import fsck_vault
from genba.data.import_journal import ImportJournal
from genba.data.ingest import Job, find_logs
from genba.data.purge import stock_of
from genba.data.salvage import repair
from genba.data.vault import Vault
from genba.data.withdraw import Scope, folder_of, plan, withdraw
from genba.errors import (
    ConfigError,
    DataError,
    GenbaError,
    KeyUnavailableError,
    LedgerError,
    PermissionDeniedError,
    SignatureError,
)
from genba.spec.episode import Episode
from genba.spec.streams import Stream
from genba.trust.audit import read_entries, verify
from genba.trust.dsse import Envelope
from genba.trust.folder import TrustFolder
from genba.trust.keys import FileKeys, key_id
from genba.trust.signing import SigningKey
from genba.trust.withdrawal import check_receipt, make_request, read_receipt


@pytest.fixture
def keys(tmp_path) -> FileKeys:
    return FileKeys(tmp_path / "keys")


@pytest.fixture
def trust(tmp_path):
    return sample_trust(tmp_path / "trust")


@pytest.fixture
def both(tmp_path, everything, keys) -> Vault:
    """Three episodes of the fleet, two of the works."""
    vault = open_vault(tmp_path / "vault", keys.folder, create=True)
    for seed in range(3):
        vault.append(owned(everything, seed, FLEET))
    for seed in range(10, 12):
        vault.append(owned(everything, seed, WORKS))
    return vault


def scope_of(vault: Vault) -> Scope:
    return Scope(keys=vault.keys, vaults=(vault,))


def everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_nothing_of_it_can_be_read_by_any_path_and_the_others_are_intact(both, trust, everything, tmp_path):
    entry = both.entry("fleet/2026/000000")
    copy = tmp_path / "copy"
    shutil.copytree(both.path, copy)
    opened = both.shard(entry)
    # Set aside, packed, half-written, catalogued elsewhere, remembered by the import journal.
    damaged = both.path / entry.file
    damaged.write_bytes(damaged.read_bytes()[:-40])
    assert [one.set_aside for one in repair(both, [entry.file])] == [f"set-aside/{entry.file}"]
    list(compact(both))
    partial = both.path / "shards/fleet/2026" / ".x.arrow.00000000.partial"
    partial.write_bytes(b"half a shard")
    journal = ImportJournal(both)
    journal.finish(Job(log=tmp_path / "fleet.mcap", reader="mcap", options={}), ["fleet/2026/000000"])
    journal.finish(Job(log=tmp_path / "works.mcap", reader="mcap", options={}), ["works/lines/000010"])

    done = withdraw(trust, *FLEET, scope_of(both))

    assert [e.episode_id for e in both.entries()] == ["works/lines/000010", "works/lines/000011"]
    assert both.read("works/lines/000010").streams
    with pytest.raises(DataError, match="no episode 'fleet/2026/000000'"):
        both.read("fleet/2026/000000")
    assert not stock_of(both, *FLEET)
    assert not (both.path / "shards/fleet").exists() and not (both.path / "set-aside").exists()
    # Neither its names nor its numbers are left anywhere in the vault, the catalog's free pages and the journal included.
    left = everything_below(both.path)
    assert b"fleet" not in left and b"works/lines/000010" in left
    with closing(sqlite3.connect(journal.path)) as connection:
        assert [Path(log).name for (log,) in connection.execute("SELECT log FROM imports")] == ["works.mcap"]
    assert list(fsck_vault(both)) == [None, None]
    # A copy that was made before is there, and does not open.
    before = open_vault(copy, both.keys.folder)
    with pytest.raises(KeyUnavailableError, match="key 'fleet/2026' was destroyed at 20"):
        before.read("fleet/2026/000000")
    assert before.read("works/lines/000010").streams
    # Put back into the vault it is refused as well, and named.
    shutil.copytree(copy / "shards/fleet", both.path / "shards/fleet")
    with pytest.raises(KeyUnavailableError, match="was destroyed"):
        both.rebuild()
    assert len(both.entries()) == 2
    # What a process had opened before is overwritten under its hands; what it had decoded it holds.
    del opened
    said = done.said["vaults"][str(both.path)]
    assert (said["episodes"], said["import_jobs"]) == (3, 1)
    assert sorted(Path(name).suffix for name in said["files"]) == [".arrow", ".arrow", ".partial"]


def _open_and_wait(path, keys, ready, go, out):
    vault = open_vault(path, keys)
    shard = vault.shard(vault.entry("fleet/2026/000000"))
    joints = shard.streams["joints"]
    seen = joints.values(0, 5).copy()
    ready.set()
    go.wait()
    found = []
    for read in (
        lambda: joints.values(0, 5),
        lambda: shard.streams["front"].decode(),
        lambda: vault.read("fleet/2026/000000"),
    ):
        try:
            read()
            found.append("read")
        except GenbaError as error:
            found.append(type(error).__name__)
    out.put((found, bool(np.isfinite(seen).any())))


def test_a_process_that_had_a_shard_open_reads_nothing_more_of_it(both, trust):
    context = multiprocessing.get_context("spawn")
    ready, go, out = context.Event(), context.Event(), context.Queue()
    process = context.Process(target=_open_and_wait, args=(both.path, both.keys.folder, ready, go, out))
    process.start()
    assert ready.wait(60)
    withdraw(trust, *FLEET, scope_of(both))
    go.set()
    # The mapping is there, its bytes are zeros; what was decoded before is in that process's memory and stays.
    assert out.get(timeout=60) == (["CorruptShardError", "CorruptShardError", "DataError"], True)
    process.join()


def test_shards_that_were_never_sealed_are_purged_and_refused_too(tmp_path, everything, keys, trust):
    vault = Vault.open(
        tmp_path / "vault", create=True, embodiments=[everything], keys=keys, choices=StorageChoices(encrypt=False)
    )
    vault.append(owned(everything, 0, FLEET))
    (file,) = vault.shard_names()
    kept = (vault.path / file).read_bytes()
    withdraw(trust, *FLEET, scope_of(vault))
    assert vault.shard_names() == []
    # Nothing but the list keeps this copy out: no key protects it.
    for place in (file, "shards/else/other/x.arrow"):
        (vault.path / place).parent.mkdir(parents=True, exist_ok=True)
        (vault.path / place).write_bytes(kept)
        with pytest.raises(PermissionDeniedError, match="data set '2026' of 'fleet' was withdrawn"):
            vault.rebuild()
        assert vault.entries() == []
        (vault.path / place).unlink()


def renamed(episode: Episode, **about) -> Episode:
    return replace(episode, metadata=replace(episode.metadata, owner="else", dataset="new", episode_id="x", **about))


def test_it_does_not_come_back_under_any_name_container_clock_or_cut(both, trust, everything):
    original = owned(everything, 0, FLEET)
    exported = both.read("fleet/2026/000000")
    withdraw(trust, *FLEET, scope_of(both))
    with pytest.raises(
        PermissionDeniedError, match="data set '2026' of 'fleet' was withdrawn; nothing is stored under"
    ):
        both.append(owned(everything, 77, FLEET))
    shifted = {n: Stream(s.times_ns + 5 * 10**9, s.values, s.splits) for n, s in original.streams.items()}
    only_frames = {"front": original.streams["front"], "action": original.streams["action"]}
    # Frames and points come back from an export as they were stored, which is not as they were given.
    exported_sensors = {n: exported.streams[n] for n in ("front", "lidar", "action")}
    assert not np.array_equal(exported.streams["front"].values, original.streams["front"].values)
    excerpt = {n: s.slice(len(s) // 4, len(s)) for n, s in original.streams.items()}
    for what, streams in (
        ("joints", original.streams),
        ("joints", shifted),
        ("front", only_frames),
        ("front", exported_sensors),
        ("", excerpt),
    ):
        with pytest.raises(
            PermissionDeniedError, match=f"x: {what}.*pieces of what it says were withdrawn by their owner"
        ):
            both.append(renamed(replace(original, streams=streams)))
    assert len(both.entries()) == 2
    # Other data of the same machine, another's or the same owner's under a new name, are welcome.
    both.append(owned(everything, 50, WORKS))
    both.append(owned(everything, 51, ("fleet", "2027")))


def test_half_of_a_channel_is_enough_and_a_little_less_is_not(both, trust, everything):
    original, other = owned(everything, 0, FLEET), owned(everything, 60, WORKS)
    withdraw(trust, *FLEET, scope_of(both))
    frames, fresh = original.streams["front"].values, other.streams["front"].values
    for count, is_refused in (((len(frames) + 1) // 2, True), ((len(frames) - 1) // 2, False)):
        mixed = np.concatenate([frames[:count], fresh[: len(frames) - count]])
        episode = replace(other, streams=other.streams | {"front": Stream(original.streams["front"].times_ns, mixed)})
        episode = replace(episode, metadata=replace(episode.metadata, episode_id=f"mixed/{count}"))
        if is_refused:
            with pytest.raises(PermissionDeniedError, match=f"front as stored: {count} of {len(frames)} pieces"):
                both.append(episode)
        else:
            both.append(episode)


def test_another_vault_learns_of_it_from_the_list_and_refuses_where_it_cannot_read_it(
    both, trust, everything, tmp_path
):
    withdraw(trust, *FLEET, scope_of(both))
    held = next((both.path / "withdrawn").glob("*-1-content.json"))
    with pytest.raises(KeyUnavailableError, match="no key '#denied'"):
        open_vault(both.path, tmp_path / "none").append(owned(everything, 50, WORKS))
    whole = held.read_bytes()
    held.write_bytes(whole.replace(b'"blinded":"', b'"blinded":"AAAA'))
    with pytest.raises(DataError, match="the list of what was withdrawn was changed"):
        open_vault(both.path, both.keys.folder).append(owned(everything, 50, WORKS))


def test_the_receipt_says_what_was_done_and_holds_offline(both, trust, tmp_path):
    sizes = stock_of(both, *FLEET).files
    windows = sum(e.num_windows for e in both.entries() if e.metadata.owner == "fleet")
    done = withdraw(trust, *FLEET, scope_of(both))
    found = read_receipt(done.receipt, trust.trust_store)
    said = found.said["vaults"][str(both.path)]
    assert {name: one["bytes"] for name, one in said["files"].items()} == sizes
    assert (said["episodes"], said["windows"]) == (3, windows)
    assert found.said["keys"] == [key_id(*FLEET)] and found.signers == ("Sample Works Research",)
    assert found.said["denied"]["pieces"] > 100 and found.said["denied"]["unread"] == []
    assert (found.entry.kind, found.entry.body["owner"]) == ("withdrawal", "fleet")
    kinds = [e.kind for e in read_entries(trust.ledger.folder)]
    assert kinds == ["ledger", "withdrawal", "key", "withdrawal"]
    assert verify(trust.ledger.folder, trust=trust.trust_store).holds


def test_a_forged_an_altered_and_a_strangers_receipt_are_refused(both, trust):
    done = withdraw(trust, *FLEET, scope_of(both))
    whole = Envelope.from_bytes(done.receipt.read_bytes().removesuffix(b"\n"), place="x")
    lie = Envelope(whole.payload_type, whole.payload.replace(b'"episodes":3', b'"episodes":9'), whole.signatures)
    assert lie.payload != whole.payload
    with pytest.raises(SignatureError, match=r"r: the signature by .* does not verify"):
        check_receipt(lie, trust.trust_store, place="r")
    stranger = Envelope(whole.payload_type, whole.payload, ()).signed_by(SigningKey.generate())
    with pytest.raises(SignatureError, match=r"r: signed by .*, expected one of 1 trusted keys"):
        check_receipt(stranger, trust.trust_store, place="r")
    # By the keeper's own key, but of another data set than the ledger's entry.
    other = Envelope(whole.payload_type, whole.payload.replace(b'"owner":"fleet"', b'"owner":"flees"', 1), ())
    with pytest.raises(LedgerError, match="r: its proof is of another entry"):
        check_receipt(other.signed_by(trust.signing_key), trust.trust_store, place="r")
    # Where it is kept a forged one is not taken for the truth either.
    done.receipt.write_bytes(stranger.to_bytes() + b"\n")
    with pytest.raises(SignatureError, match="signed by"):
        withdraw(trust, *FLEET, scope_of(both))


def test_done_again_it_changes_nothing_and_says_so(both, trust):
    first = withdraw(trust, *FLEET, scope_of(both))
    before = everything_below(trust.path) + everything_below(both.path)
    again = withdraw(trust, *FLEET, scope_of(both))
    assert (first.is_new, again.is_new) == (True, False)
    assert again.said == first.said
    assert everything_below(trust.path) + everything_below(both.path) == before


def test_a_vault_that_turns_up_later_is_purged_with_a_receipt_of_its_own(both, trust, tmp_path):
    shutil.copytree(both.path, tmp_path / "late")
    first = withdraw(trust, *FLEET, scope_of(both))
    late = open_vault(tmp_path / "late", both.keys.folder)
    second = withdraw(trust, *FLEET, scope_of(late))
    assert second.is_new and not stock_of(late, *FLEET)
    assert list(second.said["vaults"]) == [str(late.path)] and second.said["entry"] == first.said["entry"]
    # Its key is gone, so its content cannot be told any more: the first round's list, copied here, can.
    assert len(second.said["denied"]["unread"]) == 3 and second.said["denied"]["pieces"] == 0
    with pytest.raises(PermissionDeniedError, match="pieces of what it says were withdrawn"):
        late.append(renamed(owned(late.embodiment("test/everything@1"), 0, FLEET)))
    assert read_receipt(folder_of(trust, *FLEET) / "receipt-1.json", trust.trust_store).said == first.said


def test_a_data_set_that_is_nowhere_is_named(both, trust):
    with pytest.raises(DataError, match=r"fleet/2025: nothing of this data set in .*vault"):
        withdraw(trust, "fleet", "2025", scope_of(both))
    assert [e.kind for e in read_entries(trust.ledger.folder)] == ["ledger"]


def test_an_owners_request_counts_once_and_for_this_alone(both, trust, tmp_path):
    key = SigningKey.create(tmp_path / "fleet-key")
    request = make_request(*FLEET, ledger=trust.ledger.id, key=key)
    with pytest.raises(SignatureError, match=r"request: signed by .*, expected one of 1 trusted keys"):
        withdraw(trust, *FLEET, scope_of(both), request=request)
    (trust.path / "partners" / "fleet.pub").write_bytes(key.public.pem())
    works = SigningKey.create(tmp_path / "works-key")
    (trust.path / "partners" / "works.pub").write_bytes(works.public.pem())
    for made, match in (
        (make_request(*FLEET, ledger=trust.ledger.id, key=works), "signed by works, expected 'fleet': only its owner"),
        (make_request(*FLEET, ledger="sha256:" + "0" * 64, key=key), "request: ledger: got 'sha256:0000"),
        (
            make_request("fleet", "2025", ledger=trust.ledger.id, key=key),
            "request: dataset: got '2025', expected '2026'",
        ),
    ):
        with pytest.raises(SignatureError, match=match):
            withdraw(trust, *FLEET, scope_of(both), request=made)
    assert len(both.entries()) == 5
    first = withdraw(trust, *FLEET, scope_of(both), request=request)
    assert first.said["request"] == request.digest
    assert not withdraw(trust, *FLEET, scope_of(both), request=request).is_new


def test_a_plan_lists_everything_and_changes_nothing(both, trust):
    before = everything_below(trust.path) + everything_below(both.path)
    found = plan(trust, *FLEET, scope_of(both))
    held = found.held[str(both.path)]
    assert (len(held.episodes), len(held.files), found.entry, found.is_done) == (3, 3, None, False)
    assert everything_below(trust.path) + everything_below(both.path) == before


def test_an_episode_that_is_stored_while_it_is_withdrawn_is_taken_back(both, trust, everything, monkeypatch):
    """The withdrawal comes between the shard and the end of ``append``; nothing of the episode stays."""
    insert = both.catalog.insert

    def withdrawn_meanwhile(shard, rows):
        insert(shard, rows)
        withdraw(trust, *FLEET, scope_of(open_vault(both.path, both.keys.folder)))

    monkeypatch.setattr(both.catalog, "insert", withdrawn_meanwhile)
    with pytest.raises(PermissionDeniedError, match="data set '2026' of 'fleet' was withdrawn"):
        both.append(owned(everything, 5, FLEET))
    assert not stock_of(both, *FLEET)


def test_two_at_once_are_one_after_the_other(both, trust):
    def meanwhile(step):
        if step == "purge":
            with pytest.raises(ConfigError, match="another withdrawal runs"):
                withdraw(trust, *FLEET, scope_of(both))

    assert withdraw(trust, *FLEET, scope_of(both), progress=meanwhile).is_new


def test_what_broke_off_is_finished_where_it_began(both, trust, tmp_path):
    class PowerCutError(Exception):
        pass

    def cut(step):
        if step == "purge":
            raise PowerCutError

    shutil.copytree(both.path, tmp_path / "late")
    late = open_vault(tmp_path / "late", both.keys.folder)
    with pytest.raises(PowerCutError):
        withdraw(trust, *FLEET, scope_of(both), progress=cut)
    with pytest.raises(ConfigError, match=r"a withdrawal that broke off was of .*/vault, got .*/late; finish it"):
        withdraw(trust, *FLEET, scope_of(late))
    assert withdraw(trust, *FLEET, scope_of(both)).is_new and withdraw(trust, *FLEET, scope_of(late)).is_new


#: of the writes that a withdrawal waits for, those at which it is killed here: primes, spread over all of them
WRITES = (7, 23, 53, 83)


def test_killed_at_any_point_the_same_command_finishes(both, trust, tmp_path, everything):
    """Eight steps and four files (three shards and a key wrapped anew) are told; it dies at each, and at some of its writes."""
    (both.path / "shards/fleet/2026/test_everything_1").mkdir(exist_ok=True)
    (both.path / "shards/fleet/2026/test_everything_1/old.key").write_bytes(b"a data key wrapped anew")
    shutil.copytree(tmp_path, tmp_path.parent / "kept")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(withdrawing.__file__).parent)])}
    pieces = set()
    for kind, kill_at in [*(("told", n) for n in range(1, 13)), *(("written", n) for n in WRITES)]:
        place = tmp_path.parent / f"killed-{kind}-{kill_at}"
        shutil.copytree(tmp_path.parent / "kept", place)
        where = [str(place / name) for name in ("trust", "vault", "keys")]
        command = [sys.executable, withdrawing.__file__, *where, kind, str(kill_at)]
        killed = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        vault, kept = open_vault(place / "vault", place / "keys"), TrustFolder.open(place / "trust")
        done = withdraw(kept, *FLEET, scope_of(vault))
        said = done.said["vaults"][str(vault.path)]
        assert (said["episodes"], len(said["files"])) == (3, 4)
        pieces.add(done.said["denied"]["pieces"])
        assert not stock_of(vault, *FLEET) and len(vault.entries()) == 2
        assert b"fleet" not in everything_below(vault.path)
        with pytest.raises(PermissionDeniedError, match="pieces of what it says were withdrawn"):
            vault.append(renamed(owned(everything, 0, FLEET)))
        assert verify(kept.ledger.folder, trust=kept.trust_store).holds
        kinds = [(e.kind, e.body.get("event")) for e in read_entries(kept.ledger.folder)][1:]
        assert [one for one in kinds if one[0] != "recovered"] == [
            ("withdrawal", "begun"),
            ("key", "destroyed"),
            ("withdrawal", "done"),
        ]
    # However it broke off, the same was recognised.
    assert len(pieces) == 1 and pieces.pop() > 100


@pytest.mark.parametrize("name", ["mcap", "lerobot", "parquet"])
def test_what_was_exported_is_refused_when_it_is_imported_again_in_that_format(both, trust, tmp_path, name):
    """Read with another owner's name by the reader that finds it: whole containers of other people's formats."""
    pytest.importorskip({"mcap": "mcap", "lerobot": "av", "parquet": "pyarrow"}[name])
    facts = both.embodiment("test/everything@1")
    path = tmp_path / f"export.{name}"
    find_writer(name).write(path, facts, [both.read("fleet/2026/000000")])
    withdraw(trust, *FLEET, scope_of(both))
    ((log, reader),) = find_logs(path)
    read = list(reader.read(log, owner="else", dataset="new"))
    assert [episode.metadata.owner for episode in read] == ["else"]
    both.keep_embodiment(reader.embodiment(log))
    with pytest.raises(PermissionDeniedError, match="pieces of what it says were withdrawn by their owner"):
        both.append(read[0])


def test_in_a_governed_vault_it_is_recognised_though_its_agreement_ended_and_every_vault_there_refuses_it(
    tmp_path, monkeypatch
):
    # Keys of its own: what is destroyed here, other tests use.
    monkeypatch.setenv("GENBA_KEYS", str(tmp_path / "keys"))
    trust, clock = governed.trust_folder(tmp_path / "trust"), governed.Clock(0)
    fleet, arm = governed.FLEET, governed.ARM
    vault = governed.governed_vault(tmp_path / "vault", trust, fleet, arm)
    # Ten seconds: long enough to be told from others.
    vault.append(governed.episode(7, fleet, num_steps=200))
    # The fleet's agreement ends with 2030; nobody may open its data to use or keep them any more.
    clock.set("2031-06-01")
    late = governed.at(trust, clock)
    ended = governed.opened(vault, "train", late)
    with pytest.raises(PermissionDeniedError, match="Sample Fleet"):
        ended.read("driving/000")
    done = withdraw(late, *fleet[:2], scope_of(ended))
    assert done.said["denied"]["unread"] == [] and done.said["denied"]["pieces"] > 0
    assert [entry.metadata.owner for entry in ended.entries()] == [arm[0]] * 2
    # Another vault of the same trust folder was not named, and learns of it from there.
    other = governed.governed_vault(tmp_path / "other", late, arm)
    again = governed.episode(7, fleet, num_steps=200)
    disguised = replace(
        again, metadata=replace(again.metadata, owner=arm[0], dataset=arm[1], agreement=arm[2], episode_id="x")
    )
    with pytest.raises(PermissionDeniedError, match="pieces of what it says were withdrawn"):
        other.append(disguised)
    with pytest.raises(PermissionDeniedError, match="data set 'driving' of 'Sample Fleet' was withdrawn"):
        other.append(again)
    # Nobody else's data were opened for it.
    opened = [e.body["request"] for e in read_entries(trust.ledger.folder) if e.kind == "decision"]
    assert {r["owner"] for r in opened if r["act"] == "read"} == {fleet[0]}
