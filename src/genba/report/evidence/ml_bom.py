"""A model's bill of materials: CycloneDX 1.6 in JSON.

It lists what the passport and the read record name: the weights by digest, each data set by owner and by the digests of the shards
that the weights depend on, every installed package, the code, the parents. What nobody recorded is left out of the bill and
stands in the pack's list of what is missing. An intended use, risks and fairness are for people to write; they are not made up here.

Source: OWASP CycloneDX 1.6 (ECMA-424), ``bom-1.6.schema.json``; package URLs as purl-spec has them for PyPI.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from genba import __version__
from genba.report.evidence.models import Model
from genba.trust.passport import in_words

FILE = "bom.cdx.json"
#: of serial numbers: the same pack has the same
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:genba:ml-bom:1")


def ml_bom(model: Model, *, made_ns: int) -> dict[str, Any]:
    """Return the bill of one model.

    Args:
        made_ns: when the pack was made, ns since 1970, UTC.
    """
    datasets, packages = _datasets(model), _packages(model)
    subject = _subject(model, [one["bom-ref"] for one in datasets])
    refs = [one["bom-ref"] for one in (*datasets, *packages)]
    serial = uuid.uuid5(_NAMESPACE, f"{model.digest or model.name} {made_ns}")
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": in_words(made_ns),
            "tools": {"components": [{"type": "application", "name": "genba", "version": __version__}]},
            "component": subject,
        },
        "components": [*datasets, *packages],
        "dependencies": [{"ref": subject["bom-ref"], "dependsOn": refs}] + [{"ref": ref} for ref in refs],
    }


def _subject(model: Model, datasets: Iterable[str]) -> dict[str, Any]:
    said, version = model.passport, model.weights.removeprefix("sha256:")[:16]
    facts = {
        "genba:passport": model.digest,
        "genba:signed-by": ", ".join(model.signers),
        "genba:revoked": model.revoked.reason if model.revoked else "",
    }
    if said is not None:
        facts |= {
            "genba:may-run": str(said.deploy),
            "genba:reads-root": said.reads,
            "genba:trained-on": said.trained_on,
            "genba:egress-log": said.egress,
            "genba:code": str(said.code.get("digest") or ""),
            "genba:commit": str(said.code.get("commit") or ""),
        } | {f"genba:agreement:{number}": one for number, one in enumerate(said.agreements)}
    parameters: dict[str, Any] = {
        # It imitates actions that were recorded or labelled, and predicts what its own sensors show next.
        "approach": {"type": "supervised"},
        "task": "control of machines",
        "architectureFamily": "transformer",
        "modelArchitecture": "world-action model (genba)",
        "datasets": [{"ref": one} for one in datasets],
        "inputs": [
            {"format": f"{machine.id} {channel.name}: {channel.modality}"}
            for machine in model.embodiments.values()
            for channel in machine.channels
        ],
        "outputs": [
            {"format": f"{machine.id} {one.name}"}
            for machine in model.embodiments.values()
            for one in (*machine.action.continuous, *machine.action.choice)
        ],
    }
    choices = {f"genba:model:{name}": str(value) for name, value in sorted(model.architecture.items())}
    subject: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": "genba model",
        "modelCard": {"modelParameters": parameters, "properties": _properties(choices)},
        "properties": _properties(facts),
    }
    if version:
        subject |= {"version": version, "hashes": [_sha256(model.weights)]}
    if said is not None and said.parents:
        ancestors = [
            {"type": "machine-learning-model", "name": "genba model", "hashes": [_sha256(one)]} for one in said.parents
        ]
        subject["pedigree"] = {"ancestors": ancestors}
    return subject


def _datasets(model: Model) -> list[dict[str, Any]]:
    whose: dict[tuple[str, str], set[str]] = {(one.owner, one.dataset): set() for one in model.sources or ()}
    for owner, dataset, _ in model.reads.trained_on if model.reads else ():
        whose.setdefault((owner, dataset), set())
    for one in model.sources or ():
        whose[one.owner, one.dataset].add(one.agreement)
    shards = model.reads.trained_on if model.reads else ()

    def windows(owner: str, dataset: str) -> str:
        return str(model.reads.windows_by_owner.get((owner, dataset), 0)) if model.reads else ""

    return [
        {
            "type": "data",
            "bom-ref": f"data:{quote(owner, safe='')}:{quote(dataset, safe='')}",
            "group": owner,
            "name": dataset,
            "data": [
                {
                    "type": "dataset",
                    "name": f"{owner} / {dataset}",
                    "governance": {"owners": [{"organization": {"name": owner}}]},
                }
            ],
            "properties": _properties(
                {"genba:agreement": ", ".join(sorted(agreements)), "genba:windows": windows(owner, dataset)}
                | {
                    f"genba:shard:{number}": shard
                    for number, shard in enumerate(digest for o, d, digest in shards if (o, d) == (owner, dataset))
                }
            ),
        }
        for (owner, dataset), agreements in sorted(whose.items())
    ]


def _packages(model: Model) -> list[dict[str, Any]]:
    environment = dict(model.passport.environment) if model.passport else {}
    python = environment.pop("python", "")
    out: list[dict[str, Any]] = []
    if python:
        out.append({"type": "platform", "bom-ref": "python", "name": "python", "version": python})
    for name, version in sorted(environment.items()):
        # As purl-spec has it for PyPI: lower case, and a hyphen for an underscore.
        url = f"pkg:pypi/{quote(name.lower().replace('_', '-'), safe='-.')}@{quote(version, safe='.-')}"
        out.append({"type": "library", "bom-ref": f"package:{name}", "name": name, "version": version, "purl": url})
    return out


def _properties(facts: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in facts.items() if value]


def _sha256(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest.removeprefix("sha256:")}
