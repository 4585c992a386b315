"""Proofs that an owner's data was, or was not, what a model was trained on, without naming anyone else's.

What a run read is a set of claims: an owner, an owner's data set, or one shard of it. Each claim is blinded with the owner's
blinding key (HMAC-SHA256), so that only who holds that key can tell which leaf is theirs. The blinded claims are sorted and
committed by a hash tree's root and their number; the passport carries the commitment. In the set: the claim's leaf and its
path. Not in the set: the two neighbours between which it would lie, and their paths.

The set itself, which holds blinded claims only, may be given to anyone. With it a check is complete: that it is sorted and
without repetition, and has the committed root. A proof alone relies on the keeper for that: a set committed out of order
could hide a claim. Neither shows that a run committed all that it read: that is the read ledger's part.

Source: RFC 2104 (HMAC), RFC 9162 (tree).
"""

from __future__ import annotations

import bisect
import hashlib
import hmac
import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genba.errors import LedgerError
from genba.trust.digest import canonical_json, digest_json
from genba.trust.merkle import HASH_BYTES, Tree, leaf_hash, verify_inclusion

#: name of the set's file in a checkpoint and in a bundle
FILE = "trained_on.json"
FORMAT = "genba-trained-on@1"
PROOF_FORMAT = "genba-trained-on-proof@1"
BLINDING_BYTES = 32


@dataclass(frozen=True, slots=True)
class Claim:
    """What may have been trained on: an owner, a data set of that owner, or one shard of that."""

    owner: str
    dataset: str = ""
    shard: str = ""
    """The shard's digest."""

    def __post_init__(self) -> None:
        if not self.owner or (self.shard and not self.dataset):
            raise LedgerError(
                f"claim: owner {self.owner!r}, data set {self.dataset!r}, shard {self.shard!r}; expected an owner, and a data "
                f"set where a shard is named"
            )

    def blinded(self, key: bytes) -> bytes:
        """Return what stands for the claim, 32 bytes.

        Args:
            key: the owner's blinding key.
        """
        said = canonical_json([FORMAT, self.owner, self.dataset, self.shard])
        return hmac.new(key, said, hashlib.sha256).digest()

    def __str__(self) -> str:
        return " / ".join(part for part in (self.owner, self.dataset, self.shard) if part)


@dataclass(frozen=True, slots=True)
class Commitment:
    """What a passport carries of the set."""

    root: bytes
    size: int

    @property
    def digest(self) -> str:
        """The form in which it stands in a passport: it fixes root and size."""
        return digest_json({"format": FORMAT, "root": self.root.hex(), "size": self.size})


class TrainedOn:
    """The set of blinded claims of one run."""

    def __init__(self, blinded: Iterable[bytes]) -> None:
        self.blinded = sorted(set(blinded))
        self._tree = Tree(leaf_hash(one) for one in self.blinded)
        self.commitment = Commitment(self._tree.root(), len(self.blinded))

    @classmethod
    def of(cls, read: Iterable[tuple[str, str, str]], keys: dict[str, bytes]) -> TrainedOn:
        """Return the set of all claims that follow from what was read.

        Args:
            read: owner, data set and shard digest of each shard that was read.
            keys: each owner's blinding key.

        Raises:
            LedgerError: an owner without a key.
        """
        blinded = set[bytes]()
        for owner, dataset, shard in read:
            if owner not in keys:
                raise LedgerError(f"no blinding key of owner {owner!r}; make one, and give it to the owner")
            claims = (Claim(owner), Claim(owner, dataset), Claim(owner, dataset, shard))
            blinded.update(claim.blinded(keys[owner]) for claim in claims)
        return cls(blinded)

    def __contains__(self, blinded: bytes) -> bool:
        place = bisect.bisect_left(self.blinded, blinded)
        return place < len(self.blinded) and self.blinded[place] == blinded

    def prove(self, blinded: bytes) -> dict[str, Any]:
        """Return the proof that a blinded claim is in the set, or that it is not, as plain values."""
        place = bisect.bisect_left(self.blinded, blinded)
        if blinded in self:
            shown = [place]
        else:
            shown = [index for index in (place - 1, place) if 0 <= index < len(self.blinded)]
        leaves = [
            {"index": i, "leaf": self.blinded[i].hex(), "path": [step.hex() for step in self._tree.inclusion(i)]}
            for i in shown
        ]
        commitment = {"root": self.commitment.root.hex(), "size": self.commitment.size}
        return {"claim": blinded.hex(), "format": PROOF_FORMAT, "leaves": leaves, **commitment}

    def to_bytes(self) -> bytes:
        """Return the set as it is stored."""
        return canonical_json({"blinded": [one.hex() for one in self.blinded], "format": FORMAT})

    @classmethod
    def from_table(cls, table: Any, *, place: str) -> TrainedOn:
        """Return the set that a stored table holds.

        Raises:
            LedgerError: it is not one, or it is out of order.
        """
        try:
            if table.keys() != {"blinded", "format"} or table["format"] != FORMAT:
                raise ValueError(f"expected format {FORMAT!r} and the blinded claims")
            blinded = [bytes.fromhex(text) for text in table["blinded"]]
            if any(len(one) != HASH_BYTES for one in blinded):
                raise ValueError(f"expected claims of {HASH_BYTES} bytes")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise LedgerError(f"{place}: not a set of what was trained on ({error})") from error
        if any(one >= after for one, after in itertools.pairwise(blinded)):
            raise LedgerError(f"{place}: the claims are out of order or repeated: something may be hidden in it")
        return cls(blinded)


def check_set(found: TrainedOn, committed: str, blinded: bytes, *, place: str) -> bool:
    """Return whether a claim is in the whole set that a passport commits to.

    Args:
        found: the set.
        committed: the commitment's digest, from the passport.
        blinded: the claim, blinded.
        place: what the set is, for errors.

    Raises:
        LedgerError: it is another set.
    """
    _demand_committed(found.commitment, committed, place)
    return blinded in found


def check_proof(proof: Any, committed: str, blinded: bytes, *, place: str) -> bool:
    """Return whether a proof shows that a claim is in the set (True) or not in it (False).

    Args:
        proof: what ``TrainedOn.prove`` returned.
        committed: the commitment's digest, from the passport.
        blinded: the claim, blinded by whoever checks.
        place: what the proof is, for errors.

    Raises:
        LedgerError: it shows neither.
    """
    try:
        if proof["format"] != PROOF_FORMAT or proof.keys() != {"claim", "format", "leaves", "root", "size"}:
            raise ValueError(f"expected format {PROOF_FORMAT!r}")
        commitment = Commitment(bytes.fromhex(proof["root"]), proof["size"])
        leaves = [
            (leaf["index"], bytes.fromhex(leaf["leaf"]), [bytes.fromhex(step) for step in leaf["path"]])
            for leaf in proof["leaves"]
        ]
        if any(type(number) is not int for number in (commitment.size, *(index for index, _, _ in leaves))):
            raise TypeError("expected whole numbers")
        claim = bytes.fromhex(proof["claim"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LedgerError(f"{place}: not a proof of what was trained on ({error!r})") from error
    if claim != blinded:
        raise LedgerError(
            f"{place}: a proof about another claim than the one asked, or made with another blinding key than the owner's"
        )
    _demand_committed(commitment, committed, place)
    for index, leaf, path in leaves:
        if not verify_inclusion(leaf_hash(leaf), index, commitment.size, path, commitment.root):
            raise LedgerError(f"{place}: leaf {index} is not in the committed set")
    if [leaf for _, leaf, _ in leaves] == [blinded]:
        return True
    _demand_gap([(index, leaf) for index, leaf, _ in leaves], commitment.size, blinded, place)
    return False


def _demand_gap(leaves: list[tuple[int, bytes]], size: int, blinded: bytes, place: str) -> None:
    """Demand that the leaves shown leave no room for a claim between them: neighbours, or an end of the set."""
    below = [index for index, leaf in leaves if leaf < blinded]
    above = [index for index, leaf in leaves if leaf > blinded]
    # Beyond an end there is nothing: -1 below the first, size above the last.
    low, high = below[-1] if below else -1, above[0] if above else size
    if len(below) > 1 or len(above) > 1 or len(below) + len(above) != len(leaves) or high - low != 1:
        raise LedgerError(f"{place}: what it shows are not the two neighbours of the claim: it proves nothing")


def _demand_committed(commitment: Commitment, committed: str, place: str) -> None:
    if commitment.digest != committed:
        raise LedgerError(
            f"{place}: it is of the set {commitment.digest}, the passport commits to {committed or 'none'}"
        )


def create_blinding_key(path: Path | str) -> bytes:
    """Make a blinding key in a new file of mode 0600; the owner and whoever makes proofs hold it.

    Raises:
        LedgerError: the file exists or cannot be written.
    """
    key = os.urandom(BLINDING_BYTES)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(key.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise LedgerError(f"{path}: exists; a key is never overwritten: name another file") from None
    except OSError as error:
        raise LedgerError(f"{path}: could not write the blinding key: {error.strerror}") from error
    return key


def read_blinding_key(path: Path | str) -> bytes:
    """Read a blinding key.

    Raises:
        LedgerError: it cannot be read, others may read it, or it is not one.
    """
    path = Path(path)
    try:
        if path.stat().st_mode & 0o077:
            raise LedgerError(f"{path}: others may read this key; make it yours alone: chmod 600")
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise LedgerError(f"{path}: not a blinding key ({error}); make one: genba audit key --blinding") from error
    if len(key) != BLINDING_BYTES:
        raise LedgerError(f"{path}: {len(key)} bytes, expected a blinding key of {BLINDING_BYTES} in hex")
    return key
