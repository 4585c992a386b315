"""A bundle of the cart with its papers, and the trust folder of the machine that may run it, for tests of what is refused."""

from __future__ import annotations

import functools
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import exported
import toy

from genba.model.weights import weights_digest
from genba.runtime.export import Papers, export_bundle
from genba.trust import revocation
from genba.trust.digest import digest_bytes, digest_file
from genba.trust.machine import MachineTrust
from genba.trust.passport import Deployment, Passport
from genba.trust.release import Release
from genba.trust.revocation import Revoked
from genba.trust.signing import SigningKey
from genba.trust.trained_on import TrainedOn

KEY, STRANGER = SigningKey.generate(), SigningKey.generate()
PARENT = digest_bytes(b"parent")
#: the moment the passport was made, and the first at which it does not hold any more, ns since 1970
MADE_NS = time.time_ns()
HOUR_NS = 3600 * 10**9
UNTIL_NS = MADE_NS + 24 * HOUR_NS
SET = TrainedOn.of([("maker", "grip", digest_bytes(b"shard"))], {"maker": bytes(32)})


@functools.cache
def passport() -> Passport:
    """Of the toy model's weights: at the plant, on the cart, for a day."""
    return Passport(
        weights=f"sha256:{weights_digest(exported.toy_model())}",
        made_ns=MADE_NS,
        code={"commit": None, "dirty": None, "digest": digest_bytes(b"code")},
        environment={"python": "3.11"},
        config={"recipe": {"name": "test"}},
        seeds={"recipe": 0},
        hardware={"machine": "x86_64"},
        parents=(PARENT,),
        trained_on=SET.commitment.digest,
        deploy=Deployment(embodiments=(toy.CART_FACTS.id,), sites=("plant",), parties=("lab-co",), until_ns=UNTIL_NS),
    )


@functools.cache
def bundle_with_papers(folder: Path) -> Path:
    """Export it once."""
    made = passport()
    papers = Papers(passport=made.signed(KEY), weights=made.weights, trained_on=SET.to_bytes(), key=KEY)
    return export_bundle(
        exported.toy_model(),
        toy.CART_FACTS,
        exported.toy_statistics()[toy.CART_FACTS.id],
        folder / "cart",
        provenance={"recipe": "test"},
        papers=papers,
    ).path


@dataclass
class Case:
    """A copy of the bundle and a machine's folder, both of which a test may change."""

    bundle: Path
    machine: Path

    def trust(self, now_ns: int = MADE_NS + HOUR_NS) -> MachineTrust:
        """The machine's beliefs, an hour after the passport was made."""
        return MachineTrust(self.machine, clock=lambda: now_ns)

    def alter(self, name: str) -> None:
        """Change one byte in the middle of one of the bundle's files."""
        data = bytearray((self.bundle / name).read_bytes())
        data[len(data) // 2] ^= 1
        (self.bundle / name).write_bytes(data)

    def list_anew(self, name: str) -> None:
        """Write a file's digest into the manifest, as who altered it would; return nothing signed."""
        path = self.bundle / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["files"][name] = digest_file(self.bundle / name)
        path.write_text(json.dumps(manifest, indent=1))

    def give(self, made: Passport, *, passport_by: SigningKey = KEY, released_by: SigningKey = KEY) -> None:
        """Put another passport in, listed and released as an exporter would."""
        envelope = made.signed(passport_by)
        (self.bundle / "passport.json").write_bytes(envelope.to_bytes())
        self.list_anew("passport.json")
        manifest = digest_file(self.bundle / "manifest.json")
        release = Release(
            manifest=manifest,
            passport=envelope.digest,
            weights=passport().weights,
            embodiment=toy.CART_FACTS.id,
            made_ns=MADE_NS,
        )
        (self.bundle / "release.json").write_bytes(release.signed(released_by).to_bytes())

    def revoke(self, *digests: str, old: revocation.Revocations | None = None) -> revocation.Revocations:
        """Put the next list of revoked models into the machine's folder."""
        now_ns = MADE_NS + (old.number + 1 if old else 1)
        listed = [Revoked(digest=d, reason="withdrawn", time_ns=now_ns) for d in digests]
        envelope = revocation.revoke(old, listed, KEY, now_ns=now_ns)
        (self.machine / "revocations.json").write_bytes(envelope.to_bytes() + b"\n")
        return revocation.verify(envelope, self.trust().trust_store, place="list")


def make_case(shared: Path, folder: Path, *, site: str = "plant", party: str = "lab-co") -> Case:
    """Make a case in ``folder``, from the bundle exported once in ``shared``."""
    (folder / "keys").mkdir(parents=True)
    (folder / "keys" / "lab.pub").write_bytes(KEY.public.pem())
    MachineTrust.create(folder / "machine", party=party, site=site, believe=[folder / "keys" / "lab.pub"])
    return Case(shutil.copytree(bundle_with_papers(shared), folder / "bundle"), folder / "machine")
