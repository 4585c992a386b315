"""The record of what was read, beside each checkpoint and in the ledger.

Every rank writes its part into the checkpoint's folder; the first joins them into ``reads.json``, whose digest stands in
the checkpoint's ``run.json`` (``checkpoint.reads_of`` reads it). What the record says is in ``genba.data.reads``.
"""

from __future__ import annotations

import os
from pathlib import Path

from genba.data.reads import ReadRecord, Reads
from genba.trust.folder import TrustFolder

READS_FILE = "reads.json"


def write_part(folder: Path, part: Reads, *, rank: int) -> None:
    """Write what one rank did since the last checkpoint into the new one's folder.

    Raises:
        OSError: the disk refused.
    """
    _write(folder / f"reads.{rank}.part", part.to_bytes())


def join_parts(folder: Path, record: ReadRecord) -> Reads:
    """Join the parts of all ranks to the record so far, and write it in their place.

    Args:
        record: the first rank's account, which knows what was read before.

    Raises:
        OSError: the disk refused, or a rank's part is not there.
    """
    paths = [folder / f"reads.{rank}.part" for rank in range(record.world_size)]
    whole = record.join([Reads.from_bytes(path.read_bytes(), place=str(path)) for path in paths])
    _write(folder / READS_FILE, whole.to_bytes())
    for path in paths:
        path.unlink()
    return whole


def enter(trust: TrustFolder, reads: Reads, *, run: str) -> None:
    """Enter a record's root and digest into the ledger.

    Args:
        run: the run's folder, as the one who runs it names it.

    Raises:
        LedgerError: it could not be entered.
    """
    body = {"run": run, "step": reads.step, "root": reads.root, "digest": reads.digest, "before": reads.before}
    trust.ledger.append("read", body)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
