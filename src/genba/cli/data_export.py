"""``genba data export``: episodes in another format, for people and tools that work with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from genba.cli.progress import counted
from genba.cli.vault_option import DEFAULT_PURPOSE, DEFAULT_VAULT, PurposeOption, VaultOption
from genba.data.export import choose_episodes, find_writer
from genba.data.vault import Vault


def export(
    out: Annotated[Path, typer.Argument(help="Where to write; must not exist yet.")],
    format: Annotated[str, typer.Option("--format", help="Name of the format; see: genba data formats.")],
    vault: VaultOption = DEFAULT_VAULT,
    purpose: PurposeOption = DEFAULT_PURPOSE,
    embodiment: Annotated[str | None, typer.Option(help="Only this machine; needed where there are several.")] = None,
    task: Annotated[str | None, typer.Option(help="Only this task, e.g. arm/grip@1.")] = None,
    episode: Annotated[list[str] | None, typer.Option(help="Only this episode; may be given several times.")] = None,
) -> None:
    """Export episodes of one machine in another format, for people and tools that work with it.

    The whole export is written or nothing is. What a format cannot hold is refused by name, never left out in silence.
    """
    kept, console = Vault.open(vault, purpose=purpose), Console()
    writer = find_writer(format)
    entries = choose_episodes(kept, embodiment_id=embodiment, task_id=task, episode_ids=episode or ())
    facts = kept.embodiment(entries[0].embodiment_id)
    with counted(console) as progress:
        chosen = progress.track(entries, description="exporting")
        writer.write(out, facts, (kept.read(entry.episode_id) for entry in chosen))
    console.print(f"[bold]{len(entries)} episodes[/] of {facts.id} written to {out} ({writer.name})", highlight=False)
