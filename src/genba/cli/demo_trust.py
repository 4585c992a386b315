"""The demo's owners: three invented companies, under whose agreements everything that it records is kept and used.

Their rules stand in ``genba/trust/samples/demo``. The demo's trust folder lies beside its run, not in it: a confined command may
write its run's folder and everything beneath, and what decides and records must not be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from genba.trust.agreements import AGREEMENT_FOLDER, SITES_FILE
from genba.trust.folder import PARTY_FILE, SAMPLES, TrustFolder

PARTY, SITE = "Sample Works Research", "demo-host"

#: task -> who owns what the demo records of it, and under which agreement, as an episode says it
OWNERS: Mapping[str, Mapping[str, str]] = {
    task: {"owner": owner, "dataset": dataset, "site": SITE, "jurisdiction": "JP", "agreement": agreement}
    for task, owner, dataset, agreement in (
        ("arm/grip@1", "Sample Arm Works", "grip", "sample-arm-works-demo"),
        ("metaworld/mt50@1", "Sample Arm Works", "table-top", "sample-arm-works-demo"),
        ("vehicle/intersection@1", "Sample Fleet", "driving", "sample-fleet-demo"),
        ("vehicle/varied@1", "Sample Fleet", "driving", "sample-fleet-demo"),
        ("vehicle/cologne1@1", "Sample Fleet", "driving", "sample-fleet-demo"),
        ("factory/shortage@1", "Sample Factory", "shifts", "sample-factory-demo"),
        ("factory/shortage-s@1", "Sample Factory", "shifts", "sample-factory-demo"),
        ("factory/events@1", "Sample Factory", "shifts", "sample-factory-demo"),
        ("factory/job-shop@1", "Sample Factory", "shifts", "sample-factory-demo"),
    )
}


def default_out(plan: str) -> Path:
    """Return the folder of a run that names none, by its plan: ``full``, ``quick`` or ``long``."""
    return Path("demo-run" if plan == "full" else f"demo-run-{plan}")


def demo_trust(out: Path) -> TrustFolder:
    """Return the trust folder of the run in ``out``, made where there is none.

    Raises:
        ConfigError: it cannot be made.
    """
    path = out.with_name(f"{out.name}-trust")
    if (path / PARTY_FILE).is_file():
        return TrustFolder.open(path)
    rules = SAMPLES / "demo"
    return TrustFolder.create(
        path,
        party=PARTY,
        site=SITE,
        sites_from=rules / SITES_FILE,
        agreements_from=sorted((rules / AGREEMENT_FOLDER).iterdir()),
    )
