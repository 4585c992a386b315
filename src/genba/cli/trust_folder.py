"""``genba trust init``, ``show``, ``machine`` and ``govern``: the folder that says who this party is, a machine's, and a vault under it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genba.data.govern import govern, holdings
from genba.data.vault import Vault
from genba.trust.agreements import AGREEMENT_FOLDER, SITES_FILE
from genba.trust.folder import REVOCATION_FILE, SAMPLES, VARIABLE, TrustFolder
from genba.trust.machine import MachineTrust


def init(
    folder: Annotated[Path, typer.Argument(help="Where; it may hold sites.toml and agreements/ already.")],
    party: Annotated[str, typer.Option(help="Who you are, named as in agreements.")],
    site: Annotated[str, typer.Option(help="Id of the site where this host stands, as in sites.toml.")],
    keys: Annotated[str, typer.Option(help="Folder for private keys, out of reach of confined commands.")] = "",
    samples: Annotated[
        bool, typer.Option("--samples", help="Put the rules of three invented companies there, to try things with.")
    ] = False,
) -> None:
    """Make a trust folder: this party's name and site, its keys, and a ledger that they keep."""
    trust = TrustFolder.create(
        folder,
        party=party,
        site=site,
        sites_from=SAMPLES / SITES_FILE if samples else None,
        agreements_from=sorted((SAMPLES / AGREEMENT_FOLDER).iterdir()) if samples else (),
        keys=keys,
    )
    typer.echo(f"{trust.path}: {party} at {site}, ledger {trust.ledger.id}")
    typer.echo(f"key {trust.signing_key.public.id}: tell partners this id by another way than the key's file")
    typer.echo("Next:")
    if not (trust.path / SITES_FILE).exists():
        typer.echo(f"  write {trust.path / SITES_FILE} and one file per owner in {trust.path / AGREEMENT_FOLDER}")
        typer.echo(f"    (how they look: docs/agreements.md, and {SAMPLES}); until then everything is refused")
    typer.echo(f"  genba trust agreements check {folder}")
    typer.echo(f"  export {VARIABLE}={trust.path}     # vaults made from now on stand under it")
    typer.echo("  genba trust govern VAULT           # so does one that is there already")


def show(
    folder: Annotated[Path, typer.Argument(envvar=VARIABLE, help=f"The trust folder (or ${VARIABLE}).")],
) -> None:
    """Show whose trust folder it is, whom it believes, and by what it decides."""
    trust = TrustFolder.open(folder)
    rules, ledger, revocations = trust.compiled.rules, trust.ledger, trust.revocations()
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    site = rules.sites[trust.site]
    count = sum(len(one.agreements) for one in rules.owners)
    rows = {
        "party": trust.party,
        "site": f"{site.id} in {site.jurisdiction}, operated by {site.operator}",
        "owners": f"{', '.join(one.owner for one in rules.owners)} ({count} agreements)",
        "policies": trust.compiled.policy_hash,
        "ledger": f"{ledger.id}, {ledger.size} entries",
        "kept by": ledger.key.id,
        "believes": ", ".join(sorted(trust.trust_store.names.values())),
        "revoked": f"{len(revocations.revoked)} models, list {revocations.number}" if revocations else "nothing",
    }
    for name, value in rows.items():
        table.add_row(name, escape(value))
    Console().print(table, highlight=False)


def machine(
    folder: Annotated[Path, typer.Argument(help="Where; it is carried to the machine.")],
    party: Annotated[str, typer.Option(help="Who runs the machine.")],
    site: Annotated[str, typer.Option(help="Id of the site where it stands, as in the sites of who trains.")],
    believe: Annotated[
        list[Path], typer.Option(help="Public key (NAME.pub) of who trains and exports; may be repeated.")
    ],
) -> None:
    """Make a machine's trust folder: whose passports it believes, and where it stands. No agreements, no private keys."""
    trust = MachineTrust.create(folder, party=party, site=site, believe=believe)
    typer.echo(f"{trust.path}: a machine of {party} at {site}, believes {', '.join(trust.trust_store.names.values())}")
    typer.echo(
        f"Put each new list of revoked models there, as {REVOCATION_FILE}; set the clock right before the first run."
    )
    typer.echo(f"Next: genba bench TASK --policy BUNDLE --trust {folder}")


def govern_vault(
    vault: Annotated[str, typer.Argument(help="Folder of the vault, or s3://bucket/prefix.")],
    folder: Annotated[
        Path, typer.Option("--trust", envvar=VARIABLE, help=f"The trust folder whose rules will hold (or ${VARIABLE}).")
    ],
) -> None:
    """Put a vault under the rules of a trust folder, for good: from then on nobody opens it without them.

    Every data set in it must be covered by an agreement; otherwise those that are not are named and nothing is changed. Each
    shard is then sealed anew. Interrupted, the same command goes on.
    """
    trust, console = TrustFolder.open(folder), Console()
    kept = Vault.open(vault, trust=trust)
    try:
        num_episodes = sum(one.num_episodes for one in govern(kept))
    finally:
        trust.sign_head()
    for holding, count in holdings(kept).items():
        console.print(
            f"{count} episodes of {escape(holding.owner)}/{escape(holding.dataset)} under {escape(holding.agreement)}",
            highlight=False,
        )
    console.print(f"[bold]{num_episodes} episodes[/] sealed anew; {vault} is governed", highlight=False)


def add_to(app: typer.Typer) -> None:
    """Add these commands to ``genba trust``."""
    app.command()(init)
    app.command()(show)
    app.command()(machine)
    app.command("govern")(govern_vault)
