"""``genba trust``: run a command that reaches what it may and nothing else; say what this computer can enforce.

Who this party is, is in ``trust_folder``; what owners allow in ``trust_agreements``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genba.cli.trust_agreements import add_to as add_agreements
from genba.cli.trust_contribution import add_to as add_contribution
from genba.cli.trust_folder import add_to as add_folder
from genba.cli.trust_reissue import add_to as add_reissue
from genba.cli.trust_revoke import add_to as add_revocation
from genba.cli.trust_withdraw import add_to as add_withdrawal
from genba.errors import ConfigError, nearest
from genba.trust.sandbox.log import SYNCS, Sync, read_log
from genba.trust.sandbox.policy import Policy, parse_endpoint, path_rule
from genba.trust.sandbox.run import run_sandboxed
from genba.trust.sandbox.support import requirements, try_for_real

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Keep data where its owner said: init, show, agreements, decide, rotate, withdraw, revoke, reissue, run, probe, egress.",
)
add_folder(app)
add_agreements(app)
add_withdrawal(app)
add_revocation(app)
add_reissue(app)
add_contribution(app)

SOURCE = "command line"


@app.command()
def run(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="Program and arguments, after --.")],
    log: Annotated[Path, typer.Option(help="Egress log that lines are appended to; out of the command's reach.")],
    allow: Annotated[
        list[str] | None, typer.Option(help="HOST:PORT, HOST:LOW-HIGH or HOST:* to connect to (may be repeated).")
    ] = None,
    bind: Annotated[
        list[str] | None, typer.Option(help="HOST:PORT of this host to listen on (may be repeated); * is any port.")
    ] = None,
    read: Annotated[list[Path] | None, typer.Option(help="Path that may be read (may be repeated).")] = None,
    write: Annotated[list[Path] | None, typer.Option(help="Path that may be written (may be repeated).")] = None,
    socket: Annotated[
        list[Path] | None, typer.Option(help="Unix socket of a service that may be connected to (may be repeated).")
    ] = None,
    sync: Annotated[str, typer.Option(help="'line': on disk before each answer; 'end': when the run ends.")] = "line",
    unenforced: Annotated[
        bool, typer.Option("--unenforced", help="For development: run open where nothing can be enforced.")
    ] = False,
) -> None:
    """Run a command that reaches the listed hosts and paths and nothing else; log every attempt.

    Libraries and Python can be read, and a temporary folder of the run and /dev/shm written. The exit status is the
    command's; 125 means that it was stopped because the log could not be written.
    """
    if sync not in SYNCS:
        raise ConfigError(f"--sync: got {sync!r}{nearest(sync, SYNCS)}")
    try:
        policy = _policy(allow, bind, read, write, socket)
    except ValueError as error:
        raise ConfigError(f"the policy cannot hold: {error}") from error
    raise typer.Exit(run_sandboxed(command, policy, log, sync=cast(Sync, sync), is_override=unenforced))


@app.command()
def probe() -> None:
    """Say what this computer can enforce; exit status 1 where commands would not be run."""
    console, found = Console(), requirements()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("", "needs", "here", "for"):
        table.add_column(name, overflow="fold")
    for one in found:
        mark = "[green]yes[/]" if one.is_met else ("[bold red]no[/]" if one.is_needed else "[yellow]no[/]")
        table.add_row(mark, one.name, one.found, one.purpose)
    console.print(table, highlight=False)
    if any(one.is_needed and not one.is_met for one in found):
        console.print("\n[bold red]Commands are not run here.[/] Only --unenforced, for development, runs them open.")
        raise typer.Exit(1)
    if problem := try_for_real():
        console.print(f"\n[bold red]Tried, and not enforced:[/] {escape(problem)}", highlight=False)
        raise typer.Exit(1)
    console.print("\n[bold green]Tried, and enforced:[/] a small command reached what it may and nothing else.")


@app.command()
def egress(log: Annotated[Path, typer.Argument(help="Egress log to read.")]) -> None:
    """Show what every run in an egress log tried to reach, and what it was told."""
    console = Console()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("run", "program", "operation", "address", "times", "decision", "reason"):
        table.add_column(name, overflow="fold", justify="right" if name == "times" else "left")
    times: dict[tuple[str, ...], int] = {}
    programs: dict[int, str] = {}
    for line in read_log(log):
        if line["event"] == "start" and not line["is_enforced"]:
            console.print(f"[bold red]{line['run'][:8]}: {escape(line['warning'])}[/]", highlight=False)
        if line["event"] != "attempt":
            continue
        program = programs.setdefault(line["process"], line.get("program", ""))
        row = (line["run"][:8], program, line["operation"], line["address"], line["decision"], line["reason"])
        times[row] = times.get(row, 0) + line.get("repeated", 1)
    for (run_id, program, operation, address, decision, reason), count in times.items():
        shown = f"[bold red]{decision}[/]" if decision == "refused" else decision
        table.add_row(run_id, escape(program), operation, escape(address), str(count), shown, escape(reason))
    console.print(table, highlight=False)


def _policy(
    allow: list[str] | None,
    bind: list[str] | None,
    read: list[Path] | None,
    write: list[Path] | None,
    socket: list[Path] | None,
) -> Policy:
    return Policy(
        endpoints=tuple(parse_endpoint(one, SOURCE) for one in allow or ()),
        binds=tuple(parse_endpoint(one, SOURCE, to_listen_on=True) for one in bind or ()),
        readable=tuple(path_rule(one, SOURCE) for one in read or ()),
        writable=tuple(path_rule(one, SOURCE) for one in write or ()),
        sockets=tuple(path_rule(one, SOURCE) for one in socket or ()),
    )
