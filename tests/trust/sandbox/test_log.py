"""The egress log: one line per attempt, appended and never rewritten, strict when read."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from genba.errors import DataError, SandboxError, StorageError
from genba.trust.digest import digest_json
from genba.trust.sandbox.decide import Decision
from genba.trust.sandbox.log import EgressLog, egress_digest, num_lines_of, read_log
from genba.trust.sandbox.policy import Policy

YES = Decision(is_allowed=True, reason="endpoint", address="10.0.0.1:443")
NO = Decision(is_allowed=False, reason="not an allowed endpoint", address="10.0.0.2:443", error=13)


def test_run_is_a_start_its_attempts_and_an_end(tmp_path: Path):
    log = EgressLog(tmp_path / "log", run="one")
    log.start(["true"], Policy(), is_enforced=True, landlock=7)
    log.attempt("connect", YES, process=5, program="python")
    log.attempt("connect", NO, process=5, program="python")
    log.end(3)
    log.close()
    start, yes, no, end = read_log(tmp_path / "log")
    plain = {"endpoints": [], "binds": [], "readable": [], "writable": [], "sockets": [], "has_own_ports": False}
    assert (start["event"], start["policy"], start["landlock"]) == ("start", plain, 7)
    assert start["policy_digest"] == digest_json(plain)
    assert (yes["decision"], yes["address"], yes["program"], yes["process"]) == ("allowed", "10.0.0.1:443", "python", 5)
    assert (no["decision"], no["reason"]) == ("refused", "not an allowed endpoint")
    assert (end["event"], end["status"], end["allowed"], end["refused"]) == ("end", 3, 1, 1)
    assert start["time_ns"] <= yes["time_ns"] <= no["time_ns"] <= end["time_ns"]


def test_attempts_that_repeat_within_a_second_are_counted(tmp_path: Path):
    log = EgressLog(tmp_path / "log")
    for _ in range(5):
        log.attempt("connect", NO, process=5, program="python")
    log.attempt("connect", YES, process=5, program="python")
    log.attempt("connect", YES, process=6, program="python")
    log.attempt("bind", YES, process=6, program="python")
    log.end(0)
    log.close()
    lines = [one for one in read_log(tmp_path / "log") if one["event"] == "attempt"]
    # Five refusals are one line and one that says "four more"; another process or operation is another attempt.
    assert [one.get("repeated", 1) for one in lines] == [1, 4, 1, 1, 1]
    assert list(read_log(tmp_path / "log"))[-1]["refused"] == 5


def test_attempt_that_repeats_later_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    log = EgressLog(tmp_path / "log")
    for moment in (100.0, 100.999, 101.0):
        now[0] = moment
        log.attempt("connect", NO, process=5, program="python")
    log.close()
    assert [one.get("repeated") for one in read_log(tmp_path / "log")] == [None, 1, None]


def test_runs_share_a_file_and_are_told_apart(tmp_path: Path):
    for run in ("one", "two"):
        log = EgressLog(tmp_path / "log", run=run, sync="end")
        log.attempt("connect", NO, process=5, program="python")
        log.end(0)
        log.close()
    assert [one["event"] for one in read_log(tmp_path / "log", run="two")] == ["attempt", "end"]
    assert len(list(read_log(tmp_path / "log"))) == 4
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_name_that_would_fool_a_terminal_stays_one_harmless_line(tmp_path: Path):
    log = EgressLog(tmp_path / "log")
    odd = Decision(is_allowed=False, reason="r", address='unix:/\x1b[2J\n"\udcff')
    log.attempt("connect", odd, process=5, program="\x1b]0;\n")
    log.close()
    data = (tmp_path / "log").read_bytes()
    assert data.count(b"\n") == 1
    assert data.isascii() and b"\x1b" not in data
    assert next(iter(read_log(tmp_path / "log")))["address"] == odd.address


def test_log_is_not_opened_through_a_link_or_where_there_is_no_folder(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("link", "absent/log"):
        with pytest.raises(SandboxError, match="expected a log file that can be appended to"):
            EgressLog(tmp_path / name)
    assert not (tmp_path / "elsewhere").exists()


def test_line_that_the_disk_does_not_take_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    log = EgressLog(Path("/dev/full"))
    with pytest.raises(StorageError, match="No space left on device; without a log the command is stopped"):
        log.attempt("connect", NO, process=5, program="python")
    log.close()
    log = EgressLog(tmp_path / "log")
    monkeypatch.setattr(os, "write", lambda file, data: len(data) - 1)
    with pytest.raises(StorageError, match="took only a part of a line"):
        log.attempt("connect", NO, process=5, program="python")
    monkeypatch.undo()
    log.close()


@pytest.mark.parametrize("text", ["{", "[]\n", '{"event": "end"}\n', json.dumps({"run": "x", "event": "end"})])
def test_damaged_log_is_refused_with_its_line(tmp_path: Path, text: str):
    path = tmp_path / "log"
    path.write_text(json.dumps({"run": "x", "event": "attempt"}) + "\n" + text)
    with pytest.raises(DataError, match=r"log: line 2: .*expected"):
        list(read_log(path))


def test_log_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="absent: No such file or directory; expected an egress log"):
        list(read_log(tmp_path / "absent"))


def test_digest_names_how_far_a_log_had_come(tmp_path: Path):
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n")
    digests = [egress_digest(path)]
    with path.open("ab") as file:
        # What has no end of line is not there yet.
        file.write(b"thr")
    assert egress_digest(path) == digests[0]
    with path.open("ab") as file:
        file.write(b"ee\n")
    digests.append(egress_digest(path))
    assert [num_lines_of(path, one) for one in (*digests, "sha256:" + "0" * 64)] == [2, 3, 0]
    with pytest.raises(DataError, match="absent: No such file or directory; expected an egress log"):
        egress_digest(tmp_path / "absent")
