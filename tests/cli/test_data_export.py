"""``genba data export`` writes a machine's episodes whole, and says what it cannot do."""

import pytest
from random_episodes import random_episode
from toy import CART_FACTS, LINES_FACTS
from typer.testing import CliRunner

from genba.cli.data import app
from genba.data.vault import Vault
from genba.errors import DataError


@pytest.fixture
def vault(tmp_path):
    """A vault with two episodes of the cart and one of the lines."""
    kept = Vault.open(tmp_path / "vault", create=True)
    for facts, seeds in ((CART_FACTS, (0, 1)), (LINES_FACTS, (2,))):
        kept.keep_embodiment(facts)
        for seed in seeds:
            kept.append(random_episode(facts, seed))
    return kept


@pytest.fixture
def export(monkeypatch, vault):
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        result = CliRunner().invoke(app, ["export", *map(str, arguments), "--vault", str(vault.path)])
        if isinstance(result.exception, Exception):
            raise result.exception
        return result

    return run


def test_episodes_of_a_machine_are_exported_and_imported_again(export, vault, tmp_path):
    result = export(tmp_path / "out", "--format", "mcap", "--embodiment", CART_FACTS.id)
    assert "2 episodes of toy/cart@1 written to" in result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000000.mcap", "000001.mcap"]
    again = tmp_path / "again"
    imported = CliRunner().invoke(app, ["import", str(tmp_path / "out"), "--vault", str(again)])
    assert "2 episodes stored" in imported.output
    expected = [entry.metadata for entry in vault.entries(CART_FACTS.id)]
    assert repr([entry.metadata for entry in Vault.open(again).entries()]) == repr(expected)


def test_one_episode_can_be_chosen(export, vault, tmp_path):
    name = vault.entries(LINES_FACTS.id)[0].episode_id
    assert "1 episodes of toy/lines@1" in export(tmp_path / "one.mcap", "--format", "mcap", "--episode", name).output
    assert (tmp_path / "one.mcap").is_file()


def test_what_cannot_be_exported_is_said_and_nothing_written(export, tmp_path):
    for arguments, message in (
        (["--format", "mcap"], r"got episodes of 2 machines \(toy/cart@1, toy/lines@1\), expected one"),
        (["--format", "mcup"], "no format 'mcup'; did you mean 'mcap'"),
        (["--format", "mcap", "--task", "arm/grip@1"], "no episodes of arm/grip@1; nothing to export"),
        (["--format", "mcap", "--episode", "x"], "no episode 'x' among those asked for"),
    ):
        with pytest.raises(DataError, match=message):
            export(tmp_path / "out", *arguments)
        assert not (tmp_path / "out").exists()
