"""What is stored comes back; what was stored before survives a crash, a full disk and a damaged neighbour."""

import errno
import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from random_episodes import random_episode

from genba.data.catalog import Catalog
from genba.data.codecs import StorageChoices
from genba.data.compact import compact
from genba.data.fsck import fsck_vault
from genba.data.points import POINT_STEP_M
from genba.data.vault import Vault
from genba.errors import CorruptShardError, DataError, SpecError, StorageError
from genba.spec.conformance import check_episode
from genba.spec.episode import Episode
from genba.spec.statistics import Statistics, episode_statistics
from genba.spec.streams import Stream


def assert_same(got: Episode, expected: Episode, *, lossy: tuple[str, ...] = ("lidar", "front")) -> None:
    assert set(got.streams) == set(expected.streams)
    for name, stream in expected.streams.items():
        np.testing.assert_array_equal(got.streams[name].times_ns, stream.times_ns)
        if stream.splits is None:
            assert got.streams[name].splits is None
        else:
            np.testing.assert_array_equal(got.streams[name].splits, stream.splits)
        assert got.streams[name].values.dtype == stream.values.dtype
        assert got.streams[name].values.shape == stream.values.shape
        if name not in lossy:
            np.testing.assert_array_equal(got.streams[name].values, stream.values)


def test_every_modality_comes_back(vault, everything):
    episode = random_episode(everything, 3, labelled=True)
    vault.append(episode)
    got = vault.read(episode.metadata.episode_id)
    check_episode(everything, got)
    assert_same(got, episode)
    # Rounded to a grid, a point is at most half a step off (and float32 resolves 20 m to about 1 um).
    error_m = np.abs(got.streams["lidar"].values - episode.streams["lidar"].values)
    assert error_m.max() <= POINT_STEP_M / 2 + 2e-6


def test_metadata_comes_back_with_an_outcome_that_is_no_number(vault, everything):
    episode = random_episode(everything, 3)
    vault.append(episode)
    for got in (vault.read(episode.metadata.episode_id).metadata, vault.entries()[0].metadata):
        assert np.isnan(got.outcome["unknown"])
        known = {"success": 1.0}
        assert replace(got, outcome=known) == replace(episode.metadata, outcome=known)


def test_smooth_picture_survives_jpeg(vault, everything):
    episode = random_episode(everything, 3)
    row, column = np.mgrid[0:20, 0:24]
    picture = np.stack([row * 8, column * 8, 100 + row * 0], -1).astype(np.uint8)
    frames = np.stack([picture, 255 - picture])
    front = Stream(episode.streams["action"].times_ns[:2], frames)
    vault.append(Episode(episode.metadata, {**episode.streams, "front": front}))
    got = vault.read(episode.metadata.episode_id).streams["front"].values
    # A ramp at quality 90 keeps at least 35 dB: a mean squared error below 255^2 / 10^3.5 = 20.6.
    assert np.mean((got.astype(float) - frames) ** 2) < 20.6


def test_reading_telemetry_that_is_not_sealed_copies_nothing(vault, everything):
    episode = random_episode(everything, 3)
    plain = Vault.open(vault.path, embodiments=[everything], choices=StorageChoices(encrypt=False))
    plain.append(episode)
    values = plain.read(episode.metadata.episode_id).streams["joints"].values
    assert not values.flags.owndata
    assert not values.flags.writeable


def test_empty_streams_come_back_empty(vault, everything):
    episode = random_episode(everything, 3)
    none = np.zeros(0, np.int64)
    empty = {
        "joints": Stream(none, np.zeros((0, 3), np.float32)),
        "front": Stream(none, np.zeros((0, 20, 24, 3), np.uint8)),
        "lidar": Stream(none, np.zeros((0, 3), np.float32), np.zeros(1, np.int64)),
    }
    vault.append(Episode(episode.metadata, {**episode.streams, **empty}))
    assert_same(vault.read(episode.metadata.episode_id), Episode(episode.metadata, {**episode.streams, **empty}))


def test_more_episodes_than_file_descriptors(vault, everything):
    resource = pytest.importorskip("resource")
    for seed in range(3):
        vault.append(random_episode(everything, seed, num_steps=2))
    entries = vault.entries()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    num_open = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (num_open + 20, hard))
    try:
        kept = [vault.shard(entries[i % 3]) for i in range(60)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert kept[59].episode().metadata.episode_id == entries[2].episode_id


def test_episode_that_does_not_fit_is_refused(vault, everything):
    episode = random_episode(everything, 0)
    wide = Stream(episode.streams["force"].times_ns, np.zeros((len(episode.streams["force"]), 2), np.float32))
    with pytest.raises(SpecError, match="force: values: got float32"):
        vault.append(Episode(episode.metadata, {**episode.streams, "force": wide}))
    with pytest.raises(SpecError, match="no sample in any stream"):
        vault.append(Episode(episode.metadata, {}))
    assert vault.entries() == []
    assert vault.shard_names() == []


def test_same_id_twice_is_refused(vault, everything):
    vault.append(random_episode(everything, 0))
    with pytest.raises(DataError, match=r"random/000000' is stored already"):
        vault.append(random_episode(everything, 0, num_steps=3))
    assert len(vault.shard_names()) == 1


def test_unknown_episode_names_the_nearest(three):
    with pytest.raises(DataError, match=r"did you mean 'test/everything@1/random/00000"):
        three.read("test/everything@1/random/00000")


def test_missing_vault_is_not_made_in_silence(tmp_path):
    with pytest.raises(DataError, match="no vault here"):
        Vault.open(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_entries_come_in_the_same_order_whoever_came_first(tmp_path, everything):
    orders = []
    for name, seeds in (("a", (2, 0, 1)), ("b", (1, 2, 0))):
        vault = Vault.open(tmp_path / name, create=True, embodiments=[everything])
        for seed in seeds:
            vault.append(random_episode(everything, seed, num_steps=3))
        orders.append([entry.episode_id for entry in vault.entries()])
    assert orders[0] == orders[1] == sorted(orders[0])
    assert vault.entries(task_id="other@1") == []
    assert len(vault.entries(embodiment_id=everything.id, task_id="test/random@1")) == 3


def test_statistics_of_the_vault_are_those_of_all_episodes_together(three, everything):
    episodes = [three.read(entry.episode_id) for entry in three.entries()]
    got = three.statistics(everything.id)
    for name in ("joints", "force", "orders", "duration"):
        rows = np.concatenate([e.streams[name].values for e in episodes]).astype(float)
        if name == "duration":
            rows = rows.reshape(-1, 1)
        if name == "force":
            rows = np.sign(rows) * np.log1p(np.abs(rows) / 0.1)
        np.testing.assert_allclose(got[name].mean, np.nanmean(rows, 0))
        np.testing.assert_allclose(got[name].std, np.nanstd(rows, 0))
    whole = reduce(Statistics.merge, (episode_statistics(everything, e) for e in episodes))
    np.testing.assert_allclose(got["action"].mean, whole["action"].mean)
    with pytest.raises(DataError, match="no episodes of test/other@1"):
        three.statistics("test/other@1")


def test_catalog_is_rebuilt_from_the_shards(three, everything):
    before, statistics = three.entries(), three.statistics(everything.id).to_json()
    for path in three.path.glob("catalog.sqlite*"):
        path.unlink()
    assert Vault.open(three.path, create=True, embodiments=[everything]).rebuild() == 3
    assert [replace(e, metadata=replace(e.metadata, outcome={})) for e in three.entries()] == [
        replace(e, metadata=replace(e.metadata, outcome={})) for e in before
    ]
    assert three.statistics(everything.id).to_json() == statistics
    assert three.rebuild() == 0


def test_damaged_catalog_says_how_to_rebuild_it(three):
    three.catalog.path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(DataError, match="move it away and run: genba data rebuild"):
        three.entries()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_truncated_shard_is_named_and_the_rest_stays_readable(three, share):
    entries = three.entries()
    path = three.path / entries[1].file
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(CorruptShardError, match=f"{path.name}: got .* bytes, expected"):
        three.read(entries[1].episode_id)
    for entry in (entries[0], entries[2]):
        three.read(entry.episode_id)
    assert [p.kind for p in fsck_vault(three) if p] == ["cut"]


def test_shard_of_right_size_without_footer_is_named(three):
    entry = three.entries()[0]
    path = three.path / entry.file
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - 100)
        file.truncate(size)
    with pytest.raises(CorruptShardError, match=f"{path.name}: not a whole shard"):
        three.read(entry.episode_id)


def test_check_finds_one_flipped_bit(three):
    assert [p for p in fsck_vault(three) if p] == []
    entry = three.entries()[0]
    path = three.path / entry.file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    problems = [p for p in fsck_vault(three) if p]
    assert [(p.kind, p.episode_id) for p in problems] == [("changed", entry.episode_id)]
    assert "expected sha256:" in problems[0].message


def test_check_finds_missing_unknown_and_half_written_files(three):
    entries = three.entries()
    (three.path / entries[0].file).unlink()
    with sqlite3.connect(three.catalog.path) as connection:
        for table in ("episodes", "shards"):
            connection.execute(f"DELETE FROM {table} WHERE file = ?", (entries[1].file,))
    connection.close()
    leftover = (three.path / entries[2].file).with_name(".abc.arrow.partial")
    leftover.write_bytes(b"half")
    assert [p.kind for p in fsck_vault(three) if p] == ["missing", "unknown shard", "half-written"]
    assert three.rebuild() == 1


def test_vault_is_readable_where_nothing_can_be_written(three):
    entry = three.entries()[0]
    assert sorted(p.name for p in three.path.iterdir()) == ["catalog.sqlite", "shards"]
    # SQLite's own read-only mode stands for read-only storage: root may write anywhere else.
    with closing(sqlite3.connect(f"file:{three.catalog.path}?mode=ro&immutable=1", uri=True)) as connection:
        assert connection.execute("SELECT file FROM episodes ORDER BY episode_id").fetchone() == (entry.file,)


def test_vault_can_be_sent_to_another_process(three):
    assert len(pickle.loads(pickle.dumps(three)).entries()) == 3


def _append_many(path, embodiment, seeds):
    vault = Vault.open(path, create=True, embodiments=[embodiment])
    for seed in seeds:
        vault.append(random_episode(embodiment, seed, num_steps=2))


def test_two_processes_append_at_the_same_time(tmp_path, everything):
    # Both also make the vault at the same time.
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_append_many, args=(tmp_path / "vault", everything, range(first, 40, 2)))
        for first in (0, 1)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    vault = Vault.open(tmp_path / "vault", embodiments=[everything])
    assert len(vault.entries()) == 40
    assert [p for p in fsck_vault(vault) if p] == []


def test_processes_that_store_for_the_first_time_agree_on_the_key(tmp_path, everything, monkeypatch):
    # No folder of keys yet: whoever comes first makes the owner's key, and all seal with it.
    monkeypatch.setenv("GENBA_KEYS", str(tmp_path / "keys"))
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_append_many, args=(tmp_path / "vault", everything, range(first, 8, 4)))
        for first in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["genba%2Fdefault.key"]
    vault = Vault.open(tmp_path / "vault", embodiments=[everything])
    assert len([vault.read(entry.episode_id) for entry in vault.entries()]) == 8


def test_episodes_are_read_while_others_are_stored_and_packed(tmp_path, everything):
    vault = Vault.open(tmp_path / "vault", create=True, embodiments=[everything])
    expected = random_episode(everything, 100, num_steps=2)
    vault.append(expected)
    worker = multiprocessing.get_context("fork").Process(
        target=_append_many, args=(tmp_path / "vault", everything, range(20))
    )
    worker.start()
    rounds = 0
    while worker.is_alive() or not rounds:
        list(compact(vault))
        for entry in vault.entries():
            got = vault.shard(entry).episode()
            assert got.metadata.episode_id == entry.episode_id
        assert_same(vault.read(expected.metadata.episode_id), expected)
        rounds += 1
    assert worker.exitcode == 0
    list(compact(vault))
    assert len(vault.entries()) == 21
    assert len(vault.shard_names()) == 1
    assert [p for p in fsck_vault(vault) if p] == []


def test_a_catalog_that_another_process_brings_up_to_date_does_not_cost_the_episode(vault, everything, monkeypatch):
    other, insert = Vault.open(vault.path, embodiments=[everything]), Catalog.insert

    def late(catalog, shard, rows):
        monkeypatch.setattr(Catalog, "insert", insert)
        assert other.rebuild() == 1
        insert(catalog, shard, rows)

    monkeypatch.setattr(Catalog, "insert", late)
    vault.append(random_episode(everything, 0))
    assert len(vault.read(vault.entries()[0].episode_id).streams)
    assert [p for p in fsck_vault(vault) if p] == []


@pytest.mark.parametrize("name", ["v", "v/", "./v", "inner/../v"])
def test_a_folder_may_be_written_in_any_way(tmp_path, everything, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    vault = Vault.open(name, create=True, embodiments=[everything])
    vault.append(random_episode(everything, 0, num_steps=2))
    assert vault.shard_names() == [vault.entries()[0].file]
    assert [p for p in fsck_vault(vault) if p] == []


def test_a_vault_of_an_earlier_genba_is_refused_by_name(tmp_path):
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as connection, connection:
        connection.execute("CREATE TABLE episodes (episode_id TEXT)")
    for create in (True, False):
        with pytest.raises(DataError, match=r"got a catalog of version 1, expected 2; another Genba wrote this vault"):
            Vault.open(tmp_path, create=create).entries()


def test_frames_are_stored_as_whoever_opens_the_vault_asks(vault, everything):
    pytest.importorskip("av")
    episode = random_episode(everything, 3, num_steps=20)
    film = Vault.open(vault.path, embodiments=[everything], choices=StorageChoices(camera="h264", group_length=4))
    film.append(episode)
    stored = film.shard(film.entries()[0]).streams["front"]
    assert (stored.codec, stored.samples_per_block) == ("h264-444", 4)
    # Whoever reads needs no choice: what was stored says how.
    got = vault.read(episode.metadata.episode_id).streams["front"]
    np.testing.assert_array_equal(got.values[5], stored.values(5, 6)[0])
    # Even noise keeps at least 35 dB: a mean squared error below 255^2 / 10^3.5 = 20.6.
    assert np.mean((got.values.astype(float) - episode.streams["front"].values) ** 2) < 20.6


_KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from random_episodes import random_episode
from genba.data import shard
from genba.data.vault import Vault
from genba.spec.embodiment import load_embodiment

facts = load_embodiment({facts!r})
vault = Vault.open({path!r}, embodiments=[facts])
write = os.write

def die_half_way(descriptor, data):
    write(descriptor, data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

os.write = die_half_way
vault.append(random_episode(facts, 77))
"""


def run_child(code: str, **values: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code).format(**values)], capture_output=True, text=True, check=False
    )


def test_process_killed_while_writing_loses_nothing_stored(three, everything, request):
    tests = str(request.config.rootpath / "tests")
    facts = str(request.config.rootpath / "tests" / "model" / "everything.toml")
    ended = run_child(_KILLED, tests=tests, facts=facts, path=str(three.path))
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert [p.kind for p in fsck_vault(three) if p] == ["half-written"]
    assert len(three.entries()) == 3
    # The same episode can be stored now: nothing of it stands in the way.
    three.append(random_episode(everything, 77))
    assert len(three.entries()) == 4


_FULL = """
import resource, sys
sys.path.insert(0, {tests!r})
from random_episodes import random_episode
from genba.data.vault import Vault
from genba.errors import StorageError
from genba.spec.embodiment import load_embodiment

facts = load_embodiment({facts!r})
vault = Vault.open({path!r}, embodiments=[facts])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    vault.append(random_episode(facts, 77))
except StorageError as error:
    print(error)
"""


def test_file_that_the_system_refuses_leaves_nothing_behind(three, request):
    tests = str(request.config.rootpath / "tests")
    facts = str(request.config.rootpath / "tests" / "model" / "everything.toml")
    ended = run_child(_FULL, tests=tests, facts=facts, path=str(three.path))
    assert ".arrow: could not write" in ended.stdout, ended.stderr
    assert "File too large" in ended.stdout
    assert [p for p in fsck_vault(three) if p] == []
    assert len(three.entries()) == 3


def test_full_disk_names_the_file_and_keeps_what_was_stored(tmp_path, everything):
    """On a real file system of 256 KiB where one may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"may not mount a small file system: {mounted.stderr.strip()}")
    try:
        vault = Vault.open(disk / "vault", create=True, embodiments=[everything])
        stored = 0
        with pytest.raises(StorageError, match=r"No space left on device|database or disk is full"):  # noqa: PT012
            for seed in range(100):
                vault.append(random_episode(everything, seed))
                stored += 1
        assert stored >= 1
        assert len(vault.shard_names()) == stored
        assert vault.partial_names() == []
        kept = [entry.episode_id for entry in vault.entries()]
        assert len(kept) == stored
        for episode_id in kept:
            vault.read(episode_id)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_full_disk_error_says_what_to_do(vault, everything, monkeypatch):
    def full(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(
        StorageError, match=r"\.arrow: could not write .* No space left on device.*everything before is"
    ):
        vault.append(random_episode(everything, 0))
    monkeypatch.undo()
    assert vault.shard_names() == vault.partial_names() == []
    vault.append(random_episode(everything, 0))


def test_a_machine_that_no_registry_knows_is_kept_beside_its_episodes(tmp_path, everything):
    Vault.open(tmp_path, create=True).keep_embodiment(everything)
    again = Vault.open(tmp_path)
    assert again.embodiment(everything.id) == everything
    again.append(random_episode(everything, 0))
    again.keep_embodiment(everything)
    with pytest.raises(DataError, match=r"known already with other facts; give the new machine another id"):
        Vault.open(tmp_path).keep_embodiment(replace(everything, description="another"))
    assert Vault.open(tmp_path).embodiment(everything.id) == everything
