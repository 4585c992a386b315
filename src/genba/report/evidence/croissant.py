"""A data set's description for machines and search engines: Croissant 1.0, JSON-LD.

What Croissant asks for and a sealed vault does not have is said in the words of the format: the licence is the agreement (a contract,
in ``rules/odrl``), the address a name, the date of publication the day on which this description was made. Shards are listed with
digest and size, so that what was trained on can be compared byte for byte; their content opens with the owner's key alone, so
the only records are those of the channels.

Source: MLCommons, Croissant Format Specification 1.0, with the context of its appendix 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from genba.data.vault import Vault
from genba.report.evidence.datasets import HeldData, held_by
from genba.report.evidence.folder import PackFolder
from genba.report.evidence.records import Records
from genba.trust.passport import in_words

FILE = "croissant.json"
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
#: Croissant 1.0, "Required": what each description must have
REQUIRED = (
    *("@context", "@type", "conformsTo", "description", "license", "name", "url", "creator", "datePublished"),
    "distribution",
)
_PLAIN = (
    "citeAs column equivalentProperty extract field fileProperty fileObject fileSet format includes isLiveDataset jsonPath key md5 "
    "parentField path recordSet references regex repeated replace samplingRate separator source subField transform"
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
} | {name: f"cr:{name}" for name in _PLAIN.split()}
#: a shard is one Arrow IPC file
SHARD_TYPE = "application/vnd.apache.arrow.file"
_FIELDS = {
    "machine": ("sc:Text", "Id of the machine type"),
    "channel": ("sc:Text", "The channel's name"),
    "modality": ("sc:Text", "What kind of signal it is"),
    "rate_hz": ("sc:Float", "Nominal samples per second on the channel's own clock; 0 where samples come with events"),
    "values": ("sc:Text", "What a sample holds: named numbers with their units, or its size"),
}


def collect(
    pack: PackFolder, vaults: Iterable[Vault], records: Records, *, party: str, made_ns: int
) -> tuple[HeldData, ...]:
    """Describe every data set of some vaults in a pack; what agreements name and no vault holds is listed as missing.

    Args:
        party: who runs the vaults; empty where that is not known.
        made_ns: the pack's time, ns since 1970, UTC.

    Raises:
        DataError, StorageError: a catalog cannot be read.
    """
    vaults = list(vaults)
    found = [held for number, vault in enumerate(vaults) for held in held_by(vault, number)]
    for held in found:
        pack.add_json(f"{held.name}/{FILE}", croissant(held, party=party, made_ns=made_ns))
        for machine in held.unknown:
            pack.miss(
                f"the channels of {machine} in {held.owner}/{held.dataset}", "nobody here has this machine's facts"
            )
        if not held.is_governed:
            pack.miss(
                f"rules before {held.owner}/{held.dataset}",
                "its vault is open: nothing asks an agreement before it is read",
                "genba trust govern VAULT",
            )
    known = {(held.owner, held.dataset) for held in found}
    withdrawn = {(one.said["owner"], one.said["dataset"]) for one in records.receipts}
    for owner in records.owners:
        for dataset in sorted({dataset for one in owner.agreements for dataset in one.datasets}):
            if (owner.owner, dataset) in known:
                continue
            if (owner.owner, dataset) in withdrawn:
                pack.miss(f"metadata of {owner.owner}/{dataset}", "it was withdrawn: its receipt is here")
            else:
                why = "none of the vaults that were named holds it" if vaults else "no vault was named"
                pack.miss(f"metadata of {owner.owner}/{dataset}", why, "--vault VAULT")
    if not vaults and not records.owners:
        pack.miss("metadata of data sets", "no vault was named", "--vault VAULT")
    return tuple(found)


def croissant(held: HeldData, *, party: str, made_ns: int) -> dict[str, Any]:
    """Return the description of what a vault holds of a data set.

    Args:
        party: who runs the vault; empty where that is not known.
        made_ns: when the description is made, ns since 1970, UTC.
    """
    sealed = "Every shard is sealed under the owner's key" if held.is_sealed else "NOT every shard is sealed"
    asked = "its vault asks the agreements before it opens anything" if held.is_governed else "its vault asks nobody"
    out: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": f"{held.owner} / {held.dataset}",
        "description": f"{held.num_episodes} episodes, {held.hours:.4g} hours, of {', '.join(e.id for e in held.embodiments)}. {sealed}; "
        f"{asked}. It is not published: datePublished is the day on which this description was made. Root over the shards' digests: "
        f"{held.root}.",
        "url": f"urn:genba:dataset:{quote(held.owner, safe='')}:{quote(held.dataset, safe='')}",
        "license": [
            {
                "@type": "sc:CreativeWork",
                "name": f"Agreement {one}",
                "url": f"urn:genba:agreement:{quote(one, safe='')}",
            }
            for one in held.agreements
        ],
        "creator": {"@type": "sc:Organization", "name": held.owner},
        "datePublished": in_words(made_ns)[:10],
        "version": f"1.0.0+{held.root.removeprefix('sha256:')[:12]}",
        "isLiveDataset": True,
        "keywords": [*held.modalities, *(one.id for one in held.embodiments)],
        "conditionsOfAccess": f"Under {', '.join(held.agreements)} only; the owner may withdraw it.",
        "spatialCoverage": [
            {"@type": "sc:Place", "name": f"recorded under the law of {one}"} for one in held.jurisdictions
        ],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": f"shard-{number:05d}",
                "name": shard.file.rpartition("/")[2],
                "contentUrl": shard.file,
                "contentSize": f"{shard.size_bytes} B",
                "encodingFormat": SHARD_TYPE,
                "sha256": shard.digest.removeprefix("sha256:"),
            }
            for number, shard in enumerate(held.shards)
        ],
        "recordSet": [_channels(held)],
    }
    if party:
        out["publisher"] = {"@type": "sc:Organization", "name": party}
    return out


def _channels(held: HeldData) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "channels",
        "name": "channels",
        "description": "Every channel of every machine type in the data set.",
        "key": [{"@id": "channels/machine"}, {"@id": "channels/channel"}],
        "field": [
            {"@type": "cr:Field", "@id": f"channels/{name}", "name": name, "description": words, "dataType": kind}
            for name, (kind, words) in _FIELDS.items()
        ],
        "data": [
            {
                "channels/machine": embodiment.id,
                "channels/channel": channel.name,
                "channels/modality": channel.modality,
                "channels/rate_hz": float(getattr(channel, "rate_hz", 0.0)),
                "channels/values": _values(channel),
            }
            for embodiment in held.embodiments
            for channel in embodiment.channels
        ],
    }


def _values(channel: Any) -> str:
    if channel.modality in ("telemetry", "entities"):
        return ", ".join(f"{one.name} ({one.unit})" for one in channel.dimension)
    if channel.modality == "camera":
        return f"{channel.height} x {channel.width} pixels, RGB"
    if channel.modality == "points":
        return f"up to {channel.max_points} points within {channel.range_max_m:g} m"
    return f"up to {channel.max_bytes} bytes of text"
