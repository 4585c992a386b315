"""``genba machine watch``: an episode as a recording, and what it refuses."""

import pytest

pytest.importorskip("rerun")

from genba.cli import machine
from genba.cli.main import main
from genba.errors import SimulatorError
from genba.report.live_view import start_viewer


@pytest.fixture
def without_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def watch(*words):
    try:
        main(["machine", "watch", *words])
    except SystemExit as end:
        return end.code
    return 0


def test_without_a_display_the_recording_lies_beside_you_and_says_how_it_ended(
    tmp_path, monkeypatch, capsys, without_display
):
    monkeypatch.chdir(tmp_path)
    assert watch("arm/grip@1", "--policy", "fixed_4n", "--seed", "7") == 0
    said = capsys.readouterr().out
    assert "- success: " in said
    assert "rerun arm-grip@1-fixed_4n-7.rrd" in " ".join(said.split())
    assert (tmp_path / "arm-grip@1-fixed_4n-7.rrd").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--policy", "fixed_4n", "--save", "x.mp4"), "x.mp4: got a name that ends in '.mp4', expected .rrd"),
        (("--policy", "firm"), "policy 'firm' is neither one of the task's nor a bundle's folder"),
        (("--policy", "fixed_4n", "--seed", "999999999"), "seed: got 999999999, expected"),
    ],
)
def test_what_cannot_be_watched_is_refused_by_name(words, expected, tmp_path, monkeypatch, capsys, without_display):
    monkeypatch.chdir(tmp_path)
    assert watch("arm/grip@1", *words) == 2
    assert expected in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_an_episode_that_breaks_off_leaves_no_viewer_open(monkeypatch, capsys):
    started = []

    def without_window():
        started.append(start_viewer(("--serve-grpc",)))
        return started[0]

    def broken(*_, **__):
        raise SimulatorError("the world stood still")

    monkeypatch.setattr(machine, "has_display", lambda: True)
    monkeypatch.setattr(machine, "start_viewer", without_window)
    monkeypatch.setattr(machine, "Runner", broken)
    assert watch("arm/grip@1", "--policy", "fixed_4n") == 2
    assert "the world stood still" in capsys.readouterr().err
    [(viewer, _)] = started
    assert viewer.poll() is not None
