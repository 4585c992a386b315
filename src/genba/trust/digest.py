"""Content digests and canonical JSON: the same bytes for the same content, on every machine.

A digest is written ``"sha256:<64 hex digits>"`` so that it says how it was made. Nothing here signs or encrypts.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

#: Bytes read at a time; a file never has to fit into memory.
BLOCK_BYTES = 1 << 20


def digest_bytes(data: bytes | bytearray | memoryview) -> str:
    """Return the digest of ``data``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_file(path: Path | str) -> str:
    """Return the digest of a file's content.

    Raises:
        OSError: the file cannot be read.
    """
    state = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            state.update(block)
    return f"sha256:{state.hexdigest()}"


def canonical_json(value: Any) -> bytes:
    """Return plain ``value`` (dicts, lists, strings, numbers, None) as UTF-8 JSON that has only one form.

    Keys are sorted, there is no white space, and a number is its shortest decimal that reads back the same. NaN and
    infinities, which JSON does not know, are refused.

    Raises:
        ValueError: a NaN or an infinity.
        TypeError: something that is not plain.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def digest_json(value: Any) -> str:
    """Return the digest of ``canonical_json(value)``."""
    return digest_bytes(canonical_json(value))
