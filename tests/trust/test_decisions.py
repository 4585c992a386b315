"""Each decision is recorded before anyone acts on it; with the clock set back, everything is refused."""

import multiprocessing
from dataclasses import replace

import pytest
from trust_rules import NOW_NS, TRAIN, rules

from genba.errors import ConfigError, PermissionDeniedError, StorageError
from genba.trust.cedar import compile_rules
from genba.trust.decisions import Gatekeeper, LatestTime

COMPILED = compile_rules(rules())
SECOND = 1_000_000_000
DAY = 86_400 * SECOND


class Kept:
    """A recorder in memory."""

    def __init__(self):
        self.entries = []

    def append(self, kind, body):
        self.entries.append((kind, dict(body)))
        return len(self.entries) - 1


class Full:
    """A recorder whose disk is full."""

    def append(self, kind, body):
        raise StorageError("no space")


@pytest.fixture
def gate(tmp_path):
    times = [NOW_NS]
    made = Gatekeeper(COMPILED, Kept(), LatestTime(tmp_path / "state" / "latest"), clock=lambda: times[-1])
    made.times = times
    return made


def test_yes_and_no_are_both_recorded(gate):
    decision = gate.require(TRAIN)
    denied = replace(TRAIN, party="other")
    with pytest.raises(
        PermissionDeniedError,
        match=rf"^maker/grip: train by other is refused: full: parties: 'other' is not among the parties \(lab-co\); ask the "
        rf"owner \(request {denied.digest[7:19]}, policies {COMPILED.policy_hash[7:19]}\)$",
    ):
        gate.require(denied)
    assert gate._record.entries[0] == ("decision", decision.body())
    kind, body = gate._record.entries[1]
    assert (kind, body["allowed"], body["request"]["party"], body["now_ns"]) == ("decision", False, "other", NOW_NS)
    assert len(gate._record.entries) == 2


def test_what_cannot_be_recorded_is_not_allowed(tmp_path):
    gate = Gatekeeper(COMPILED, Full(), LatestTime(tmp_path / "latest"), clock=lambda: NOW_NS)
    with pytest.raises(StorageError, match="no space"):
        gate.decide(TRAIN)


def test_a_clock_set_back_is_refused_and_recorded(gate, tmp_path):
    assert gate.decide(TRAIN).is_allowed
    gate.times.append(NOW_NS - SECOND - 1)
    decision = gate.decide(TRAIN)
    assert not decision.is_allowed
    assert decision.reasons == (
        "full: clock: it shows 2026-11-01T11:59:58+00:00, but 2026-11-01T12:00:00+00:00 was seen before: it was set back, and "
        "an agreement that expired would seem to hold; set it right",
    )
    assert gate._record.entries[-1][1]["allowed"] is False
    # Another process remembers too.
    other = Gatekeeper(COMPILED, Kept(), LatestTime(tmp_path / "state" / "latest"), clock=lambda: NOW_NS - DAY)
    assert not other.decide(TRAIN).is_allowed
    # The clock is right again.
    gate.times.append(NOW_NS + 1)
    assert gate.decide(TRAIN).is_allowed


def test_a_correction_within_a_second_is_borne_but_revives_nothing(gate):
    end_ns = COMPILED.rules.agreements_of("maker")[0].end_s * SECOND
    gate.times.append(end_ns)
    assert "until" in gate.decide(TRAIN).reasons[0]
    gate.times.append(end_ns - SECOND)
    # By the clock the agreement holds again; what was seen before counts.
    decision = gate.decide(TRAIN)
    assert not decision.is_allowed and decision.now_ns == end_ns and "until" in decision.reasons[0]
    gate.times.append(end_ns - SECOND - 1)
    assert "clock" in gate.decide(TRAIN).reasons[0]


def test_an_expired_agreement_stays_expired_when_the_clock_is_set_back_a_year(gate):
    gate.times.append(NOW_NS + 365 * DAY)
    assert "until" in gate.decide(TRAIN).reasons[0]
    gate.times.append(NOW_NS)
    with pytest.raises(PermissionDeniedError, match="it was set back"):
        gate.require(TRAIN)


def _advance(path, now_ns):
    LatestTime(path).advance(now_ns)


def test_of_several_processes_the_latest_time_stays(tmp_path):
    context = multiprocessing.get_context("fork")
    times = [NOW_NS + n * SECOND for n in (3, 1, 4, 1, 5, 9, 2, 6)]
    processes = [context.Process(target=_advance, args=(tmp_path / "latest", one)) for one in times]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    assert (tmp_path / "latest").read_bytes() == b"%020d\n" % (NOW_NS + 9 * SECOND)
    assert LatestTime(tmp_path / "latest").advance(NOW_NS) == NOW_NS + 9 * SECOND


@pytest.mark.parametrize("content", [b"0", b"\n", b"x" * 20 + b"\n", b"1" * 20 + b" ", b"1" * 21, b"1" * 22 + b"\n"])
def test_a_damaged_file_of_times_is_not_guessed(tmp_path, content):
    (tmp_path / "latest").write_bytes(content)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"latest: got .*, expected the latest time seen, 20 digits of ns"):
            LatestTime(tmp_path / "latest").advance(NOW_NS)
    assert (tmp_path / "latest").read_bytes() == content


def test_the_file_of_times_is_made_for_its_user_alone_with_the_folders_above_it(tmp_path):
    path = tmp_path / "one" / "two" / "latest"
    assert LatestTime(path).advance(NOW_NS) == NOW_NS
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_place_that_cannot_be_written_allows_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="the latest time seen cannot be kept"):
        LatestTime(tmp_path / "file" / "latest").advance(NOW_NS)


def test_the_real_clock_is_used_by_default(tmp_path):
    kept = Kept()
    Gatekeeper(COMPILED, kept, LatestTime(tmp_path / "latest")).decide(TRAIN)
    assert kept.entries[0][1]["now_ns"] == int((tmp_path / "latest").read_bytes())
