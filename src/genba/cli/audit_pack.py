"""``genba audit pack``: make the evidence pack that an auditor asks for, or check one, offline."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from genba.cli.trust_option import BundlesOption, RunsOption
from genba.errors import ConfigError
from genba.trust.folder import LEDGER_FOLDER, PARTY_FILE, VARIABLE, TrustFolder
from genba.trust.passport import in_words
from genba.trust.signing import SigningKey, TrustStore


def pack(
    out: Annotated[Path | None, typer.Option(help="Folder to make; it must not exist.")] = None,
    check: Annotated[Path | None, typer.Option(help="Check this pack instead of making one.")] = None,
    trust: Annotated[
        Path | None,
        typer.Option("--trust", envvar=VARIABLE, help="A trust folder, or one with the public keys that you believe."),
    ] = None,
    ledger: Annotated[Path | None, typer.Option(help="The ledger; by default the trust folder's.")] = None,
    vault: Annotated[
        list[str] | None, typer.Option("--vault", envvar="GENBA_VAULT", help="A vault to describe (may be repeated).")
    ] = None,
    runs: RunsOption = None,
    bundles: BundlesOption = None,
    key: Annotated[Path | None, typer.Option(help="Key to sign with; by default the trust folder's.")] = None,
    made: Annotated[
        str, typer.Option(help="Time to state, e.g. 2026-11-24T18:00:00Z, by default now: same input, same bytes.")
    ] = "",
) -> None:
    """Write everything that an auditor asks for into one signed folder with a page to read; or check such a folder.

    Decisions with their policies, ledger, heads and proofs, egress logs, passports, receipts, Croissant descriptions of data sets,
    CycloneDX bills of models, the fields of the EU's summary of training content, and an index to ISO/IEC 42001 and the AI Act. What is
    missing is listed. It names every owner; it holds no key, no data and no weights. Exit status 1: something does not hold.
    """
    if (out is None) == (check is None):
        raise ConfigError("pack: got both or neither, expected --out FOLDER or --check FOLDER")
    if check is not None:
        _check(check, trust)
        return
    if trust is None:
        raise ConfigError("pack: no trust folder; name one with --trust, or a ledger and public keys")
    folder = TrustFolder.open(trust) if (trust / PARTY_FILE).is_file() else None
    if folder is None and (ledger is None or key is None):
        raise ConfigError(f"{trust}: not a trust folder (no {PARTY_FILE}); name --ledger and --key too")
    # Here, because the page needs the extra ``report``, and the other commands of this noun run where there is none.
    try:
        from genba.data.vault import Vault
        from genba.report.evidence.write import Given, write_pack
    except ModuleNotFoundError as error:
        raise ConfigError(f"pack: needs the package {error.name}: pip install 'genba[report]'") from error
    assert out is not None
    given = Given(
        ledger=ledger or trust / LEDGER_FOLDER,
        store=folder.trust_store if folder else TrustStore.load(trust),
        key=SigningKey.load(key) if key else _key_of(folder),
        made_ns=_time_of(made) if made else time.time_ns(),
        trust=folder,
        vaults=tuple(Vault.open(one, trust=folder) for one in vault or ()),
        runs=tuple(runs or ()),
        bundles=tuple(bundles or ()),
    )
    done = write_pack(given, out)
    typer.echo(f"{done.path}: {done.num_files} files, signed by key {given.key.public.id}")
    typer.echo(f"to read: {done.path / 'index.html'}")
    for one in done.missing:
        typer.echo(f"missing: {one.what}: {one.why}" + (f" ({one.mend})" if one.mend else ""))
    for problem in done.problems:
        typer.echo(f"does not hold: {problem.place}: {problem.message}")
    if done.problems:
        raise typer.Exit(1)


def _check(folder: Path, trust: Path | None) -> None:
    # Here, because it reads what other parts of this noun do not know of.
    from genba.report.evidence.check import check_pack

    store = None
    if trust is not None:
        store = TrustFolder.open(trust).trust_store if (trust / PARTY_FILE).is_file() else TrustStore.load(trust)
    found = check_pack(folder, store)
    for problem in found.problems:
        _say(f"{problem.place}: {problem.message}")
    for stated in found.stated:
        _say(f"as the pack itself says: {stated['place']}: {stated['message']}")
    for one in found.missing:
        _say(f"missing: {one['what']}: {one['why']}")
    by = f"signed by {', '.join(found.signers)}" if found.signers else "signed by nobody who is believed"
    typer.echo(f"{found.num_files} files, made {in_words(found.made_ns)}, {by}")
    if store is None:
        typer.echo("the keys are those that lie in the pack: whose they are, only --trust shows")
    if not found.holds:
        typer.echo(f"{len(found.problems)} problems: it does not hold")
        raise typer.Exit(1)
    typer.echo("it holds")


def _say(text: str) -> None:
    # A pack comes from others: its words must not look like something else in a terminal.
    typer.echo("".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text))


def _key_of(folder: TrustFolder | None) -> SigningKey:
    assert folder is not None, "a key or a trust folder was asked for"
    return folder.signing_key


def _time_of(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--made: got {text!r}, expected a time such as 2026-11-24T18:00:00Z ({error})") from None
    if moment.tzinfo is None:
        raise ConfigError(f"--made: got {text!r}, which says no time zone; expected e.g. 2026-11-24T18:00:00Z")
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    return round(seconds) * 1_000_000_000


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(pack)
