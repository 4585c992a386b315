"""A child ends when it is told to: by its pipe where it listens, by force where it does not."""

import os
import signal
import time

import pytest

from genba import child
from genba.child import Child

LISTENS = "genba.data.import_worker"


def test_a_child_that_listens_ends_by_itself():
    one = Child.start(LISTENS)
    assert one.process.poll() is None
    one.stop()
    assert one.process.returncode == 0


def test_a_child_that_does_not_listen_is_ended_by_force(monkeypatch):
    monkeypatch.setattr(child, "CLOSE_S", 0.2)
    one = Child.start(LISTENS)
    os.kill(one.process.pid, signal.SIGSTOP)
    one.stop()
    assert one.process.returncode == -signal.SIGKILL


def test_whoever_speaks_to_a_child_that_is_gone_learns_it_from_the_answer():
    one = Child.start(LISTENS)
    one.process.kill()
    one.process.wait()
    one.send("are you there")
    with pytest.raises((EOFError, ConnectionResetError), match=r"^$|reset by peer"):
        one.connection.recv()
    one.stop()


def test_children_get_one_thread_each():
    one = Child.start(LISTENS)
    # The environment shows once the child has become python.
    deadline = time.monotonic() + 10
    while b"OMP_NUM_THREADS=1" not in (environment := _environment(one.process.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert b"OPENBLAS_NUM_THREADS=1" in environment and b"MKL_NUM_THREADS=1" in environment
    one.stop()


def _environment(pid: int) -> list[bytes]:
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")
