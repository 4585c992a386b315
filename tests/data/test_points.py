"""A sweep comes back in order, at most half a step off, its attributes exactly; what is no sweep is refused."""

import struct

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genba.data.points import POINT_STEP_M, decode_sweep, encode_sweep

INT16, INT32, FLOAT32 = 0, 1, 2


def encoded(points):
    return np.frombuffer(encode_sweep(np.asarray(points, np.float32)), np.uint8)


def there_and_back(points):
    points = np.asarray(points, np.float32)
    out = np.empty_like(points)
    decode_sweep(encoded(points), out)
    return out


def outcome(data, out):
    try:
        decode_sweep(data, out)
    except ValueError:
        return "refused"
    return "decoded"


def kind(data):
    return struct.unpack_from("<IB", data)[1]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 300),
    reach_m=st.sampled_from([0.01, 1.0, 60.0, 70.0, 500.0, 4e6]),
)
def test_places_are_at_most_half_a_step_off(seed, count, reach_m):
    points = np.random.default_rng(seed).uniform(-reach_m, reach_m, (count, 3)).astype(np.float32)
    # Half a step, and what float32 itself cannot tell apart at this distance (half of 2^-23 of it, twice).
    bound_m = POINT_STEP_M / 2 + reach_m * 2**-23
    assert np.abs(there_and_back(points).astype(float) - points).max(initial=0) <= bound_m


def test_a_sweep_takes_two_bytes_until_it_reaches_beyond_int16():
    # 32767 steps of 2 mm are 65.534 m.
    for x_m, expected in ((65.534, INT16), (-65.534, INT16), (65.536, INT32), (-65.538, INT32)):
        sweep = np.array([[0, 0, 0], [x_m, 1, 2]], np.float32)
        assert kind(encoded(sweep)) == expected, x_m
        np.testing.assert_allclose(there_and_back(sweep), sweep, atol=0.00101)


def test_a_place_that_is_no_number_or_off_the_grid_keeps_the_sweep_exact():
    # 2^31 steps of 2 mm are 4,294,967 m.
    for odd, expected in (
        (np.nan, FLOAT32),
        (np.inf, FLOAT32),
        (-np.inf, FLOAT32),
        (4_294_900, INT32),
        (4_295_000, FLOAT32),
    ):
        sweep = np.array([[0.1234567, 2, 3], [odd, 5, 6], [7, 8, 9.87654]], np.float32)
        assert kind(encoded(sweep)) == expected, odd
        if expected == FLOAT32:
            np.testing.assert_array_equal(there_and_back(sweep).view(np.uint32), sweep.view(np.uint32))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.floats(width=32, allow_nan=True, allow_infinity=True),
            st.sampled_from([-0.0, 0.0, 1.0, 255.0, 256.0, 65535.0, 65536.0, -1.0, 0.5]),
        ),
        max_size=20,
    )
)
def test_attributes_come_back_bit_for_bit(values):
    sweep = np.zeros((len(values), 4), np.float32)
    sweep[:, 3] = values
    np.testing.assert_array_equal(there_and_back(sweep)[:, 3].view(np.uint32), sweep[:, 3].view(np.uint32))


def test_whole_numbers_take_a_byte_or_two():
    sizes = []
    for high in (2**8, 2**16, 2**17):
        # Noise does not compress: what is left is the width of the numbers.
        sweep = np.zeros((20_000, 4), np.float32)
        sweep[:, 3] = np.random.default_rng(0).integers(0, high, 20_000)
        sizes.append(len(encoded(sweep)) / 20_000)
    # 8, 16 and 17 bits of noise; the last as float32, whose lowest byte is almost always 0.
    assert sizes[0] == pytest.approx(1, abs=0.05)
    assert sizes[1] == pytest.approx(2, abs=0.05)
    assert 17 / 8 <= sizes[2] < 3


def test_real_sweeps_come_back_within_two_millimetres_in_less_than_half(samples):
    sweeps = {p: np.fromfile(p, np.float32).reshape(-1, 4) for p in samples.glob("vehicle/kitti/**/*.bin")}
    for path in samples.glob("vehicle/av2/**/lidar/*.feather"):
        table = pa.feather.read_table(path)
        columns = [table[name].to_numpy().astype(np.float32) for name in ("x", "y", "z", "intensity", "laser_number")]
        sweeps[path] = np.stack(columns, -1)
    assert len(sweeps) == 3
    for path, sweep in sweeps.items():
        got = there_and_back(sweep)
        assert np.abs(got[:, :3].astype(float) - sweep[:, :3]).max() < 0.002, path
        np.testing.assert_array_equal(got[:, 3:], sweep[:, 3:])
        assert sweep.nbytes / len(encoded(sweep)) > 2, path


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_damaged_bytes_are_refused_or_decode_but_never_do_anything_else(seed, data):
    sweep = np.random.default_rng(seed).normal(size=(40, 4)).astype(np.float32)
    good = encode_sweep(sweep)
    cut = data.draw(st.integers(0, len(good)))
    damaged = np.frombuffer(good[:cut], np.uint8).copy()
    for _ in range(data.draw(st.integers(0, 3)) if cut else 0):
        damaged[data.draw(st.integers(0, cut - 1))] ^= data.draw(st.integers(1, 255))
    assert outcome(damaged, np.empty_like(sweep)) in ("refused", "decoded")


def test_another_size_is_refused():
    with pytest.raises(ValueError, match="got 2 points, expected 3"):
        decode_sweep(encoded(np.zeros((2, 3))), np.empty((3, 3), np.float32))
    with pytest.raises(ValueError, match="got 3 bytes, expected at least 5"):
        decode_sweep(np.zeros(3, np.uint8), np.empty((0, 3), np.float32))
