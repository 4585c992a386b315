import pytest

from genba.errors import FloorError
from genba.floor.journal import Journal


def test_what_was_appended_is_there_when_it_is_opened_again(tmp_path):
    with Journal(tmp_path / "j.jsonl") as journal:
        journal.append({"a": 1})
        journal.append({"b": [2, 3]})
    with Journal(tmp_path / "j.jsonl") as journal:
        assert journal.lines == ({"a": 1}, {"b": [2, 3]})


def test_a_line_torn_by_a_kill_is_cut_off_and_the_next_one_stands_by_itself(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"a":1}\n{"b":[2,')
    with Journal(path) as journal:
        assert journal.lines == ({"a": 1},)
        journal.append({"c": 3})
    assert path.read_bytes() == b'{"a":1}\n{"c":3}\n'


def test_damage_anywhere_else_is_refused_by_line(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"a":1}\n{"b":[2,\n{"c":3}\n')
    with pytest.raises(FloorError, match=r"j\.jsonl: line 2: damaged"):
        Journal(path)


def test_a_journal_has_one_writer(tmp_path):
    with Journal(tmp_path / "j.jsonl"), pytest.raises(FloorError, match="in use by another process"):
        Journal(tmp_path / "j.jsonl")
