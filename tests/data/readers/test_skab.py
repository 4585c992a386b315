"""Files of SKAB read as they stand, in SI; the marks of anomalies are kept where no model sees them."""

import csv
from datetime import UTC, datetime

import numpy as np
import pytest
from logs.skab import HEAD, write_log

from genba.data.readers.skab import EMBODIMENT_ID, SkabReader
from genba.errors import FormatError, ReaderError
from genba.spec.conformance import check_episode
from genba.spec.embodiment import load_embodiment
from genba.spec.normalise import packed_shapes

#: column -> SI: gravity's 9.80665 m/s^2, 1e5 Pa, 0 degC = 273.15 K, 1/60 L/s
SI = [(9.80665, 0), (9.80665, 0), (1, 0), (1e5, 0), (1, 273.15), (1, 273.15), (1, 0), (1 / 60, 0)]


@pytest.mark.parametrize("name", ["valve1/0.csv", "valve1/1.csv", "other/1.csv", "anomaly-free/anomaly-free.csv"])
def test_real_files_equal_their_cells(samples, name):
    path, reader = samples / "factory" / "skab" / "data" / name, SkabReader()
    assert reader.recognises(path)
    episode = next(reader.read(path))
    facts = load_embodiment(EMBODIMENT_ID)
    check_episode(facts, episode)
    with path.open() as file:
        rows = list(csv.reader(file, delimiter=";"))[1:]
    bench = episode.streams["bench"]
    cells = np.array([[float(cell) for cell in row[1:9]] for row in rows])
    expected = cells * [scale for scale, _ in SI] + [offset for _, offset in SI]
    np.testing.assert_array_equal(bench.values, expected.astype(np.float32))
    for row in (0, 1, -1):
        moment = datetime.fromisoformat(rows[row][0]).replace(tzinfo=UTC)
        assert bench.times_ns[row] == int(moment.timestamp()) * 10**9
    if name.startswith("anomaly-free"):
        assert list(episode.streams) == ["bench"]
        return
    for i, mark in ((9, "anomaly"), (10, "changepoint")):
        trace = episode.streams[f"trace.{mark}"]
        assert trace.values[:, 0].tolist() == [float(row[i]) for row in rows]
        assert trace.times_ns.tolist() == bench.times_ns.tolist()
        assert 0 < trace.values.sum() < len(rows)


def test_marks_are_nothing_that_a_model_sees(tmp_path):
    path, _ = write_log(tmp_path)
    episode = next(SkabReader().read(path))
    assert set(episode.streams) == {"bench", "trace.anomaly", "trace.changepoint"}
    # Marked from row 8 to row 11; it changes at 8 and at 12.
    assert np.flatnonzero(episode.streams["trace.anomaly"].values[:, 0]).tolist() == [8, 9, 10, 11]
    assert np.flatnonzero(episode.streams["trace.changepoint"].values[:, 0]).tolist() == [8, 12]
    seen = " ".join(packed_shapes(load_embodiment(EMBODIMENT_ID)))
    assert "bench" in seen and "anomaly" not in seen and "changepoint" not in seen


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("240;", "many;"), "not a table of the bench: .*invalid value 'many'"),
        (("2020-03-09 10:14:30", "yesterday"), "not a table of the bench: .*invalid value 'yesterday'"),
        (("2020-03-09 10:14:35", "2020-03-09 10:14:20"), "expected some, each with a time not before the last"),
        (("2020-03-09 10:14:35", ""), "expected some, each with a time"),
        (("Current", "Currant"), "at byte 0: got a first line b'datetime;Acc"),
        (("75.5;", ""), "not a table of the bench: .*[Ee]xpected 11 columns, got 10"),
    ],
)
def test_other_files_are_refused(tmp_path, change, message):
    path, _ = write_log(tmp_path)
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(FormatError, match=message):
        list(SkabReader().read(path))


def test_blank_cells_are_missing_and_an_empty_file_is_refused(tmp_path):
    path, _ = write_log(tmp_path)
    path.write_text(path.read_text().replace("240;", ";", 1))
    values = next(SkabReader().read(path)).streams["bench"].values
    assert np.argwhere(np.isnan(values)).tolist() == [[0, 6]]
    path.write_text(HEAD + "\n")
    with pytest.raises(FormatError, match="got 0 rows, expected some"):
        list(SkabReader().read(path))
    with pytest.raises(ReaderError, match="no such file, expected a CSV of SKAB"):
        list(SkabReader().read(tmp_path / "none.csv"))
    with pytest.raises(ReaderError, match="unknown option 'ovner'; did you mean 'owner'"):
        list(SkabReader().read(path, ovner="x"))


def test_a_value_that_the_bench_cannot_show_is_refused_with_the_file(tmp_path):
    log, options = write_log(tmp_path)
    head, first, *rest = log.read_text().splitlines()
    columns = head.split(";")
    cells = first.split(";")
    # The bench's motor draws at most 50 A.
    cells[columns.index("Current")] = "5000"
    log.write_text("\n".join([head, ";".join(cells), *rest]) + "\n")
    with pytest.raises(
        FormatError, match=rf"{log.name}: .*motor_current: got values from .* to 5000, expected -5 to 50"
    ):
        list(SkabReader().read(log, **options))
