"""A sealed block opens in the place it was sealed for, and nowhere else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genba.errors import SealError
from genba.trust.envelope import TAG_BYTES, Envelope, new_data_key

KEY = bytes(range(32))
CONTEXT = {"owner": "fleet", "shard": "a"}


def sealed(data=b"secret", *, index=3):
    return Envelope(KEY, CONTEXT).sealer(7, {"stream": "lidar"}, place="here").seal(index, data)


def opened(data, *, key=KEY, context=CONTEXT, row=7, facts=None, index=3):
    return Envelope(key, context).seal(row, facts or {"stream": "lidar"}, place="here").open(index, data)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=100))
def test_what_was_sealed_comes_back(data):
    block = sealed(data)
    assert len(block) == len(data) + TAG_BYTES
    assert opened(block) == data
    out = bytearray(len(data))
    Envelope(KEY, CONTEXT).seal(7, {"stream": "lidar"}, place="").open_into(3, memoryview(block), memoryview(out))
    assert out == data


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"index": 4},
        {"row": 8},
        {"facts": {"stream": "front"}},
        {"context": CONTEXT | {"shard": "b"}},
        {"context": CONTEXT | {"owner": "rival"}},
        {"key": bytes(32)},
    ],
    ids=lambda e: next(iter(e)) + str(next(iter(e.values()))),
)
def test_a_block_that_was_moved_does_not_open(elsewhere):
    with pytest.raises(SealError, match=r"here: sealed block \d .* does not verify"):
        opened(sealed(), **elsewhere)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 8 * (6 + TAG_BYTES) - 1))
def test_any_flipped_bit_is_found(bit):
    block = bytearray(sealed())
    block[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealError, match="changed, cut or moved"):
        opened(bytes(block))


def test_a_block_that_was_cut_does_not_open():
    for length in (0, 3, TAG_BYTES, 6 + TAG_BYTES - 1):
        with pytest.raises(SealError, match="sealed block 3"):
            opened(sealed()[:length])
        seal = Envelope(KEY, CONTEXT).seal(7, {"stream": "lidar"}, place="here")
        with pytest.raises(SealError, match="sealed block 3"):
            seal.open_into(3, memoryview(sealed()[:length]), memoryview(bytearray(6)))


def test_no_nonce_is_used_twice():
    envelope = Envelope(KEY, CONTEXT)
    seal = envelope.sealer(0, {}, place="here")
    for index in (0, 1, 5):
        seal.seal(index, b"")
    with pytest.raises(AssertionError, match="here: block 5 is sealed already"):
        seal.seal(5, b"again")
    with pytest.raises(AssertionError, match="row 0 is sealed already"):
        envelope.sealer(0, {}, place="here")
    # One key, one text, two places: nothing is alike.
    one, two = (envelope.sealer(row, {}, place="").seal(0, bytes(64)) for row in (1, 2))
    assert one != two


def test_data_keys_are_random():
    assert len({new_data_key() for _ in range(100)}) == 100
    assert len(new_data_key()) == 32
