"""``genba data`` imports a log, says what a vault holds, and finds damage."""

import re
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from genba.cli.data import app
from genba.data.vault import Vault
from genba.errors import ConfigError, DataError, ReaderError
from genba.registry import READERS, WRITERS
from genba.spec.episode import Episode

EPISODE = "vehicle/toyota-can@2/comma2k19/"


@pytest.fixture
def genba(monkeypatch):
    """Run a command; an expected error is raised, anything else must exit with ``status``."""
    monkeypatch.setenv("COLUMNS", "250")

    def run(*arguments, status=0):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if isinstance(result.exception, Exception):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.output

    return run


@pytest.fixture
def imported(genba, samples, tmp_path):
    """A vault with one real minute of driving, found below a folder of folders."""
    output = genba(
        "import", samples / "vehicle", "--vault", tmp_path / "vault", "--reader", "comma2k19",
        "--dbc", samples / "vehicle" / "dbc" / "toyota_2017.dbc", "--owner", "fleet", "--jurisdiction", "JP",
    )  # fmt: skip
    assert "1 episodes stored" in output
    assert EPISODE in output
    return tmp_path / "vault"


def test_imported_log_is_listed_shown_and_sound(genba, imported):
    (entry,) = Vault.open(imported).entries()
    listed = genba("list", "--vault", imported)
    assert "vehicle/toyota-can@2" in listed
    assert "fleet" in listed
    assert "JP" in listed
    assert "1 episodes in" in listed
    assert entry.episode_id in genba("list", "--each", "--vault", imported)
    shown = genba("show", entry.episode_id, "--vault", imported)
    # 4,974 frames of each in 59.98 s.
    assert re.search(r"4974 +82\.9 ", shown)
    # 4,974 x 4 float32 and 4,974 x 2.
    assert "79.6  raw" in shown
    assert "39.8  raw" in shown
    assert entry.digest in shown
    assert "front_left" in shown
    assert "1 episodes are sound, 0 problems" in genba("fsck", "--vault", imported)


def test_importing_again_changes_nothing(genba, imported, samples):
    output = genba(
        "import", samples / "vehicle", "--vault", imported, "--reader", "comma2k19",
        "--dbc", samples / "vehicle" / "dbc" / "toyota_2017.dbc",
    )  # fmt: skip
    assert "0 episodes stored" in output
    assert "1 were there already" in output
    assert len(Vault.open(imported).entries()) == 1


def test_fsck_fails_where_a_shard_is_damaged(genba, imported):
    (entry,) = Vault.open(imported).entries()
    with (imported / entry.file).open("r+b") as file:
        file.seek(entry.size_bytes // 2)
        byte = file.read(1)[0]
        file.seek(entry.size_bytes // 2)
        file.write(bytes([byte ^ 1]))
    output = genba("fsck", "--vault", imported, status=1)
    assert f"changed {entry.episode_id}" in output
    assert "0 episodes are sound, 1 problems" in output


def test_repair_saves_what_is_whole_and_says_what_is_not(genba, imported):
    kept = Vault.open(imported)
    (entry,) = kept.entries()
    stored = kept.shard(entry).streams
    name = max(stored, key=lambda n: stored[n].num_blocks)
    with (imported / entry.file).open("r+b") as file:
        file.seek(int(stored[name].bounds[1]))
        byte = file.read(1)[0]
        file.seek(int(stored[name].bounds[1]))
        file.write(bytes([byte ^ 1]))
    output = genba("fsck", "--repair", "--vault", imported, status=1)
    assert f"damaged: {name} block 1" in output
    assert "1 episodes saved; the damaged shard is now set-aside/shards/" in output
    assert f"{entry.episode_id}: without {name} block 1" in output
    assert "1 episodes are sound, 0 problems" in genba("fsck", "--vault", imported)


def test_small_shards_are_packed(genba, imported):
    (entry,) = Vault.open(imported).entries()
    kept, episode = Vault.open(imported), Vault.open(imported).read(entry.episode_id)
    for i in range(2):
        kept.append(Episode(replace(episode.metadata, episode_id=f"copy {i}"), episode.streams))
    output = genba("compact", "--vault", imported)
    assert "3 episodes, " in output
    assert "3 shards became 1 in" in output
    assert "0 shards became 0 in" in genba("compact", "--vault", imported)
    assert "3 episodes are sound, 0 problems" in genba("fsck", "--vault", imported)


def test_a_data_set_is_named_and_sealed_by_a_key_of_its_own(genba, samples, tmp_path, keys_of_the_tests):
    genba(
        "import", samples / "vehicle", "--vault", tmp_path / "vault", "--reader", "comma2k19",
        "--dbc", samples / "vehicle" / "dbc" / "toyota_2017.dbc", "--owner", "fleet", "--dataset", "winter",
    )  # fmt: skip
    (entry,) = Vault.open(tmp_path / "vault").entries()
    assert (entry.metadata.owner, entry.metadata.dataset) == ("fleet", "winter")
    assert entry.file.startswith("shards/fleet/winter/")
    assert (keys_of_the_tests / "fleet%2Fwinter.key").is_file()
    assert "winter" in genba("show", entry.episode_id, "--vault", tmp_path / "vault")


def test_lost_catalog_is_rebuilt(genba, imported):
    (imported / "catalog.sqlite").unlink()
    assert "1 episodes added, 1 in" in genba("rebuild", "--vault", imported)
    assert len(Vault.open(imported).entries()) == 1


def test_vault_can_be_named_in_the_environment(genba, imported, monkeypatch):
    monkeypatch.setenv("GENBA_VAULT", str(imported))
    assert "1 episodes in" in genba("list")


def test_what_is_no_log_is_refused_and_makes_no_vault(genba, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        (["import", tmp_path / "empty"], "no log that a reader knows"),
        (["import", tmp_path / "nothing"], "no such file or folder"),
        (["import", tmp_path / "empty", "--reader", "comma2k"], "did you mean 'comma2k19'"),
    ):
        with pytest.raises(ReaderError, match=message):
            genba(*arguments, "--vault", tmp_path / "vault")
    assert not (tmp_path / "vault").exists()


def test_listing_a_vault_that_is_not_there_says_so(genba, tmp_path):
    with pytest.raises(DataError, match="no vault here"):
        genba("list", "--vault", tmp_path)
    with pytest.raises(DataError, match="no vault here"):
        genba("rebuild", "--vault", tmp_path / "nothing")


def test_help_teaches(genba):
    assert "every channel on its own clock" in genba("--help").replace("\n", " ")
    assert "the same command goes on" in " ".join(genba("import", "--help").split())


def test_option_of_one_reader_alone_names_it(genba, tmp_path):
    (tmp_path / "x.csv").write_text("t,p\n1,2\n2,3\n")
    (tmp_path / "map.toml").write_text(
        'machine = "pump"\n[time]\ncolumn = "t"\nunit = "s"\n[[channel]]\nname = "pump"\nrate_hz = 1.0\n'
        'column = [{ from = "p", unit = "bar", low = 0.0, high = 10.0 }]\n'
    )
    arguments = ["import", tmp_path / "x.csv", "--vault", tmp_path / "vault", "-o", f"mapping={tmp_path / 'map.toml'}"]
    assert "1 episodes stored" in genba(*arguments)
    assert "0 episodes stored" in genba(*arguments)
    (entry,) = Vault.open(tmp_path / "vault").entries()
    assert entry.embodiment_id.startswith("log/pump-")
    for wrong, message in (
        (["-o", "mapping"], "got 'mapping', expected NAME=VALUE"),
        (["-o", "bus=1", "-o", "bus=2"], "got 'bus' twice, expected it once"),
    ):
        with pytest.raises(ConfigError, match=message):
            genba("import", tmp_path / "x.csv", "--vault", tmp_path / "vault", *wrong)


def test_reader_that_is_named_says_what_is_missing(genba, tmp_path):
    (tmp_path / "x.csv").write_text("t,p\n1,2\n")
    output = genba("import", tmp_path / "x.csv", "--vault", tmp_path / "vault", "--reader", "table", status=1)
    assert "1 could not be imported" in output
    assert "give it with --option mapping=FILE" in " ".join(output.split())


def test_formats_are_listed_with_their_options(genba):
    listed = genba("formats")
    for name in (*READERS, *WRITERS):
        assert name in listed
    assert "--option bus=" in listed
    assert "machine = " not in listed
    assert 'machine = "press-line"' in genba("formats", "table")
    with pytest.raises(ConfigError, match="no format 'mdf'; did you mean 'mdf4'"):
        genba("formats", "mdf")
