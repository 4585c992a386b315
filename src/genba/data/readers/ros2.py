"""Reads ROS 2 bags: a folder with ``metadata.yaml`` and its storage files (SQLite or MCAP), or one ``.db3`` file by itself.

No ROS is needed. Storage files are read in the order that the metadata names; compression by file or by message (zstd) is
undone within bounds. A type that the bag does not define is taken from the standard messages of ``distribution``. SQLite has no
check sums: a damaged ``.db3`` is found by SQLite itself or by messages that do not decode. Read next: ``message_log``.

Source: rosbag2, storage plug-ins sqlite3 (schemas 1 to 4) and mcap; metadata versions 1 to 9.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from genba.data.readers.cdr import CdrDecoder
from genba.data.readers.mcap import McapSource
from genba.data.readers.mcap_container import BLOCK_BYTES, McapFile, unpack, zstd_library
from genba.data.readers.message_batches import Decoder
from genba.data.readers.message_log import OPTIONS, LogSource, MessageLog, Topic, log_options
from genba.data.readers.message_pieces import Mapper, UnheldError
from genba.data.readers.options import provenance
from genba.data.readers.ros_definitions import (
    DEFAULT_DISTRIBUTION,
    distributions,
    parse_definition,
    standard_definition,
)
from genba.errors import FormatError, ReaderError, nearest
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode

METADATA = "metadata.yaml"
SQLITE_MAGIC = b"SQLite format 3\x00"

#: The key that a bag's metadata have.
_KEY = "rosbag2_bagfile_information"

#: The most bytes of metadata, and of one message once unpacked.
METADATA_LIMIT, MESSAGE_LIMIT = 16 << 20, 1 << 29

#: How much larger than itself a packed storage file may become.
RATIO_LIMIT = 1000


class Ros2Reader:
    """ROS 2 bags of any machine."""

    name = "ros2"
    description = "a ROS 2 bag: a folder with metadata.yaml and .db3 or .mcap files, or one .db3 file"
    options: Mapping[str, str] = {
        **OPTIONS,
        "distribution": "of ROS 2, whose standard messages are meant where the bag defines none (humble by default)",
    }

    def __init__(self) -> None:
        # Facts and episodes both need the first reading: it is kept for the log that was asked for last.
        self._last: tuple[object, MessageLog] | None = None

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` is a bag: its metadata's key, or SQLite with the two tables of a storage file."""
        path = Path(path)
        try:
            if path.is_dir():
                with (path / METADATA).open("rb") as file:
                    return _KEY.encode() in file.read(4096)
            with path.open("rb") as file:
                if file.read(len(SQLITE_MAGIC)) != SQLITE_MAGIC:
                    return False
            with contextlib.closing(_connect(path)) as database:
                return {"topics", "messages"} <= _tables(database)
        except (OSError, sqlite3.Error, UnicodeDecodeError):
            return False

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the facts that the user names, or those derived from the bag.

        Raises:
            FormatError: bytes that the format does not allow.
            ReaderError: nothing in it that a channel can hold, or an option that does not fit.
        """
        provenance(self, options)
        return self._log(Path(path), options).embodiment

    def read(self, path: Path, **options: Any) -> Iterator[Episode]:
        """Yield the episodes of a bag: one, unless ``split`` or ``length`` cut it.

        Raises:
            FormatError: bytes that the format does not allow.
            ReaderError: nothing in it that a channel can hold, or an option that does not fit.
        """
        given = provenance(self, options)
        yield from self._log(Path(path), options).episodes(self.name, given)

    def _log(self, path: Path, options: Mapping[str, Any]) -> MessageLog:
        chosen = log_options(self.name, options)
        distribution = str(options.get("distribution") or "")
        if distribution and distribution not in distributions():
            raise ReaderError(f"{self.name}: distribution: no {distribution!r}{nearest(distribution, distributions())}")
        source = BagSource(path, distribution)
        files = tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in source.files)
        key = (path, files, chosen, distribution)
        if self._last is None or self._last[0] != key:
            self._last = (key, MessageLog(source, chosen))
        return self._last[1]


class BagSource:
    """A bag as a log of messages."""

    def __init__(self, path: Path, distribution: str = "") -> None:
        """Read the metadata.

        Raises:
            FormatError: they are not what rosbag2 writes, or name files that are not there.
            ReaderError: nothing is there.
        """
        if not path.exists():
            raise ReaderError(f"{path}: no such file or folder, expected a ROS 2 bag")
        self.path, self.digest = path, ""
        self._num_messages: int | None = None
        self._compression, self._distribution = "", distribution or DEFAULT_DISTRIBUTION
        self.files = [path]
        if path.is_dir():
            information = _metadata(path / METADATA)
            self.files = _storage_files(path, information)
            self._compression = _compression(path / METADATA, information)
            count = information.get("message_count")
            self._num_messages = count if isinstance(count, int) else None
            stated = str(information.get("ros_distro") or "")
            if not distribution and stated in distributions():
                self._distribution = stated

    def messages(self, *, verify: bool) -> Iterator[tuple[Topic, int, bytes, int]]:
        """Yield topic, log time in ns, data, and offset (the message's number in a SQLite file)."""
        digests, num_messages = [], 0
        for file in self.files:
            with self._unpacked(file) as plain:
                storage: LogSource
                with _open(plain) as head:
                    is_sqlite = head.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
                if is_sqlite:
                    storage = _SqliteFile(plain, self._distribution)
                else:
                    storage = McapSource(McapFile(plain))
                for topic, log_ns, data, offset in storage.messages(verify=verify):
                    num_messages += 1
                    if self._compression == "message":
                        data = self._unpack_message(topic, data, offset)
                    yield topic, log_ns, data, offset
                digests.append(storage.digest)
        if self._num_messages not in (None, num_messages):
            raise FormatError(
                self.path / METADATA,
                f"message_count: got {self._num_messages}, expected {num_messages} as in the storage files; the bag is not "
                f"whole, or its metadata are of another: make them again with ros2 bag reindex",
            )
        if verify:
            self.digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    def _unpack_message(self, topic: Topic, data: bytes, offset: int) -> bytes:
        try:
            plain = unpack(data, "zstd", MESSAGE_LIMIT)
        except (ValueError, RuntimeError, EOFError) as error:
            raise FormatError(
                self.path, f"{topic.name}: a message does not unpack as zstd: {error}", offset=offset
            ) from error
        if len(plain) > MESSAGE_LIMIT:
            raise FormatError(
                self.path, f"{topic.name}: a message unpacks to more than {MESSAGE_LIMIT} bytes", offset=offset
            )
        return plain

    @contextlib.contextmanager
    def _unpacked(self, file: Path) -> Iterator[Path]:
        """Give the storage file itself, or an unpacked copy where it is packed as a whole."""
        if self._compression != "file":
            yield file
            return
        zstd = zstd_library()
        limit, size = RATIO_LIMIT * file.stat().st_size, 0
        with tempfile.TemporaryDirectory(prefix="genba-") as folder:
            plain = Path(folder) / file.name.removesuffix(".zstd")
            try:
                with (
                    file.open("rb") as packed,
                    plain.open("wb") as out,
                    zstd.ZstdDecompressor().stream_reader(packed) as r,
                ):
                    while block := r.read(BLOCK_BYTES):
                        size += out.write(block)
                        if size > limit:
                            raise FormatError(file, f"unpacks to more than {RATIO_LIMIT} times its size")
            except zstd.ZstdError as error:
                raise FormatError(file, f"does not unpack as zstd: {error}") from error
            except OSError as error:
                raise ReaderError(f"{file}: cannot be unpacked into {folder}: {error}") from error
            yield plain


class _SqliteFile:
    """One ``.db3`` file of a bag."""

    def __init__(self, path: Path, distribution: str) -> None:
        self.path, self.digest, self._distribution = path, "", distribution

    def messages(self, *, verify: bool) -> Iterator[tuple[Topic, int, bytes, int]]:
        """Yield topic, log time in ns, data and the message's number, in the order of time."""
        for suffix in ("-wal", "-journal"):
            beside = self.path.with_name(self.path.name + suffix)
            if beside.is_file() and beside.stat().st_size:
                raise FormatError(
                    self.path, f"its recorder did not finish: {beside.name} lies beside it; open it once with sqlite3"
                )
        if verify:
            with _open(self.path) as file:
                self.digest = hashlib.file_digest(file, "sha256").hexdigest()
        try:
            with contextlib.closing(_connect(self.path)) as database:
                topics = self._topics(database)
                for number, topic_id, time_ns, data in database.execute(
                    "SELECT id, topic_id, timestamp, data FROM messages ORDER BY timestamp, id"
                ):
                    topic = topics.get(topic_id)
                    fits = isinstance(time_ns, int) and 0 <= time_ns < 1 << 63 and isinstance(data, bytes)
                    if topic is None or not fits:
                        raise FormatError(
                            self.path,
                            f"message {number}: got topic {topic_id!r} and {type(data).__name__} at {time_ns!r}",
                        )
                    yield topic, time_ns, data, number if isinstance(number, int) else 0
        # sqlite3 does not count a damaged blob's length and damaged text in its message among its own errors.
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
            raise FormatError(self.path, f"SQLite: {error}") from error

    def _topics(self, database: sqlite3.Connection) -> dict[int, Topic]:
        definitions: dict[str, tuple[str, str]] = {}
        if "message_definitions" in _tables(database):
            for name, encoding, text in database.execute(
                "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            ):
                definitions[str(name)] = (str(encoding), str(text))
        return {
            number: self._topic(str(name), str(schema), str(encoding), definitions.get(str(schema)))
            for number, name, schema, encoding in database.execute(
                "SELECT id, name, type, serialization_format FROM topics"
            )
        }

    def _topic(self, name: str, schema: str, encoding: str, definition: tuple[str, str] | None) -> Topic:
        def make_decoder(mapper: Mapper) -> Decoder:
            if encoding != "cdr":
                raise UnheldError(f"its encoding ({encoding}) is not known")
            if definition is not None and definition[1] and definition[0] in ("ros2msg", "ros2idl"):
                message = parse_definition(schema, definition[1], definition[0], self._distribution)
            else:
                message = standard_definition(schema, self._distribution)
            return CdrDecoder(message, mapper.wants)

        return Topic(name, schema, encoding, make_decoder)


def _connect(path: Path) -> sqlite3.Connection:
    # Read only, and immutable: a bag on a disk that cannot be written to has no place for SQLite's lock.
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    database.text_factory = lambda data: data.decode("utf-8", errors="replace")
    return database


def _tables(database: sqlite3.Connection) -> set[str]:
    return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _open(path: Path):  # type: ignore[no-untyped-def]
    try:
        return path.open("rb")
    except OSError as error:
        raise ReaderError(f"{path}: cannot be read: {error}") from error


def _metadata(path: Path) -> dict[str, Any]:
    yaml = _yaml()
    try:
        if path.stat().st_size > METADATA_LIMIT:
            raise FormatError(path, f"got {path.stat().st_size} bytes, expected at most {METADATA_LIMIT}")
        table = yaml.YAML(typ="safe", pure=True).load(io.StringIO(path.read_text(encoding="utf-8")))
        information = table[_KEY]
        if not isinstance(information, dict):
            raise TypeError(f"{_KEY} is a {type(information).__name__}")
    except OSError as error:
        raise ReaderError(f"{path}: cannot be read: {error}") from error
    except FormatError:
        raise
    except Exception as error:  # a YAML parser meets damaged text with a dozen kinds of error
        raise FormatError(path, f"not the metadata of a bag: {error}") from error
    return information


def _storage_files(folder: Path, information: Mapping[str, Any]) -> list[Path]:
    place = folder / METADATA
    storage = information.get("storage_identifier")
    if storage not in ("sqlite3", "mcap"):
        raise FormatError(place, f"storage_identifier: got {storage!r}, expected sqlite3 or mcap")
    names = information.get("relative_file_paths")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise FormatError(place, f"relative_file_paths: got {names!r}, expected the names of storage files")
    # Only the last part counts: old recorders wrote the bag's folder before it, and nothing outside it is read.
    files = [folder / PurePosixPath(name).name for name in names]
    for file in files:
        if not file.is_file():
            raise FormatError(place, f"relative_file_paths: names {file.name}, which is not there; is the bag whole?")
    return files


def _compression(place: Path, information: Mapping[str, Any]) -> str:
    mode = str(information.get("compression_mode") or "").lower()
    if mode in ("", "none"):
        return ""
    packed = information.get("compression_format")
    if mode not in ("file", "message") or packed != "zstd":
        raise FormatError(place, f"compression: got {packed!r} by {mode!r}, expected zstd by file or message")
    return mode


def _yaml():  # type: ignore[no-untyped-def]
    # Imported here: it comes with an extra, and machines that read no bags do without it.
    try:
        import ruamel.yaml
    except ModuleNotFoundError as error:
        raise ReaderError("ROS 2 bags need rosbags; install it with: pip install 'genba[readers]'") from error
    return ruamel.yaml
