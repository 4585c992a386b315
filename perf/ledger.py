"""Print how fast a ledger is appended to, proved from and verified, per CPU-second of this process.

    python perf/ledger.py [--entries 100000]

Entries are decisions of about 200 bytes. Appending is measured in batches of 1,000 (one wait for the disk each) and singly.
Nothing is asserted: the numbers depend on the machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from genba.trust.audit import verify
from genba.trust.digest import digest_bytes
from genba.trust.dsse import sign
from genba.trust.ledger import Ledger
from genba.trust.merkle import Frontier, Tree, leaf_hash, verify_consistency, verify_inclusion
from genba.trust.signing import SigningKey
from genba.trust.trained_on import Claim, TrainedOn, check_proof

BATCH = 1_000


def measured(what: str, count: int, do: Callable[[], object]) -> None:
    """Run ``do`` once and print how many of ``count`` things a CPU-second holds."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    do()
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    print(f"{what:<58}{count / cpu_s:>12,.0f} per CPU-s{count / wall_s:>12,.0f} per s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000)
    size = parser.parse_args().entries
    key = SigningKey.generate()
    leaves = [leaf_hash(number.to_bytes(8, "big")) for number in range(size)]
    tree, frontier = Tree(), Frontier()
    measured("tree: leaves added, every hash kept", size, lambda: [tree.add(leaf) for leaf in leaves])
    measured("tree: leaves added, frontier only", size, lambda: [frontier.add(leaf) for leaf in leaves])
    root, some = tree.root(), range(0, size, max(1, size // 5_000))
    proofs = [(index, tree.inclusion(index)) for index in some]
    grown = [(old, tree.consistency(old), tree.root(old)) for old in some if old]
    measured("inclusion proofs made", len(some), lambda: [tree.inclusion(index) for index in some])
    measured(
        "inclusion proofs verified",
        len(proofs),
        lambda: [verify_inclusion(leaves[i], i, size, path, root) for i, path in proofs],
    )
    measured("consistency proofs made", len(grown), lambda: [tree.consistency(old) for old, _, _ in grown])
    measured(
        "consistency proofs verified",
        len(grown),
        lambda: [verify_consistency(old, size, path, before, root) for old, path, before in grown],
    )
    body = {"permit": True, "policy": digest_bytes(b"policy"), "request": {"action": "read", "dataset": "fleet/2026"}}
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.create(Path(folder) / "ledger", "perf", key)
        batches = [[("decision", body)] * BATCH] * (size // BATCH)
        measured("ledger: entries appended, 1,000 at a time", size, lambda: [ledger.append_all(b) for b in batches])
        measured(
            "ledger: entries appended one by one", 500, lambda: [ledger.append("decision", body) for _ in range(500)]
        )
        measured("ledger: heads signed, an entry between", 200, lambda: [_grow(ledger, key) for _ in range(200)])
        measured("ledger: entries read on opening", ledger.size, lambda: Ledger(ledger.folder))
        measured("audit: entries verified", ledger.size, lambda: verify(ledger.folder))
    envelope = sign("application/perf+json", body, key)
    trusted = {key.public.id: key.public}
    measured("envelopes signed", 2_000, lambda: [sign("application/perf+json", body, key) for _ in range(2_000)])
    measured(
        "envelopes verified",
        2_000,
        lambda: [envelope.signers(trusted, payload_type="application/perf+json", place="") for _ in range(2_000)],
    )
    blinding = {str(owner): bytes([owner]) * 32 for owner in range(8)}
    read = [(str(n % 8), "2026", digest_bytes(b"%d" % n)) for n in range(10_000)]
    sets: list[TrainedOn] = []
    measured("shards committed as trained on", len(read), lambda: sets.append(TrainedOn.of(read, blinding)))
    found = sets[0]
    claims = [Claim("1", "2026", digest_bytes(b"%d" % n)).blinded(blinding["1"]) for n in range(2_000)]
    shown = [found.prove(claim) for claim in claims]
    committed = found.commitment.digest
    measured(
        "claims proved in or out, verified",
        len(claims),
        lambda: [check_proof(proof, committed, claim, place="") for proof, claim in zip(shown, claims, strict=True)],
    )


def _grow(ledger: Ledger, key: SigningKey) -> None:
    ledger.append("run", {})
    ledger.sign_head(key)


if __name__ == "__main__":
    main()
