"""``genba bench TASK --policy POLICY`` measures, with or without its command's name."""

import pytest
from typer.testing import CliRunner

from genba.bench.results import Result
from genba.cli.bench import app
from genba.errors import RegistryError


@pytest.mark.parametrize("command", [["run"], []])
def test_a_result_file_is_written(command, tmp_path):
    arguments = [*command, "arm/grip@1", "--policy", "fixed_4n", "--episodes", "1", "--workers", "0"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "result.json")])
    assert done.exit_code == 0, done.output
    result = Result.read(tmp_path / "result.json")
    assert (result.task, result.policy, list(result.seeds)) == ("arm/grip@1", "fixed_4n", [1_000_000])


def test_a_task_that_is_not_there_is_named():
    done = CliRunner().invoke(app, ["arm/grib@1", "--policy", "fixed_4n"])
    assert isinstance(done.exception, RegistryError)
    assert str(done.exception) == "no task 'arm/grib@1'; did you mean 'arm/grip@1'?"


def test_nothing_said_shows_the_commands():
    shown = CliRunner().invoke(app, []).output
    assert "collect" in shown
    assert "list" in shown
