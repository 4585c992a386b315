"""Makes a pack: every part in order, the page, the manifest, and the signature over it; whole or not at all.

The same records, files and time give the same bytes: times are those of the records and the one that is given.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genba.data.vault import Vault
from genba.errors import ConfigError
from genba.report.evidence import croissant, ml_bom, models, page, records, requirements, training_content
from genba.report.evidence.absent import absent
from genba.report.evidence.folder import Missing, PackFolder, Problem, json_bytes
from genba.report.evidence.manifest import MANIFEST, SIGNED, statement
from genba.trust.dsse import Envelope
from genba.trust.folder import TrustFolder
from genba.trust.passport import PAYLOAD_TYPE
from genba.trust.signing import SigningKey, TrustStore

PARTY_FILE = "party.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What a pack is made of."""

    ledger: Path
    """The ledger's folder."""
    store: TrustStore
    """Whose keys are believed."""
    key: SigningKey
    """Whose who makes the pack."""
    made_ns: int
    """When it is made, ns since 1970, UTC."""
    trust: TrustFolder | None = None
    """The trust folder around the ledger; None where there is a ledger alone."""
    vaults: tuple[Vault, ...] = ()
    runs: tuple[Path, ...] = ()
    bundles: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What came of it."""

    path: Path
    num_files: int
    missing: tuple[Missing, ...]
    problems: tuple[Problem, ...]


def write_pack(given: Given, out: Path) -> Made:
    """Make a pack in a folder that is not there yet.

    Raises:
        ConfigError: it is there, or the disk refused.
        GenbaError: a vault's catalog cannot be read, or the trust folder's party.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists; a pack is never changed: name another folder")
    temporary = out.absolute().with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        temporary.mkdir(parents=True)
        pack = PackFolder(temporary)
        _fill(pack, given)
        num_files = len(pack.names())
        temporary.rename(out)
    except OSError as error:
        raise ConfigError(f"{out}: the pack could not be made: {error}; what was read is unchanged") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Made(path=out, num_files=num_files, missing=tuple(pack.missing), problems=tuple(pack.problems))


def _fill(pack: PackFolder, given: Given) -> None:
    party, site = (given.trust.party, given.trust.site) if given.trust else ("", "")
    kept = records.collect(pack, given.ledger, given.store, given.trust)
    facts = {"key": given.key.public.id, "keeper": kept.findings.keeper, "ledger": kept.findings.ledger}
    pack.add_json(PARTY_FILE, facts | {"party": party, "site": site})
    held = croissant.collect(pack, given.vaults, kept, party=party, made_ns=given.made_ns)
    found = models.collect(pack, kept, given.store, runs=given.runs, bundles=given.bundles)
    pack.missing += absent(pack.path, kept.entries)
    contents = []
    for model in found:
        pack.add_json(f"{model.name}/{ml_bom.FILE}", ml_bom.ml_bom(model, made_ns=given.made_ns))
        said = training_content.training_content(model, held, kept, party=party, files=pack.names())
        pack.add_json(f"{model.name}/{training_content.FILE}", said)
        contents.append(said)
    # The index names what is written after it too.
    clauses = requirements.index([*pack.names(), page.FILE, MANIFEST, SIGNED])
    pack.add_json(requirements.FILE, clauses)
    shown = page.Facts(
        party=party,
        site=site,
        key=given.key.public.id,
        made_ns=given.made_ns,
        records=kept,
        models=found,
        datasets=held,
        contents=tuple(contents),
        clauses=clauses,
    )
    pack.add(page.FILE, page.render(pack, shown).encode())
    _sign(pack, given, _rows(pack.missing), _rows(pack.problems))


def _sign(pack: PackFolder, given: Given, missing: list[dict[str, Any]], problems: list[dict[str, Any]]) -> None:
    said = json_bytes(statement(pack.path, pack.names(), made_ns=given.made_ns, missing=missing, problems=problems))
    pack.add(MANIFEST, said)
    pack.add(SIGNED, Envelope(PAYLOAD_TYPE, said, ()).signed_by(given.key).to_bytes() + b"\n")


def _rows(found: Iterable[Missing] | Iterable[Problem]) -> list[dict[str, Any]]:
    return [asdict(one) for one in found]
