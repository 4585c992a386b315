"""``genba``: one short file per noun; this one leads to them and turns errors into one readable line.

A noun's module is imported when it is asked for, so that ``genba --help`` needs neither torch nor a simulator; and not before
the command is where it may touch data (``confined``).
"""

from __future__ import annotations

import importlib
import os
import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genba import __version__
from genba.errors import GenbaError, nearest

#: noun -> (module with a typer ``app``, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("genba.cli.demo", "The whole job on this computer: collect, train, deploy, measure, report."),
    "data": ("genba.cli.data", "Import machine logs into a vault; list, show and check what it holds."),
    "train": ("genba.cli.train", "Train one model on everything in a vault; resume; show the recipes."),
    "bundle": ("genba.cli.bundle", "Export a checkpoint to what runs on a machine; check a bundle."),
    "bench": ("genba.cli.bench", "Drive a machine with a policy in closed loop and keep the result."),
    "machine": ("genba.cli.machine", "Watch a machine at work, live or as a recording."),
    "factory": ("genba.cli.factory", "Run a factory floor, re-sequence one, ask what would happen if."),
    "report": ("genba.cli.report", "Make one HTML page of everything that was measured."),
    "trust": ("genba.cli.trust", "Run a command that reaches what it may and nothing else; see what it tried."),
    "audit": ("genba.cli.audit", "Keep and check the ledger of what was decided and read; check models' passports."),
    "plan": ("genba.cli.plan", "Lay a model out over thousands of ranks without owning one."),
}

#: nouns whose commands ask owners' agreements: each ends with a signed head over the answers
DECIDING = ("demo", "data", "train", "bench", "machine")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a ``GenbaError`` is one line on standard error and exit status 2."""
    # Whoever calls this from a program of its own does not want all of that started again.
    command = None if arguments is None else [sys.executable, "-m", "genba.cli.main", *arguments]
    arguments = sys.argv[1:] if arguments is None else arguments
    out, errors = Console(), Console(stderr=True)
    if arguments[:1] == ["--version"]:
        print(f"genba {__version__}")
        return
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        out.print("\n[bold]genba[/bold]: one foundation model for machines. Begin with: [bold]genba demo[/bold]\n")
        table = Table(box=None, padding=(0, 2), show_header=False)
        for noun, (_, line) in COMMANDS.items():
            table.add_row(f"[bold cyan]genba {noun}[/]", line)
        out.print(table)
        out.print("\nMore of each: genba NOUN --help\n")
        return
    noun = arguments[0]
    if noun not in COMMANDS:
        errors.print(f"[bold red]genba:[/] no command {noun!r}{nearest(noun, COMMANDS)}", highlight=False)
        sys.exit(2)
    # Not above: what it needs to know of agreements is not needed for help.
    confined = importlib.import_module("genba.cli.confined")
    try:
        arguments = confined.enter(arguments, command)
        app = importlib.import_module(COMMANDS[noun][0]).app
        app(args=arguments[1:], prog_name=f"genba {noun}")
    except GenbaError as error:
        errors.print(f"[bold red]genba: {type(error).__name__}:[/] {escape(str(error))}", highlight=False)
        sys.exit(2)
    except PermissionError as error:
        if confined.RUN_VARIABLE not in os.environ:
            raise
        errors.print(
            f"[bold red]genba:[/] {escape(str(error))}: the sandbox does not let this command do that. What it may: genba "
            f"trust egress; what this host needs besides stands in {confined.HOST_FILE} of the trust folder",
            highlight=False,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        errors.print("[bold]genba:[/] interrupted; the same command goes on where it stopped", highlight=False)
        sys.exit(130)
    finally:
        if noun in DECIDING and os.environ.get("GENBA_TRUST"):
            importlib.import_module("genba.cli.trust_option").sign_head()


if __name__ == "__main__":
    main()
