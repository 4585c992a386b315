"""``genba trust withdraw``, ``receipt`` and ``request-withdrawal``: an owner's no, and what shows that it was done."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genba.cli.trust_option import BundlesOption, RunsOption
from genba.data.vault import Vault
from genba.data.withdraw import Plan, Scope, plan, withdraw
from genba.errors import ConfigError
from genba.trust.folder import VARIABLE, TrustFolder
from genba.trust.pkcs11 import keys_from_environment
from genba.trust.signing import SigningKey, TrustStore
from genba.trust.withdrawal import make_request, read_envelope, read_receipt

OwnerArgument = Annotated[str, typer.Argument(help="Whose data.")]
DatasetArgument = Annotated[str, typer.Argument(help="Which of the owner's data sets.")]
TrustOption = Annotated[Path, typer.Option("--trust", envvar=VARIABLE, help=f"The trust folder (or ${VARIABLE}).")]


def withdraw_command(
    owner: OwnerArgument,
    dataset: DatasetArgument,
    trust: TrustOption,
    vault: Annotated[
        list[str] | None,
        typer.Option("--vault", envvar="GENBA_VAULT", help="A vault that may hold it (may be repeated)."),
    ] = None,
    runs: RunsOption = None,
    bundles: BundlesOption = None,
    request: Annotated[Path | None, typer.Option(help="The owner's signed request.")] = None,
    purge_weights: Annotated[
        bool, typer.Option("--purge-weights", help="Delete the tensors of affected checkpoints too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Withdraw a data set: destroy its key, purge its bytes, refuse it for good, revoke what learnt from it, sign a receipt.

    Nothing can undo this. Interrupted, the same command goes on where it stopped; done before, it changes nothing. Exit status
    1: there are models of which nobody can say whether they learnt from it.
    """
    console, kept, keys = Console(), TrustFolder.open(trust), keys_from_environment()
    asked = read_envelope(request) if request else None
    scope = Scope(
        keys=keys,
        vaults=tuple(Vault.open(one, keys=keys, trust=kept) for one in vault or ()),
        runs=tuple(runs or ()),
        bundles=tuple(bundles or ()),
    )
    found = plan(kept, owner, dataset, scope)
    _show_plan(console, found, owner, dataset)
    if dry_run:
        console.print("\nNothing was done (--dry-run).")
        return
    if not (found.is_done and found.entry is not None) and not yes:
        typer.confirm(f"\nWithdraw {dataset!r} of {owner!r} for good?", abort=True)
    done = withdraw(
        kept,
        owner,
        dataset,
        scope,
        request=asked,
        purge_weights=purge_weights,
        progress=lambda step: console.print(f"  {escape(step)}", highlight=False, style="dim"),
    )
    said = done.said
    if not done.is_new:
        console.print(
            f"\nWithdrawn before (ledger entry {said['entry']}); nothing is left to do and nothing was changed."
        )
    console.print(
        f"\n[bold]Receipt[/] {escape(str(done.receipt))}; check it: genba trust receipt FILE", highlight=False
    )
    if found.exported:
        entries = ", ".join(map(str, found.exported))
        console.print(
            f"Out of reach: exports that the ledger's entries {entries} allowed; tell who has them.", highlight=False
        )
    for run, path in said["clean"].items():
        if path:
            words = ["--resume-from", path, "--out", f"{run}-without", *(["--vault", vault[0]] if vault else [])]
            console.print(
                f"Go on from the last clean checkpoint:\n  genba train run {shlex.join(words)}",
                highlight=False,
                soft_wrap=True,
            )
        else:
            console.print(f"{run}: no kept checkpoint is from before it; train it anew.", highlight=False)
    if found.undecided:
        raise typer.Exit(1)


def receipt_command(
    file: Annotated[Path, typer.Argument(help="The receipt.")],
    trust: Annotated[
        Path,
        typer.Option("--trust", envvar=VARIABLE, help=f"A trust folder, or a folder of public keys (or ${VARIABLE})."),
    ],
) -> None:
    """Check a receipt of withdrawal offline, and say what it says; a forged or altered one is refused."""
    believed = TrustFolder.open(trust).trust_store if (trust / "party.toml").is_file() else TrustStore.load(trust)
    found = read_receipt(file, believed)
    said, console = found.said, Console()
    console.print(
        f"[bold]{escape(said['dataset'])}[/] of [bold]{escape(said['owner'])}[/] was withdrawn", highlight=False
    )
    console.print(
        f"signed by {', '.join(found.signers)}; entry {said['entry']} of ledger {said['ledger']}, under a head over {found.head.size} entries",
        highlight=False,
    )
    console.print(f"keys destroyed: {', '.join(said['keys'])}", highlight=False)
    for place, one in said["vaults"].items():
        size = sum(file["bytes"] for file in one["files"].values())
        console.print(
            f"purged from {escape(place)}: {one['episodes']} episodes, {one['hours']:.3g} h, {len(one['files'])} files, {size} bytes",
            highlight=False,
        )
    denied = said["denied"]
    console.print(f"{denied['pieces']} pieces of content are refused from now on", highlight=False)
    if denied["unread"]:
        console.print(f"{len(denied['unread'])} files did not read any more: what they held is refused by name only")
    for name in ("models", "undecided"):
        for model in said[name]:
            word = "revoked" if name == "models" else "undecided"
            console.print(
                f"{word}: {model['kind']} {escape(model['path'])}: {escape(model['reason'])}", highlight=False
            )
    for run, path in said["clean"].items():
        console.print(f"last clean checkpoint of {escape(run)}: {escape(path) or 'none'}", highlight=False)
    if said["out_of_reach"]:
        console.print(
            f"out of reach: exports allowed by entries {', '.join(map(str, said['out_of_reach']))}", highlight=False
        )


def request_command(
    owner: OwnerArgument,
    dataset: DatasetArgument,
    key: Annotated[Path, typer.Option(help="The owner's signing key.")],
    ledger: Annotated[str, typer.Option(help="Id of the ledger of whom it is asked (genba audit verify shows it).")],
    out: Annotated[Path, typer.Option(help="File to write; it must not exist.")],
) -> None:
    """Write an owner's signed request to withdraw a data set, for whoever keeps that ledger and for nobody else."""
    envelope = make_request(owner, dataset, ledger=ledger, key=SigningKey.load(key))
    try:
        with out.open("xb") as file:
            file.write(envelope.to_bytes() + b"\n")
    except OSError as error:
        raise ConfigError(f"{out}: the request could not be written: {error.strerror}") from error


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("withdraw")(withdraw_command)
    app.command("receipt")(receipt_command)
    app.command("request-withdrawal")(request_command)


def _show_plan(console: Console, found: Plan, owner: str, dataset: str) -> None:
    console.print(f"[bold]{escape(dataset)}[/] of [bold]{escape(owner)}[/]", highlight=False)
    if found.entry is not None:
        console.print(f"its withdrawal is in the ledger: entry {found.entry}", highlight=False)
    for place, held in found.held.items():
        size = sum(held.files.values())
        console.print(
            f"{escape(place)}: {len(held.episodes)} episodes, {held.hours:.3g} h, {len(held.files)} files, {size} bytes",
            highlight=False,
        )
    if found.models:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("model", "state", "why"):
            table.add_column(name, overflow="fold")
        for model in found.models:
            table.add_row(escape(str(model.path)), model.state, escape(model.reason))
        console.print(table, highlight=False)
