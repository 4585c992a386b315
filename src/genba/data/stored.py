"""A stream as it lies in a shard: clocks at once, values block by block when they are asked for.

``StoredStream`` reads runs of samples. Where nothing is sealed, telemetry and entities are views of the mapped file;
where blocks are sealed, only those that hold the wanted samples are opened. It keeps nothing that it opened: whoever
reads the same samples often keeps them. Where the bytes come from (a mapped file, ranges of an object) is
``storage``'s business.
"""

from __future__ import annotations

import itertools
import math
import zlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from genba.data.codecs import H264, JPEGS, POINTS, RAW, EncodedStream
from genba.data.pictures import decode_h264, decode_jpeg
from genba.data.points import decode_sweep
from genba.data.storage import Held, Source
from genba.errors import CorruptShardError, SealError, SpecError
from genba.spec.streams import Stream
from genba.trust.envelope import TAG_BYTES, Seal

#: How many times its bytes a block can decode to: zstd's runs, a JPEG of one colour (14 bits for 192 bytes), a film of one.
EXPANSION = {RAW: 1, POINTS: 40_000, H264: 1_000_000} | dict.fromkeys(JPEGS.values(), 1_000)
#: Numbers of a row's sealed blocks: its clock, its splits, then its values.
CLOCK, SPLITS, FIRST_BLOCK = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class StoredStream:
    """A stream that is not decoded yet.

    Attributes:
        codec: how values are stored, one of ``codecs.CODECS``.
        dtype: of the decoded values.
        shape: of one decoded sample (dense) or row (ragged).
        times_ns: int64 ``[samples]``.
        splits: int64 ``[samples + 1]`` where ragged, else None.
        samples_per_block: samples of every block but the last.
        bounds: int64 ``[blocks + 1]``: block ``i`` is ``source``'s bytes ``bounds[i]`` to ``bounds[i + 1]``.
        checks: uint32 ``[blocks]``, the CRC-32 of each block's bytes.
        source: where the bytes are.
        seal: what opens them, None where they are not sealed.
        place: where it was read, for errors.
    """

    codec: str
    dtype: np.dtype
    shape: tuple[int, ...]
    times_ns: np.ndarray
    splits: np.ndarray | None
    samples_per_block: int
    bounds: np.ndarray
    checks: np.ndarray
    source: Source
    seal: Seal | None
    place: str = ""

    @classmethod
    def of(cls, encoded: EncodedStream, place: str) -> StoredStream:
        """Return an encoded stream as if it were stored, in memory and not sealed."""
        sizes = [len(block) for block in encoded.blocks]
        return cls(
            codec=encoded.codec,
            dtype=np.dtype(encoded.dtype),
            shape=encoded.shape,
            times_ns=encoded.times_ns,
            splits=encoded.splits,
            samples_per_block=encoded.samples_per_block,
            bounds=np.append(0, np.cumsum(sizes)).astype(np.int64),
            checks=np.array([zlib.crc32(block) for block in encoded.blocks], np.uint32),
            source=Held(pa.py_buffer(b"".join(encoded.blocks))),
            seal=None,
            place=place,
        )

    def __len__(self) -> int:
        return len(self.times_ns)

    @property
    def size_bytes(self) -> int:
        """Bytes that the values take as they are stored."""
        return int(self.bounds[-1] - self.bounds[0])

    @property
    def num_blocks(self) -> int:
        """How many blocks hold the samples."""
        return len(self.bounds) - 1

    def rows(self, sample: int) -> int:
        """Return how many rows of values stand before ``sample``: the sample itself where dense."""
        return sample if self.splits is None else int(self.splits[sample])

    def blocks(self, first: int, stop: int) -> list[np.ndarray]:
        """Return the encoded bytes of blocks ``first`` to ``stop`` (exclusive): uint8 ``[bytes]`` each.

        Raises:
            CorruptShardError: a sealed block does not verify.
        """
        stored, edges = self._view(first, stop)
        parts = [stored[low:high] for low, high in itertools.pairwise(edges)]
        if self.seal is None:
            return parts
        return [self._open(first + i, part) for i, part in enumerate(parts)]

    def values(self, start: int, stop: int) -> np.ndarray:
        """Return the values of samples ``start`` to ``stop`` (exclusive), decoded.

        Returns:
            Dense: ``[stop - start, *shape]``. Ragged: the rows of all of them, one after the other. A view of the
            stored bytes where these are neither encoded nor sealed; never writeable then.

        Raises:
            CorruptShardError: bytes that do not verify or do not decode.
        """
        if start >= stop:
            return np.zeros((0, *self.shape), self.dtype)
        first, last = start // self.samples_per_block, -(-stop // self.samples_per_block)
        if self.codec == RAW:
            data = self._raw(first, last)
            base = self.rows(first * self.samples_per_block)
            return data[self.rows(start) - base : self.rows(stop) - base]
        self.check_claim(start, stop)
        out = np.empty((self.rows(stop) - self.rows(start), *self.shape), self.dtype)
        self.read(start, stop, out)
        return out

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """Write what ``values`` would give into ``out``, of its shape and dtype: encoded values need no array between.

        Raises:
            CorruptShardError: as ``values``.
        """
        if self.codec == RAW or start >= stop:
            out[:] = self.values(start, stop)
            return
        each, base = self.samples_per_block, self.rows(start)
        first, last = start // each, -(-stop // each)
        # One view for all of them: one request, where the blocks lie in object storage.
        stored, edges = self._view(first, last)
        for block, (begin, end) in enumerate(itertools.pairwise(edges), first):
            low, high = max(start, block * each), min(stop, (block + 1) * each)
            data = stored[begin:end]
            if self.seal is not None:
                data = self._open(block, data)
            try:
                self._decode(data, out[self.rows(low) - base : self.rows(high) - base], low - block * each)
            except ValueError as error:
                raise CorruptShardError(f"{self.place}: block {block}: {error}; run: genba data fsck") from error

    def check_claim(self, start: int, stop: int) -> None:
        """Refuse samples whose blocks could not hold them: what is in clear may claim anything, and memory is taken for it.

        Raises:
            CorruptShardError: fewer bytes than the samples need.
        """
        first, last = start // self.samples_per_block, -(-stop // self.samples_per_block)
        size = int(self.bounds[last] - self.bounds[first])
        claimed = (self.rows(stop) - self.rows(start)) * math.prod(self.shape) * self.dtype.itemsize
        if claimed > EXPANSION[self.codec] * size + 65536:
            raise CorruptShardError(
                f"{self.place}: blocks {first} to {last - 1}: got {size} bytes for {claimed}, which is too few; "
                f"run: genba data fsck"
            )

    def sample(self, index: int) -> np.ndarray:
        """Return one sample decoded: ``[*shape]`` where dense, ``[rows, *shape]`` where ragged."""
        values = self.values(index, index + 1)
        return values[0] if self.splits is None else values

    def decode(self) -> Stream:
        """Return the whole stream, decoded.

        Raises:
            CorruptShardError: bytes that do not verify or do not decode.
        """
        try:
            return Stream(self.times_ns, self.values(0, len(self)), self.splits)
        except SpecError as error:
            raise CorruptShardError(f"{self.place}: {error}; run: genba data fsck") from error

    def encoded(self, kept: list[int] | None = None) -> EncodedStream:
        """Return the stream as it was encoded, opened but not decoded, to be stored elsewhere.

        Args:
            kept: only these blocks, rising, with their samples; None for all.

        Raises:
            CorruptShardError: a sealed block does not verify.
        """
        whole = kept is None
        kept = list(range(self.num_blocks)) if kept is None else kept
        blocks = self.blocks(0, self.num_blocks) if whole else [self.blocks(i, i + 1)[0] for i in kept]
        times_ns, splits = self.times_ns, self.splits
        if not whole:
            chosen = np.zeros(len(self), np.bool_)
            for i in kept:
                chosen[i * self.samples_per_block : (i + 1) * self.samples_per_block] = True
            times_ns = times_ns[chosen]
            if splits is not None:
                splits = np.append(0, np.cumsum(np.diff(splits)[chosen])).astype(np.int64)
        data = [block.data for block in blocks]
        return EncodedStream(self.codec, self.dtype.str, self.shape, times_ns, splits, self.samples_per_block, data)

    def damaged_blocks(self) -> list[int]:
        """Return the blocks whose bytes are not those that were stored, without opening them."""
        starts, stops = self.bounds[:-1].tolist(), self.bounds[1:].tolist()
        found = []
        for i, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            if zlib.crc32(self.source.view(start, stop).data) != self.checks[i]:
                found.append(i)
        return found

    def _view(self, first: int, stop: int) -> tuple[np.ndarray, list[int]]:
        """Return the bytes of blocks ``first`` to ``stop`` (exclusive), and where in them each begins and the last ends."""
        bounds = self.bounds[first : stop + 1].tolist()
        low, high = bounds[0], bounds[-1]
        if high > self.source.size:
            raise CorruptShardError(
                f"{self.place}: block {stop - 1} ends at byte {high} of a file of {self.source.size}; run: genba data fsck"
            )
        return self.source.view(low, high), [bound - low for bound in bounds]

    def _open(self, block: int, data: np.ndarray) -> np.ndarray:
        assert self.seal is not None
        try:
            return np.frombuffer(self.seal.open(FIRST_BLOCK + block, data.data), np.uint8)
        except SealError as error:
            raise self._broken(block, error) from error

    def _raw(self, first: int, last: int) -> np.ndarray:
        """Return the rows of blocks ``first`` to ``last`` (exclusive) as one array ``[rows, *shape]``."""
        stored, edges = self._view(first, last)
        if self.seal is not None:
            # Opened one behind the other into one array: a run of samples needs no joining.
            out = np.empty(edges[-1] - TAG_BYTES * (last - first), np.uint8)
            at = 0
            for block, (low, high) in enumerate(itertools.pairwise(edges), first):
                part = out[at : at + high - low - TAG_BYTES]
                try:
                    self.seal.open_into(FIRST_BLOCK + block, stored[low:high].data, part.data)
                except SealError as error:
                    raise self._broken(block, error) from error
                at += len(part)
            stored = out
        low, high = self.rows(first * self.samples_per_block), self.rows(min(last * self.samples_per_block, len(self)))
        expected = (high - low) * math.prod(self.shape) * self.dtype.itemsize
        if len(stored) != expected:
            raise CorruptShardError(
                f"{self.place}: blocks {first} to {last - 1}: got {len(stored)} bytes, expected {expected}; "
                f"run: genba data fsck"
            )
        return stored.view(self.dtype).reshape(high - low, *self.shape)

    def _decode(self, data: np.ndarray, out: np.ndarray, skip: int) -> None:
        """Decode a block into ``out``, but for its first ``skip`` samples.

        Raises:
            ValueError: the bytes are not what the codec says.
        """
        if self.codec == POINTS:
            decode_sweep(data, out)
        elif self.codec != H264:
            assert self.codec in JPEGS.values()
            decode_jpeg(data, out[0])
        else:
            frames = np.empty((skip + len(out), *self.shape), np.uint8) if skip else out
            decode_h264(data, frames)
            if skip:
                out[:] = frames[skip:]

    def _broken(self, block: int, error: SealError) -> CorruptShardError:
        return CorruptShardError(f"{self.place}: block {block}: {error}; run: genba data fsck")
