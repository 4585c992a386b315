"""``genba data fsck``, ``compact`` and ``rebuild``: the upkeep of a vault's files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from genba.cli.progress import counted
from genba.cli.vault_option import DEFAULT_VAULT, VaultOption
from genba.data.compact import TARGET_BYTES, compact
from genba.data.fsck import REPAIRABLE, describe, fsck_vault
from genba.data.salvage import repair
from genba.data.vault import Vault


def fsck(
    vault: VaultOption = DEFAULT_VAULT,
    mend: Annotated[bool, typer.Option("--repair", help="Save what is whole, and set damaged shards aside.")] = False,
) -> None:
    """Read every shard in full and say what is damaged, down to stream and block; exit status 1 where something is.

    Compares each file with the digest that was taken when it was stored, decodes it, and holds the episode to its
    machine's facts. Nothing is changed, unless --repair is given: then every block that is whole goes into a new shard,
    and the damaged one is moved below set-aside; nothing is deleted.
    """
    kept, console, problems, num_sound = Vault.open(vault), Console(), [], 0
    with counted(console) as progress:
        for problem in progress.track(fsck_vault(kept), total=len(kept.entries()), description="checking"):
            if problem is None:
                num_sound += 1
                continue
            problems.append(problem)
            name = f" {problem.episode_id}" if problem.episode_id else ""
            progress.console.print(
                f"[bold red]{problem.kind}[/]{escape(name)}: {problem.file}: {escape(problem.message)}", highlight=False
            )
    console.print(f"[bold]{num_sound} episodes are sound[/], {len(problems)} problems in {vault}", highlight=False)
    if mend:
        for done in repair(kept, [p.file for p in problems if p.kind in REPAIRABLE]):
            console.print(
                f"{len(done.saved)} episodes saved; the damaged shard is now {done.set_aside}", highlight=False
            )
            for episode_id, damage in done.damage.items():
                console.print(f"  {escape(episode_id)}: without {describe(damage)}", highlight=False)
            for episode_id, reason in done.lost.items():
                console.print(f"  {escape(episode_id)}: [bold red]lost[/]: {escape(reason)}", highlight=False)
    if problems:
        raise typer.Exit(1)


def compact_shards(
    vault: VaultOption = DEFAULT_VAULT,
    target: Annotated[int, typer.Option(help="About how large a shard becomes, in MB.", min=1)] = TARGET_BYTES >> 20,
) -> None:
    """Pack many small shards into few large ones; episodes stay as they are, and may be read and added meanwhile."""
    kept, console, num_shards, num_new = Vault.open(vault), Console(), 0, 0
    for done in compact(kept, target_bytes=target << 20):
        num_shards, num_new = num_shards + done.num_shards, num_new + 1
        console.print(
            f"{done.file}: {done.num_episodes} episodes, {done.size_bytes / 1e6:.1f} MB, instead of "
            f"{done.num_shards} shards",
            highlight=False,
        )
    console.print(f"[bold]{num_shards} shards[/] became {num_new} in {vault}", highlight=False)


def rebuild(vault: VaultOption = DEFAULT_VAULT) -> None:
    """Make the catalog again from the shards, or add those that a crash kept out of it."""
    kept = Vault.open(vault, create=Path(vault).is_dir())
    added = kept.rebuild()
    Console().print(f"[bold]{added} episodes[/] added, {len(kept.entries())} in {vault}", highlight=False)
