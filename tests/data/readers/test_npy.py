"""Arrays that NumPy wrote come back; headers that lie are refused without being believed."""

import io

import numpy as np
import pytest

from genba.data.readers.npy import load_array
from genba.errors import FormatError


def saved(path, array, **how):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **how)
    path.write_bytes(file.getvalue())
    return path


@pytest.mark.parametrize(
    "array",
    [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)), np.array([b"ab", b"c"]),
     np.zeros((0, 4), np.float32), np.array(5, np.uint8)],
)  # fmt: skip
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_what_numpy_wrote_comes_back(tmp_path, array, version):
    loaded = load_array(saved(tmp_path / "a", array, version=version))
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == array.dtype


def test_lies_are_refused_without_being_believed(tmp_path):
    path = saved(tmp_path / "a", np.arange(10.0))
    sound = path.read_bytes()
    for data, message in (
        (sound[:-1], r"a: at byte 128: got 79 bytes of values, expected those of float64\[10\]"),
        (sound.replace(b"(10,)", b"(10000000000000,)"), r"header"),
        (sound.replace(b"(10,), }", b"(9999,),}"), r"header|bytes of values"),
        (sound.replace(b"'<f8'", b"'|O8'"), "header"),
        (sound.replace(b"{", b"[" * 1), "header"),
        (b"", "begins with"),
        (bytes(4096), "begins with"),
    ):
        path.write_bytes(data)
        with pytest.raises(FormatError, match=message):
            load_array(path)
    with pytest.raises(FormatError, match="could not be read"):
        load_array(tmp_path / "nothing")
