"""A process that imports: takes jobs from a pipe, stores their episodes, says what happened. ``fanout`` starts it.

It ends when the pipe does: with the process at the other side, however that ended, and at the latest after the episode in
its hands. ``python -m genba.data.import_worker FD``.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any


def main(descriptor: int) -> None:
    """Serve the pipe until it ends."""
    # A ^C goes to every process of the terminal; the parent's answer to it closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection: Connection[Any, Any] = Connection(descriptor)
    # The other side is gone: there is nobody left to tell.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        vault, path = connection.recv()
        sys.path[:] = path
        # Imported here: only now is it known where from.
        from genba.data.fanout import Started, run_job
        from genba.data.ingest import Ingest
        from genba.data.vault import Vault

        ingest = Ingest(Vault.open(vault, choices=connection.recv()))
        while True:
            for event in run_job(ingest, connection.recv()):
                if not isinstance(event, Started):
                    connection.send(event)


if __name__ == "__main__":
    main(int(sys.argv[1]))
