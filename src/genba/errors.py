"""Every error a caller can act on, in one tree.

A message says where, what was got, what was expected, and what to do next::

    GenbaError
    ├── ConfigError         a choice or a fact in a file or on the command line is wrong
    │   └── RegistryError   a name that no registry knows
    ├── SpecError           an observation, action or episode that does not fit its embodiment
    ├── DataError           stored or imported data cannot be used
    │   ├── CorruptShardError   a shard is truncated or its digest differs
    │   ├── ReaderError         a foreign log cannot be read, or its description does not match it
    │   │   └── FormatError     bytes of a foreign log that its format does not allow
    │   ├── SealError           sealed bytes were changed, cut or moved
    │   ├── KeyUnavailableError     a key is missing, destroyed or not the one that wrapped
    │   └── StorageError        a disk or an endpoint refused (full, no answer); what was stored is intact
    ├── CheckpointError     a checkpoint is missing, damaged, or of another architecture
    ├── BundleError         a bundle is damaged or made for another embodiment
    ├── PermissionDeniedError    no agreement allows what was asked, or one forbids it
    ├── SandboxError        a command cannot be confined as asked
    ├── LedgerError         a ledger, its heads or its proofs do not hold together
    ├── SignatureError      a signature, or the key for it, is missing, wrong or not trusted
    ├── PassportError       a model's passport is missing, altered, revoked, or does not allow this use
    ├── SimulatorError      a simulator could not start or broke off
    ├── FloorError          a factory floor cannot be reached, or its journal or its messages are damaged
    └── VerificationError   an independent verifier contradicts a reported outcome

A refusal that a control loop expects (a limit, a missed deadline) is a value, not an exception.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class GenbaError(Exception):
    """Base of every error that Genba raises on purpose."""


class ConfigError(GenbaError):
    """A fact or a choice that cannot be accepted."""


class RegistryError(ConfigError):
    """A name that no registry knows."""


class SpecError(GenbaError):
    """Data that does not fit the embodiment it claims."""


class DataError(GenbaError):
    """Stored or imported data that cannot be used."""


class CorruptShardError(DataError):
    """A shard that is truncated or whose digest differs from the catalog's."""


class ReaderError(DataError):
    """A foreign log that cannot be read, or whose description does not match it."""


class FormatError(ReaderError):
    """Bytes of a foreign log that its format does not allow, by file and offset.

    Attributes:
        path: the file.
        offset: where in it the bytes are, in bytes; None where no single place is at fault.
    """

    def __init__(self, path: Path | str, message: str, *, offset: int | None = None) -> None:
        self.path, self.offset = Path(path), offset
        super().__init__(f"{path}: {message}" if offset is None else f"{path}: at byte {offset}: {message}")


class SealError(DataError):
    """Sealed bytes that were changed, cut or moved since they were sealed."""


class KeyUnavailableError(DataError):
    """A key that is missing, destroyed, unreadable, or not the one that wrapped."""


class StorageError(DataError):
    """A disk or an endpoint refused to write, or to answer; everything stored before is intact."""


class CheckpointError(GenbaError):
    """A checkpoint that is missing, damaged, or of another architecture."""


class BundleError(GenbaError):
    """A bundle that is damaged or made for another embodiment."""


class PermissionDeniedError(GenbaError):
    """No agreement allows what was asked, or one forbids it; nothing was done."""


class SandboxError(GenbaError):
    """A command that cannot be confined as asked; it was not run."""


class LedgerError(GenbaError):
    """A ledger, its heads or its proofs that do not hold together, or what cannot be entered into one."""


class SignatureError(GenbaError):
    """A signature, or the key for it, that is missing, wrong or not trusted."""


class PassportError(GenbaError):
    """A model's passport that is missing, altered or revoked, or that does not allow this use."""


class SimulatorError(GenbaError):
    """A simulator that could not start or broke off."""


class FloorError(GenbaError):
    """A factory floor that cannot be reached, or whose journal or messages are damaged."""


class VerificationError(GenbaError):
    """An independent verifier contradicts a reported outcome."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known word, or the list of known words."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
