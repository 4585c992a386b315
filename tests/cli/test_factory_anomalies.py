"""The bench's recordings from the command line: a planted fault surprises the model that never saw one."""

import json
import subprocess
import sys

import pytest
from logs.skab import write_recording

from genba.bench.anomalies import Score
from genba.cli.factory_anomalies import QUANTILE
from genba.cli.main import main
from genba.report.anomalies import MODEL, anomalies_table, summarise

FAULT = range(480, 540)


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["factory", "anomalies", *map(str, arguments)])
    return ended.value.code


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two benches at other flows with a fault, two without one, and one recording without marks."""
    folder = tmp_path_factory.mktemp("anomalies")
    for seed, level in enumerate((30.0, 120.0, 75.0, 50.0)):
        fault = FAULT if seed < 2 else range(0)
        write_recording(folder / "data" / "valve1" / f"{seed}.csv", seed=seed, level=level, marked=fault)
    write_recording(folder / "data" / "anomaly-free" / "free.csv", seed=9, level=60.0, marked=None, num_rows=810)
    out = folder / "out.json"
    assert run(folder / "data", "--seeds", 1, "--steps", 150, "--unmarked", "--out", out) == 0
    return out


def test_a_planted_fault_is_found_by_a_model_that_saw_none(written):
    result = json.loads(written.read_text())
    assert [row["recording"] for row in result["rows"]] == [f"valve1/{i}" for i in range(4)]
    # 810 rows without marks are two pieces of 400.
    assert result["unmarked_pieces"] == 2 and result["chosen_on"] == []
    scores = [Score.from_json(row["methods"][MODEL][0]) for row in result["rows"]]
    faulty, sound = scores[:2], scores[2:]
    for each in faulty:
        # 160 samples are scored, 60 of them faulty: more than half are alarms, the first of them within the minute after the fault began.
        assert each.counts.num_found + each.counts.num_missed == 60
        assert each.counts.missed_alarm_rate < 0.5 and len(each.changes.found) >= 1
        # Before the fault nothing: what is false is the minute's mean that lasts after it.
        assert each.counts.num_false <= 560 - FAULT.stop
    for each in sound:
        assert each.counts.num_found + each.counts.num_missed == 0 and each.counts.false_alarm_rate < 0.2
    assert result["quantile"] == QUANTILE


def test_the_table_says_what_the_file_says(written):
    result, lines = json.loads(written.read_text()), anomalies_table(written).splitlines()
    one = summarise(result["rows"], MODEL)
    total = sum((Score.from_json(row["methods"][MODEL][0]) for row in result["rows"]), Score()).counts
    assert one.f1 == total.f1 and one.f1_by_seed == (total.f1,)
    assert lines[2].startswith(
        f"| **{MODEL}** (mean of 1 seeds, F1 {total.f1:.2f} to {total.f1:.2f}) | {total.f1:.2f} ["
    )
    assert f"| {100 * total.false_alarm_rate:.1f} % | {100 * total.missed_alarm_rate:.1f} % |" in lines[2]
    assert "| Conv-AE, published | 0.78 | – | 13.6 % | 28.0 % | 23.6 / 21.5 / 27.6 |" in lines
    # 120 of 4 * 160 samples are faulty: precision 3/16, recall 1, F1 = 6/19.
    assert lines[7].startswith(f"| an alarm at every sample | {6 / 19:.2f} [")
    # One row each for the model, the four without learning and an alarm at every sample, ten published, a head of two, how they compare and how it was measured.
    assert len(lines) == 2 + 6 + 10 + 4 and "genba factory anomalies" not in lines[0]


def test_a_folder_without_marked_recordings_two_of_a_name_and_a_blank_cell_are_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty") != 0
    assert "got 0 recordings with marks, expected at least 2 of SKAB" in capsys.readouterr().err.replace("\n", "")
    path = tmp_path / "data" / "valve1" / "0.csv"
    write_recording(path, seed=0, level=30.0, marked=FAULT)
    write_recording(tmp_path / "copy" / "valve1" / "0.csv", seed=0, level=30.0, marked=FAULT)
    assert run(tmp_path) != 0
    assert "got a second recording named valve1/0" in capsys.readouterr().err.replace("\n", "")
    head, first, rest = path.read_text().split("\n", 2)
    cells = first.split(";")
    path.write_text("\n".join([head, ";".join([cells[0], "", *cells[2:]]), rest]))
    assert run(tmp_path / "data") != 0
    assert "0.csv: got cells without a number" in capsys.readouterr().err.replace("\n", "")


def test_a_host_without_torch_runs_the_other_commands_and_is_told_what_this_one_needs(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from genba.cli.main import main\n"
        "try: main(['factory', 'check', '--help'])\n"
        "except SystemExit as ended: assert not ended.code\n"
        f"main(['factory', 'anomalies', {str(tmp_path)!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "genba[model]" in done.stderr.replace("\n", ""), done.stderr
