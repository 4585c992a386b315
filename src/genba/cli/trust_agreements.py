"""``genba trust agreements``, ``decide`` and ``rotate``: what owners allow, what would be decided, and a new key."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genba.cli.vault_option import DEFAULT_VAULT, VaultOption
from genba.config import read_toml, to_toml
from genba.data.rotation import retire_key, rotate_key
from genba.data.vault import Vault
from genba.errors import ConfigError
from genba.trust.agreements import OwnerAgreements, read_rules
from genba.trust.cedar import compile_rules
from genba.trust.decide import NS_PER_S, clauses, decide
from genba.trust.odrl import from_odrl, to_odrl
from genba.trust.requests import Request

agreements = typer.Typer(add_completion=False, no_args_is_help=True, help="What owners allow: check, show, odrl.")

FolderArgument = Annotated[
    Path, typer.Argument(envvar="GENBA_TRUST", help="Folder with sites.toml and agreements/ (or $GENBA_TRUST).")
]


@agreements.command()
def check(folder: FolderArgument) -> None:
    """Read sites and agreements strictly and compile them; the first contradiction is named by file and path."""
    compiled = compile_rules(read_rules(folder))
    owners = compiled.rules.owners
    count = sum(len(one.agreements) for one in owners)
    print(f"{len(owners)} owners, {count} agreements, {len(compiled.rules.sites)} sites: nothing contradicts")
    print(f"policies {compiled.policy_hash}")


@agreements.command()
def show(
    folder: FolderArgument,
    cedar: Annotated[bool, typer.Option("--cedar", help="Print the Cedar policies that decide.")] = False,
) -> None:
    """Show who may do what with whose data, where and until when; and the sites."""
    console, rules = Console(), read_rules(folder)
    if cedar:
        print(compile_rules(rules).policies, end="")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in (
        "owner",
        "agreement",
        "data sets",
        "parties",
        "purposes",
        "machines",
        "sites",
        "days (UTC)",
        "excluded",
    ):
        table.add_column(name, overflow="fold")
    for one in rules.owners:
        for each in one.agreements:
            lists = (each.datasets, each.parties, each.purposes, each.machines, each.sites)
            texts = [escape(", ".join(values)) for values in lists]
            days = f"{each.valid_from} to {each.valid_until}"
            table.add_row(escape(one.owner), escape(each.id), *texts, days, escape(", ".join(each.excluded)))
    console.print(table, highlight=False)
    places = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("site", "operator", "jurisdiction", "endpoints", "evidence"):
        places.add_column(name, overflow="fold")
    for site in rules.sites.values():
        shown = f"{site.evidence.statement} ({site.evidence.dated}, {site.evidence.digest[:19]}…)"
        texts = (site.id, site.operator, site.jurisdiction, ", ".join(site.endpoints), shown)
        places.add_row(*(escape(text) for text in texts))
    console.print()
    console.print(places, highlight=False)


@agreements.command()
def odrl(
    source: Annotated[Path, typer.Argument(help="One owner's .toml, or its ODRL as .json or .jsonld.")],
    out: Annotated[Path | None, typer.Option(help="File to write; printed without it.")] = None,
) -> None:
    """Turn one owner's agreements into ODRL 2.2 JSON-LD, or ODRL into agreements in TOML."""
    if source.suffix == ".toml":
        text = to_odrl(read_toml(source, OwnerAgreements))
    elif source.suffix in (".json", ".jsonld"):
        try:
            text = to_toml(from_odrl(source.read_text(encoding="utf-8"), where=str(source)))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{source}: cannot be read: {error}") from error
    else:
        raise ConfigError(f"{source}: got suffix {source.suffix!r}, expected .toml, .json or .jsonld")
    if out is None:
        print(text, end="")
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{out}: is there already and is not overwritten; name another file") from None
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}") from error


def decide_command(
    act: Annotated[str, typer.Argument(help="admit, read, train, evaluate, adapt, export or deploy.")],
    owner: Annotated[str, typer.Argument(help="Whose data.")],
    dataset: Annotated[str, typer.Argument(help="Which of the owner's data sets.")],
    agreement: Annotated[str, typer.Option(help="Id of the agreement that the data was admitted under.")],
    party: Annotated[str, typer.Option(help="Who wants to.")],
    site: Annotated[list[str], typer.Option(help="Where it happens (may be repeated).")],
    folder: Annotated[Path, typer.Option("--rules", envvar="GENBA_TRUST", help="Folder of rules (or $GENBA_TRUST).")],
    endpoint: Annotated[
        list[str] | None, typer.Option(help="host:port or storage URL that is used (may be repeated).")
    ] = None,
    purpose: Annotated[str, typer.Option(help="What data is read for (read only).")] = "",
    embodiment: Annotated[str, typer.Option(help="Machine type (adapt, export and deploy only).")] = "",
    at: Annotated[str, typer.Option(help="Moment, e.g. 2027-04-01T00:00:00Z; now without it.")] = "",
) -> None:
    """Say what would be decided, clause by clause; records nothing. Exit status 1: it would be refused."""
    try:
        request = Request(
            act=act,
            party=party,
            owner=owner,
            dataset=dataset,
            agreement=agreement,
            sites=tuple(site),
            endpoints=tuple(endpoint or ()),
            purpose=purpose,
            embodiment=embodiment,
        )
    except ValueError as error:
        raise ConfigError(f"command line: {error}") from error
    compiled, now_ns = compile_rules(read_rules(folder)), _moment_ns(at)
    decision = decide(request, compiled, now_ns)
    console = Console()
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for clause in clauses(request, compiled.rules, now_ns // NS_PER_S):
        mark = "[green]met[/]" if clause.holds else "[bold red]not met[/]"
        table.add_row(mark, escape(clause.agreement), clause.name, escape(clause.words))
    console.print(table, highlight=False)
    moment = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).isoformat()
    answer = "[bold green]allowed[/]" if decision.is_allowed else "[bold red]refused[/]"
    console.print(f"\n{answer} at {moment}", highlight=False)
    console.print(f"request {request.digest}\npolicies {decision.policy_hash}", highlight=False, soft_wrap=True)
    if not decision.is_allowed:
        raise typer.Exit(1)


def rotate(
    owner: Annotated[str, typer.Argument(help="Whose data.")],
    dataset: Annotated[str, typer.Argument(help="Which of the owner's data sets.")],
    vault: VaultOption = DEFAULT_VAULT,
    retire: Annotated[
        bool, typer.Option("--retire", help="Instead, forget the older versions for good: the second step.")
    ] = False,
) -> None:
    """Give a data set a new key: every shard's data key is wrapped anew, no block is read or written.

    Two steps. The first leaves the old key able to open what a process began to store before; the second, --retire, forgets
    it, once no such process runs any more.
    """
    kept = Vault.open(vault)
    count = retire_key(kept, owner, dataset) if retire else rotate_key(kept, owner, dataset)
    print(f"{owner}/{dataset}: {count} shards wrapped with the {'newest' if retire else 'new'} key")
    if retire:
        print("the older versions of the key are forgotten")
    else:
        print("the old key still opens; forget it with --retire when no process stores episodes any more")


def _moment_ns(text: str) -> int:
    if not text:
        return time.time_ns()
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("no time zone")
    except ValueError as error:
        raise ConfigError(f"--at: got {text!r} ({error}), expected a moment such as 2027-04-01T00:00:00Z") from error
    return int(moment.timestamp()) * NS_PER_S


def add_to(app: typer.Typer) -> None:
    """Add these commands to ``genba trust``."""
    app.add_typer(agreements, name="agreements")
    app.command("decide")(decide_command)
    app.command()(rotate)
