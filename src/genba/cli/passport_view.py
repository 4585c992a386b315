"""A passport in words: where it lies, what it says, and what it allows until when."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from genba.trust import passport as passports
from genba.trust.folder import PARTNER_FOLDER, PARTY_FILE
from genba.trust.passport import Passport
from genba.trust.signing import TrustStore


def passport_path(path: Path) -> Path:
    """Return the passport's file: ``path`` itself, or the one in a bundle's or a checkpoint's folder."""
    return path / passports.FILE if path.is_dir() else path


def trust_store(path: Path) -> TrustStore:
    """Return whom a trust folder believes, or a folder of public keys.

    Raises:
        SignatureError: there are no public keys.
    """
    return TrustStore.load(path / PARTNER_FOLDER if (path / PARTY_FILE).is_file() else path)


def table_of(passport: Passport, digest: str, signers: Iterable[str]) -> Table:
    """Return everything that a passport says, for a person to read."""
    code, hardware = passport.code, passport.hardware
    changed = {True: "with changes", False: "unchanged", None: "not known whether changed"}[code.get("dirty")]
    rows: dict[str, Any] = {
        "passport": digest,
        "signed by": ", ".join(signers),
        "made": passports.in_words(passport.made_ns),
        "weights": passport.weights,
        "allowed": str(passport.deploy),
        "parents": _listed(passport.parents, "trained from nothing"),
        "data sets": f"{len(passport.datasets)} could be read: {_listed(passport.datasets, 'none')}",
        "agreements": _listed(passport.agreements, "none"),
        "read": passport.reads or "no record was kept",
        "trained on": f"{passport.trained_on}: ask with genba audit trained-on"
        if passport.trained_on
        else "no set was made",
        "egress": passport.egress or "ran unconfined: what it reached is not known",
        "code": f"commit {code.get('commit') or 'unknown'}, {changed}; files {code.get('digest')}",
        "environment": f"{len(passport.environment)} packages, Python {passport.environment.get('python', 'unknown')}",
        "hardware": json.dumps(hardware, ensure_ascii=False),
        "seeds": json.dumps(passport.seeds, ensure_ascii=False),
        "config": json.dumps(passport.config, ensure_ascii=False),
    }
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    # A digest is longer than a narrow terminal, and is copied from here.
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, escape(str(value)))
    return table


def _listed(values: Iterable[str], nothing: str) -> str:
    return ", ".join(values) or nothing
