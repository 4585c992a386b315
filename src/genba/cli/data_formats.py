"""``genba data formats``: what can be imported and written; and the options that readers take on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from genba.data.readers.options import PROVENANCE
from genba.errors import ConfigError, nearest
from genba.registry import READERS, WRITERS, resolve


def named_options(given: Sequence[str]) -> dict[str, str]:
    """Return ``NAME=VALUE`` pairs by name.

    Raises:
        ConfigError: one without ``=``, or a name that is given twice.
    """
    out: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise ConfigError(
                f"--option: got {pair!r}, expected NAME=VALUE, e.g. --option bus=can0; see: genba data formats"
            )
        if name.strip() in out:
            raise ConfigError(f"--option: got {name.strip()!r} twice, expected it once")
        out[name.strip()] = value
    return out


def only_reader(options: Mapping[str, Any]) -> str:
    """Return the one reader that takes all of ``options`` where no other does; empty where several do, or none.

    So ``--option mapping=FILE`` says that a table is meant, which nothing in a table does.
    """
    asked = set(options) - set(PROVENANCE)
    takers = [name for name, entry in READERS.items() if asked <= set(resolve(entry).options)]
    return takers[0] if asked and len(takers) == 1 else ""


def show_formats(console: Console, name: str) -> None:
    """Print every format, or all about one.

    Raises:
        ConfigError: no such format, naming the nearest.
    """
    if name and name not in READERS and name not in WRITERS:
        raise ConfigError(f"no format {name!r}{nearest(name, {**READERS, **WRITERS})}")
    for title, entries in (("read by: genba data import PATH", READERS), ("written", WRITERS)):
        chosen = {key: entry for key, entry in sorted(entries.items()) if name in ("", key)}
        if not chosen:
            continue
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for key, entry in chosen.items():
            found = resolve(entry)
            table.add_row(key, found.description)
            for option, meaning in getattr(found, "options", {}).items():
                table.add_row("", f"--option {option}=  {meaning}")
        console.print(f"[bold]{title}[/]", highlight=False)
        console.print(table, highlight=False, markup=False)
    example = getattr(resolve(READERS[name]), "example", "") if name in READERS else ""
    if example:
        console.print("[bold]its mapping file, by example[/]", highlight=False)
        console.print(example, highlight=False, markup=False, soft_wrap=True)
    elif not name:
        console.print(
            "Which format a log has is seen from its content; --reader NAME says it. Every reader also takes --owner, --site, "
            "--jurisdiction and --agreement. All about one format: genba data formats NAME",
            highlight=False,
        )
