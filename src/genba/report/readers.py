"""The table of log formats in ``docs/readers.md``: what the registry knows, and what came of breaking their logs.

The counts are those of the result file of ``scripts/fuzz_readers.py``. Read next: ``stores``, another such table.
"""

from __future__ import annotations

from pathlib import Path

from genba.errors import ConfigError
from genba.registry import READERS, WRITERS, resolve
from genba.report.measurement import read_measurement

FORMAT, VERSION = "genba-fuzz", 1


def readers_table(path: Path) -> str:
    """Return the table of readers and writers as Markdown.

    Raises:
        ConfigError: no such file, not a result of this format, or a registered reader that it does not count.
    """
    result = read_measurement(path, (FORMAT, VERSION), written_by="scripts/fuzz_readers.py --out")
    counts = {row["reader"]: row for row in result["readers"]}
    lines = ["| format | what is read | broken logs | refused by name | read, and fit | anything else | most memory |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|")
    for name in sorted(READERS):
        if name not in counts:
            raise ConfigError(f"{path}: no counts of reader {name!r}; run 'scripts/fuzz_readers.py --out {path}'")
        row = counts[name]
        cells = [f"`{name}`", resolve(READERS[name]).description]
        cells += [f"{row[key]:,}" for key in ("inputs", "refused", "accepted")]
        cells += [f"{len(row['crashes']):,}", f"+{row['peak_over_sound_bytes'] / 1e6:.0f} MB"]
        lines.append("| " + " | ".join(cells) + " |")
    total = {key: sum(counts[name][key] for name in READERS) for key in ("inputs", "refused", "accepted")}
    crashes = sum(len(counts[name]["crashes"]) for name in READERS)
    lines.append(f"| **all** | | {total['inputs']:,} | {total['refused']:,} | {total['accepted']:,} | {crashes:,} | |")
    lines += ["", f"Counted by `{result['command']}` at commit {result['commit'][:12]}.", ""]
    lines += ["| format | what is written |", "|---|---|"]
    lines += [f"| `{name}` | {resolve(WRITERS[name]).description} |" for name in sorted(WRITERS)]
    return "\n".join(lines)
