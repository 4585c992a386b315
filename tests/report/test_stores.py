"""The table of stores says what the measurement's file says, targets that are not met included."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from genba.cli.report import app
from genba.errors import ConfigError
from genba.report.readme import END, START
from genba.report.stores import FORMAT, VERSION, stores_table


def result(tmp_path: Path, **changed: object) -> Path:
    def row(name: str, **rates: list[float]) -> dict[str, object]:
        return {"name": name, "note": "a note", "size_bytes": 10**9, "episodes": 90, "rates": rates}

    stores = [
        row("Genba, encrypted", sparse=[90, 100, 110], dense=[8, 9, 9], telemetry=[4000, 5000, 6000]),
        row("Genba, plain", sparse=[125, 125, 125], dense=[9, 9, 9], telemetry=[5000, 5000, 5000]),
        row("Lance, 32 windows per take", sparse=[80, 80, 200], dense=[9, 9, 9], telemetry=[50, 50, 50]),
        row("LeRobotDataset 1", sparse=[5, 4, 6], telemetry=[25, 25, 25]) | {"episodes": 9},
    ]
    stores[3]["rates"]["telemetry alone"] = [2500, 2500, 2500]
    table = {
        "format": FORMAT,
        "version": VERSION,
        "set": {"episodes": 90, "episode_s": 20.0, "seed": 0},
        "rounds": 3,
        "seconds": 0.5,
        "stores": stores,
        "versions": {"numpy": "2"},
        "hardware": {"cpu": "a processor", "python": "3.11"},
        "commit": "0123456789abcdef",
        "date": "2026-01-02T03:04:05+00:00",
        "command": "python perf/stores/measure.py --work w",
    }
    path = tmp_path / "stores.json"
    path.write_text(json.dumps(table | changed))
    return path


def test_medians_sizes_and_targets_are_in_the_table(tmp_path):
    table = stores_table(result(tmp_path))
    # 90 episodes of 20 s are half an hour: 1 GB is 2000 MB per hour; 9 episodes are a tenth of that.
    assert "| **Genba, encrypted** | 100 (90 – 110) | 9 (8 – 9) | 5,000 (4,000 – 6,000) | 2,000 | a note |" in table
    assert "| LeRobotDataset 1 | 5 (4 – 6) | – | 25 (25 – 25) | 20,000 | a note |" in table
    # 100 / 80 = 1.25; 100 / 5 = 20; 5000 / 25 = 200, 5000 / 2500 = 2; 1 - 100 / 125 = 20 %.
    assert "sparse, decoded: 1.2 times Lance, 32 windows per take (target 2 times: not met)." in table
    assert "sparse, decoded: 20.0 times LeRobotDataset 1 (target 15 times: met)." in table
    assert "telemetry only: 200.0 times LeRobotDataset 1 (target 100 times: met). Of a data set" in table
    assert "gives 2,500 windows per CPU-second: 2.0 times." in table
    assert "Sealing costs 20% of sparse, decoded (target at most 20%: met)." in table
    assert "commit 0123456789ab, 2026-01-02. `python perf/stores/measure.py --work w`" in table


def test_the_vault_with_all_colours_is_compared_but_not_judged(tmp_path):
    path = result(tmp_path)
    table = json.loads(path.read_text())
    for name, rate in (("Genba, encrypted, 4:4:4", 75), ("Lance, 4:4:4", 50)):
        table["stores"].append(
            {"name": name, "note": "", "size_bytes": 10**9, "episodes": 90, "rates": {"sparse": [rate]}}
        )
    path.write_text(json.dumps(table))
    # 75 / 50 = 1.5. What is judged is the vault as it is by default: 100 / 80 as before.
    said = stores_table(path)
    assert (
        "With full colour resolution, which is a choice: 1.5 times Lance, 4:4:4, sparse, decoded (no target)." in said
    )
    assert "sparse, decoded: 1.2 times Lance, 32 windows per take (target 2 times: not met)." in said


def test_a_store_that_was_not_measured_is_named(tmp_path):
    stores = json.loads(result(tmp_path).read_text())["stores"][:3]
    assert "telemetry only: LeRobotDataset was not measured." in stores_table(result(tmp_path, stores=stores))


def test_what_is_no_measurement_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"got format and version \('other', 1\)"):
        stores_table(result(tmp_path, format="other"))
    with pytest.raises(ConfigError, match="no such file"):
        stores_table(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ConfigError, match="not valid JSON"):
        stores_table(tmp_path / "broken.json")


def test_check_fails_where_the_table_is_old_and_changes_nothing(tmp_path):
    page = tmp_path / "data.md"
    page.write_text(f"{START}\n{END}\n")
    arguments = ["stores", "--result", str(result(tmp_path)), "--file", str(page)]
    refused = CliRunner().invoke(app, [*arguments, "--check"])
    assert isinstance(refused.exception, ConfigError) and "run 'genba report stores'" in str(refused.exception)
    assert page.read_text() == f"{START}\n{END}\n"
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert CliRunner().invoke(app, [*arguments, "--check"]).exit_code == 0
