"""The options that every reader takes: whose data a log is, and under which terms; and the check of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genba.errors import ReaderError, nearest
from genba.spec.protocols import Reader

#: What every reader is told about a log, in the words of ``EpisodeMetadata``.
PROVENANCE = ("owner", "dataset", "site", "jurisdiction", "agreement")


def provenance(reader: Reader, options: Mapping[str, Any], **defaults: str) -> dict[str, Any]:
    """Return owner, dataset, site, jurisdiction and agreement as given, else as ``defaults``, else ``"unknown"``.

    A data set is ``"default"`` where nobody named it.

    Raises:
        ReaderError: an option that ``reader`` does not take, naming the nearest.
    """
    known = (*PROVENANCE, *reader.options)
    for option in options:
        if option not in known:
            raise ReaderError(f"{reader.name}: unknown option {option!r}{nearest(option, known)}")
    defaults = {"dataset": "default"} | defaults
    return {name: str(options.get(name) or defaults.get(name, "unknown")) for name in PROVENANCE}
