"""The door: help without anything heavy, and errors in one line."""

import subprocess
import sys

import pytest

from genba.cli.main import COMMANDS, main


def test_help_names_every_noun(capsys: pytest.CaptureFixture[str]):
    main([])
    shown = capsys.readouterr().out
    assert all(f"genba {noun}" in shown for noun in COMMANDS)


def test_help_needs_neither_torch_nor_a_simulator():
    code = "import sys; from genba.cli.main import main; main(['--help']); print(sorted({'torch', 'mujoco'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")


@pytest.mark.parametrize("noun", sorted(COMMANDS))
def test_every_noun_has_help(noun: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main([noun, "--help"])
    assert ended.value.code == 0
    assert "Usage" in capsys.readouterr().out


def test_an_unknown_noun_names_the_nearest(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["dmo"])
    assert ended.value.code == 2
    assert "did you mean 'demo'?" in capsys.readouterr().err


def test_an_error_is_one_readable_line(capsys: pytest.CaptureFixture[str], tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["train", "run", "--vault", str(tmp_path / "none"), "--out", str(tmp_path / "out"), "--recipe", "tinny"])
    assert ended.value.code == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "ConfigError: no recipe 'tinny'; did you mean 'tiny'?" in shown
    assert "Traceback" not in shown
