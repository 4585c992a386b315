"""Where a vault's shards lie: a local folder, memory-mapped, or S3-compatible object storage, read in ranges.

Both are reached through ``pyarrow.fs``. Whatever stands under a shard's name is whole: locally it is written under
another name, synced and renamed; in object storage one upload is whole or not there. Nothing is ever changed in place.

A location is a folder, or ``s3://bucket/prefix`` with what the endpoint needs, as Arrow writes it, e.g.
``s3://vault/arm?scheme=http&endpoint_override=127.0.0.1:9000``. Credentials belong in the environment
(``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``), never in a location: locations stand in messages.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs

from genba.errors import ConfigError, StorageError
from genba.trust.digest import BLOCK_BYTES
from genba.trust.durable import sync_folder, write_whole

REMOTE = ("s3://",)

#: What Amazon's client does only if told, set before it starts. Its newest way of sending checksums is refused by servers
#: that are a year or two old (OpenStack Swift 2.30: "501 aws-chunked is not supported"), and digests here are our own.
#: Without credentials it would ask a machine of Amazon's for some; a vault's location is the only host to talk to.
ENVIRONMENT = {
    "AWS_REQUEST_CHECKSUM_CALCULATION": "WHEN_REQUIRED",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "WHEN_REQUIRED",
    "AWS_EC2_METADATA_DISABLED": "true",
}


#: where Amazon's client looks for an endpoint that the location does not name
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


class Source(Protocol):
    """An opened file: ranges of its bytes, and Arrow's own handle on it."""

    size: int
    file: Any

    def view(self, start: int, stop: int) -> np.ndarray:
        """Return bytes ``start`` to ``stop`` (exclusive): uint8; a view where the file is mapped."""
        ...


class Held:
    """A file whose bytes are at hand, mapped or fetched: reading is a view.

    A mapping outlives its closed file, so it costs no file descriptor.
    """

    def __init__(self, buffer: pa.Buffer) -> None:
        self._buffer = buffer
        self.size, self.address, self.file = buffer.size, buffer.address, pa.BufferReader(buffer)
        self._bytes = np.frombuffer(buffer, np.uint8)

    def view(self, start: int, stop: int) -> np.ndarray:
        """Return a view; nothing is copied."""
        return self._bytes[start:stop]


class Ranged:
    """A remote object: every range is one request, so ask for neighbours together."""

    def __init__(self, filesystem: pafs.FileSystem, path: str) -> None:
        self.path, self.file = path, filesystem.open_input_file(path)
        self.size = self.file.size()

    def view(self, start: int, stop: int) -> np.ndarray:
        """Fetch the range.

        Raises:
            StorageError: the object is gone, or the endpoint does not answer.
        """
        try:
            return np.frombuffer(self.file.read_at(stop - start, start), np.uint8)
        except OSError as error:
            raise StorageError(
                f"{self.path}: could not read bytes {start} to {stop}: {error}; if shards were packed meanwhile, open the "
                f"vault again"
            ) from error


class Storage:
    """The files of one vault by their names, relative to its location, with ``/``. It may be sent to other processes."""

    def __init__(self, location: Path | str) -> None:
        """Take a folder or a URL; nothing is made or looked for yet.

        Raises:
            ConfigError: a URL that no file system here understands.
        """
        self.location, self.is_local = str(location), not str(location).startswith(REMOTE)
        if self.is_local:
            # A URL that was made a path has lost a slash; it must not become a folder of that name in silence.
            if re.match(r"[a-z0-9+.]{2,}:/", self.location):
                raise ConfigError(
                    f"{location}: got a URL, expected a folder or one of {', '.join(REMOTE)}, as a string"
                )
            self._files: pafs.FileSystem = pafs.LocalFileSystem()
            self._root = str(Path(location))
        else:
            for name, value in ENVIRONMENT.items():
                os.environ.setdefault(name, value)
            try:
                self._files, self._root = pafs.FileSystem.from_uri(self.location)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise ConfigError(f"{location}: {error}; expected s3://bucket/prefix") from error

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every endpoint that it reaches over the network, as rules name them: the bucket's URL, and whose host is named."""
        if self.is_local:
            return ()
        query = parse_qs(self.location.partition("?")[2])
        named = [*query.get("endpoint_override", []), *filter(None, map(os.environ.get, ENDPOINT_VARIABLES))]
        hosts = [_host(one, secure=query.get("scheme", ["https"])[0] != "http") for one in named]
        return (f"s3://{self._root}", *dict.fromkeys(hosts))

    def place(self, name: str) -> str:
        """Return where a file is, for messages."""
        return f"{self._root}/{name}" if self.is_local else f"{self._root}/{name} in {self.location.partition('?')[0]}"

    def write(self, name: str, data: pa.Buffer | bytes, *, replace: bool = False) -> None:
        """Write a file so that after a crash it is there whole or not at all; ``replace`` where one may be there.

        Raises:
            StorageError: the system refused (a full disk, a quota, no permission); nothing is left behind.
        """
        if self.is_local:
            write_durably(Path(self._root, name), data, replace=replace)
            return
        try:
            self._put(f"{self._root}/{name}", data)
        except OSError as error:
            raise StorageError(
                f"{self.place(name)}: could not write {len(memoryview(data))} bytes: {error}; nothing of this was stored "
                f"and everything before is intact"
            ) from error

    def open(self, name: str, *, whole: bool = False) -> Source:
        """Open a file: mapped where it is local, else read in ranges, or fetched at once where the ``whole`` is wanted.

        Raises:
            OSError: it is not there or cannot be read.
        """
        if self.is_local:
            with pa.memory_map(f"{self._root}/{name}") as file:
                return Held(file.read_buffer())
        ranged = Ranged(self._files, f"{self._root}/{name}")
        return Held(ranged.file.read_buffer(ranged.size)) if whole else ranged

    def size_bytes(self, name: str) -> int | None:
        """Return a file's size, None where it is not there.

        Raises:
            StorageError: the endpoint does not answer.
        """
        try:
            info = self._files.get_file_info(f"{self._root}/{name}")
        except OSError as error:
            raise StorageError(f"{self.place(name)}: could not look for it: {error}") from error
        return info.size if info.type == pafs.FileType.File else None

    def digest(self, name: str) -> str:
        """Return the digest of a file's content, read in full.

        Raises:
            StorageError: it cannot be read.
        """
        state = hashlib.sha256()
        try:
            with self._files.open_input_stream(f"{self._root}/{name}") as file:
                while block := file.read(BLOCK_BYTES):
                    state.update(block)
        except OSError as error:
            raise StorageError(f"{self.place(name)}: could not read it: {error}") from error
        return f"sha256:{state.hexdigest()}"

    def names(self, folder: str) -> list[str]:
        """Return the names of every file below ``folder``, in order; none where there is no such folder.

        Raises:
            StorageError: the endpoint does not answer.
        """
        selector = pafs.FileSelector(f"{self._root}/{folder}", allow_not_found=True, recursive=True)
        try:
            found = self._files.get_file_info(selector)
        except OSError as error:
            raise StorageError(f"{self.place(folder)}: could not list: {error}") from error
        return sorted(i.path.removeprefix(f"{self._root}/") for i in found if i.type == pafs.FileType.File)

    def remove(self, name: str) -> None:
        """Delete a file; one that is gone already is no error."""
        with contextlib.suppress(FileNotFoundError):
            self._files.delete_file(f"{self._root}/{name}")

    def erase(self, name: str) -> None:
        """Delete a file for good: a local one is overwritten first, so that who has it mapped, or linked, loses it too.

        In object storage it is deleted; a bucket that keeps versions must be told to forget them.

        Raises:
            StorageError: the system refused; the file may be overwritten already.
        """
        try:
            if self.is_local:
                erase_file(Path(self._root, name))
            else:
                self.remove(name)
        except OSError as error:
            raise StorageError(f"{self.place(name)}: could not be erased: {error}") from error

    def move(self, name: str, to: str) -> None:
        """Move a file within the vault.

        Raises:
            StorageError: the system refused; the file is where it was.
        """
        try:
            if self.is_local:
                Path(self._root, to).parent.mkdir(parents=True, exist_ok=True)
            self._files.move(f"{self._root}/{name}", f"{self._root}/{to}")
        except OSError as error:
            raise StorageError(f"{self.place(name)}: could not move it to {to}: {error}") from error

    def _put(self, path: str, data: pa.Buffer | bytes) -> None:
        # Arrow finishes an upload when its stream is closed, also after an error: what is written in one piece and
        # closed without one is all that may ever be seen under the name.
        with self._files.open_output_stream(path) as file:
            file.write(data)


def _host(endpoint: str, *, secure: bool) -> str:
    """Return an endpoint, as an option or a variable names it, as ``host:port``."""
    scheme, _, rest = endpoint.rpartition("://")
    host = rest.partition("/")[0]
    port = 443 if scheme == "https" or (secure and not scheme) else 80
    return host if re.search(r":[0-9]+$", host) else f"{host}:{port}"


def erase_file(path: Path) -> None:
    """Overwrite a local file in place and delete it; one that is gone already is no error.

    A file system that keeps old blocks (copy on write, snapshots, flash) may hold what was there still.

    Raises:
        OSError: the system refused.
    """
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY)
        try:
            rest, zeros = os.fstat(descriptor).st_size, bytes(BLOCK_BYTES)
            while rest > 0:
                rest -= os.write(descriptor, zeros[:rest])
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        path.unlink()
        sync_folder(path.parent)


def write_durably(path: Path, data: pa.Buffer | bytes, *, replace: bool = False) -> None:
    """Write ``data`` under ``path`` so that after a crash the file is there whole or not at all.

    Args:
        replace: whether a file may be there already; after a crash it is the old or the new one.

    Raises:
        StorageError: the system refused (a full disk, a quota, no permission); nothing is left behind.
    """
    try:
        write_whole(path, memoryview(data), replace=replace)
    except OSError as error:
        raise StorageError(
            f"{path}: could not write {len(memoryview(data))} bytes: {error.strerror}; nothing of this episode was "
            f"stored and everything before is intact; free some space or choose another vault"
        ) from error
