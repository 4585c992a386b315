"""The README's table: generated, between its markers, and refused where it cannot be placed."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from genba.cli.report import app
from genba.errors import ConfigError
from genba.report.readme import END, NOTHING, START, results_table, with_table


def test_the_table_has_a_row_for_each_result(toy_run):
    table = results_table(toy_run / "results")
    rows = [line for line in table.splitlines() if line.startswith("|")]
    # Two tasks, each a head and a rule; five results.
    assert len(rows) == 2 * 2 + 5
    assert len({row.count("|") for row in rows}) == 1
    assert "| **model** | 100\N{NO-BREAK SPACE}% (61 – 100) |" in table  # Wilson, 6 of 6: 1 / (1 + 1.96^2 / 6) = 0.61


def test_no_results_is_said(tmp_path):
    assert results_table(tmp_path) == NOTHING


def test_only_what_stands_between_the_markers_changes():
    assert with_table(f"a\n{START}\nold\n{END}\nb\n", "new", where="x") == f"a\n{START}\nnew\n{END}\nb\n"


@pytest.mark.parametrize("text", ["", START, f"{END}{START}", f"{START}{START}{END}"])
def test_markers_must_stand_once_and_in_order(text):
    with pytest.raises(ConfigError, match=r"README.md: expected the markers .* once each"):
        with_table(text, "new", where="README.md")


def test_check_fails_where_the_table_is_old_and_changes_nothing(toy_run, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"{START}\n{END}\n")
    arguments = ["readme", "--results", str(toy_run / "results"), "--file", str(readme)]
    run = CliRunner().invoke
    refused = run(app, [*arguments, "--check"])
    assert isinstance(refused.exception, ConfigError) and "run 'genba report readme'" in str(refused.exception)
    assert readme.read_text() == f"{START}\n{END}\n"
    assert run(app, arguments).exit_code == 0
    assert run(app, [*arguments, "--check"]).exit_code == 0


def test_a_folder_alone_means_its_page(toy_run, tmp_path):
    done = CliRunner().invoke(app, [str(toy_run), "--out", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "page.html").is_file()
