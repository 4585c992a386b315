"""``genba data import`` goes on where it stopped, whatever stopped it, and one bad log holds up no other.

Real processes are killed and starved here; logs are small and made by the tests.
"""

import contextlib
import importlib.util
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from logs import comma2k19, nuscenes
from rich.console import Console

from genba.cli.data_import import FRAMES, Choices, import_into
from genba.data import fanout
from genba.data.codecs import StorageChoices
from genba.data.fsck import fsck_vault
from genba.data.ingest import find_logs, jobs_of, whole_log
from genba.data.readers.comma2k19 import Comma2k19Reader
from genba.data.vault import Vault
from genba.errors import ConfigError, ReaderError, StorageError

NUM_LOGS = 4


@pytest.fixture
def logs(tmp_path):
    """A folder of small comma2k19 logs, each with its own content."""
    for i in range(NUM_LOGS):
        comma2k19.write_log(tmp_path / "logs" / f"drive{i}", seed=i)
    return tmp_path / "logs"


@pytest.fixture
def dbc(logs):
    return logs / "drive0" / "car.dbc"


@pytest.fixture
def vault(tmp_path):
    return tmp_path / "vault"


@pytest.fixture
def run(vault, logs, dbc):
    """Import a folder (by default the logs) and return what was printed; the exit status must be ``status``."""

    def run(path=logs, *, status=0, options=None, terminal=False, **choices):
        out = io.StringIO()
        console = Console(file=out, width=300, force_terminal=terminal)
        given = {"dbc": dbc} if options is None else options
        with contextlib.ExitStack() as stack:
            if status:
                ended = stack.enter_context(pytest.raises(typer.Exit))
            import_into(vault, path, given, Choices(**choices), console)
        assert not status or ended.value.exit_code == status
        return out.getvalue()

    return run


def command(vault, logs, dbc, *more):
    return [sys.executable, "-m", "genba.cli.main", "data", "import", str(logs), "--vault", str(vault), "--dbc", str(dbc), *more]  # fmt: skip


def assert_whole(vault, num_episodes):
    """Nothing is damaged, nothing is stored twice; a kill may leave a file half-written, or one not yet in the catalog."""
    kept = Vault.open(vault)
    assert len(kept.entries()) == num_episodes
    harmless = ("half-written", "unknown shard")
    assert [problem for problem in fsck_vault(kept) if problem and problem.kind not in harmless] == []


def count_reads(monkeypatch):
    """Return a list that grows with every log that is decoded."""
    read, logs = Comma2k19Reader.read, []

    def counted(self, path, **options):
        logs.append(path.parent.name)
        return read(self, path, **options)

    monkeypatch.setattr(Comma2k19Reader, "read", counted)
    return logs


@pytest.mark.parametrize("workers", [0, 2])
def test_every_log_is_stored_by_any_number_of_workers(run, vault, workers):
    assert f"{NUM_LOGS} episodes stored" in run(workers=workers)
    assert_whole(vault, NUM_LOGS)
    assert [problem for problem in fsck_vault(Vault.open(vault)) if problem] == []


def test_what_is_stored_is_not_read_again(run, logs, monkeypatch):
    run()
    read = count_reads(monkeypatch)
    assert "0 episodes stored in" in (again := run())
    assert f"{NUM_LOGS} were there already" in again
    assert read == []


def test_changed_log_and_other_options_are_read_again(run, logs, monkeypatch):
    run()
    read = count_reads(monkeypatch)
    # The same content with another time of change: read, and found to be there.
    os.utime(logs / "drive1" / "log" / "global_pose" / "frame_times", ns=(1, 1))
    assert "0 episodes stored" in run()
    assert read == ["drive1"]
    # Other content.
    comma2k19.save(logs / "drive2" / "log", f"{comma2k19.FRAMES}/src", np.zeros(8, np.int32))
    assert "1 episodes stored" in run()
    assert read == ["drive1", "drive2"]
    # Another DBC by name, the same by content: every log is read.
    del read[:]
    other = logs.parent / "other.dbc"
    shutil.copy(logs / "drive0" / "car.dbc", other)
    assert "0 episodes stored" in run(options={"dbc": other})
    assert len(read) == NUM_LOGS


def test_episode_that_the_vault_lost_is_read_again(run, vault, monkeypatch):
    run()
    entry = Vault.open(vault).entries()[0]
    # The shard goes, and with it the episode from a catalog that is made anew.
    (vault / entry.file).unlink()
    (vault / "catalog.sqlite").unlink()
    assert Vault.open(vault, create=True).rebuild() == NUM_LOGS - 1
    read = count_reads(monkeypatch)
    assert f"1 episodes stored in {vault}; {NUM_LOGS - 1} were there already" in run()
    assert len(read) == 1


def test_lost_journal_costs_time_only(run, vault, monkeypatch):
    run()
    (vault / "imports.sqlite").unlink()
    read = count_reads(monkeypatch)
    assert f"{NUM_LOGS} were there already" in run()
    assert len(read) == NUM_LOGS
    assert_whole(vault, NUM_LOGS)


@pytest.mark.parametrize("workers", [0, 2])
def test_one_bad_log_holds_up_no_other(run, logs, vault, workers):
    (logs / "drive1" / "log" / comma2k19.FRAMES / "t").write_bytes(b"no array")
    output = run(status=1, workers=workers)
    assert f"{NUM_LOGS - 1} episodes stored" in output
    assert "1 could not be imported; the others were not held up" in output
    assert "drive1/log" in output
    assert "FormatError" in output
    assert_whole(vault, NUM_LOGS - 1)
    # Mended, the same command imports what is missing, and nothing else.
    comma2k19.write_log(logs / "drive1", seed=1)
    assert "1 episodes stored" in run()


def test_stop_on_error_ends_at_the_first(run, logs, vault):
    (logs / "drive1" / "log" / comma2k19.FRAMES / "t").write_bytes(b"no array")
    assert "1 episodes stored" in run(status=1, stop_on_error=True)
    assert_whole(vault, 1)


def test_dry_run_says_what_would_be_read_and_makes_nothing(run, logs, vault):
    output = run(dry_run=True)
    assert f"{NUM_LOGS} logs" in output
    assert str(logs / "drive3" / "log") in output
    assert not vault.exists()
    run(path=logs / "drive0")
    output = run(dry_run=True)
    assert f"{NUM_LOGS - 1} logs" in output
    assert "1 episodes are there already" in output
    assert str(logs / "drive0" / "log") not in output


def test_fault_of_a_reader_is_named_and_holds_up_no_other(run, vault, monkeypatch):
    read = Comma2k19Reader.read

    def broken(self, path, **options):
        if path.parent.name == "drive2":
            raise ZeroDivisionError("of all things")
        return read(self, path, **options)

    monkeypatch.setattr(Comma2k19Reader, "read", broken)
    output = run(status=1)
    assert "a fault of reader comma2k19 (test_data_import.py, line" in output
    assert "ZeroDivisionError('of all things')" in output
    assert_whole(vault, NUM_LOGS - 1)


def test_options_go_to_the_readers_that_take_them(run, logs, tmp_path):
    with pytest.raises(ReaderError, match=r"comma2k19: no option 'dbcs'; did you mean 'dbc'"):
        run(options={"dbcs": 1})
    with pytest.raises(ConfigError, match="--ray, --workers: got both, expected one"):
        run(ray=True, workers=2)
    with pytest.raises(ConfigError, match="--workers: got -1, expected 0"):
        run(workers=-1)


def test_log_that_two_readers_know_is_refused_with_both_names(run, logs, monkeypatch):
    from genba.data.readers.kitti import KittiReader

    monkeypatch.setattr(KittiReader, "recognises", lambda self, path: path.name == "log")
    with pytest.raises(
        ReaderError, match=r"drive0/log: several readers know this log: comma2k19 and kitti; say which with --reader"
    ):
        run()
    assert f"{NUM_LOGS} episodes stored" in run(reader="comma2k19")


def test_link_to_a_folder_above_leads_nowhere(logs):
    (logs / "drive0" / "round").symlink_to(logs, target_is_directory=True)
    assert len(find_logs(logs)) == NUM_LOGS


def test_terminal_sees_one_bar_with_rates_and_the_log_in_hand(run, logs):
    output = run(terminal=True)
    assert "importing" in output
    assert "MB/s" in output
    assert "messages/s" in output
    assert "drive3/log" in output


def test_parts_of_a_log_are_jobs_that_resume_one_by_one(tmp_path):
    root, _ = nuscenes.write_log(tmp_path)
    ((log, reader),) = find_logs(root)
    whole = whole_log(log, reader, {}, "1")
    jobs = jobs_of(whole, reader)
    assert [job.part for job in jobs] == ["scene-0000", "scene-0001"]
    # Every byte of the log is in exactly one of them.
    assert (
        sum(job.size_bytes for job in jobs)
        == whole.size_bytes
        == sum(f.stat().st_size for f in root.rglob("*") if f.is_file())
    )


def test_killed_import_leaves_whole_episodes_and_goes_on(vault, logs, dbc):
    rng = random.Random(5)
    for i in range(NUM_LOGS, 16):
        comma2k19.write_log(logs / f"drive{i}", seed=i)
    num_killed = 0
    for attempt in range(3):
        begun = subprocess.Popen(
            command(vault, logs, dbc, "--workers", str(2 * (attempt % 2))),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        # Until it is in the middle of it: some episode more than before is stored.
        before = len(Vault.open(vault).entries()) if (vault / "catalog.sqlite").is_file() else 0
        while begun.poll() is None and (not (vault / "catalog.sqlite").is_file() or num_stored(vault) <= before):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.05))
        # Its workers are not told: they must notice by themselves. On a busy computer it may have ended before.
        begun.kill()
        num_killed += begun.wait() == -signal.SIGKILL
        wait_for_group_to_end(begun.pid)
        assert_whole(vault, num_stored(vault))
    assert num_killed > 0
    ended = subprocess.run(command(vault, logs, dbc), capture_output=True, text=True, check=True)
    assert "were there already" in " ".join(ended.stdout.split())
    assert_whole(vault, 16)
    assert {problem.kind for problem in fsck_vault(Vault.open(vault)) if problem} <= {"half-written"}


def num_stored(vault):
    try:
        return len(Vault.open(vault).entries())
    except StorageError:
        # The table is being made.
        return 0


def wait_for_group_to_end(group):
    """Wait until no process of a group is left: every worker ends with the one that started it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise AssertionError(f"a worker outlived the import that started it (process group {group})")


def test_killed_worker_costs_its_log_only(vault, logs, dbc):
    Vault.open(vault, create=True)
    jobs = [whole_log(log, reader, {"dbc": dbc}, "1") for log, reader in find_logs(logs)]
    events, killed = [], False
    for event in fanout.run_workers(vault, jobs, 1, StorageChoices()):
        events.append(event)
        if isinstance(event, fanout.Started) and not killed:
            killed = True
            os.kill(worker_of(os.getpid()), signal.SIGKILL)
    errors = [event for event in events if isinstance(event, fanout.Finished) and event.error]
    assert [event.job for event in errors] == jobs[:1]
    assert "ended by itself with status -9; the same command tries it again" in errors[0].error
    assert_whole(vault, NUM_LOGS - 1)


def worker_of(pid):
    """Return the one worker that ``pid`` started, as soon as it can be told from the process that became it."""
    tasks, deadline = Path(f"/proc/{pid}/task"), time.monotonic() + 60
    while time.monotonic() < deadline:
        ids = {int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()}
        # Just after its start a process has no command line yet.
        found = [child for child in ids if "import_worker" in Path(f"/proc/{child}/cmdline").read_text()]
        if found:
            (worker,) = found
            return worker
        time.sleep(0.005)
    raise AssertionError(f"process {pid} started no worker")


_FULL = """
import resource, sys
from genba.cli.main import main

resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
main({arguments!r})
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_full_disk_ends_it_with_one_clear_error_and_the_same_command_goes_on(vault, logs, dbc, workers):
    # The catalog fits, and so does one log's shard, but not the last one's, which has a hundred times the poses.
    big = logs / "drive3" / "log" / "global_pose"
    for path in big.iterdir():
        values = np.load(path)
        comma2k19.save(
            big.parent,
            f"global_pose/{path.name}",
            np.concatenate([values] * 100) if values.ndim > 1 else 100 + 0.05 * np.arange(2000),
        )
    arguments = command(vault, logs, dbc, "--workers", workers)[3:]
    limit = 80_000
    ended = subprocess.run(
        [sys.executable, "-c", _FULL.format(limit=limit, arguments=arguments)], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stdout + ended.stderr
    message = " ".join(ended.stderr.split())
    assert "genba: StorageError:" in message
    assert "File too large" in message
    assert "the same command goes on from there" in message
    stored = num_stored(vault)
    assert 0 < stored < NUM_LOGS
    assert [problem for problem in fsck_vault(Vault.open(vault)) if problem] == []
    subprocess.run(command(vault, logs, dbc), capture_output=True, text=True, check=True)
    assert_whole(vault, NUM_LOGS)


def test_vault_that_cannot_be_made_or_written_is_named(run, vault, tmp_path, logs, dbc, monkeypatch):
    # Not even root makes folders there.
    with pytest.raises(StorageError, match="/proc/genba: cannot make a vault here"):
        import_into("/proc/genba", logs, {"dbc": dbc}, Choices(), Console(file=io.StringIO()))
    run(path=logs / "drive0")
    # Storage that has become read-only: SQLite's own mode stands for it, as root may write anywhere else.
    import sqlite3

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **more: connect(f"file:{path}?mode=ro", uri=True, **more))
    with pytest.raises(StorageError, match="attempt to write a readonly database"):
        run()
    monkeypatch.undo()
    assert_whole(vault, 1)
    run()
    assert_whole(vault, NUM_LOGS)


def test_two_imports_at_once_store_every_episode_once(vault, logs, dbc):
    both = [
        subprocess.Popen(command(vault, logs, dbc), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for begun in both:
        out, errors = begun.communicate()
        assert begun.returncode == 0, out + errors
    assert_whole(vault, NUM_LOGS)
    assert [problem for problem in fsck_vault(Vault.open(vault)) if problem] == []


@pytest.mark.parametrize("workers", [0, 1])
def test_frames_are_stored_as_asked_and_those_stored_before_stay(run, vault, tmp_path, workers):
    pytest.importorskip("simplejpeg")
    pytest.importorskip("av")
    codecs = {"jpeg": "jpeg-90-420", "jpeg-444": "jpeg-90-444", "h264": "h264-444"}
    assert set(codecs) == set(FRAMES)
    stored = {}
    for i, frames in enumerate(codecs):
        root, _ = nuscenes.write_log(tmp_path / frames, seed=i)
        run(root, options={}, frames=frames, workers=workers)
        kept = Vault.open(vault)
        found = {entry.episode_id: kept.shard(entry).streams["cam_front"].codec for entry in kept.entries()}
        # Each log has two scenes; what the imports before stored is as they left it.
        new = found.keys() - stored.keys()
        assert len(new) == 2
        stored |= dict.fromkeys(new, codecs[frames])
        assert found == stored
    with pytest.raises(ConfigError, match="--frames: got 'png', expected one of jpeg, jpeg-444, h264"):
        run(frames="png")


needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None or not os.environ.get("GENBA_TEST_RAY"),
    reason="a local Ray takes half a minute: install 'genba[ray]' and set GENBA_TEST_RAY=1",
)


@pytest.fixture
def run_ray(vault):
    """Import a folder on a Ray of this computer, by the command; returns what it ended with."""

    def run_ray(path, *more):
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        words = [
            sys.executable,
            "-m",
            "genba.cli.main",
            "data",
            "import",
            str(path),
            "--vault",
            str(vault),
            "--ray",
            *more,
        ]
        return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)

    return run_ray


@needs_ray
def test_ray_imports_the_same_and_names_what_failed(vault, logs, dbc, run_ray):
    (logs / "drive1" / "log" / comma2k19.FRAMES / "t").write_bytes(b"no array")
    ended = run_ray(logs, "--dbc", str(dbc))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert f"{NUM_LOGS - 1} episodes stored" in ended.stdout
    assert "FormatError" in ended.stdout
    assert_whole(vault, NUM_LOGS - 1)


@needs_ray
def test_ray_stores_frames_as_asked(vault, tmp_path, run_ray):
    root, _ = nuscenes.write_log(tmp_path / "logs")
    ended = run_ray(root, "--frames", "jpeg-444")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    kept = Vault.open(vault)
    # Both scenes of the log; without --frames it is jpeg-90-420.
    assert [kept.shard(entry).streams["cam_front"].codec for entry in kept.entries()] == ["jpeg-90-444"] * 2


def test_ray_that_is_missing_is_named_with_its_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"--ray needs Ray; install it with: pip install 'genba\[ray\]'"):
        run(ray=True)
