"""What tests do to processes of their own: kill them, and wait for what they do."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process as a power cut would, and wait until it is gone."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def wait_until(true: Callable[[], bool], *, what: str, within_s: float = 60.0) -> None:
    """Wait until something is true."""
    until_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.05)
