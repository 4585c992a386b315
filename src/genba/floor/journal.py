"""A journal on disk: what must not be forgotten when a process is killed, one JSON object a line.

A line counts once it is on the disk (``fsync``). A process killed while it writes leaves a torn last line, which says
nothing that anyone was told of: it is cut off when the journal is opened again. Damage anywhere else is refused. It
knows nothing of what its lines mean.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from genba.errors import FloorError


class Journal:
    """Appends to a file that belongs to one process at a time.

    Args:
        path: the file; made where there is none.

    Raises:
        FloorError: another process has it open, or a line in it is damaged.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise FloorError(f"{self.path}: in use by another process; a journal has one writer") from error
        #: what was in it when it was opened
        self.lines: tuple[dict[str, Any], ...] = self._read()

    def append(self, line: Mapping[str, Any]) -> None:
        """Write one line and wait until it is on the disk."""
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> tuple[dict[str, Any], ...]:
        self._file.seek(0)
        content = self._file.read()
        whole, newline, torn = content.rpartition(b"\n")
        if torn:
            self._file.truncate(len(whole) + len(newline))
        lines = []
        for number, text in enumerate(whole.split(b"\n") if whole else [], 1):
            try:
                lines.append(json.loads(text))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                self._file.close()
                raise FloorError(
                    f"{self.path}: line {number}: damaged ({error}); move the file away to begin anew"
                ) from error
        return tuple(lines)
