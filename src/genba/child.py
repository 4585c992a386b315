"""A process of ours beside this one: a module of the package, started afresh (never forked), at the other end of a pipe.

What is said over the pipe is the module's business: jobs of an import (``data.fanout``), seeds of a task
(``bench.pool``). A module so started ends when its pipe does. What arrives is unpickled, so the other end is never
anything but this package.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

#: One thread per child, as many children as asked for: two with two threads each on two cores are slower than two with one.
SINGLE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

#: How long a child gets to finish what is in its hands.
CLOSE_S = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Child:
    """A running child and this end of its pipe."""

    process: subprocess.Popen[bytes]
    connection: Connection[Any, Any]

    @classmethod
    def start(cls, module: str) -> Child:
        """Start ``python -m module FD``, FD being its end of the pipe."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **SINGLE_THREAD},
                stdin=subprocess.DEVNULL,
            )
        return cls(process, Connection(ours.detach()))

    def send(self, message: object) -> None:
        """Tell it something; whoever receives next is told where it is gone."""
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(message)

    def stop(self) -> None:
        """End it: by closing the pipe, and after a while by force."""
        self.connection.close()
        try:
            self.process.wait(timeout=CLOSE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
