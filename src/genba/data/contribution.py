"""What each owner's data contributed to a run: what was counted, and what was estimated and says so.

Counted are hours, bytes and episodes of the vault, and windows that train steps used (the read record). **Estimated** are the share
of the loss, the attribution (``train.attribution`` measures it at checkpoints) and how well somebody could tell an owner's
training episodes from held-back ones by their loss. An estimate is no price and no proof: how far attribution agrees with
leaving an owner out is in ``docs/measurements/attribution.json``. Nothing here needs torch.

Source: Pruthi et al., "Estimating training data influence by tracing gradient descent" (TracIn), arXiv 2002.08484; Yeom et
al., "Privacy risk in machine learning" (a threshold on the loss), arXiv 1709.01604.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genba.data.reads import Reads
from genba.data.vault import Vault
from genba.errors import DataError

FORMAT = "genba-contribution@1"
ATTRIBUTION_FILE = "attribution.jsonl"
#: resamples of the interval around an AUC
RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Traced:
    """What was measured at one checkpoint, each by owner."""

    #: train steps taken, and how many since the last record
    step: int
    num_steps: int
    #: the learning rate at this step
    learning_rate: float
    #: windows that these train steps used
    windows: dict[str, int]
    #: mean loss on a sample of the owner's training windows
    loss: dict[str, float]
    #: what a plain gradient step on the owner's part of a batch takes off the held-back loss, to first order, times the steps
    plain: dict[str, float]
    #: the same for a step of Adam's size in each direction
    adam: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Auc:
    """How well training episodes are told from held-back ones by their loss: 0.5 not at all, 1 always."""

    #: chance that a training episode has the smaller loss, with its 95 % bootstrap interval over episodes; None where either
    #: side has fewer than two episodes
    value: float | None
    low: float | None
    high: float | None
    num_members: int
    num_held_back: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnerShare:
    """One owner's part."""

    owner: str
    datasets: tuple[str, ...]
    episodes: int
    hours: float
    bytes: int
    windows: int
    #: of all windows that train steps used, 0 to 1
    window_share: float
    #: estimate: of the loss summed over these windows, 0 to 1; None without attribution records
    loss_share: float | None
    #: estimate: the part of the held-back loss's decrease that the owner's gradients point at; the parts of all owners add up to 1,
    #: and one is negative where its gradients point against it. None without records, or where they add up to nothing
    attribution: float | None
    #: the same with Adam's step sizes
    attribution_adam: float | None
    #: estimate: leakage of membership
    leakage: Auc | None


def write_traced(folder: Path, traced: Traced) -> None:
    """Append what was measured at a checkpoint to a run's records.

    Raises:
        DataError: the disk refused.
    """
    try:
        with (folder / ATTRIBUTION_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(traced), sort_keys=True, allow_nan=False) + "\n")
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / ATTRIBUTION_FILE}: could not be written: {error}") from error


def read_traced(folder: Path, *, until: int) -> list[Traced]:
    """Return a run's records in the order of their steps; where a run was resumed, the later record of a step counts.

    Args:
        until: the newest checkpoint's step: what a break left beyond it does not count.

    Raises:
        DataError: a line is not one.
    """
    path, found = folder / ATTRIBUTION_FILE, dict[int, Traced]()
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            one = Traced(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: line {number}: not a record of attribution ({error})") from error
        found[one.step] = one
    return [found[step] for step in sorted(found) if step <= until]


def shares(
    vault: Vault, reads: Reads, traced: Sequence[Traced], leakage: Mapping[str, Auc], embodiment_ids: Sequence[str]
) -> list[OwnerShare]:
    """Return each owner's part of a run, by owner.

    Args:
        reads: what the run read.
        traced: what was measured at its checkpoints; none gives no attribution.
        leakage: measured by owner.
        embodiment_ids: the machines that it trained on.
    """
    windows: dict[str, int] = {}
    for (owner, _), count in reads.windows_by_owner.items():
        windows[owner] = windows.get(owner, 0) + count
    total = sum(windows.values())
    losses = _summed([{o: t.windows.get(o, 0) * loss for o, loss in t.loss.items()} for t in traced])
    plain, adam = _summed([t.plain for t in traced]), _summed([t.adam for t in traced])
    entries = [e for e in vault.entries() if e.embodiment_id in embodiment_ids]
    out = []
    for owner in sorted({e.metadata.owner for e in entries} | set(windows)):
        own = [e for e in entries if e.metadata.owner == owner]
        out.append(
            OwnerShare(
                owner=owner,
                datasets=tuple(sorted({e.metadata.dataset for e in own})),
                episodes=len(own),
                hours=sum(e.duration_s for e in own) / 3600,
                bytes=sum(e.size_bytes for e in own),
                windows=windows.get(owner, 0),
                window_share=windows.get(owner, 0) / total if total else 0.0,
                loss_share=_part(losses, owner),
                attribution=_part(plain, owner),
                attribution_adam=_part(adam, owner),
                leakage=leakage.get(owner),
            )
        )
    return out


def auc(members: Sequence[float], held_back: Sequence[float], *, seed: int = 0) -> Auc:
    """Return how well a threshold on the loss tells members from held-back episodes.

    Args:
        members, held_back: the loss of each episode.
        seed: of the bootstrap.
    """
    inside, outside = np.asarray(members, np.float64), np.asarray(held_back, np.float64)
    counts = {"num_members": len(inside), "num_held_back": len(outside)}
    if min(counts.values()) < 2:
        return Auc(value=None, low=None, high=None, **counts)
    # Mann and Whitney: the share of pairs in the expected order, a tie counting half.
    order = (inside[:, None] < outside) + 0.5 * (inside[:, None] == outside)
    rng = np.random.default_rng(seed)
    again = [
        order[rng.integers(0, len(inside), len(inside))][:, rng.integers(0, len(outside), len(outside))].mean()
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(again, [0.025, 0.975]).tolist()
    return Auc(value=float(order.mean()), low=low, high=high, **counts)


def to_json(found: Sequence[OwnerShare], *, run: str, step: int, reads: Reads) -> dict[str, Any]:
    """Return a contribution as plain values, with what is counted and what is estimated named."""
    return {
        "format": FORMAT,
        "run": run,
        "step": step,
        "reads": reads.root,
        "counted": ["datasets", "episodes", "hours", "bytes", "windows", "window_share"],
        "estimated": ["loss_share", "attribution", "attribution_adam", "leakage"],
        "owners": [json.loads(json.dumps(asdict(one))) for one in found],
    }


def _summed(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    out: dict[str, float] = {}
    for table in tables:
        for owner, value in table.items():
            out[owner] = out.get(owner, 0.0) + value
    return out


def _part(table: Mapping[str, float], owner: str) -> float | None:
    total = sum(table.values())
    return table.get(owner, 0.0) / total if total > 0 else None
