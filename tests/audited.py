"""A party with everything that an auditor asks for: decisions both ways, a witness, models with papers, egress logs, a withdrawal."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governed import ARM, FACTORY, FLEET, MACHINE, episode, reading, trust_folder

from genba.cli.confined import enter_egress
from genba.data.reads import Reads, ShardRead, StepRange, WindowCount
from genba.data.vault import Vault
from genba.data.withdraw import Scope, withdraw
from genba.report.evidence.write import Given
from genba.runtime.bundle import ENCODER, FLOW, GOLDEN, MANIFEST, manifest_of
from genba.spec.statistics import episode_statistics
from genba.trust import sources
from genba.trust.audit import countersign
from genba.trust.digest import digest_bytes, digest_file
from genba.trust.folder import TrustFolder
from genba.trust.heads import newest_head
from genba.trust.keys import FileKeys
from genba.trust.ledger import HEADS
from genba.trust.merkle import root_of_digests
from genba.trust.passport import Deployment, Passport, read
from genba.trust.release import Release
from genba.trust.requests import Holding
from genba.trust.sandbox.decide import Decision
from genba.trust.sandbox.log import EgressLog, egress_digest
from genba.trust.sandbox.policy import Policy
from genba.trust.signing import SigningKey
from genba.trust.trained_on import TrainedOn

#: 2026-11-01, 00:00 UTC: when packs are said to be made; 20,758 days after 1970
MADE_NS = 20_758 * 86_400 * 10**9
WEIGHTS = {name: digest_bytes(name.encode()) for name in ("arm and fleet", "fleet and factory")}


@dataclass
class Party:
    """Where everything lies."""

    trust: TrustFolder
    vault: Vault
    runs: Path
    bundles: Path
    partner: Path
    """The witness's private key."""


def make_party(folder: Path) -> Party:
    """Make one that holds three owners' data; the factory's is withdrawn again, and with it the model that learnt from it."""
    trust = trust_folder(folder / "trust")
    partner = SigningKey.create(folder / "partner")
    (trust.path / "partners" / "Sample Fleet.pub").write_bytes(partner.public.pem())
    trust.ledger.append("witness", {"key": partner.public.text, "name": "Sample Fleet"})
    # Keys of its own: a withdrawal destroys one.
    keys = FileKeys(folder / "keys")
    vault = Vault.open(folder / "vault", create=True, keys=keys, trust=trust)
    vault.keep_embodiment(MACHINE)
    for whose in (FLEET, ARM, FACTORY):
        for seed in range(2):
            vault.append(episode(seed, whose))
    trust.gatekeeper.decide(reading())
    trust.gatekeeper.decide(dataclasses.replace(reading(), party="Sample Overseas Hosting"))
    log = _egress(trust)
    made = Party(trust, vault, folder / "runs", folder / "bundles", folder / "partner")
    first = _checkpoint(made, "arm and fleet", (ARM, FLEET), egress_digest(log), parents=())
    _checkpoint(made, "fleet and factory", (FLEET, FACTORY), "", parents=(WEIGHTS["arm and fleet"],))
    _bundle(made, first)
    withdraw(trust, FACTORY[0], FACTORY[1], Scope(keys=keys, vaults=(vault,), runs=(made.runs,)))
    trust.sign_head()
    sign_as_partner(made)
    return made


def party_at(folder: Path) -> Party:
    """Return the party whose files lie in a folder, e.g. in a copy of it."""
    trust, keys = TrustFolder(folder / "trust"), FileKeys(folder / "keys")
    vault = Vault.open(folder / "vault", keys=keys, trust=trust)
    return Party(trust, vault, folder / "runs", folder / "bundles", folder / "partner")


def given_by(party: Party, **changes: Any) -> Given:
    """Return everything that the party has, as what a pack is made of; ``changes`` are of its fields."""
    trust = party.trust
    facts: dict[str, Any] = {
        "ledger": trust.path / "ledger",
        "store": trust.trust_store,
        "key": trust.signing_key,
        "made_ns": MADE_NS,
        "trust": trust,
        "vaults": (party.vault,),
        "runs": (party.runs,),
        "bundles": (party.bundles,),
    }
    return Given(**facts | changes)


def sign_as_partner(party: Party) -> None:
    """Countersign the newest head, as the witness."""
    key, ledger = SigningKey.load(party.partner), party.trust.ledger
    ledger.countersign(countersign(ledger.folder, key, seen=None, trust=party.trust.trust_store))
    assert len(newest_head(ledger.folder / HEADS).signatures) == 2


def _egress(trust: TrustFolder) -> Path:
    """Let one confined run reach a host and be refused another twice, and enter its log."""
    path = trust.path / "egress" / "run-1.jsonl"
    path.parent.mkdir()
    log = EgressLog(path, run="run-1")
    log.start(["genba", "train", "run"], Policy(), is_enforced=True)
    for address, is_allowed in (("10.1.0.5:443", True), ("203.0.113.9:443", False), ("203.0.113.9:443", False)):
        log.attempt("connect", Decision(is_allowed=is_allowed, reason="test", address=address), process=1, program="x")
    log.end(0)
    log.close()
    enter_egress(trust, path, "run-1", "train run")
    return path


def _reads(vault: Vault, whose: tuple[tuple[str, str, str], ...]) -> Reads:
    """A record of two train steps: four windows of everyone."""
    agreements = {(owner, dataset): agreement for owner, dataset, agreement in whose}
    shards = [s for s in vault.catalog.shards() if (s.owner, s.dataset) in agreements]
    return Reads(
        step=2,
        shards=tuple(
            sorted(
                ShardRead(s.owner, s.dataset, agreements[s.owner, s.dataset], s.digest, ("opened", "trained"))
                for s in shards
            )
        ),
        windows=tuple(WindowCount("trained", MACHINE.id, owner, dataset, 4) for owner, dataset, _ in sorted(whose)),
        ranges=(StepRange(0, 2, 0, 1, 4 * len(whose), digest_bytes(b"windows")),),
    )


def _checkpoint(
    party: Party, name: str, whose: tuple[tuple[str, str, str], ...], egress: str, *, parents: tuple[str, ...]
) -> Path:
    """Write what a checkpoint holds but for its tensors, and enter its record and its passport."""
    trust, reads = party.trust, _reads(party.vault, whose)
    kept = TrainedOn.of(reads.trained_on, trust.blinding_keys({owner for owner, _, _ in whose}))
    passport = Passport(
        weights=WEIGHTS[name],
        made_ns=MADE_NS - 10**9,
        code={"commit": "0123456789ab", "dirty": False, "digest": digest_bytes(b"code")},
        environment={"numpy": "2.3.5", "python": "3.11.7", "typing_extensions": "4.15.0"},
        config={"recipe": {"name": "debug"}},
        seeds={"recipe": 0},
        hardware={"machine": "x86_64"},
        parents=parents,
        datasets=tuple(
            sorted(
                root_of_digests(shard for owner, dataset, shard in reads.trained_on if (owner, dataset) == one[:2])
                for one in whose
            )
        ),
        reads=reads.root,
        trained_on=kept.commitment.digest,
        egress=egress,
        deploy=Deployment(embodiments=(MACHINE.id,), sites=("nagoya-lab",), parties=(trust.party,)),
    ).signed(trust.signing_key)
    path = party.runs / name.replace(" ", "-") / "step_000002"
    path.mkdir(parents=True)
    manifest = {
        "step": 2,
        "architecture": digest_bytes(b"architecture"),
        "model": {"width": 64},
        "embodiments": {MACHINE.id: dataclasses.asdict(MACHINE)},
        "reads": reads.digest,
    }
    (path / "run.json").write_text(json.dumps(manifest))
    (path / "reads.json").write_bytes(reads.to_bytes())
    (path / "trained_on.json").write_bytes(kept.to_bytes())
    (path / sources.FILE).write_bytes(sources.to_bytes(Holding(*one) for one in whose))
    (path / "passport.json").write_bytes(passport.to_bytes())
    body = {"run": name, "step": 2, "root": reads.root, "digest": reads.digest, "before": ""}
    trust.ledger.append("read", body)
    trust.ledger.enter_passport(passport)
    return path


def _bundle(party: Party, checkpoint: Path) -> None:
    """Write a bundle that was released: its graphs are bytes, which nothing here runs."""
    path, key = party.bundles / "cart", party.trust.signing_key
    path.mkdir(parents=True)
    for name in (ENCODER, FLOW, GOLDEN):
        (path / name).write_bytes(name.encode())
    for name in ("passport.json", "trained_on.json"):
        (path / name).write_bytes((checkpoint / name).read_bytes())
    weights = WEIGHTS["arm and fleet"]
    manifest = manifest_of(
        MACHINE,
        episode_statistics(MACHINE, episode(0, ARM)),
        flow_steps=1,
        noise="zero",
        weights_digest=weights.removeprefix("sha256:"),
        provenance={},
        files={file.name: digest_file(file) for file in path.iterdir()},
    )
    (path / MANIFEST).write_text(json.dumps(manifest))
    released = Release(
        manifest=digest_file(path / MANIFEST),
        passport=read(path / "passport.json").digest,
        weights=weights,
        embodiment=MACHINE.id,
        made_ns=MADE_NS,
    )
    (path / "release.json").write_bytes(released.signed(key).to_bytes())
