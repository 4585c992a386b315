"""The manifest: an in-toto statement about every file of a pack, and the DSSE envelope around its very bytes.

The envelope's payload is ``manifest.json`` byte for byte, so that a person can read what was signed.

Source: in-toto Attestation Framework, Statement v1; DSSE 1.0.2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from genba import __version__
from genba.errors import LedgerError
from genba.trust.digest import digest_file
from genba.trust.passport import STATEMENT_TYPE

MANIFEST, SIGNED = "manifest.json", "manifest.dsse.json"
PREDICATE_TYPE = "urn:genba:evidence-pack:1"


def statement(
    path: Path,
    names: Iterable[str],
    *,
    made_ns: int,
    missing: list[dict[str, Any]],
    problems: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return the statement about a pack's files.

    Args:
        path: the pack.
        names: its files, but for the manifest.
        made_ns: when it was made, ns since 1970, UTC.
        missing: what is missing, as plain values.
        problems: what does not hold, likewise.
    """
    return {
        "_type": STATEMENT_TYPE,
        "predicate": {"made_ns": made_ns, "missing": missing, "problems": problems, "software": f"genba {__version__}"},
        "predicateType": PREDICATE_TYPE,
        "subject": [{"digest": {"sha256": digest_file(path / name)[7:]}, "name": name} for name in names],
    }


def read_statement(data: bytes, *, place: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return each file's digest by name, and what else a manifest says.

    Raises:
        LedgerError: it is no manifest of a pack.
    """
    try:
        table = json.loads(data)
        if (table["_type"], table["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise ValueError(f"a statement about {table['predicateType']!r}, expected {PREDICATE_TYPE!r}")
        files = {str(one["name"]): f"sha256:{one['digest']['sha256']}" for one in table["subject"]}
        if len(files) != len(table["subject"]):
            raise ValueError("a file stands twice")
        said = dict(table["predicate"])
        # ns since 1970 that a calendar knows.
        if type(said["made_ns"]) is not int or not 0 <= said["made_ns"] < 2**63:
            raise ValueError(f"made_ns: got {said['made_ns']!r}, expected ns since 1970")
        for name, words in (("missing", ("what", "why")), ("problems", ("place", "message"))):
            if not all(isinstance(one[word], str) for one in said[name] for word in words):
                raise TypeError(f"{name}: expected {' and '.join(words)} of each in words")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LedgerError(f"{place}: not the manifest of an evidence pack ({error!r})") from error
    return files, said
