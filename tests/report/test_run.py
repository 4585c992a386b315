"""A run's folder: what is written is read again, what is absent is empty, what is damaged is refused."""

from __future__ import annotations

import pytest

from genba.errors import ConfigError
from genba.report.run import RunRecord, Stage, read_run, write_pictures
from genba.spec.task import Picture


def test_everything_in_the_folder_is_read(toy_run):
    run = read_run(toy_run)
    assert [(result.task, result.policy) for result in run.results] == [
        ("toy/orders@1", "expert"),
        ("toy/orders@1", "most_slack"),
        ("toy/reach@1", "model"),
        ("toy/reach@1", "expert"),
        ("toy/reach@1", "zero"),
    ]
    # Ten lines of losses and one evaluation; the half-written last line is not a line.
    assert len(run.metrics) == 11
    assert [picture.title for picture in run.pictures["toy/reach@1"]] == ["Cart <at> work"] * 2
    assert run.record is not None and run.record.stages[1] == Stage(name="Train", wall_s=90.0, detail="100 train steps")


def test_an_empty_folder_is_an_empty_run(tmp_path):
    run = read_run(tmp_path)
    assert (run.record, run.results, run.metrics, dict(run.pictures)) == (None, (), (), {})


def test_a_record_survives_its_file(tmp_path):
    record = RunRecord(
        preset="tiny", stages=(Stage(name="a", wall_s=1.5),), cut_short=("x",), hardware={"num_cores": 2}
    )
    record.write(tmp_path)
    assert RunRecord.read(tmp_path / "run.json") == record


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("run.json", "{}", r"run.json: got format and version \(None, None\)"),
        ("run.json", '{"format": "genba-run", "version": 1, "sages": []}', r"run.json: not a run's record .*sages"),
        ("run.json", "[", "run.json: cannot be read"),
        ("results/a.json", "{}", "a.json: got format and version"),
        ("metrics.jsonl", '{"step": 0}\n{"step" 1}\n', "metrics.jsonl: line 2: not valid JSON"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, name, text, message):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_run(tmp_path)


def test_two_trainings_in_one_run_are_refused_not_mixed(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text("")
    with pytest.raises(ConfigError, match=r"2 files metrics.jsonl, expected one"):
        read_run(tmp_path)


def test_a_missing_folder_says_what_makes_one(tmp_path):
    with pytest.raises(ConfigError, match=r"no such folder; expected a run, e.g. the one that 'genba demo' makes"):
        read_run(tmp_path / "none")


def test_drawing_again_replaces_what_was_drawn(tmp_path):
    for data in (b"old", b"new"):
        write_pictures(tmp_path, "a/b@1", [Picture(title="x", caption="", media_type="image/gif", data=data)])
    assert [picture.data for picture in read_run(tmp_path).pictures["a/b@1"]] == [b"new"]


def test_a_picture_of_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="got 'image/webp', expected one of image/png"):
        write_pictures(tmp_path, "a/b@1", [Picture(title="x", caption="", media_type="image/webp", data=b"")])
