"""``genba data check``: a readable verdict on the data of every episode. What is looked for is in ``genba.data.quality``."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from genba.cli.vault_option import DEFAULT_PURPOSE, DEFAULT_VAULT, PurposeOption, VaultOption
from genba.config import build, read_toml
from genba.data.catalog import EpisodeEntry
from genba.data.quality.findings import KINDS, Verdict
from genba.data.quality.inspect import chosen, inspect_vault
from genba.data.quality.thresholds import Thresholds
from genba.data.vault import Vault
from genba.errors import ConfigError, DataError, nearest

_COLOURS = {"slight": "yellow", "serious": "dark_orange", "severe": "red"}


def check(
    vault: VaultOption = DEFAULT_VAULT,
    purpose: PurposeOption = DEFAULT_PURPOSE,
    episode: Annotated[list[str] | None, typer.Option(help="Only this episode; may be given several times.")] = None,
    embodiment: Annotated[str | None, typer.Option(help="Only episodes of this machine.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only episodes of this owner.")] = None,
    thresholds: Annotated[Path | None, typer.Option(help="TOML file with other thresholds, by name.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="One other threshold, e.g. --set gap_periods=8.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the whole report here as JSON.")] = None,
) -> None:
    """Look for data that is stored well and yet wrong; exit status 1 where something is found.

    Gaps, clocks that jump, drift or are shifted, frozen sensors, values at their limits or missing, samples too many or too
    few, wrong units, missing calibration, odd actions, outliers, and the same data twice. Episodes are compared with others of
    their machine. Nothing is changed. Whether the files themselves are intact asks: genba data fsck.
    """
    limits = _thresholds(thresholds, set_ or [])
    kept, console = Vault.open(vault, purpose=purpose), Console()
    entries = _entries(kept, episode or [], embodiment, owner)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    verdicts: list[Verdict] = []
    with Progress(*columns, console=console, transient=True) as progress:
        total = len(chosen(kept, entries)) + 1
        for done in progress.track(inspect_vault(kept, entries, limits), total=total, description="measuring"):
            verdicts = done or verdicts
    for verdict in verdicts:
        if verdict.findings:
            console.print(f"[bold]{escape(verdict.episode_id)}[/]", highlight=False)
            console.print(_table(verdict), highlight=False)
    found = [verdict for verdict in verdicts if verdict.findings]
    kinds = Counter(finding.kind for verdict in found for finding in verdict.findings)
    if json_file is not None:
        report = {
            "vault": str(vault),
            "thresholds": dataclasses.asdict(limits),
            "kinds": {kind: KINDS[kind] for kind in sorted(kinds)},
            "episodes": [verdict.to_json() for verdict in verdicts],
        }
        json_file.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    told = ": " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) if kinds else ""
    console.print(
        f"[bold]{len(verdicts) - len(found)} of {len(verdicts)} episodes are sound[/], {kinds.total()} findings{told}",
        highlight=False,
    )
    if found:
        raise typer.Exit(1)


def _table(verdict: Verdict) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("what", "where", "when", "how bad", "got, expected; what to do"):
        table.add_column(name, overflow="fold")
    for finding in verdict.findings:
        colour = _COLOURS[finding.how_bad]
        table.add_row(
            finding.kind,
            finding.place,
            verdict.when(finding),
            f"[{colour}]{finding.how_bad}[/] ({finding.share:.2g})",
            f"{escape(finding.message)}\n[dim]{escape(finding.advice)}[/]",
        )
    return table


def _thresholds(path: Path | None, given: list[str]) -> Thresholds:
    limits = read_toml(path, Thresholds) if path is not None else Thresholds()
    types = {field.name: type(field.default) for field in dataclasses.fields(Thresholds)}
    values = dataclasses.asdict(limits)
    for text in given:
        name, _, value = text.partition("=")
        if name not in types:
            raise ConfigError(f"--set {text}: no threshold {name!r}{nearest(name, types)}")
        try:
            values[name] = types[name](value)
        except ValueError:
            raise ConfigError(f"--set {text}: got {value!r}, expected {types[name].__name__}") from None
    return build(values, Thresholds, where="--set", path="")


def _entries(vault: Vault, names: list[str], embodiment: str | None, owner: str | None) -> list[EpisodeEntry]:
    entries = [vault.entry(name) for name in names] or vault.entries(embodiment_id=embodiment)
    entries = [
        entry
        for entry in entries
        if embodiment in (None, entry.embodiment_id) and owner in (None, entry.metadata.owner)
    ]
    if not entries:
        asked = ", ".join(f"{k} {v!r}" for k, v in (("embodiment", embodiment), ("owner", owner)) if v is not None)
        raise DataError(
            f"{vault.path}: no episode to check{f' of {asked}' if asked else ''}; see: genba data list --each"
        )
    return entries
