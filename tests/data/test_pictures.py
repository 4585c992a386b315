"""Frames come back as the eye saw them; a frame within a group is the same however it is reached."""

import numpy as np
import pytest

from genba.data.pictures import decode_h264, decode_jpeg, encode_h264, encode_jpeg


@pytest.fixture(scope="module")
def film():
    """Seven frames of a smooth moving picture with odd sides: uint8 [7, 33, 41, 3]."""
    row, column = np.mgrid[0:33, 0:41]
    frames = [np.stack([row * 7, (column * 6 + 5 * i) % 256, 100 + 0 * row], -1) for i in range(7)]
    return np.stack(frames).astype(np.uint8)


def psnr_db(got, expected):
    return 10 * np.log10(255**2 / np.mean((got.astype(float) - expected) ** 2))


@pytest.mark.parametrize("group", [1, 2, 3, 7])
def test_a_frame_is_the_same_alone_and_in_its_group(film, group):
    pytest.importorskip("av")
    groups = encode_h264(film, group=group, quantizer=18)
    assert len(groups) == -(-7 // group)
    whole = np.empty_like(film)
    for i, data in enumerate(groups):
        decode_h264(np.frombuffer(data, np.uint8), whole[i * group : (i + 1) * group])
    # Good to the eye: at least 38 dB, a mean squared error below 255^2 / 10^3.8 = 10.3.
    assert psnr_db(whole, film) > 38
    for frame in range(7):
        first = np.empty((frame % group + 1, *film.shape[1:]), np.uint8)
        decode_h264(np.frombuffer(groups[frame // group], np.uint8), first)
        np.testing.assert_array_equal(first[-1], whole[frame])


def test_a_smaller_quantizer_is_closer_and_larger(film):
    pytest.importorskip("av")
    near, far = (encode_h264(film, group=2, quantizer=q) for q in (8, 40))
    assert sum(map(len, near)) > sum(map(len, far))
    errors = []
    for groups in (near, far):
        out = np.empty_like(film[:2])
        decode_h264(np.frombuffer(groups[0], np.uint8), out)
        errors.append(psnr_db(out, film[:2]))
    assert errors[0] > errors[1] + 10


def test_what_is_no_group_is_refused(film):
    pytest.importorskip("av")
    good = encode_h264(film[:2], group=2, quantizer=18)[0]
    for data, message in (
        (b"", "unpack_from requires"),
        (good[:40], "got .* frames|Invalid data"),
        (b"\x02\0\0\0" + bytes(200), "End of file"),
        (b"\xff\xff\xff\x7f" + bytes(200), "got 2147483647 frames in 204 bytes"),
    ):
        with pytest.raises(ValueError, match=message):
            decode_h264(np.frombuffer(data, np.uint8), np.empty_like(film[:2]))
    with pytest.raises(ValueError, match="got 33 x 41 pixels, expected 32 x 41"):
        decode_h264(np.frombuffer(good, np.uint8), np.empty((2, 32, 41, 3), np.uint8))
    with pytest.raises(ValueError, match=r"got 2 frames in .* bytes, expected 3"):
        decode_h264(np.frombuffer(good, np.uint8), np.empty_like(film[:3]))


def test_a_quarter_of_the_colours_keeps_brightness_and_blurs_colours():
    """A grey picture has no colours to lose; columns of red and blue beside each other share theirs."""
    ramp = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    columns = np.zeros((64, 64, 3), np.uint8)
    columns[:, ::2], columns[:, 1::2] = (255, 0, 0), (0, 0, 255)
    out = {}
    for name, frame in (("ramp", ramp), ("columns", columns)):
        for subsampling in ("444", "420"):
            data = encode_jpeg(frame, subsampling=subsampling)
            decode_jpeg(np.frombuffer(data, np.uint8), picture := np.empty_like(frame))
            out[name, subsampling] = (len(data), picture)
    assert np.abs(out["ramp", "420"][1].astype(int) - out["ramp", "444"][1]).max() <= 1
    assert out["columns", "420"][0] < out["columns", "444"][0]
    assert psnr_db(out["columns", "444"][1], columns) > 35
    # One colour for each pair of columns, half red and half blue: red is half of 255 off everywhere, give or take how
    # bright the column is, so the error is at least a quarter of the full range in the mean.
    red = out["columns", "420"][1][:, :, 0].astype(int)
    assert np.abs(red - columns[:, :, 0]).mean() > 255 / 4


def test_jpeg_of_another_size_or_none_is_refused(film):
    data = np.frombuffer(encode_jpeg(film[0]), np.uint8)
    out = np.empty_like(film[0])
    decode_jpeg(data, out)
    assert psnr_db(out, film[0]) > 30
    with pytest.raises(ValueError, match="got 33 x 41 pixels, expected 33 x 42"):
        decode_jpeg(data, np.empty((33, 42, 3), np.uint8))
    # As many pixels, but lying otherwise.
    with pytest.raises(ValueError, match="got 33 x 41 pixels, expected 41 x 33"):
        decode_jpeg(data, np.empty((41, 33, 3), np.uint8))
    with pytest.raises(ValueError, match=r"3936 byte buffer is too small to decode"):
        decode_jpeg(data, np.empty((32, 41, 3), np.uint8))
    with pytest.raises(ValueError, match="JPEG"):
        decode_jpeg(np.zeros(100, np.uint8), out)
