"""The arm's table of conditions: best fixed force per row, means over what no training sees only where all are there."""

from __future__ import annotations

import dataclasses

import pytest
import toy

from genba.bench.metrics import wilson
from genba.bench.rollout import roll_out
from genba.errors import ConfigError
from genba.registry import HELD_OUT_TASKS
from genba.report.conditions import SHEETS, conditions_table

NOMINAL = SHEETS["arm"].nominal


@pytest.fixture(scope="module")
def measured():
    return roll_out("toy:CART", "zero", seeds=toy.CART.test_seeds[:10], workers=0, progress=False)


def _write(measured, folder, task, policy, successes):
    outcome = {"success": 1.0, "hold_force_ratio": 1.25, "peak_force_ratio": 1.5, "squeeze_mean_n": 4.0}
    outcome |= {"squeeze_p95_n": 5.0, "squeeze_max_n": 6.0, "reaction_s": float("nan")}
    result = dataclasses.replace(
        measured, task=task, policy=policy, success=wilson(successes, 10), outcomes=(outcome,) * 10, commit="c0ffee"
    )
    result.write(folder / task / f"{policy}.json")


def test_the_best_fixed_force_counts_and_means_need_every_condition(measured, tmp_path):
    tasks = sorted(name for name in HELD_OUT_TASKS if name.startswith("arm/"))
    for i, task in enumerate(tasks):
        _write(measured, tmp_path, task, "fixed_4n", 3)
        _write(measured, tmp_path, task, "fixed_6n", 4 if i else 2)
        _write(measured, tmp_path, task, "reactive", 10 if i else 2)
    _write(measured, tmp_path, NOMINAL, "model", 9)
    table = conditions_table(tmp_path)
    lines = table.splitlines()
    assert lines[0] == "| task | model | reactive (scripted) | best fixed force |"
    assert "90 %" in lines[2] and NOMINAL in lines[2]
    assert "30 % [11, 60], n = 10 (fixed 4n)" in lines[3]  # Wilson, 3 of 10
    assert "(fixed 6n)" in lines[4]
    # Seven of eight at 100 % and one at 20 %: 90 %; best fixed: 7 x 40 % and 30 %: 38.75 %. The model has not been in all.
    assert lines[3 + len(tasks)] == "| **mean of 8 conditions** | – | **90.0 %** | **38.8 %** |"
    assert f"| model | `{NOMINAL}` | 1.25 | 1.5 | 4 | 5 | 6 | – |" in lines
    assert lines[-1] == "Measured at commit c0ffee."


def test_no_result_of_the_arm_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"got no result of arm/grip@1 or its conditions"):
        conditions_table(tmp_path)


def test_the_car_s_table_shows_means_and_names_an_unknown_machine(measured, tmp_path):
    outcomes = tuple(
        dict.fromkeys(SHEETS["vehicle"].detail, 1.0) | {"success": 1.0, "pdm_score": score, "time_s": 20.0}
        for score in (0.0, 0.5, 1.0)
    )
    task = SHEETS["vehicle"].nominal
    result = dataclasses.replace(
        measured,
        task=task,
        policy="lidar_gap",
        success=wilson(3, 3),
        outcomes=outcomes,
        seeds=(1, 2, 3),
        commit="c0ffee",
    )
    result.write(tmp_path / task / "lidar_gap.json")
    lines = conditions_table(tmp_path, "vehicle").splitlines()
    assert lines[0] == "| task | lidar gap (same sensors) |"
    assert lines[2] == f"| `{task}` | 100 % [44, 100], n = 3 |"  # Wilson, 3 of 3: 1 / (1 + 3.84 / 3)
    (detail,) = (line for line in lines if line.startswith("| lidar gap |"))
    assert "| 0.5 |" in detail and detail.endswith("| 20 |")
    with pytest.raises(ConfigError, match=r"no table of conditions for 'vehicel'.*vehicle"):
        conditions_table(tmp_path, "vehicel")
