"""A trust folder of invented companies whose agreements hold at any time, and episodes of theirs: for tests of the gate."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from random_episodes import random_episode
from toy import CART

from genba.data.vault import Vault
from genba.spec.episode import Episode
from genba.trust.folder import SAMPLES, TrustFolder
from genba.trust.ledger import ENTRIES, Entry
from genba.trust.requests import Request

PARTY, SITE = "Sample Works Research", "nagoya-lab"
#: owner and data set -> the agreement about it
FLEET, ARM, FACTORY, PUBLIC = (
    ("Sample Fleet", "driving", "sample-fleet-training"),
    ("Sample Arm Works", "grip", "sample-arm-2026"),
    ("Sample Factory", "shifts", "sample-factory-home"),
    ("Sample Factory", "shifts-public", "sample-factory-abroad"),
)
MACHINE = CART.embodiment


@dataclass
class Clock:
    """A clock that a test sets."""

    now_ns: int

    def __call__(self) -> int:
        return self.now_ns

    def set(self, text: str) -> None:
        self.now_ns = int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def sample_trust(path: Path, *, site: str = SITE, party: str = PARTY) -> TrustFolder:
    """Make a trust folder with the sample rules as they are."""
    return TrustFolder.create(
        path,
        party=party,
        site=site,
        sites_from=SAMPLES / "sites.toml",
        agreements_from=sorted((SAMPLES / "agreements").iterdir()),
    )


def reading(purpose: str = "train") -> Request:
    """Ask to read the fleet's drives, which its agreement allows for training."""
    owner, dataset, agreement = FLEET
    return Request(
        act="read", party=PARTY, owner=owner, dataset=dataset, agreement=agreement, sites=(SITE,), purpose=purpose
    )


def trust_folder(path: Path, *, site: str = SITE, party: str = PARTY) -> TrustFolder:
    """Make a trust folder with the sample rules, which hold from 2020 to 2098, but the fleet's, which end with 2030."""
    sample_trust(path, site=site, party=party)
    for file in (path / "agreements").iterdir():
        until = "2030-12-31" if "fleet" in file.name else "2098-12-31"
        text = re.sub(r"from = \S+", "from = 2020-01-01", file.read_text())
        file.write_text(re.sub(r"until = \S+", f"until = {until}", text))
    return TrustFolder(path)


def at(trust: TrustFolder, clock: Clock) -> TrustFolder:
    """Return the same folder with another clock."""
    return TrustFolder(trust.path, clock=clock)


def episode(seed: int, whose: tuple[str, str, str], *, num_steps: int = 20) -> Episode:
    """Make an episode of the cart that somebody owns."""
    made = random_episode(MACHINE, seed, num_steps=num_steps)
    owner, dataset, agreement = whose
    name = f"{dataset}/{seed:03d}"
    metadata = replace(made.metadata, episode_id=name, owner=owner, dataset=dataset, agreement=agreement)
    return Episode(metadata, made.streams)


def governed_vault(path: Path, trust: TrustFolder, *whose: tuple[str, str, str], each: int = 2) -> Vault:
    """Make a governed vault with ``each`` episodes of everyone named."""
    vault = Vault.open(path, create=True, embodiments=[MACHINE], trust=trust)
    for owner in whose:
        for seed in range(each):
            vault.append(episode(seed, owner))
    return vault


def opened(vault: Vault, purpose: str = "", trust: TrustFolder | None = None) -> Vault:
    """Open a vault again for a purpose."""
    return Vault.open(vault.path, embodiments=[MACHINE], trust=trust or vault.trust, purpose=purpose)


def decisions(trust: TrustFolder) -> list[tuple[str, str, str, bool]]:
    """Return (act, owner, purpose, allowed) of each decision in the ledger."""
    lines = (trust.path / "ledger" / ENTRIES).read_bytes().splitlines()
    entries = [Entry.parse(line, place=str(number)) for number, line in enumerate(lines)]
    bodies = [entry.body for entry in entries if entry.kind == "decision"]
    return [(b["request"]["act"], b["request"]["owner"], b["request"]["purpose"], b["allowed"]) for b in bodies]
