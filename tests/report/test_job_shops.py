"""The table of job shops says what the measurement's file says."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from genba.cli.report import app
from genba.errors import ConfigError
from genba.report.job_shops import FORMAT, VERSION, job_shops_table
from genba.report.readme import END, START

RESULT = {
    "format": FORMAT,
    "version": VERSION,
    "rows": [
        {
            "instance": "a",
            "best_known": 50,
            "makespan": {"fifo": 60, "model": 55},
            "cpu_s": {"fifo": 0.001, "model": 0.02},
        },
        {
            "instance": "b",
            "best_known": 100,
            "makespan": {"fifo": 130, "model": 105},
            "cpu_s": {"fifo": 0.003, "model": 0.04},
        },
    ],
    "weights_digest": "sha256:0123456789abcdef",
    "hardware": {"cpu": "a processor"},
    "commit": "fedcba9876543210",
    "command": "genba factory job-shop files --bundle b",
}


def test_gaps_are_means_over_instances_with_their_interval(tmp_path):
    path = tmp_path / "fjsp.json"
    path.write_text(json.dumps(RESULT))
    lines = job_shops_table(path).splitlines()
    assert lines[0] == "| | a | b | mean gap, % (95 %) | CPU ms, median |"
    assert lines[2] == "| best known | 50 | 100 | | |"
    # 60 of 50 and 130 of 100: 20 % and 30 %; of two values the bootstrap's interval reaches from one to the other
    assert lines[3] == "| fifo | 60 | 130 | 25 [20, 30] | 2.0 |"
    assert lines[4] == "| model | 55 | 105 | 7.5 [5, 10] | 30.0 |"
    assert "weights 0123456789ab, commit fedcba987654;" in lines[-1]


def test_a_table_that_is_not_current_fails_the_check(tmp_path):
    path, page = tmp_path / "fjsp.json", tmp_path / "page.md"
    path.write_text(json.dumps(RESULT))
    page.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    arguments = ["job-shops", "--result", str(path), "--file", str(page)]
    refused = CliRunner().invoke(app, [*arguments, "--check"])
    assert isinstance(refused.exception, ConfigError) and "run 'genba report job-shops'" in str(refused.exception)
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert page.read_text() == f"before\n{START}\n{job_shops_table(path)}\n{END}\nafter\n"
    path.write_text("{}")
    with pytest.raises(ConfigError, match="got format and version"):
        job_shops_table(path)
