"""Two owners, three sites: rules that the tests of deciding share, and requests that are just allowed by them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

from genba.trust.agreements import Agreement, OwnerAgreements, Rules, make_rules
from genba.trust.requests import Request
from genba.trust.sites import Evidence, Site

EVIDENCE = Evidence(statement="lease", digest="sha256:" + "0" * 64, dated=date(2026, 1, 1))
SITES = {
    site.id: site
    for site in (
        Site(
            id="lab",
            operator="lab-co",
            jurisdiction="JP-23",
            evidence=EVIDENCE,
            endpoints=("10.0.0.1:80", "s3://lab/v"),
        ),
        Site(id="plant", operator="plant-co", jurisdiction="JP", evidence=EVIDENCE, endpoints=("10.0.0.2:80",)),
        Site(id="abroad", operator="host-co", jurisdiction="US-OR", evidence=EVIDENCE, endpoints=("10.0.0.3:80",)),
    )
}
FULL = Agreement(
    id="full",
    datasets=("grip", "reach"),
    parties=("lab-co",),
    purposes=("train", "evaluate", "adapt", "deploy"),
    machines=("arm@1",),
    jurisdictions=("JP",),
    sites=("lab", "plant"),
    valid_from=date(2026, 4, 1),
    valid_until=date(2027, 3, 31),
    excluded=("rival",),
)
TRAINING = replace(
    FULL,
    id="training",
    datasets=("drive",),
    purposes=("train",),
    machines=(),
    jurisdictions=("JP-23",),
    sites=("lab",),
    excluded=("host-co",),
)
ABROAD = replace(
    FULL, id="abroad", datasets=("open",), jurisdictions=("JP", "US"), sites=("lab", "plant", "abroad"), excluded=()
)
MAKER = OwnerAgreements(owner="maker", agreements=(FULL, ABROAD))
FLEET = OwnerAgreements(owner="fleet", agreements=(TRAINING,))


def rules(*owners: OwnerAgreements) -> Rules:
    """Return checked rules of these owners; of both without any."""
    return make_rules([(f"{one.owner}.toml", one) for one in owners or (MAKER, FLEET)], SITES)


def moment_ns(text: str) -> int:
    """Return a moment, UTC, as ns since 1970."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


NOW_NS = moment_ns("2026-11-01T12:00:00")
TRAIN = Request(act="train", party="lab-co", owner="maker", dataset="grip", agreement="full", sites=("lab",))
