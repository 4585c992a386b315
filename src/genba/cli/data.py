"""``genba data``: import machine logs into a vault; list and show what it holds.

The other commands have a file each: ``data_check``, ``data_view``, ``data_export``, ``data_upkeep``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from genba.cli.data_check import check
from genba.cli.data_export import export
from genba.cli.data_formats import named_options, only_reader, show_formats
from genba.cli.data_import import Choices, import_into
from genba.cli.data_upkeep import compact_shards, fsck, rebuild
from genba.cli.data_view import view
from genba.cli.vault_option import DEFAULT_PURPOSE, DEFAULT_VAULT, PurposeOption, VaultOption, say_rules
from genba.data.catalog import EpisodeEntry
from genba.data.vault import Vault
from genba.spec.statistics import undo_scale
from genba.spec.units import SECOND_NS

#: Silent periods that ``show`` counts as a gap; ``check`` looks closer.
GAP_PERIODS = 5

app = typer.Typer(
    no_args_is_help=True,
    help="Import machine logs into a vault; list, show, check and export what it holds.\n\n"
    "A vault keeps finished episodes: every channel on its own clock, with owner, jurisdiction and agreement beside it, "
    "sealed under the owner's key. The same format comes from logs, from simulators and from machines at work.",
)

for _command in (check, view, fsck, rebuild, export):
    app.command(_command.__name__)(_command)
app.command("compact")(compact_shards)


@app.command("import")
def import_logs(
    path: Annotated[Path, typer.Argument(help="A log, or a folder with logs anywhere below it.")],
    vault: VaultOption = DEFAULT_VAULT,
    dbc: Annotated[Path | None, typer.Option(help="Message definitions, for logs of raw CAN frames.")] = None,
    reader: Annotated[str, typer.Option(help="Only this reader; by default whichever knows the log.")] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-o", metavar="NAME=VALUE", help="An option of the reader; may be repeated. See: formats."
        ),
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Who owns the data; by default as the reader knows it.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Which of the owner's data sets it belongs to.")] = None,
    site: Annotated[str | None, typer.Option(help="Where it was recorded.")] = None,
    jurisdiction: Annotated[str | None, typer.Option(help="Whose law applies, e.g. JP.")] = None,
    agreement: Annotated[str | None, typer.Option(help="Under which agreement it may be used.")] = None,
    frames: Annotated[
        str,
        typer.Option(
            help="How camera frames are stored: jpeg, with one colour for every four pixels, as cameras' own JPEGs have; "
            "jpeg-444, with all colours, for half as many bytes and half as much time to read again; h264, with all "
            "colours and fewer bytes, for several times the time to read. What is stored already stays as it is."
        ),
    ] = "jpeg",
    workers: Annotated[int, typer.Option(help="Processes that read beside each other; 0 for this one alone.")] = 0,
    ray: Annotated[
        bool, typer.Option("--ray", help="Spread logs over Ray ($RAY_ADDRESS, else this computer).")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be imported.")] = False,
    stop_on_error: Annotated[bool, typer.Option("--stop-on-error", help="End at the first log that fails.")] = False,
) -> None:
    """Import logs into a vault, which is made where there is none.

    Every episode is checked against its machine's facts before it is stored, whole or not at all. A log that was imported
    before is not read again, so after a break the same command goes on. A log that cannot be read does not hold up the
    others: what failed is listed at the end, and the exit status is 1.
    """
    given = {"dbc": dbc, "owner": owner, "dataset": dataset, "site": site}
    given |= {"jurisdiction": jurisdiction, "agreement": agreement}
    options = {name: value for name, value in given.items() if value is not None} | named_options(option or [])
    reader = reader or only_reader(options)
    choices = Choices(
        reader=reader, frames=frames, workers=workers, ray=ray, dry_run=dry_run, stop_on_error=stop_on_error
    )
    import_into(vault, path, options, choices, Console())


@app.command()
def formats(
    name: Annotated[str, typer.Argument(help="One format, to see all about it.")] = "",
) -> None:
    """List the log formats that can be imported and the formats that can be written, with their options."""
    show_formats(Console(), name)


@app.command("list")
def list_episodes(
    vault: VaultOption = DEFAULT_VAULT,
    embodiment: Annotated[str | None, typer.Option(help="Only this machine, e.g. arm/panda-grip@1.")] = None,
    task: Annotated[str | None, typer.Option(help="Only this task, e.g. arm/grip@1.")] = None,
    each: Annotated[bool, typer.Option("--each", help="One line per episode instead of one per kind.")] = False,
) -> None:
    """List what a vault holds, per machine and task, or episode by episode."""
    kept, console = Vault.open(vault), Console()
    entries = kept.entries(embodiment_id=embodiment, task_id=task)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    if each:
        for name in ("episode", "policy", "success", "seconds", "windows", "kB", "owner"):
            _add_column(table, name, is_number=name in ("seconds", "windows", "kB"))
        for entry in entries:
            meta = entry.metadata
            table.add_row(
                entry.episode_id,
                meta.policy,
                f"{meta.outcome['success']:g}" if "success" in meta.outcome else "",
                f"{entry.duration_s:.1f}",
                str(entry.num_windows),
                f"{entry.size_bytes / 1e3:.0f}",
                meta.owner,
            )
    else:
        names = ("task or machine", "policy", "owner", "law", "episodes", "hours", "windows", "MB")
        for name in names:
            _add_column(table, name, is_number=name in names[4:])
        for key, group in _groups(entries).items():
            table.add_row(
                *key,
                str(len(group)),
                f"{sum(e.duration_s for e in group) / 3600:.3g}",
                str(sum(e.num_windows for e in group)),
                f"{sum(e.size_bytes for e in group) / 1e6:.1f}",
            )
    console.print(table, highlight=False)
    console.print(f"{len(entries)} episodes in {vault}", highlight=False)
    say_rules(kept, console)


@app.command()
def show(
    episode: Annotated[str, typer.Argument(help="An episode's id; see: genba data list --each.")],
    vault: VaultOption = DEFAULT_VAULT,
    purpose: PurposeOption = DEFAULT_PURPOSE,
) -> None:
    """Show one episode: where it comes from, what came of it, and every channel with its true rate."""
    kept, console = Vault.open(vault, purpose=purpose), Console()
    entry = kept.entry(episode)
    shard, meta = kept.shard(entry), entry.metadata
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for name in (
        "embodiment_id",
        "task_id",
        "owner",
        "dataset",
        "site",
        "jurisdiction",
        "agreement",
        "policy",
        "source",
    ):
        if getattr(meta, name):
            table.add_row(name.removesuffix("_id"), getattr(meta, name))
    if meta.instruction:
        table.add_row("instruction", meta.instruction)
    table.add_row("outcome", ", ".join(f"{name} {value:g}" for name, value in meta.outcome.items()) or "none")
    table.add_row("length", f"{entry.duration_s:.3f} s, {entry.num_windows} windows")
    table.add_row("shard", f"{kept.storage.place(entry.file)} ({entry.size_bytes} bytes)")
    table.add_row("digest", entry.digest)
    console.print(f"[bold]{entry.episode_id}[/]", highlight=False)
    console.print(table, highlight=False)
    facts = kept.embodiment(entry.embodiment_id)
    statistics = dict(kept.catalog.statistics(entry.embodiment_id))[entry.episode_id]
    dimensions = {c.name: c.dimensions for c in (*facts.telemetry, *facts.entities)}
    channels = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    numbers = ("samples", "Hz", "facts Hz", "longest gap s", "gaps", "kB")
    for name in ("channel", *numbers, "codec", "least to greatest"):
        channels.add_column(name, justify="right" if name in numbers else "left")
    rates_hz = {c.name: getattr(c, "rate_hz", 0.0) for c in facts.channels}
    for name, stored in shard.streams.items():
        gaps_ns = np.diff(stored.times_ns)
        span_ns = int(gaps_ns.sum())
        ranges = ""
        if name in dimensions and name in statistics.channels:
            low, high = (undo_scale(v, dimensions[name]) for v in (statistics[name].low, statistics[name].high))
            shown = list(zip(dimensions[name], low, high, strict=True))
            ranges = "  ".join(f"{d.name} {a:.3g} to {b:.3g} {d.unit}" for d, a, b in shown[:4])
            ranges += f"  and {len(shown) - 4} more" if len(shown) > 4 else ""
        channels.add_row(
            name,
            str(len(stored.times_ns)),
            f"{len(gaps_ns) / span_ns * SECOND_NS:.1f}" if span_ns else "",
            f"{rate_hz:g}" if (rate_hz := rates_hz.get(name, 0.0)) else "",
            f"{gaps_ns.max() / SECOND_NS:.3f}" if len(gaps_ns) else "",
            str(int((gaps_ns > GAP_PERIODS * SECOND_NS / rate_hz).sum())) if rate_hz else "",
            f"{stored.size_bytes / 1e3:.1f}",
            stored.codec,
            ranges,
        )
    console.print(channels, highlight=False)
    say_rules(kept, console)


def _groups(entries: list[EpisodeEntry]) -> dict[tuple[str, ...], list[EpisodeEntry]]:
    groups: dict[tuple[str, ...], list[EpisodeEntry]] = {}
    for entry in entries:
        meta = entry.metadata
        key = (meta.task_id or meta.embodiment_id, meta.policy, meta.owner, meta.jurisdiction)
        groups.setdefault(key, []).append(entry)
    return dict(sorted(groups.items()))


def _add_column(table: Table, name: str, *, is_number: bool) -> None:
    # On a narrow terminal a name goes on in the next line: cut off it could not be copied.
    table.add_column(name, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
