"""What a plant's file promises: hours become seconds, and what could not be planned is refused with its file and row."""

from __future__ import annotations

from pathlib import Path

import pytest

from genba.cli.main import main
from genba.errors import ConfigError
from genba.machines.factory.decoder import run_plan
from genba.machines.factory.plant_file import read_plant
from genba.machines.factory.problem import situation_at
from genba.machines.factory.search import best_of_atc, by_start

GOOD = """
[[line]]
name = "L1"
family = "pump"

[[line]]
name = "L2"
family = "valve"

[[setup]]
from = "pump"
to = "valve"
hours = 0.5

[[component]]
name = "board"
stock = 1
delivery = [ { in_h = 12, units = 2 } ]

[[order]]
name = "A-17"
family = "pump"
due_h = 2
on = [ { line = "L1", hours = 1.5 } ]
needs = [ { component = "board", units = 1 } ]

[[order]]
name = "A-18"
family = "valve"
due_h = 3
weight = 2
on = [ { line = "L1", hours = 1 } ]
needs = [ { component = "board", units = 2 } ]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "plant.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_file_is_planned_as_the_hand_plans_it(tmp_path: Path) -> None:
    problem = read_plant(written(tmp_path, GOOD))
    situation = situation_at(problem, None, 0)
    start_s, line, cost_s = best_of_atc(situation)
    # A-17 runs at once; A-18 waits for its boards until 12 h, ends at 13 h, 10 h late at weight 2
    assert start_s.tolist() == [0, 12 * 3600]
    assert line.tolist() == [0, 0]
    assert cost_s == 2 * 10 * 3600
    assert run_plan(situation, by_start(start_s), line)[1] == cost_s
    # with its boards there, A-18 needs the set-up of half an hour
    early = read_plant(written(tmp_path, GOOD.replace("stock = 1", "stock = 3")))
    assert best_of_atc(situation_at(early, None, 0))[0].tolist() == [0, 1.5 * 3600 + 0.5 * 3600]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('on = [ { line = "L1", hours = 1 } ]', "on = []", r"order row 2 \('A-18'\): on: got no line"),
        ('{ line = "L1", hours = 1 }', '{ line = "L7", hours = 1 }', r"order row 2 \('A-18'\): no line 'L7'; known: L1, L2"),
        ('{ component = "board", units = 2 }', '{ component = "bord", units = 2 }', r"order row 2 .* no component 'bord'; did you mean 'board'"),
        ("stock = 1", "stock = -1", r"component row 1 \('board'\): stock: got -1, expected at least 0"),
        ("in_h = 12, units = 2", "in_h = 12, units = -2", r"component row 1 .* got -2 units in 12.0 h"),
        ("in_h = 12, units = 2", "in_h = 12, units = 1", r"order row 2 \('A-18'\): needs: 'board' runs out: all orders need 3 units, expected at most the 2"),
        ("hours = 1.5", "hours = 0", r"order row 1 \('A-17'\): on: 'L1': got 0.0 hours, expected more than 0"),
        ("hours = 0.5", "hours = -0.5", r"setup row 1: hours: got -0.5"),
        ('to = "valve"', 'to = "valves"', r"setup row 1: no family 'valves'; did you mean 'valve'"),
        ("weight = 2", "weight = 0", r"order row 2 .* weight: got 0, expected at least 1"),
        ('name = "A-18"', 'name = "A-17"', r"order row 2 \('A-17'\): stands in row 1 too"),
        ("weight = 2", 'after = ["A-17"]', r"order row 2 .* after: got \['A-17'\], expected none"),
        ("weight = 2", 'after = ["A-18"]', r"order row 2 \('A-18'\): after: 'A-18' after 'A-18': a cycle"),
        ("weight = 2", 'after = ["A-19"]', r"order row 2 .* no order 'A-19'; did you mean"),
        ("weight = 2", "wieght = 2", r"order\[1\].wieght: unknown key; did you mean 'weight'"),
        ("stock = 1", 'stock = "one"', r"component\[0\].stock: got 'one' \(str\), expected an integer"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_is_refused_with_file_and_row(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert GOOD.count(old) == 1
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=message) as refused:
        read_plant(path)
    assert str(refused.value).startswith(f"{path}: ")


def test_a_cycle_over_several_orders_is_named_whole(tmp_path: Path) -> None:
    text = GOOD.replace("due_h = 2", 'due_h = 2\nafter = ["A-18"]').replace("weight = 2", 'after = ["A-17"]')
    with pytest.raises(ConfigError, match="'A-17' after 'A-18' after 'A-17': a cycle, so none can start"):
        read_plant(written(tmp_path, text))


def test_the_command_says_what_a_plan_comes_to_and_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, GOOD)
    with pytest.raises(SystemExit) as ended:
        main(["factory", "check", str(path)])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 orders on 2 lines from 1 components can be planned" in said
    assert "20.0 weighted hours late" in said
    written(tmp_path, GOOD.replace("stock = 1", "stock = -1"))
    with pytest.raises(SystemExit) as ended:
        main(["factory", "check", str(path)])
    assert ended.value.code == 2
    assert "got -1, expected at least 0" in " ".join(capsys.readouterr().err.split())
