"""Checks a pack that was handed over: offline, from its files and the keys that one believes, and trusting nobody's summary.

Every file must be the one that was signed, and none more or fewer. Then what is in them is looked at again: ledger, proofs, decisions and
their policies, passports, sets, read records, releases, receipts, the list of revoked models, egress logs. Whether the pack's generated
documents say the same as its records is covered by the signature of who made them, except the check of the ledger and the
decisions, which are made again here. What the ledger names must be here or listed as missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genba.data.affected import READS_FILE
from genba.data.reads import Reads
from genba.errors import GenbaError, LedgerError, SignatureError
from genba.report.evidence import records
from genba.report.evidence.absent import MODELS, WITHDRAWALS, absent
from genba.report.evidence.folder import Problem
from genba.report.evidence.manifest import MANIFEST, SIGNED, read_statement
from genba.runtime import bundle
from genba.trust import audit, passport, proofs, release, revocation, trained_on
from genba.trust.digest import digest_bytes, digest_file
from genba.trust.dsse import Envelope
from genba.trust.folder import POLICY_FOLDER, REVOCATION_FILE
from genba.trust.sandbox.log import num_lines_of
from genba.trust.signing import TrustStore
from genba.trust.trained_on import TrainedOn
from genba.trust.withdrawal import read_receipt


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What a check of a pack found."""

    signers: tuple[str, ...]
    """Who signed the manifest, by name."""
    made_ns: int
    """When the pack was made, as it says, ns since 1970, UTC."""
    num_files: int
    missing: tuple[dict[str, Any], ...]
    """What the pack itself lists as missing."""
    stated: tuple[dict[str, Any], ...]
    """What the pack itself says does not hold."""
    problems: tuple[Problem, ...]
    """What this check found."""

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def check_pack(folder: Path, store: TrustStore | None = None) -> Checked:
    """Check everything in a pack.

    Args:
        folder: the pack.
        store: whose keys are believed; by default those that lie in the pack, which show that it fits together and not whose it is.

    Raises:
        LedgerError: it is no pack: the manifest is missing, or none.
        SignatureError: there are no keys.
    """
    return _Check(folder, store or TrustStore.load(folder / records.KEYS)).run()


class _Check:
    """One pass over a pack; each method names what it found."""

    def __init__(self, folder: Path, store: TrustStore) -> None:
        self._folder, self._store = folder, store
        self._problems: list[Problem] = []
        self._names = set[str]()
        self._entries = {entry.number: entry for entry in records.read_entries(folder / records.LEDGER)}

    def run(self) -> Checked:
        try:
            data = (self._folder / MANIFEST).read_bytes()
        except OSError as error:
            raise LedgerError(f"{self._folder / MANIFEST}: {error.strerror}; expected an evidence pack") from error
        files, said = read_statement(data, place=str(self._folder / MANIFEST))
        signers = self._signature(data)
        self._files(files)
        self._ledger()
        self._each(f"{records.PROOFS}/*.json", self._proof)
        self._each(f"{POLICY_FOLDER}/*.json", self._policy)
        self._each(f"{WITHDRAWALS}/*/*.json", lambda path: read_receipt(path, self._store))
        self._each(REVOCATION_FILE, lambda path: revocation.read(path, self._store))
        self._each(f"{MODELS}/*/{passport.FILE}", self._model)
        self._each(f"{MODELS}/*/*/{release.FILE}", self._release)
        self._egress()
        self._absent(said["missing"])
        return Checked(
            signers=signers,
            made_ns=said["made_ns"],
            num_files=len(files),
            missing=tuple(said["missing"]),
            stated=tuple(said["problems"]),
            problems=tuple(self._problems),
        )

    def _find(self, place: str, message: object) -> None:
        words = str(message).replace(f"{self._folder}/", "").removeprefix(f"{place}: ")
        self._problems.append(Problem(place=place, message=words))

    def _signature(self, data: bytes) -> tuple[str, ...]:
        path = self._folder / SIGNED
        try:
            envelope = Envelope.from_bytes(path.read_bytes().removesuffix(b"\n"), place=SIGNED)
            if envelope.payload != data:
                raise SignatureError(f"{SIGNED}: what it signs is not {MANIFEST}, byte for byte")
            signers = envelope.signers(self._store.keys, payload_type=passport.PAYLOAD_TYPE, place=SIGNED)
        except OSError as error:
            self._find(SIGNED, f"could not be read: {error.strerror}: nobody vouches for this pack")
        except GenbaError as error:
            self._find(SIGNED, error)
        else:
            return tuple(map(self._store.name, signers))
        return ()

    def _files(self, files: dict[str, str]) -> None:
        for path in sorted(self._folder.rglob("*")):
            name = path.relative_to(self._folder).as_posix()
            if path.is_symlink():
                self._find(name, "a link, expected a file: it may lead anywhere")
            elif path.is_file() and name not in (MANIFEST, SIGNED):
                self._names.add(name)
                if name not in files:
                    self._find(name, "the manifest does not name it: it was added since")
                elif digest_file(path) != files[name]:
                    self._find(
                        name, f"its digest is {digest_file(path)}, the manifest says {files[name]}: it was changed"
                    )
        for name in sorted(files.keys() - self._names):
            self._find(name, "the manifest names it, and it is gone")

    def _ledger(self) -> None:
        folder = self._folder / records.LEDGER
        for problem in audit.verify(folder, trust=self._store).problems:
            self._find(problem.place.replace(f"{self._folder}/", ""), f"{problem.kind}: {problem.message}")

        def again(path: Path) -> None:
            # With the pack's own keys: names are those that the maker gave them.
            own = TrustStore.load(self._folder / records.KEYS)
            found = records.check_table(audit.verify(folder, trust=own), self._folder)
            if json.loads(path.read_bytes()) != found:
                raise LedgerError("it is not what a check of the ledger finds")

        def decisions(path: Path) -> None:
            if path.read_bytes() != records.decision_lines(self._entries.values()):
                raise LedgerError("it is not what the ledger's entries say")

        self._each(records.CHECK_FILE, again)
        self._each(records.DECISIONS_FILE, decisions)

    def _proof(self, path: Path) -> None:
        entry, _, _ = proofs.check_proof(json.loads(path.read_bytes()), self._store, place=path.name)
        if self._entries.get(entry.number) != entry:
            raise LedgerError(f"it proves entry {entry.number} of another ledger")

    def _policy(self, path: Path) -> None:
        if digest_bytes(path.read_bytes()) != f"sha256:{path.stem}":
            raise LedgerError("its digest is not its name: it is not what was decided by")

    def _model(self, path: Path) -> None:
        said, _ = passport.verify(passport.read(path), self._store, place=path.name)
        kept, reads = path.with_name(trained_on.FILE), path.with_name(READS_FILE)
        if kept.is_file():
            whole = TrainedOn.from_table(json.loads(kept.read_bytes()), place=trained_on.FILE)
            if whole.commitment.digest != said.trained_on:
                raise LedgerError(f"{trained_on.FILE}: it is not the set that the passport commits to")
        if reads.is_file() and Reads.from_bytes(reads.read_bytes(), place=READS_FILE).root != said.reads:
            raise LedgerError(f"{READS_FILE}: it is not the record whose root the passport names")

    def _release(self, path: Path) -> None:
        model, manifest = path.parent.parent / passport.FILE, path.with_name(bundle.MANIFEST)
        release.check(
            release.read(path),
            self._store,
            manifest=digest_file(manifest),
            passport=passport.read(model).digest,
            weights=f"sha256:{json.loads(manifest.read_bytes())['weights_digest']}",
            place=path.name,
        )

    def _egress(self) -> None:
        for entry in self._entries.values():
            log = str(entry.body.get("log"))
            if entry.kind != "egress" or log not in self._names:
                continue
            if not num_lines_of(self._folder / log, str(entry.body.get("digest"))):
                self._find(log, f"it is not the log that entry {entry.number} names by digest")

    def _absent(self, listed: Iterable[dict[str, str]]) -> None:
        """Find what the ledger names, the pack does not hold, and the pack does not say that it does not."""
        said = {one["what"] for one in listed}
        for one in absent(self._folder, self._entries.values()):
            if one.what not in said:
                self._find(one.what, f"{one.why}; and the pack does not list it as missing")

    def _each(self, pattern: str, judge: Callable[[Path], object]) -> None:
        for path in sorted(self._folder.glob(pattern)):
            place = path.relative_to(self._folder).as_posix()
            try:
                judge(path)
            except GenbaError as error:
                self._find(place, error)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                self._find(place, f"cannot be read ({error!r})")
