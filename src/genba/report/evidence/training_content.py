"""The fields of the EU's template for the public summary of training content, filled in as far as records say something.

A field says what its answer rests on, and what is left to the provider. It is the material for a summary, and names owners: the
provider decides what of it may be public. Which fields there are stands in ``training_content.toml``.

Source: Regulation (EU) 2024/1689, Article 53(1)(d); Commission communication C(2025) 8311, explanatory notice and template.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genba.config import read_toml
from genba.report.evidence.datasets import HeldData
from genba.report.evidence.models import Model
from genba.report.evidence.records import Records
from genba.trust.passport import in_words

FILE = "training-content.json"
TEMPLATE = "Regulation (EU) 2024/1689, Article 53(1)(d); template of C(2025) 8311"
NOT_KNOWN = "Not known from these records: see what is missing."


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One field of the template."""

    section: str
    name: str
    """In our words."""
    answer: str = ""
    """Name of what fills it in; empty where no record does."""
    files: tuple[str, ...] = ()
    """Papers of the model that the answer rests on."""
    left: str = ""
    """What only the provider can say; empty where nothing is left."""

    def __post_init__(self) -> None:
        if not self.answer and not self.left:
            raise ValueError(f"{self.section} {self.name}: neither an answer nor what is left, expected one at least")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Template:
    fields: tuple[Field, ...]


def template() -> tuple[Field, ...]:
    """Return the template's fields, in order."""
    return read_toml(Path(__file__).with_suffix(".toml"), _Template).fields


def training_content(
    model: Model, held: Iterable[HeldData], records: Records, *, party: str, files: Iterable[str]
) -> dict[str, Any]:
    """Return what can be said of one model's training content, field by field.

    Args:
        held: what the vaults hold.
        party: whose own data is listed apart.
        files: the pack's, of which an answer names those that are there.
    """
    known, answers = set(files), _answers(model, tuple(held), records, party)
    rows = []
    for one in template():
        said = answers[one.answer] if one.answer else ""
        rows.append(
            {
                "section": one.section,
                "field": one.name,
                "answer": (said or NOT_KNOWN) if one.answer else "",
                "rests_on": [f"{model.name}/{name}" for name in one.files if f"{model.name}/{name}" in known],
                "left_to_the_provider": one.left,
            }
        )
    return {"template": TEMPLATE, "model": model.digest or model.name, "fields": rows}


def _answers(model: Model, held: tuple[HeldData, ...], records: Records, party: str) -> dict[str, str]:
    """Return every answer by name; empty where the records do not say."""
    said, reads = model.passport, model.reads
    read = {(owner, dataset) for owner, dataset, _ in reads.trained_on} if reads else set()
    used = [one for one in held if (one.owner, one.dataset) in read]
    windows = reads.windows_by_owner if reads else {}
    return {
        "model": f"Weights {model.weights}, passport {model.digest}." if model.digest else "",
        "parents": (", ".join(said.parents) or "None: it was trained from nothing.") if said else "",
        "modalities": ", ".join(
            sorted({c.modality for machine in model.embodiments.values() for c in machine.channels})
        ),
        "size": "; ".join(
            [f"{sum(windows.values())} windows in {reads.step} train steps"]
            + [
                f"{one.owner} / {one.dataset}: {one.num_episodes} episodes, {one.hours:.4g} h, {one.size_bytes} bytes in the vault "
                f"now, {windows.get((one.owner, one.dataset), 0)} windows trained on"
                for one in used
            ]
        )
        if reads
        else "",
        "content": "; ".join(f"{machine.id}: {machine.description}" for machine in model.embodiments.values()),
        "latest": f"Not after {in_words(said.made_ns)}, when the passport was signed." if said else "",
        "from_others": _listed(model, windows, party, is_own=False),
        "own": _listed(model, windows, party, is_own=True),
        "reached": _reached(model, records),
        "withdrawn": "; ".join(
            f"{one.said['dataset']} of {one.said['owner']} was withdrawn (entry {one.entry.number})"
            for one in records.receipts
        )
        or "No data set was withdrawn.",
    }


def _listed(model: Model, windows: dict[tuple[str, str], int], party: str, *, is_own: bool) -> str:
    if model.sources is None:
        return ""
    found = [
        f"{one.owner} / {one.dataset} under {one.agreement} ({windows.get((one.owner, one.dataset), 0)} windows)"
        for one in sorted(model.sources)
        if (one.owner == party) == is_own
    ]
    return "; ".join(found) or "None."


def _reached(model: Model, records: Records) -> str:
    if not model.egress:
        return ""
    log = model.egress.partition(",")[0]
    runs = [run.run for run in records.egress if run.log == log]
    hosts = sorted({host for run in runs for host in run.hosts})
    confined = "confined by the kernel" if all(run.is_enforced for run in runs) else "NOT confined"
    return f"The run was {confined}; other hosts that it reached: {', '.join(hosts) or 'none'} ({model.egress})."
