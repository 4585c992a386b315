"""``genba data view``: open an episode in Rerun, or save it as a recording where there is no screen."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from genba.cli.rerun_file import check_name, has_display, say_saved
from genba.cli.vault_option import DEFAULT_PURPOSE, DEFAULT_VAULT, PurposeOption, VaultOption
from genba.data.vault import Vault, file_name
from genba.report.rerun_view import quiet, write_recording


def view(
    episode: Annotated[str, typer.Argument(help="An episode's id; see: genba data list --each.")],
    vault: VaultOption = DEFAULT_VAULT,
    purpose: PurposeOption = DEFAULT_PURPOSE,
    save: Annotated[Path | None, typer.Option(help="Save the recording here (.rrd) instead of opening it.")] = None,
) -> None:
    """Open one episode in Rerun: cameras, points, every number on its own clock, laid out by the machine's facts.

    Without a display the recording is saved beside you and the command that opens it is printed. Rerun's usage reports are
    off in everything that is started here.
    """
    kept, console = Vault.open(vault, purpose=purpose), Console()
    entry = kept.entry(episode)
    if save is None and not has_display():
        save = Path(f"{file_name(entry.episode_id)}.rrd")
    if save is not None:
        check_name(save)
        _write(kept, episode, save)
        say_saved(save, console)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "episode.rrd"
        _write(kept, episode, path)
        subprocess.run([sys.executable, "-m", "rerun", str(path)], env=quiet(os.environ), check=True)


def _write(vault: Vault, episode: str, path: Path) -> None:
    entry = vault.entry(episode)
    write_recording(path, vault.embodiment(entry.embodiment_id), vault.shard(entry))
