"""The table of log formats names every reader and writer, and what came of breaking its logs."""

import json

import pytest

from genba.errors import ConfigError
from genba.registry import READERS, WRITERS
from genba.report.readers import FORMAT, VERSION, readers_table


def result(tmp_path, names, **changed):
    rows = [
        {"reader": name, "inputs": 1200, "refused": 1100, "accepted": 99, "crashes": [{}], "peak_over_sound_bytes": 2e6}
        for name in names
    ]
    table = {
        "format": FORMAT,
        "version": VERSION,
        "command": "python x.py",
        "commit": "0123456789abcdef",
        "readers": rows,
    }
    path = tmp_path / "fuzz.json"
    path.write_text(json.dumps(table | changed))
    return path


def test_every_reader_and_writer_has_its_row(tmp_path):
    table = readers_table(result(tmp_path, READERS))
    for name in READERS:
        row = next(line for line in table.splitlines() if line.startswith(f"| `{name}` | "))
        assert row.endswith("| 1,200 | 1,100 | 99 | 1 | +2 MB |")
    count = len(READERS)
    assert f"| **all** | | {1200 * count:,} | {1100 * count:,} | {99 * count:,} | {count} | |" in table
    assert "Counted by `python x.py` at commit 0123456789ab." in table
    written = table.split("what is written")[1]
    assert all(f"| `{name}` | " in written for name in WRITERS)


def test_what_is_no_such_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file; expected one written by 'scripts/fuzz_readers.py --out'"):
        readers_table(tmp_path / "none.json")
    with pytest.raises(ConfigError, match=r"got format and version \('genba-fuzz', 2\), expected \('genba-fuzz', 1\)"):
        readers_table(result(tmp_path, READERS, version=2))
    missing = sorted(READERS)[0]
    with pytest.raises(ConfigError, match=f"no counts of reader '{missing}'"):
        readers_table(result(tmp_path, [name for name in READERS if name != missing]))
