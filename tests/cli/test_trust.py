"""``genba trust``: run, probe and egress say what happened, in words and exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from genba.cli.main import main
from genba.trust.sandbox.support import missing


@pytest.fixture(autouse=True)
def enforcing() -> None:
    if lacking := missing():
        pytest.skip(f"this kernel cannot enforce: {lacking}")


def genba(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["trust", *arguments])
    return ended.value.code


def test_run_passes_the_status_on_and_egress_shows_what_was_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    log, data = tmp_path / "egress.jsonl", tmp_path / "data"
    data.mkdir()
    code = f"import socket, sys; open({str(data / 'x')!r}, 'w'); sys.exit(socket.socket().connect_ex(('127.0.0.2', 9)))"
    options = ["--log", str(log), "--write", str(data), "--allow", "127.0.0.1:9", "--bind", "127.0.0.1:*"]
    # 13 is EACCES
    assert genba("run", *options, "--", sys.executable, "-c", code) == 13
    assert (data / "x").exists()
    assert genba("egress", str(log)) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "127.0.0.2:9" in shown
    assert "refused" in shown


def test_options_of_the_command_are_the_commands(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "genba.cli.main",
        "trust",
        "run",
        "--log",
        str(tmp_path / "log"),
        "--",
        "printf",
        "%s ",
        "--read",
        "x",
    ]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "--read x "


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--allow", "nowhere", "expected HOST:PORT"),
        ("--read", "/no/such/path", "a path that is allowed must be there"),
        ("--sync", "lines", "did you mean 'line'"),
        ("--allow", "0.0.0.0:80", "is an address of kind 'unspecified'"),
    ],
)
def test_bad_option_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, message: str
):
    assert genba("run", option, value, "--log", str(tmp_path / "log"), "--", "true") == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_probe_says_that_it_tried(capsys: pytest.CaptureFixture[str]):
    assert genba("probe") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Tried, and enforced" in shown
    assert "Landlock" in shown
