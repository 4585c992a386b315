"""The tables of recorded drives and sweeps say what their result files hold, and whether the target is met."""

import dataclasses
import json

import pytest

from genba.bench.metrics import Interval
from genba.bench.results import Result
from genba.errors import ConfigError
from genba.report.vehicle_logs import DRIVE, SWEEPS, drive_table, maps_table, recorded_table, sweeps_tables

OVERLAP = {
    name: {"value": value, "low": value - 0.01, "high": value + 0.01}
    for name, value in {"persistence": 0.5, "own motion": 0.75, "true own motion": 0.8, "gain": 0.25}.items()
}


def sweeps(tmp_path, distance_mm=1.5, **changed):
    recording = {
        "name": "Argoverse 2",
        "sweeps": 2,
        "points": 198695,
        "numbers_per_point": 6,
        "largest_error_mm": 1.0,
        "largest_distance_mm": distance_mm,
        "ratio_of_places": 2.25,
        "ratio_of_all": 3.5,
    }
    pair = {"name": "Argoverse 2", "ahead_s": 0.1, "moved_m": 0.5, "turned_rad": 0.01, "overlap": OVERLAP}
    table = {
        "format": SWEEPS[0],
        "version": SWEEPS[1],
        "command": "python x.py",
        "commit": "0123456789abcdef",
        "hardware": {"cpu": "A"},
        "recordings": [recording],
        "occupancy": [pair],
    }
    path = tmp_path / "sweeps.json"
    path.write_text(json.dumps(table | changed))
    return path


def test_sweeps_have_their_row_and_their_judgement(tmp_path):
    table = sweeps_tables(sweeps(tmp_path))
    assert "| Argoverse 2, 2 | 198,695 | 1.00 mm | 1.50 mm | 2.25 x smaller | 3.50 x smaller (6 numbers) |" in table
    assert "No point moves by more than 1.50 mm (target below 2 mm: met)." in table
    assert "| moved as the car was moving | 0.750 (0.740 – 0.760) |" in table
    assert "`python x.py` at commit 0123456789ab, one core of A." in table
    assert "(target below 2 mm: not met)" in sweeps_tables(sweeps(tmp_path, distance_mm=2.5))


def test_a_file_that_is_no_measurement_of_sweeps_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file; expected one written by 'perf/real_sweeps.py --out'"):
        sweeps_tables(tmp_path / "none.json")
    with pytest.raises(ConfigError, match=r"got format and version \('genba-sweeps', 2\)"):
        sweeps_tables(sweeps(tmp_path, version=2))


def test_a_recorded_scene_has_a_row_per_policy_that_says_what_happened(tmp_path, toy_run):
    one = Result.read(next((toy_run / "results").glob("*expert*.json")))
    said = {"route_completion": 0.25, "min_gap_m": 1.5, "time_s": 4.0, "collided": 1.0, "ran_red": 0.0, "off_road": 0.0}
    metrics = {name: Interval(value, value, value) for name, value in said.items()}
    failed = dataclasses.replace(
        one, task="vehicle/recorded-a@1", policy="some_rule", commit="0123456789abcdef", metrics=metrics,
        success=Interval(0.0, 0.0, 1.0),
    )  # fmt: skip
    failed.write(tmp_path / "a.json")
    metrics = metrics | {"collided": Interval(0.0, 0.0, 1.0)}
    dataclasses.replace(failed, policy="late", metrics=metrics).write(tmp_path / "b.json")
    dataclasses.replace(failed, policy="good", metrics=metrics, success=Interval(1.0, 0.0, 1.0)).write(
        tmp_path / "c.json"
    )
    table = recorded_table(tmp_path)
    assert "| `vehicle/recorded-a@1` | some rule | collided | 25% | 1.50 m | 4.0 s |" in table
    assert "| late | timed out |" in table and "| good | success |" in table
    assert table.endswith("One drive each, measured at commit 0123456789ab.")


def test_no_recorded_scene_is_refused_in_words(tmp_path):
    with pytest.raises(ConfigError, match="got no result of a recorded scene"):
        recorded_table(tmp_path)


def drive_row(quantity, ahead_s, model, other, low):
    errors = {"world model": {"rmse": model}, "persistence": {"rmse": other}}
    gain = {"value": other - model, "low": low, "high": 1.0}
    return {"ahead_s": ahead_s, "quantity": quantity, "unit": "m/s", "errors": errors, "gain": gain}


def test_a_drive_s_table_says_where_the_model_is_better_and_where_surely(tmp_path):
    rows = [
        drive_row("speed", 1.0, 0.25, 0.5, 0.125),
        drive_row("yaw rate", 1.0, 0.5, 0.25, -0.5),
        drive_row("steering wheel", 1.0, 0.25, 0.5, -0.125),
        drive_row("yaw rate", 2.0, 0.125, 0.5, 0.25),
    ]
    result = {
        "format": DRIVE[0],
        "version": DRIVE[1],
        "command": "python y.py",
        "commit": "0123456789abcdef",
        "hardware": {"cpu": "A"},
        "rows": rows,
        "seeds": 2,
        "moments": 170,
        "measured_on_s": [40.625, 58.0],
        "trained_on_s": [0.0, 40.0],
        "cpu_s": 12,
    }
    path = tmp_path / "drive.json"
    path.write_text(json.dumps(result))
    table = drive_table(path)
    assert "| 1 s | speed, m/s | **0.25** | 0.5 | 0.25 (0.12 – 1) |" in table
    assert "| 1 s | yaw rate, m/s | 0.5 | **0.25** | -0.25 (-0.5 – 1) |" in table
    assert (
        "better than all three at speed and steering wheel (target: all 3), by an interval above zero at speed."
        in table
    )
    assert "12 CPU-seconds. `python y.py` at commit 0123456789ab" in table


def test_a_real_crossing_has_a_row_per_policy_with_its_interval(tmp_path, toy_run):
    one = Result.read(next((toy_run / "results").glob("*expert*.json")))
    said = {"collided": 0.25, "ran_red": 0.0, "off_road": 0.0, "timed_out": 0.25}
    metrics = {name: Interval(value, 0.0, 1.0) for name, value in said.items()}
    made = dataclasses.replace(
        one, task="vehicle/cologne1@1", policy="idm", metrics=metrics, success=Interval(0.5, 0.25, 0.75), commit="0123456789abcdef"
    )  # fmt: skip
    made.write(tmp_path / "idm.json")
    table = maps_table(tmp_path)
    assert f"| `vehicle/cologne1@1` | idm | 50% (25% – 75%) | 25% | 0% | 0% | 25% | {len(one.seeds)} |" in table
    with pytest.raises(ConfigError, match="got no result of a real crossing"):
        maps_table(tmp_path / "none")
