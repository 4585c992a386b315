"""``genba data check`` says what is wrong, where and what to do, and its exit status says whether; ``view`` saves a recording."""

import json

import planted
import pytest
from rover import ROVER, drive
from typer.testing import CliRunner

from genba.cli.data import app
from genba.data.vault import Vault
from genba.errors import ConfigError, DataError


@pytest.fixture
def genba(monkeypatch):
    """Run a command; an expected error is raised, anything else must exit with ``status``."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments, status=0):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if isinstance(result.exception, Exception):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.output

    return run


@pytest.fixture
def sound(tmp_path):
    """A vault with two drives that nothing is wrong with."""
    vault = Vault.open(tmp_path / "vault", create=True)
    vault.keep_embodiment(ROVER)
    for seed in range(2):
        vault.append(drive(seed, seconds=8.0))
    return vault


@pytest.fixture
def broken(sound):
    """The same with a third: its wheels are silent for 0.8 s."""
    sound.append(planted.gap(drive(2, seconds=8.0), "wheels", 0.8).episode)
    return sound


def test_sound_vault_is_said_to_be(genba, sound):
    assert "2 of 2 episodes are sound, 0 findings" in genba("check", "--vault", sound.path)


def test_defect_is_named_with_place_time_and_advice(genba, broken, tmp_path):
    output = " ".join(genba("check", "--vault", broken.path, "--json", tmp_path / "report.json", status=1).split())
    assert "test/rover@1/drive/000002/planted" in output
    # The gap begins at 0.4 of 8 s.
    assert "gap wheels 3.1" in output or "gap wheels 3.2" in output
    assert "cut the episode here, or leave windows across it out" in output
    assert "2 of 3 episodes are sound, 1 findings: 1 gap" in output
    report = json.loads((tmp_path / "report.json").read_text())
    assert [episode["sound"] for episode in report["episodes"]] == [True, True, False]
    (finding,) = report["episodes"][2]["findings"]
    assert (finding["kind"], finding["stream"], finding["how_bad"]) == ("gap", "wheels", "serious")
    assert finding["end_ns"] - finding["start_ns"] == pytest.approx(0.8e9, abs=0.02e9)
    assert report["thresholds"]["gap_periods"] == 5.0


def test_what_is_asked_about_is_chosen_by_episode_owner_or_machine(genba, broken):
    assert "1 of 1 episodes" in genba("check", "--vault", broken.path, "--episode", "test/rover@1/drive/000001")
    genba("check", "--vault", broken.path, "--owner", "genba", "--embodiment", "test/rover@1", status=1)
    with pytest.raises(DataError, match="no episode to check of owner 'fleet'"):
        genba("check", "--vault", broken.path, "--owner", "fleet")


def test_thresholds_come_from_a_file_or_one_by_one(genba, broken, tmp_path):
    # 0.8 s at 100 Hz are 80 periods, and a tenth of the samples.
    (tmp_path / "mild.toml").write_text("gap_periods = 100.0\nrate_tolerance = 0.2\n")
    genba("check", "--vault", broken.path, "--thresholds", tmp_path / "mild.toml")
    genba("check", "--vault", broken.path, "--set", "gap_periods=100", "--set", "rate_tolerance=0.2")
    genba("check", "--vault", broken.path, "--thresholds", tmp_path / "mild.toml", "--set", "gap_periods=70", status=1)
    for wrong, message in (
        ("gap_period=3", "no threshold 'gap_period'; did you mean 'gap_periods'"),
        ("gap_periods=few", "got 'few', expected float"),
        ("gap_periods=0", "gap_periods: got 0.0, expected more than 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            genba("check", "--vault", broken.path, "--set", wrong)


def test_episode_that_does_not_decode_is_a_finding(genba, broken):
    entry = broken.entries()[0]
    path = broken.path / entry.file
    path.write_bytes(path.read_bytes()[:-100])
    output = genba("check", "--vault", broken.path, status=1)
    assert "unreadable" in output
    assert "run: genba data fsck" in output


def test_view_saves_a_recording_where_there_is_no_display(genba, sound, tmp_path, monkeypatch):
    pytest.importorskip("rerun")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.chdir(tmp_path)
    output = genba("view", "test/rover@1/drive/000001", "--vault", sound.path)
    assert "open it where there is a screen with" in output
    assert (tmp_path / "test_rover_1_drive_000001.rrd").stat().st_size > 100_000
    with pytest.raises(DataError, match=r"ends in '\.mp4', expected \.rrd"):
        genba("view", "test/rover@1/drive/000001", "--vault", sound.path, "--save", tmp_path / "a.mp4")
