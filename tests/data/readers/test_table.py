"""Tables of any plant read through a mapping: wide and long, CSV and Parquet, every kind of clock; mistakes are named."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from logs.table import MAPPING, write_log

from genba.config import read_toml_text
from genba.data.readers import table as table_module
from genba.data.readers.table import TableReader
from genba.data.readers.table_mapping import EXAMPLE, TableMapping
from genba.errors import FormatError, ReaderError
from genba.spec.conformance import check_episode

WIDE = """machine = "pump"
[time]
column = "t"
unit = "s"
[[channel]]
name = "pump"
rate_hz = 1.0
column = [{ from = "p", unit = "bar", low = 0.0, high = 10.0 }, { from = "q", unit = "L/min", low = 0.0, high = 60.0 }]
"""


def read(tmp_path, text, mapping=WIDE, name="x.csv", **options):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    (tmp_path / "map.toml").write_text(mapping)
    return list(TableReader().read(path, mapping=tmp_path / "map.toml", **options))


def test_wide_table_becomes_si_on_its_own_clock(tmp_path):
    (episode,) = read(tmp_path, "t,q,other,p\n1.5,30,x,2\n2.25,,x,\n3,6,,NaN\n")
    pump = episode.streams["pump"]
    # The row in which both are blank is no sample; 2 bar = 2e5 Pa, 30 L/min = 0.5 L/s.
    assert pump.times_ns.tolist() == [1_500_000_000, 3_000_000_000]
    np.testing.assert_array_equal(pump.values, np.array([[2e5, 0.5], [np.nan, 0.1]], np.float32))
    facts = TableReader().embodiment(tmp_path / "x.csv", mapping=tmp_path / "map.toml")
    check_episode(facts, episode)
    assert facts.id.startswith("log/pump-") and facts.id == episode.metadata.embodiment_id
    assert [(d.name, d.unit, d.low, d.high) for d in facts.telemetry[0].dimensions] == [
        ("p", "Pa", 0.0, 1e6), ("q", "L/s", 0.0, 1.0),
    ]  # fmt: skip


def test_folder_with_its_mapping_is_a_log(tmp_path):
    path, _ = write_log(tmp_path)
    reader = TableReader()
    assert reader.recognises(path) and not reader.recognises(path / "day1.csv")
    episodes = list(reader.read(path))
    assert [episode.metadata.source for episode in episodes] == ["day1.csv", "day2.csv"]
    for day, episode in enumerate(episodes, start=1):
        check_episode(reader.embodiment(path), episode)
        hydraulics, state = episode.streams["hydraulics"], episode.streams["state"]
        # Three seconds at 10 Hz; the state stands in every tenth row only.
        assert len(hydraulics) == 30 and len(state) == 3
        # 08:00 in Tokyo is 23:00 of the day before in UTC.
        begin = int(datetime(2026, 3, day, 8, tzinfo=UTC).timestamp()) - 9 * 3600
        assert state.times_ns.tolist() == [(begin + i) * 10**9 for i in range(3)]
        assert int(hydraulics.times_ns[12]) == begin * 10**9 + 1_200_000_000
        assert np.flatnonzero(np.isnan(hydraulics.values[:, 1])).tolist() == [7]
        assert 1e7 <= float(hydraulics.values[:, 0].min()) <= float(hydraulics.values[:, 0].max()) <= 1.5e7


def test_long_table_gives_every_tag_its_own_rows(tmp_path):
    mapping = WIDE.replace("[[channel]]", '[long]\nname = "tag"\nvalue = "value"\n[[channel]]')
    mapping += '[[channel]]\nname = "alone"\nrate_hz = 1.0\ncolumn = [{ from = "x", low = 0.0, high = 9.0 }]\n'
    text = "t,tag,value\n2,p,1\n1,q,6\n1,p,2\n1,x,7\n2,unknown,5\n3,x,\n2,x,8\n"
    (episode,) = read(tmp_path, text, mapping)
    pump, alone = episode.streams["pump"], episode.streams["alone"]
    assert pump.times_ns.tolist() == [10**9, 2 * 10**9]
    np.testing.assert_array_equal(pump.values, np.array([[2e5, 0.1], [1e5, np.nan]], np.float32))
    # The blank value is no sample.
    assert alone.times_ns.tolist() == [10**9, 2 * 10**9]
    assert alone.values[:, 0].tolist() == [7.0, 8.0]
    with pytest.raises(ReaderError, match=r"x\.csv: column 'tag' has no 'q'; did you mean 'qq'\? \(channel pump of"):
        read(tmp_path, text.replace("q,6", "qq,6"), mapping)


def test_column_can_split_episodes(tmp_path):
    mapping = 'episode_column = "run"\n' + WIDE
    episodes = read(tmp_path, "t,p,q,run\n1,1,1,b\n2,1,1,a\n3,1,1,b\n", mapping)
    assert [e.metadata.source for e in episodes] == ["x.csv, run a", "x.csv, run b"]
    assert [e.streams["pump"].times_ns.tolist() for e in episodes] == [[2 * 10**9], [10**9, 3 * 10**9]]
    assert len({e.metadata.episode_id for e in episodes}) == 2
    with pytest.raises(FormatError, match="column 'run': got a blank cell"):
        read(tmp_path, "t,p,q,run\n1,1,1,\n", mapping)


def test_files_of_a_folder_can_be_one_episode(tmp_path, caplog):
    folder = tmp_path / "plant"
    folder.mkdir()
    (folder / "genba-table.toml").write_text(
        'episode = "folder"\n' + WIDE.replace("rate_hz", 'files = "pump*.csv"\nrate_hz')
        + '[[channel]]\nname = "slow"\nfiles = "slow.csv"\ntime = "when"\nrate_hz = 1.0\n'
        + 'column = [{ from = "T", unit = "degC", low = 0.0, high = 99.0 }]\n'
    )  # fmt: skip
    (folder / "pump1.csv").write_text("t,p,q\n10,1,1\n11,1,1\n")
    (folder / "pump0.csv").write_text("t,p,q\n12,2,2\n")
    (folder / "slow.csv").write_text("when,T\n10,20\n")
    (folder / "notes.csv").write_text("a\n1\n")
    (episode,) = TableReader().read(folder)
    assert episode.streams["pump"].times_ns.tolist() == [10 * 10**9, 11 * 10**9, 12 * 10**9]
    assert episode.streams["slow"].values.tolist() == [[np.float32(293.15)]]
    assert "channel pump: rows were not in the order of their times; sorted" in caplog.text
    assert "notes.csv: no channel of the mapping is in it; left out" in caplog.text


MOMENT = datetime(2026, 3, 1, 8, 0, 0, 250_000, tzinfo=UTC)
MOMENT_NS = int(MOMENT.timestamp()) * 10**9 + 250_000_000


@pytest.mark.parametrize(
    ("cell", "time"),
    [
        ("2026-03-01 08:00:00.250", ""),
        ("2026-03-01T08:00:00.25Z", ""),
        ("2026-03-01T17:00:00.250+09:00", ""),
        ("2026-03-01 17:00:00.250", 'timezone = "Asia/Tokyo"'),
        ("01.03.2026 09:00:00.250", 'unit = "%d.%m.%Y %H:%M:%S.%f"\ntimezone = "Europe/Berlin"'),
        ("20260301 170000.25 +0900", 'unit = "%Y%m%d %H%M%S.%f %z"'),
        (f"{MOMENT_NS // 10**9}.25", 'unit = "s"'),
        (f"{MOMENT_NS // 10**6}", 'unit = "ms"'),
        (f"{MOMENT_NS // 10**3}", 'unit = "us"'),
        (f"{MOMENT_NS}", 'unit = "ns"'),
        ("28800.25", 'unit = "s"\nepoch = "2026-03-01"'),
        ("61200.25", 'unit = "s"\nepoch = "2026-03-01"\ntimezone = "Asia/Tokyo"'),
        # Days of a spreadsheet: 2026-03-01 is day 46082 since 1899-12-30; 0.25 s is beyond a float64's 1e-11 of it.
        ("46082.333336226852", 'unit = "d"\nepoch = "1899-12-30"'),
    ],
)
def test_every_clock_gives_the_same_moment(tmp_path, cell, time):
    (episode,) = read(tmp_path, f"t,p,q\n{cell},1,1\n", WIDE.replace('unit = "s"', time))
    tolerance_ns = 700_000 if "46082" in cell else 0
    assert abs(int(episode.streams["pump"].times_ns[0]) - MOMENT_NS) <= tolerance_ns


def test_summer_time_is_known(tmp_path):
    mapping = WIDE.replace('unit = "s"', 'timezone = "Europe/Berlin"')
    (episode,) = read(tmp_path, "t,p,q\n2026-03-29 01:59:59,1,1\n2026-03-29 03:00:00,1,1\n", mapping)
    # In Berlin the clock went from 02:00 to 03:00 that night.
    assert np.diff(episode.streams["pump"].times_ns).tolist() == [10**9]


def test_forms_of_csv(tmp_path):
    path = tmp_path / "x.csv"
    text = "Pumpe №1\nt;p;q\n1,5;2,5;\n2,5;kaputt;6\n"
    csv = '[csv]\nseparator = ";"\ndecimal = ","\nskip_rows = 1\nencoding = "koi8-r"\nmissing = ["", "kaputt"]\n'
    path.write_bytes(text.replace("Pumpe", "Насос").replace("№", "N").encode("koi8-r"))
    (episode,) = read(tmp_path, None, WIDE.replace("[[channel]]", csv + "[[channel]]"))
    assert episode.streams["pump"].times_ns.tolist() == [1_500_000_000, 2_500_000_000]
    np.testing.assert_array_equal(
        episode.streams["pump"].values, np.array([[2.5e5, np.nan], [np.nan, 0.1]], np.float32)
    )
    (episode,) = read(
        tmp_path,
        "1\t2\t3\n",
        WIDE.replace("[[channel]]", '[csv]\nseparator = "\\t"\nnames = ["t", "q", "p"]\n[[channel]]'),
    )
    np.testing.assert_array_equal(episode.streams["pump"].values, np.array([[3e5, 2 / 60]], np.float32))


@pytest.mark.parametrize("time", [pa.array([1_500_000_000, 2_000_000_000], pa.timestamp("ns")), pa.array([1.5, 2.0])])
def test_parquet_reads_like_csv(tmp_path, time):
    path = tmp_path / "x.parquet"
    pq.write_table(
        pa.table({"t": time, "p": pa.array([1, None]), "q": pa.array([True, False]), "other": ["a", "b"]}), path
    )
    (episode,) = read(tmp_path, None, name="x.parquet")
    assert episode.streams["pump"].times_ns.tolist() == [1_500_000_000, 2_000_000_000]
    np.testing.assert_array_equal(episode.streams["pump"].values, np.array([[1e5, 1 / 60], [np.nan, 0]], np.float32))


def test_classes_are_checked(tmp_path):
    mapping = WIDE.replace('{ from = "q", unit = "L/min", low = 0.0, high = 60.0 }', '{ from = "q", categories = 3 }')
    (episode,) = read(tmp_path, "t,p,q\n1,1,2\n", mapping)
    assert episode.streams["pump"].values.tolist() == [[1e5, 2.0]]
    with pytest.raises(ReaderError, match=r"column 'q': got 1\.5, expected a class of 0 to 2"):
        read(tmp_path, "t,p,q\n1,1,1.5\n", mapping)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,p,qq\n1,1,1\n", r"x\.csv: column 'q' is not there; did you mean 'qq'\? \(channel pump of the mapping\)"),
        ("t,p,q,q\n1,1,1,1\n", "column 'q' stands twice"),
        ("t,p,q\n1,one,1\n", "not such a table as the mapping says: .*invalid value 'one'"),
        ("t,p,q\n1,1\n", "Expected 3 columns, got 2"),
        ("t,p,q\n,1,1\n", "column 't': row 0: got a blank cell, expected a time"),
        ("t,p,q\n1e300,1,1\n", r"column 't': row 0: got 1e\+300, expected a time within 292 years"),
        ("t,p,q\n1,,\n", "got no row with a value of a mapped column"),
        ("", "not such a table as the mapping says"),
        ("PAR1 but no more", "not such a table as the mapping says"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, text, message):
    with pytest.raises(ReaderError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('unit = "bar"', 'unit = "barr"'), r"channel\[0\]\.column\[0\]: unit: 'p': got 'barr'.*did you mean 'bar'"),
        (('machine = "pump"', 'machine = "Pump 1"'), "machine: got 'Pump 1', expected lower-case letters"),
        (("low = 0.0, high = 10.0", "low = 1.0"), "low, high: 'p': got 1.0, nan, expected limits in bar"),
        (("rate_hz", "rate"), r"channel\[0\]\.rate: unknown key; did you mean 'rate_hz'"),
        (('unit = "s"', 'unit = "sec"'), "unit: got 'sec', expected a unit of time"),
        (('unit = "s"', 'timezone = "Mars"'), "timezone: got 'Mars', expected a name such as 'Asia/Tokyo'"),
        (('unit = "s"', 'epoch = "1900-01-01"'), "expected one only with numbers"),
        (("[[channel]]", '[csv]\ndecimal = ","\n[[channel]]'), "got ',' for both, expected different ones"),
        (('name = "pump"', 'name = "action"'), "no name of a stream that is no channel; e.g. 'action_2'"),
        (('{ from = "q"', '{ from = "q", name = "p"'), "map.toml: name: 'p' stands twice, expected distinct names"),
        (('{ from = "q"', '{ from = "q", name = "Q!"'), "map.toml: name: got 'Q!', expected lower-case letters"),
        (("rate_hz", 'files = "a*"\nrate_hz'), 'expected episode = "folder" then'),
    ],
)
def test_wrong_mappings_are_refused(tmp_path, change, message):
    assert change[0] in WIDE
    with pytest.raises(ReaderError, match=message):
        read(tmp_path, "t,p,q\n1,1,1\n", WIDE.replace(*change))


def test_mapping_is_asked_for_and_its_example_is_one(tmp_path):
    (tmp_path / "x.csv").write_text("t\n1\n")
    with pytest.raises(ReaderError, match="give it with --option mapping=FILE"):
        list(TableReader().read(tmp_path / "x.csv"))
    with pytest.raises(ReaderError, match=r"none\.toml: no such file"):
        list(TableReader().read(tmp_path / "x.csv", mapping=tmp_path / "none.toml"))
    assert read_toml_text(EXAMPLE, TableMapping, where="example").channel[0].column[1].name == "oil_temperature"
    assert read_toml_text(MAPPING, TableMapping, where="log").csv.separator == ";"


def test_table_that_grows_out_of_all_proportion_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "x.parquet"
    rows = 1_000_000
    pq.write_table(pa.table({n: pa.array(np.zeros(rows)) for n in ("t", "p", "q")}), path)
    # Three columns of a million equal numbers: 24 MB of a few kB.
    monkeypatch.setattr(table_module, "FREE_BYTES", 1 << 20)
    assert path.stat().st_size * 1000 + (1 << 20) < 24 * rows
    with pytest.raises(FormatError, match="got more than 1000 times the file's size in numbers"):
        read(tmp_path, None, name="x.parquet")
