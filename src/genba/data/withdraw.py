"""Withdrawing a data set: everything that follows from an owner's no, in an order that no break can undo.

The steps are: **enter** it in the ledger; **bar** its name, so that nothing more of it is stored; **recognise** its content
(fingerprints of all that reads, while it still does), which every vault then denies; **destroy** its key; **purge** its bytes; find the **models** that learnt from it and **revoke**
them; and sign the **receipt**. What was done is kept in a journal below the trust folder, written before what it tells of is
deleted, so that the same command goes on after any break, and on what was done already changes nothing::

    trust/withdrawals/<id>/
      journal.json            what was found and which steps are done, round by round
      denied-<round>-*.json   its name, and its content (``genba.trust.denied``); each vault holds a copy
      receipt.json            the newest receipt; receipt-<round>.json each of them

A later round, with a vault or a run that turns up afterwards, does what is left and signs a receipt of its own. What a
receipt says is in ``genba.trust.withdrawal``; which models are affected is decided in ``affected``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genba.data.affected import Model, find_models, last_clean
from genba.data.compact import alone
from genba.data.purge import Stock, fingerprints, purge, stock_of
from genba.data.storage import erase_file, write_durably
from genba.data.vault import Vault
from genba.data.withdrawn import FOLDER, SUFFIX, WITHDRAWALS
from genba.errors import ConfigError, DataError
from genba.trust.audit import read_entries
from genba.trust.denied import DeniedList
from genba.trust.digest import canonical_json, digest_json
from genba.trust.dsse import Envelope
from genba.trust.folder import TrustFolder
from genba.trust.keys import KeyProvider, key_id
from genba.trust.ledger import Entry
from genba.trust.proofs import prove
from genba.trust.revoking import revoke_models
from genba.trust.withdrawal import (
    begin,
    check_receipt,
    check_request,
    exports,
    find,
    finish,
    read_envelope,
    read_receipt,
    sign_receipt,
)

JOURNAL, RECEIPT, LOCK = "journal.json", "receipt.json", "lock"
FORMAT = "genba-withdrawal@1"
#: files of a checkpoint that hold weights
TENSORS = "*.distcp"
STEPS = ("enter", "bar", "recognise", "destroy", "purge", "models", "revoke", "receipt")

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """Where a withdrawal looks."""

    #: who keeps the owners' keys, and opens what is to be recognised
    keys: KeyProvider
    vaults: tuple[Vault, ...] = ()
    #: folders of runs and of bundles, or that hold such
    runs: tuple[Path, ...] = ()
    bundles: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plan:
    """What there is to withdraw now."""

    #: where a vault is -> what it holds of the data set
    held: dict[str, Stock]
    models: tuple[Model, ...]
    #: numbers of the ledger's entries that let the data leave
    exported: tuple[int, ...]
    #: number of the entry of an earlier withdrawal of the same data set
    entry: int | None
    #: whether anything is left to do: bytes, or affected models that are not revoked
    is_done: bool

    @property
    def affected(self) -> tuple[Model, ...]:
        """The models that learnt from the data set."""
        return tuple(m for m in self.models if m.state == "affected")

    @property
    def undecided(self) -> tuple[Model, ...]:
        """The models of which nobody can say."""
        return tuple(m for m in self.models if m.state == "undecided")

    @property
    def clean(self) -> dict[Path, Model | None]:
        """Each run with an affected checkpoint, and its newest checkpoint that is clean."""
        touched = {m.path.parent for m in self.affected if m.kind == "checkpoint"}
        return {run: found for run, found in last_clean(self.models).items() if run in touched}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a withdrawal came to."""

    receipt: Path
    said: dict[str, Any]
    #: False where everything was done before, and nothing was changed
    is_new: bool


def plan(trust: TrustFolder, owner: str, dataset: str, scope: Scope) -> Plan:
    """Return what a withdrawal would do, changing nothing.

    Raises:
        LedgerError, SignatureError: the trust folder's ledger or list of revoked models does not hold.
    """
    held = {_place(vault): stock_of(vault, owner, dataset) for vault in scope.vaults}
    models = tuple(find_models(trust, owner, dataset, runs=scope.runs, bundles=scope.bundles))
    found, gone = find(trust.ledger, owner, dataset), trust.revocations()
    left = [d for m in models if m.state == "affected" for d in _digests(m) if gone is None or gone.find(d) is None]
    return Plan(
        held=held,
        models=models,
        exported=tuple(entry.number for entry in exports(trust.ledger, owner, dataset)),
        entry=found[0].number if found else None,
        is_done=not any(held.values()) and not left,
    )


def withdraw(
    trust: TrustFolder,
    owner: str,
    dataset: str,
    scope: Scope,
    *,
    request: Envelope | None = None,
    purge_weights: bool = False,
    progress: Progress = lambda _: None,
) -> Outcome:
    """Withdraw an owner's data set; go on where an earlier call broke off.

    Args:
        request: the owner's, signed; None where the keeper of the trust folder acts on another's word.
        purge_weights: whether affected checkpoints lose their tensors too; they keep their records.
        progress: told of each step, and of each file, before it is done.

    Raises:
        SignatureError: a request that the owner did not sign for this; nothing is done then.
        ConfigError: another withdrawal runs, or one of the same that broke off was of other vaults or folders.
        DataError: nothing of that name is anywhere, or a stored list or journal was changed.
        KeyUnavailableError, StorageError: a key provider or a disk refused; the same call goes on.
    """
    if request is not None:
        check_request(request, owner, dataset, ledger=trust.ledger.id, trust=trust.trust_store, place="request")
    folder = folder_of(trust, owner, dataset)
    now = plan(trust, owner, dataset, scope)
    journal_path = folder / JOURNAL
    if not journal_path.exists() and not any(now.held.values()) and not now.affected and now.entry is None:
        raise DataError(
            f"{owner}/{dataset}: nothing of this data set in {', '.join(now.held) or 'no vault'} or in the models named; see: "
            f"genba data list"
        )
    with _one_at_a_time(trust.path / WITHDRAWALS):
        journal = _Journal.open(journal_path, owner, dataset, scope)
        left = [m.path for m in now.affected if str(m.path) not in journal.listed]
        if purge_weights:
            left += [m.path for m in now.affected if any(m.path.glob(TENSORS))]
        if journal.is_complete and now.is_done and not left:
            receipt = read_receipt(folder / RECEIPT, trust.trust_store)
            return Outcome(receipt=folder / RECEIPT, said=receipt.said, is_new=False)
        if journal.is_complete:
            journal.next_round(scope)
        journal.require_same(scope)
        _Round(trust, owner, dataset, scope, journal, folder, request, purge_weights, progress).run()
        receipt = read_receipt(folder / RECEIPT, trust.trust_store)
        return Outcome(receipt=folder / RECEIPT, said=receipt.said, is_new=True)


def folder_of(trust: TrustFolder, owner: str, dataset: str) -> Path:
    """Return where a withdrawal is kept."""
    return trust.path / WITHDRAWALS / digest_json([FORMAT, trust.ledger.id, owner, dataset])[7:23]


class _Round:
    """One pass over the steps; each looks at what is, does what is left, and says so in the journal."""

    def __init__(
        self,
        trust: TrustFolder,
        owner: str,
        dataset: str,
        scope: Scope,
        journal: _Journal,
        folder: Path,
        request: Envelope | None,
        purge_weights: bool,
        progress: Progress,
    ) -> None:
        self.trust, self.owner, self.dataset, self.scope = trust, owner, dataset, scope
        self.journal, self.folder, self.request = journal, folder, request
        self.purge_weights, self.progress = purge_weights, progress

    def run(self) -> None:
        for step in STEPS:
            if step not in self.journal.done:
                self.progress(step)
                getattr(self, f"_{step}")()
                self.journal.finish(step)

    def _enter(self) -> None:
        begin(self.trust.ledger, self.owner, self.dataset, request=self.request.digest if self.request else "")
        self.trust.sign_head()

    def _bar(self) -> None:
        self._keep_list("name", ())

    def _recognise(self) -> None:
        unread: list[str] = []
        found = set[bytes]()
        for vault in self.scope.vaults:
            # Alone, so that no packing moves a shard away before it is read.
            with alone(vault):
                held, bad = stock_of(vault, self.owner, self.dataset), list[str]()
                self._note(vault, held)
                found.update(fingerprints(vault, held, self.scope.keys, bad))
            unread += [f"{_place(vault)}/{name}" for name in bad]
        # Where the key is gone already there is nothing to recognise: then the name alone is denied.
        one = self._keep_list("content", found)
        self.journal.round["denied"] = {"digest": one.digest, "pieces": one.num_fingerprints, "unread": unread}

    def _keep_list(self, what: str, found: Iterable[bytes]) -> DeniedList:
        """Keep a list beside the withdrawal, and give it to every vault."""
        one = DeniedList.make(self.scope.keys, self.owner, self.dataset, found)
        write_durably(self.folder / f"denied-{self.journal.number}-{what}{SUFFIX}", one.to_bytes(), replace=True)
        # Lists of earlier rounds too: a vault that turns up later learns what was recognised elsewhere.
        for path in sorted(self.folder.glob(f"denied-*{SUFFIX}")):
            for vault in self.scope.vaults:
                name = f"{FOLDER}/{self.folder.name}-{path.name.removeprefix('denied-')}"
                vault.storage.write(name, path.read_bytes(), replace=True)
        return one

    def _destroy(self) -> None:
        self.scope.keys.forbid(key_id(self.owner, self.dataset))

    def _purge(self) -> None:
        for vault in self.scope.vaults:
            # Again until nothing is left: what was being stored when the key was destroyed is found by its folder.
            while held := stock_of(vault, self.owner, self.dataset):
                self._note(vault, held)
                self.journal.save()
                forgotten = purge(vault, self.owner, self.dataset, progress=self.progress)
                self.journal.vault(_place(vault))["import_jobs"] += forgotten

    def _models(self) -> None:
        found = plan(self.trust, self.owner, self.dataset, self.scope)
        self.journal.round |= {
            "models": [m.to_json() for m in found.affected],
            "undecided": [m.to_json() for m in found.undecided],
            "clean": {str(run): str(model.path) if model else "" for run, model in found.clean.items()},
        }

    def _revoke(self) -> None:
        reason = f"an owner withdrew data that it was trained on (ledger entry {self._entry()})"
        wanted = [d for m in self.journal.round["models"] for d in (m["passport"], m["weights"]) if d]
        known = {}
        if wanted:
            newest = revoke_models(self.trust, wanted, reason=reason, because={"withdrawal": self._entry()})
            known = {"digest": newest.digest, "number": newest.number}
        self.journal.round["revocations"] = known
        self.journal.round["purged_weights"] = self._purge_weights() if self.purge_weights else []

    def _purge_weights(self) -> list[str]:
        out = []
        for model in self.journal.round["models"]:
            path = Path(model["path"])
            if model["kind"] == "checkpoint":
                self.progress(str(path))
                for file in path.glob(TENSORS):
                    erase_file(file)
                out.append(str(path))
        return out

    def _receipt(self) -> None:
        body = {"event": "destroyed", "key": key_id(self.owner, self.dataset)}
        if body not in _entered(self.trust, "key"):
            self.trust.ledger.append("key", body)
        self.trust.sign_head()
        begun = find(self.trust.ledger, self.owner, self.dataset)[0]
        kept = self.folder / f"receipt-{self.journal.number}.json"
        if kept.exists():
            # A break came after it was signed: it is the receipt, and no second one is entered.
            envelope = read_envelope(kept)
            check_receipt(envelope, self.trust.trust_store, place=str(kept))
        else:
            envelope = sign_receipt(self._said(begun), self.trust.signing_key)
            write_durably(kept, envelope.to_bytes() + b"\n")
        write_durably(self.folder / RECEIPT, envelope.to_bytes() + b"\n", replace=True)
        finish(self.trust.ledger, begun, envelope)
        self.trust.sign_head()

    def _said(self, begun: Entry) -> dict[str, Any]:
        found = self.journal.round
        return {
            "owner": self.owner,
            "dataset": self.dataset,
            "party": self.trust.party,
            "site": self.trust.site,
            "ledger": self.trust.ledger.id,
            "entry": begun.number,
            "request": begun.body["request"],
            "time_ns": time.time_ns(),
            "keys": [key_id(self.owner, self.dataset)],
            "vaults": found["vaults"],
            "denied": found["denied"],
            "models": found["models"],
            "undecided": found["undecided"],
            "clean": found["clean"],
            "purged_weights": found["purged_weights"],
            "revocations": found["revocations"],
            "out_of_reach": [e.number for e in exports(self.trust.ledger, self.owner, self.dataset)],
            "proof": prove(self.trust.ledger.folder, begun.number),
        }

    def _entry(self) -> int:
        return find(self.trust.ledger, self.owner, self.dataset)[0].number

    def _note(self, vault: Vault, held: Stock) -> None:
        """Keep what a vault holds before it is gone: sizes and digests, no names of episodes."""
        known = self.journal.vault(_place(vault))
        for name, size_bytes in held.files.items():
            known["files"].setdefault(name, {"bytes": size_bytes, "digest": vault.storage.digest(name)})
        known["episodes"] = max(known["episodes"], len(held.episodes))
        known["hours"] = max(known["hours"], held.hours)
        known["windows"] = max(known["windows"], held.num_windows)


class _Journal:
    """What was found and done, in rounds."""

    def __init__(self, path: Path, table: dict[str, Any]) -> None:
        self._path, self._table = path, table

    @classmethod
    def open(cls, path: Path, owner: str, dataset: str, scope: Scope) -> _Journal:
        """Read a journal, or begin one.

        Raises:
            DataError: it is not one of this withdrawal.
        """
        if not path.exists():
            made = cls(path, {"format": FORMAT, "owner": owner, "dataset": dataset, "rounds": []})
            made.next_round(scope)
            return made
        try:
            table = json.loads(path.read_bytes())
            if (table["format"], table["owner"], table["dataset"]) != (FORMAT, owner, dataset) or not table["rounds"]:
                raise ValueError(f"expected the format {FORMAT!r} and {owner}/{dataset}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: not the journal of this withdrawal ({error}); move it away and withdraw again"
            ) from error
        return cls(path, table)

    @property
    def round(self) -> dict[str, Any]:
        """What the present round found."""
        return self._table["rounds"][-1]

    @round.setter
    def round(self, table: dict[str, Any]) -> None:
        self._table["rounds"][-1] = table

    @property
    def number(self) -> int:
        """The present round's number, from 1."""
        return len(self._table["rounds"])

    @property
    def done(self) -> list[str]:
        """The steps that are done."""
        return self.round["done"]

    @property
    def listed(self) -> set[str]:
        """The paths of every model that some round found affected."""
        return {model["path"] for one in self._table["rounds"] for model in one.get("models", ())}

    @property
    def is_complete(self) -> bool:
        """Whether the present round is done."""
        return STEPS[-1] in self.done

    def next_round(self, scope: Scope) -> None:
        """Begin another round."""
        self._table["rounds"].append({"done": [], "scope": _places(scope), "vaults": {}})
        self.save()

    def require_same(self, scope: Scope) -> None:
        """Demand that a round is gone on with where it was begun.

        Raises:
            ConfigError: something that it began with is not named, or something else is.
        """
        begun, now = self.round["scope"], _places(scope)
        if begun != now:
            raise ConfigError(
                f"{self._path}: a withdrawal that broke off was of {', '.join(begun) or 'no vault'}, got "
                f"{', '.join(now) or 'no vault'}; finish it with what it began with, then withdraw from the rest"
            )

    def vault(self, place: str) -> dict[str, Any]:
        """Return what is kept of one vault."""
        return self.round["vaults"].setdefault(
            place, {"files": {}, "episodes": 0, "hours": 0.0, "windows": 0, "import_jobs": 0}
        )

    def finish(self, step: str) -> None:
        """Keep that a step is done."""
        self.done.append(step)
        self.save()

    def save(self) -> None:
        """Write it, whole or not at all."""
        write_durably(self._path, canonical_json(self._table), replace=True)


def _entered(trust: TrustFolder, kind: str) -> list[dict[str, Any]]:
    """Return the bodies of the ledger's entries of a kind."""
    return [entry.body for entry in read_entries(trust.ledger.folder) if entry.kind == kind]


def _digests(model: Model) -> Sequence[str]:
    return [digest for digest in (model.passport, model.weights) if digest]


def _place(vault: Vault) -> str:
    location = vault.storage.location
    return str(Path(location).absolute()) if vault.storage.is_local else location.partition("?")[0]


def _places(scope: Scope) -> list[str]:
    return sorted([*map(_place, scope.vaults), *(str(path.absolute()) for path in (*scope.runs, *scope.bundles))])


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    # One of any data set: two at once would each sign the next list of revoked models.
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"{folder}: another withdrawal runs; wait until it has ended") from None
        yield
