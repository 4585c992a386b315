"""Episodes written as Parquet read back bit for bit; what is damaged is named."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from logs.parquet import FACTS, episode, write_log

from genba.data.readers.parquet import ParquetReader
from genba.data.writers.parquet import ParquetWriter
from genba.errors import DataError, FormatError, SpecError
from genba.spec.conformance import check_episode
from genba.spec.embodiment import Dimension
from genba.spec.episode import Episode
from genba.spec.protocols import Writer
from genba.spec.streams import dense, ragged


def test_what_was_written_reads_back_bit_for_bit(tmp_path):
    path, _ = write_log(tmp_path)
    reader = ParquetReader()
    assert reader.recognises(path)
    assert reader.embodiment(path) == FACTS
    found = list(reader.read(path))
    assert len(found) == 2
    for one, wrote in zip(found, (episode(0), episode(1)), strict=True):
        check_episode(FACTS, one)
        assert one.metadata == wrote.metadata
        assert one.metadata.owner == "工場"
        assert set(one.streams) == set(wrote.streams)
        for name, stream in wrote.streams.items():
            got = one.streams[name]
            assert got.values.dtype == stream.values.dtype and got.values.shape == stream.values.shape, name
            assert got.values.tobytes() == stream.values.tobytes()
            assert got.times_ns.tolist() == stream.times_ns.tolist()
            assert (got.splits is None) == (stream.splits is None)
            if stream.splits is not None:
                assert got.splits.tolist() == stream.splits.tolist()


def test_files_are_plain_tables_for_other_tools(tmp_path):
    path, _ = write_log(tmp_path)
    arm = pq.read_table(path / "000000" / "arm.parquet").to_pandas()
    assert list(arm.columns) == ["t_ns", "angle_0", "angle_1", "angle_2"]
    assert arm["t_ns"].tolist() == [10**18 + 10_000_001 * i for i in range(20)]
    assert np.isnan(arm["angle_1"][3])
    lidar = pq.read_table(path / "000000" / "lidar.parquet")
    assert lidar.column_names == ["t_ns", "x", "y", "z"]
    assert [len(row) for row in lidar["x"].to_pylist()] == [7, 0, 3]


def test_outcome_that_is_no_number_survives(tmp_path):
    metadata = dataclasses.replace(episode().metadata, outcome={"late": float("nan"), "far": float("inf")})
    ParquetWriter().write(tmp_path / "out", FACTS, [Episode(metadata, episode().streams)])
    outcome = next(ParquetReader().read(tmp_path / "out")).metadata.outcome
    assert np.isnan(outcome["late"]) and outcome["far"] == float("inf")


def test_attributes_of_points_keep_their_names(tmp_path):
    intensity = Dimension(name="intensity", unit="1", low=0.0, high=1.0)
    facts = dataclasses.replace(FACTS, points=(dataclasses.replace(FACTS.points[0], attribute=(intensity,)),))
    points = ragged([1, 2], [np.full((2, 4), 0.5, np.float32), np.zeros((0, 4), np.float32)])
    ParquetWriter().write(tmp_path / "out", facts, [Episode(episode().metadata, {"lidar": points})])
    table = pq.read_table(tmp_path / "out" / "000000" / "lidar.parquet")
    assert table.column_names == ["t_ns", "x", "y", "z", "intensity"]
    assert table["intensity"].to_pylist() == [[0.5, 0.5], []]


def test_owner_can_be_told_anew(tmp_path):
    path, _ = write_log(tmp_path)
    one = next(ParquetReader().read(path, owner="other", jurisdiction="JP"))
    assert (one.metadata.owner, one.metadata.jurisdiction, one.metadata.site) == ("other", "JP", "simulation")


def test_writer_leaves_nothing_behind_where_it_fails(tmp_path):
    writer, path = ParquetWriter(), tmp_path / "out"
    assert isinstance(writer, Writer)
    good = episode()
    wrong = Episode(good.metadata, {"arm": dense([1], [[1.0, 2.0]])})
    with pytest.raises(SpecError, match=r"arm: values: got float32\[1, 2\], expected float32\[any, 3\]"):
        writer.write(path, FACTS, [good, wrong])
    with pytest.raises(DataError, match="expected a name that can be a file's"):
        writer.write(path, FACTS, [Episode(good.metadata, {"trace.../../x": dense([1], [[1.0]])})])
    assert list(tmp_path.iterdir()) == []
    path.mkdir()
    with pytest.raises(DataError, match="is there already, expected a new folder"):
        writer.write(path, FACTS, [good])


def _spoil_index(path):
    (path / "genba-parquet.json").write_text(json.dumps({"format": "genba-parquet@1", "episodes": ["../secret"]}))


def _spoil_facts(path):
    (path / "embodiment.toml").write_text("id = 5")


def _spoil_metadata(path):
    (path / "000000" / "episode.json").write_text('{"episode_id": 5}')


def _other_machine(path):
    file = path / "000000" / "episode.json"
    file.write_text(file.read_text().replace("log/written@1", "log/other@1"))


def _other_table(path):
    pq.write_table(pa.table({"a": [1]}), path / "000000" / "arm.parquet")


def _falling_clock(path):
    file = path / "000000" / "arm.parquet"
    table = pq.read_table(file)
    pq.write_table(table.take(list(range(19, -1, -1))), file)


def _deep_json(path):
    (path / "000000" / "episode.json").write_text("[" * 200_000)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_spoil_index, r"got an episode's folder '\.\./secret'"),
        (_spoil_facts, "embodiment.toml: not the facts of a machine"),
        (_spoil_metadata, "episode.json: not the metadata of an episode"),
        (_other_machine, r"got an episode of 'log/other@1', expected one of 'log/written@1'"),
        (_other_table, r"arm.parquet: got columns \['a'\], expected t_ns first"),
        (_falling_clock, "arm.parquet: not a stream: times_ns: got a decreasing clock"),
        (_deep_json, "episode.json: not JSON"),
    ],
)
def test_damage_is_named(tmp_path, spoil, message):
    path, _ = write_log(tmp_path)
    spoil(path)
    with pytest.raises(FormatError, match=message):
        list(ParquetReader().read(path))


def test_cut_files_are_named(tmp_path):
    path, _ = write_log(tmp_path)
    file = path / "000000" / "arm.parquet"
    whole = file.read_bytes()
    for length in range(0, len(whole), len(whole) // 20):
        file.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"arm\.parquet: not a Parquet file of the layout genba-parquet@1"):
            list(ParquetReader().read(path))
