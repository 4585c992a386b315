"""Result files of measurements: one JSON object each that says its format and version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genba.errors import ConfigError


def read_measurement(path: Path, expected: tuple[str, int], *, written_by: str) -> dict[str, Any]:
    """Return what a result file holds.

    Args:
        expected: its format and version.
        written_by: the command that writes it, for errors.

    Raises:
        ConfigError: no such file, or not a result of this format.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; expected one written by '{written_by}'") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: not valid JSON ({error})") from error
    got = (result.get("format"), result.get("version")) if isinstance(result, dict) else None
    if got != expected:
        raise ConfigError(f"{path}: got format and version {got}, expected {expected}")
    return result
