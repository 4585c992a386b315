"""A vault in object storage: OpenStack Swift with its S3 API, the servers that Debian packages, on loopback."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.fs as pafs
import pytest
from governed import FLEET as DRIVING
from governed import MACHINE, episode, sample_trust, trust_folder
from random_episodes import random_episode
from withdrawing import FLEET as WITHDRAWN
from withdrawing import WORKS, owned

from genba.data.compact import compact
from genba.data.fsck import fsck_vault
from genba.data.salvage import repair
from genba.data.storage import Ranged, Storage
from genba.data.vault import Vault
from genba.data.windows import WindowSource
from genba.data.withdraw import Scope, withdraw
from genba.errors import ConfigError, CorruptShardError, DataError, PermissionDeniedError, StorageError
from genba.spec.normalise import Normalizer
from genba.trust.folder import TrustFolder
from genba.trust.keys import FileKeys

PACKAGES = "swift-proxy swift-account swift-container swift-object"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """The port of a running server, as the query of a location."""
    python = "/usr/bin/python3"
    if not shutil.which(python) or subprocess.run([python, "-c", "import swift"], capture_output=True).returncode:
        pytest.skip(f"no S3-compatible server here; on Debian: apt-get install {PACKAGES}")
    folder = tmp_path_factory.mktemp("swift")
    server = subprocess.Popen(
        [python, "-W", "ignore", str(Path(__file__).with_name("swift_server.py")), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
    )
    assert server.stdin is not None and server.stdout is not None and server.stderr is not None
    try:
        port = server.stdout.readline().strip()
        if not port:
            pytest.fail(f"Swift did not start: {server.stderr.read()}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", "test:tester")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
            yield f"?scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1"
    finally:
        server.stdin.close()
        server.wait(timeout=30)
        server.stdout.close()
        server.stderr.close()


@pytest.fixture
def location(endpoint, request, tmp_path, monkeypatch):
    """A bucket of its own for a test, and a cache of its own for the catalog."""
    monkeypatch.setenv("GENBA_CACHE", str(tmp_path / "cache"))
    bucket = request.node.name.replace("_", "-")[:60].lower()
    filesystem, _ = pafs.FileSystem.from_uri(f"s3://{bucket}{endpoint}&allow_bucket_creation=true")
    filesystem.create_dir(bucket)
    return f"s3://{bucket}/vault{endpoint}"


def filled(location, embodiment, count=3):
    vault = Vault.open(location, create=True, embodiments=[embodiment])
    for seed in range(count):
        vault.append(random_episode(embodiment, seed))
    return vault


def assert_same(got, expected):
    for name, stream in expected.streams.items():
        np.testing.assert_array_equal(got.streams[name].times_ns, stream.times_ns)
        if name not in ("front", "lidar"):
            np.testing.assert_array_equal(got.streams[name].values, stream.values)
    assert replace(got.metadata, outcome={}) == replace(expected.metadata, outcome={})


def test_episodes_come_back_and_windows_are_those_of_a_local_vault(location, tmp_path, everything):
    remote = filled(location, everything)
    assert sorted(p.name for p in remote.path.iterdir()) == ["catalog.sqlite"]
    local = filled(tmp_path / "local", everything)
    batches = []
    for vault in (remote, local):
        for seed in range(3):
            assert_same(vault.read(f"{everything.id}/random/{seed:06d}"), random_episode(everything, seed))
        normalizer = Normalizer(everything, vault.statistics(everything.id))
        source = WindowSource(vault, everything, normalizer, vault.entries())
        batches.append(source.batch(np.arange(0, len(source), 5)))
    assert batches[0].keys() == batches[1].keys()
    for name, array in batches[0].items():
        np.testing.assert_array_equal(array, batches[1][name])
    assert [p for p in fsck_vault(remote) if p] == []


def test_a_window_fetches_its_blocks_only(location, everything, monkeypatch):
    vault = filled(location, everything, count=1)
    entry = vault.entries()[0]
    fetched, view = [], Ranged.view
    monkeypatch.setattr(Ranged, "view", lambda self, low, high: (fetched.append(high - low), view(self, low, high))[1])
    streams = vault.shard(entry).streams
    assert fetched == []
    streams["lidar"].values(2, 4)
    # Two neighbouring sweeps: one request for exactly their bytes.
    assert fetched == [int(streams["lidar"].bounds[4] - streams["lidar"].bounds[2])]
    assert sum(fetched) < entry.shard_bytes / 50


def test_another_host_finds_everything_from_the_objects(location, everything, tmp_path, monkeypatch):
    here = filled(location, everything)
    monkeypatch.setenv("GENBA_CACHE", str(tmp_path / "elsewhere"))
    there = Vault.open(location, embodiments=[everything])
    assert there.path != here.path
    assert [(e.episode_id, e.file, e.offset, e.digest) for e in there.entries()] == [
        (e.episode_id, e.file, e.offset, e.digest) for e in here.entries()
    ]
    here.append(random_episode(everything, 7, num_steps=3))
    assert Vault.open(location, embodiments=[everything]).entries()[-1].episode_id.endswith("000007")


def test_a_machine_that_no_registry_knows_is_known_on_every_host(location, everything, tmp_path, monkeypatch):
    here = Vault.open(location, create=True)
    here.keep_embodiment(everything)
    here.append(random_episode(everything, 0, num_steps=2))
    monkeypatch.setenv("GENBA_CACHE", str(tmp_path / "elsewhere"))
    assert Vault.open(location).embodiment(everything.id) == everything


def test_packed_on_one_host_and_read_on_another(location, everything, tmp_path, monkeypatch):
    here = filled(location, everything)
    monkeypatch.setenv("GENBA_CACHE", str(tmp_path / "elsewhere"))
    there = Vault.open(location, embodiments=[everything])
    stale = there.entries()
    (done,) = compact(here)
    assert here.shard_names() == [done.file]
    for seed, entry in enumerate(stale):
        assert_same(there.shard(entry).episode(), random_episode(everything, seed))
    assert {entry.file for entry in there.entries()} == {done.file}


def test_damage_is_found_and_the_rest_saved(location, everything):
    vault = filled(location, everything, count=2)
    entry = vault.entries()[0]
    filesystem, path = pafs.FileSystem.from_uri(location)
    with filesystem.open_input_stream(f"{path}/{entry.file}") as file:
        content = bytearray(file.read())
    content[int(vault.shard(entry).streams["lidar"].bounds[1])] ^= 1
    with filesystem.open_output_stream(f"{path}/{entry.file}") as file:
        file.write(bytes(content))
    again = Vault.open(location, embodiments=[everything])
    with pytest.raises(CorruptShardError, match=r"lidar: block 1: .* does not verify"):
        again.read(entry.episode_id)
    (problem,) = [p for p in fsck_vault(again) if p]
    assert (problem.kind, problem.damage) == ("changed", {"lidar": (1,)})
    (done,) = repair(again, [problem.file])
    assert done.saved == (entry.episode_id,)
    assert [p for p in fsck_vault(again) if p] == []
    assert again.storage.size_bytes(done.set_aside) == entry.shard_bytes


def test_a_key_never_leaves_this_host(location, everything, keys_of_the_tests):
    vault = filled(location, everything, count=1)
    assert (keys_of_the_tests / "genba%2Fdefault.key").is_file()
    assert [name.rpartition(".")[2] for name in vault.storage.names("")] == ["arrow"]


def test_a_bucket_is_governed_only_where_its_site_declares_it_and_the_host(location, tmp_path):
    trust, bucket = trust_folder(tmp_path / "trust"), location.partition("?")[0]
    host = Storage(location).endpoints[1]
    sites = trust.path / "sites.toml"
    before = sites.read_text()
    vault = Vault.open(location, create=True, embodiments=[MACHINE], trust=trust)
    with pytest.raises(
        PermissionDeniedError, match=rf"endpoints: endpoint '{bucket}', endpoint '{host}': nobody declared"
    ):
        vault.append(episode(0, DRIVING))
    sites.write_text(before.replace('endpoints = ["127.0.0.1:9100"', f'endpoints = ["{bucket}"'))
    with pytest.raises(PermissionDeniedError, match=rf"endpoints: endpoint '{host}': nobody declared"):
        Vault.open(location, embodiments=[MACHINE], trust=TrustFolder(trust.path)).append(episode(0, DRIVING))
    sites.write_text(before.replace('endpoints = ["127.0.0.1:9100"', f'endpoints = ["{bucket}", "{host}"'))
    Vault.open(location, embodiments=[MACHINE], trust=TrustFolder(trust.path)).append(episode(0, DRIVING))
    shutil.rmtree(vault.path)
    # On another host, too: what the bucket says of itself decides.
    with pytest.raises(PermissionDeniedError, match="governed by the rules of ledger"):
        Vault.open(location)
    assert Vault.open(location, embodiments=[MACHINE], trust=trust, purpose="train").read("driving/000").streams


@pytest.mark.parametrize(
    ("query", "variable", "endpoints"),
    [
        ("", "", ("s3://bucket/vault",)),
        ("?endpoint_override=10.0.0.5:9000&scheme=http", "", ("s3://bucket/vault", "10.0.0.5:9000")),
        ("?endpoint_override=store.example", "", ("s3://bucket/vault", "store.example:443")),
        ("?endpoint_override=store.example&scheme=http", "", ("s3://bucket/vault", "store.example:80")),
        ("", "http://10.0.0.6:8080/x", ("s3://bucket/vault", "10.0.0.6:8080")),
        ("", "https://store.example", ("s3://bucket/vault", "store.example:443")),
    ],
)
def test_rules_are_asked_about_the_bucket_and_every_host_that_is_named(query, variable, endpoints, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", variable)
    assert Storage(f"s3://bucket/vault{query or '?region=us-east-1'}").endpoints == endpoints


def test_a_folder_has_no_endpoint(tmp_path):
    assert Storage(tmp_path).endpoints == ()


def test_no_vault_a_foreign_bucket_and_a_silent_endpoint_are_named(
    location, endpoint, everything, tmp_path, monkeypatch
):
    with pytest.raises(DataError, match="no vault here"):
        Vault.open(location)
    missing = Vault(f"s3://no-such-bucket/vault{endpoint}", embodiments=[everything])
    missing.path.mkdir(parents=True)
    missing.catalog.create()
    with pytest.raises(StorageError, match=r"could not write .* nothing of this was stored"):
        missing.append(random_episode(everything, 0, num_steps=2))
    assert missing.entries() == []
    silent = f"s3://bucket/vault{endpoint.rpartition(':')[0]}:1&region=us-east-1"
    # Nobody knows whether it is governed, so it is not opened.
    with pytest.raises(StorageError, match=r"governed\.toml in s3://bucket/vault: could not look for it"):
        Vault(silent, embodiments=[everything])
    with pytest.raises(StorageError, match="could not list"):
        Storage(silent).names("shards")
    for wrong in ("gs://bucket/vault", "https://host/vault", Path("s3://bucket/vault")):
        with pytest.raises(ConfigError, match="got a URL, expected a folder or one of s3://"):
            Storage(wrong)
    with pytest.raises(ConfigError, match="expected s3://bucket/prefix"):
        Storage("s3://bucket/vault?endpoint=127.0.0.1")


def test_a_withdrawn_data_set_is_gone_from_the_bucket_and_from_every_hosts_catalog(
    location, everything, tmp_path, monkeypatch
):
    here = Vault.open(location, create=True, embodiments=[everything], keys=FileKeys(tmp_path / "keys"))
    here.append(owned(everything, 0, WITHDRAWN))
    here.append(owned(everything, 1, WORKS))
    here_cache = here.path
    monkeypatch.setenv("GENBA_CACHE", str(tmp_path / "elsewhere"))
    there = Vault.open(location, embodiments=[everything], keys=here.keys)
    opened = there.shard(there.entry("fleet/2026/000000"))
    withdraw(sample_trust(tmp_path / "trust"), *WITHDRAWN, Scope(keys=here.keys, vaults=(here,)))
    assert [name for name in here.storage.names("") if "fleet" in name] == []
    assert b"fleet" not in (here_cache / "catalog.sqlite").read_bytes()
    # The other host has a shard open and its own catalog: it reads nothing more, and forgets when it next opens the vault.
    with pytest.raises(StorageError, match="could not read bytes"):
        opened.streams["joints"].values(0, 5)
    again = Vault.open(location, embodiments=[everything], keys=here.keys)
    assert [e.episode_id for e in again.entries()] == ["works/lines/000001"]
    assert b"fleet" not in (again.path / "catalog.sqlite").read_bytes()
    with pytest.raises(PermissionDeniedError, match="pieces of what it says were withdrawn"):
        again.append(owned(everything, 0, WORKS))
