"""The pack as one HTML page for a person to read: the look of a run's page, no script, nothing from the network.

Links lead to the pack's own files. Long lists are summed up here and stand whole in their files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

import genba.report
from genba import __version__
from genba.report.evidence.datasets import HeldData
from genba.report.evidence.folder import PackFolder
from genba.report.evidence.models import Model
from genba.report.evidence.records import DECISION, PROOFS, Records
from genba.trust.digest import digest_file
from genba.trust.folder import POLICY_FOLDER
from genba.trust.ledger import KINDS, Entry
from genba.trust.passport import in_words

FILE = "index.html"
#: how many refusals are shown one by one, the newest
SHOWN_REFUSALS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Everything that the page shows."""

    party: str
    site: str
    key: str
    """Id of the key that signs the pack."""
    made_ns: int
    records: Records
    models: tuple[Model, ...]
    datasets: tuple[HeldData, ...]
    contents: tuple[dict[str, Any], ...]
    """Of each model, as ``training_content`` says."""
    clauses: list[dict[str, Any]]
    """As ``requirements`` says."""


def render(pack: PackFolder, facts: Facts) -> str:
    """Return the page as text.

    Args:
        pack: everything but the page and the manifest.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("genba.report", "evidence"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"address": quote}
    records, names = facts.records, pack.names()
    asked = records.of_kind(DECISION)
    refused = [entry for entry in asked if entry.body.get("allowed") is not True]
    return environment.get_template("page.html.jinja").render(
        css=Markup((Path(genba.report.__file__).parent / "page.css").read_text(encoding="utf-8")),
        party=facts.party,
        site=facts.site,
        key=facts.key,
        made=_time(facts.made_ns),
        version=__version__,
        findings=records.findings,
        problems=pack.problems,
        missing=pack.missing,
        allowed=len(asked) - len(refused),
        refused=len(refused),
        decisions=_decisions(asked),
        refusals=[_refusal(entry) for entry in refused[-SHOWN_REFUSALS:]],
        policies=_policies(records, asked),
        agreements=[(owner.owner, one) for owner in records.owners for one in owner.agreements],
        kinds=_kinds(records),
        proofs=sum(name.startswith(f"{PROOFS}/") for name in names),
        egress=[one.row() | {"began": _time(one.run.began_ns)} for one in records.egress],
        models=[_model(one, names) for one in facts.models],
        receipts=records.receipts,
        datasets=facts.datasets,
        contents=facts.contents,
        clauses=[(name, list(rows)) for name, rows in groupby(facts.clauses, key=lambda row: row["framework"])],
        files=[
            {"name": name, "bytes": (pack.path / name).stat().st_size, "digest": digest_file(pack.path / name)[7:]}
            for name in names
        ],
    )


def _decisions(asked: Iterable[Entry]) -> list[dict[str, Any]]:
    """Sum decisions up: the same question by the same party, and the same answer."""
    found: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in asked:
        request = _request(entry)
        act = " for ".join(filter(None, (str(request.get("act", "?")), str(request.get("purpose", "")))))
        words = [str(request.get(name, "")) for name in ("owner", "dataset", "agreement")]
        key = (*words, act, str(request.get("party", "")), entry.body.get("allowed") is True)
        found.setdefault(key, []).append(entry)
    columns = ("owner", "dataset", "agreement", "act", "party", "allowed")
    return [
        dict(zip(columns, key, strict=True))
        | {"times": len(entries), "first": _time(entries[0].time_ns), "last": _time(entries[-1].time_ns)}
        for key, entries in sorted(found.items(), key=lambda item: item[0])
    ]


def _refusal(entry: Entry) -> dict[str, Any]:
    request = _request(entry)
    words = [str(request.get(name, "")) for name in ("act", "purpose", "owner", "dataset", "embodiment", "party")]
    reasons = entry.body.get("reasons")
    return {
        "entry": entry.number,
        "time": _time(entry.time_ns),
        "what": ", ".join(filter(None, words)),
        "reasons": "; ".join(map(str, reasons)) if isinstance(reasons, list) else "none recorded",
    }


def _request(entry: Entry) -> dict[str, Any]:
    # Whoever keeps a ledger may enter any table as a decision.
    request = entry.body.get("request")
    return request if isinstance(request, dict) else {}


def _policies(records: Records, asked: Iterable[Entry]) -> list[dict[str, Any]]:
    times = Counter(str(entry.body.get("policy_hash")) for entry in asked)
    return [
        {
            "digest": digest,
            "times": times[digest],
            "file": f"{POLICY_FOLDER}/{digest.removeprefix('sha256:')}.json",
            "text": text,
        }
        for digest, text in sorted(records.policies.items())
    ]


def _kinds(records: Records) -> list[dict[str, Any]]:
    times = Counter(entry.kind for entry in records.entries)
    return [{"kind": kind, "times": times[kind], "meaning": KINDS[kind]} for kind in KINDS if times[kind]]


def _model(model: Model, names: Iterable[str]) -> dict[str, Any]:
    said = model.passport
    if model.sources is None:
        made_from = "not known here"
    else:
        made_from = ", ".join(f"{one.owner} / {one.dataset}" for one in sorted(model.sources)) or "nobody's data"
    if said is None:
        state = "no passport that holds"
    else:
        state = f"signed by {', '.join(model.signers)}" + ("" if model.is_in_ledger else "; not in this ledger")
    return {
        "digest": model.digest,
        "places": model.places,
        "weights": model.weights,
        "made": _time(said.made_ns) if said else "–",
        "sources": made_from,
        "deploy": str(said.deploy) if said else "nowhere",
        "revoked": model.revoked.reason if model.revoked else "",
        "state": state,
        "files": [name for name in names if name.startswith(f"{model.name}/")],
    }


def _time(time_ns: int) -> str:
    try:
        return in_words(time_ns).replace("T", " ").replace("+00:00", " UTC")
    except OverflowError:
        # Whoever keeps a ledger may write any number there.
        return f"{time_ns} ns"
