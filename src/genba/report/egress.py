"""Egress logs by run: what each confined command was let to reach, and what it was refused. It verifies nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genba.errors import DataError
from genba.trust.sandbox.log import read_log
from genba.trust.sandbox.policy import LOOPBACK


@dataclass(frozen=True, kw_only=True, slots=True)
class EgressRun:
    """What one confined command tried to reach."""

    run: str
    command: str
    began_ns: int
    is_enforced: bool
    status: int | None
    """Exit status; None where the log was cut off before the run's end."""
    allowed: int
    refused: int
    hosts: tuple[str, ...]
    """Other hosts that it was let to connect to."""
    refusals: dict[str, int]
    """What it was refused, and how often."""


def egress_runs(path: Path) -> list[EgressRun]:
    """Return the runs of a log, in their order.

    Raises:
        DataError: the log cannot be read, or a line is not one.
    """
    runs: dict[str, list[dict[str, Any]]] = {}
    for line in read_log(path):
        runs.setdefault(line["run"], []).append(line)
    try:
        return [_run(run, lines) for run, lines in runs.items()]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not an egress log ({error!r}); expected events, attempts with address and decision"
        ) from error


def _run(run: str, lines: list[dict[str, Any]]) -> EgressRun:
    if type(lines[0]["time_ns"]) is not int:
        raise TypeError(f"time_ns {lines[0]['time_ns']!r}")
    start: dict[str, Any] = next((line for line in lines if line["event"] == "start"), {})
    allowed, refusals, hosts = 0, Counter[str](), set[str]()
    for line in lines:
        if line["event"] != "attempt":
            continue
        times, address = line.get("repeated", 1), line["address"]
        if line["decision"] == "refused":
            refusals[f"{line['operation']} {address}"] += times
            continue
        allowed += times
        host = address.rpartition(":")[0].strip("[]")
        if line["operation"] == "connect" and not address.startswith("unix") and host not in LOOPBACK:
            hosts.add(host)
    return EgressRun(
        run=run,
        command=" ".join(start.get("command", ())),
        began_ns=lines[0]["time_ns"],
        # What did not say so at its beginning was not enforced as far as anybody knows.
        is_enforced=start.get("is_enforced", False),
        status=next((line["status"] for line in lines if line["event"] == "end"), None),
        allowed=allowed,
        refused=refusals.total(),
        hosts=tuple(sorted(hosts)),
        refusals=dict(sorted(refusals.items())),
    )
