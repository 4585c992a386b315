"""Hosts that nobody allowed, each a listener of this computer that counts what reaches it."""

from __future__ import annotations

import array
import os
import selectors
import socket
import threading
from pathlib import Path
from types import TracebackType


class Foreign:
    """Listens by TCP, UDP and unix sockets; ``received`` names every door that somebody came to."""

    def __init__(self, folder: Path) -> None:
        self.received: list[str] = []
        self._selector = selectors.DefaultSelector()
        self._stop_out, self._stop_in = os.pipe()
        self._open: list[socket.socket] = []
        self.tcp = self._tcp("tcp", socket.AF_INET, "127.0.0.2")
        self.tcp6 = self._tcp("tcp6", socket.AF_INET6, "::1")
        self.local_tcp = self._tcp("local_tcp", socket.AF_INET, "127.0.0.1")
        self.allowed = self._tcp("allowed", socket.AF_INET, "127.0.0.1")
        udp = self._keep("udp", socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.2", 0))
        self.udp = udp.getsockname()
        self.unix_path = str(folder / "docker.sock")
        self._unix("unix_path", socket.SOCK_STREAM, self.unix_path)
        self.unix_abstract = f"genba-foreign-{os.getpid()}-{id(self)}"
        self._unix("unix_abstract", socket.SOCK_STREAM, "\0" + self.unix_abstract)
        self.unix_datagram = str(folder / "datagrams.sock")
        self._unix("unix_datagram", socket.SOCK_DGRAM, self.unix_datagram)
        self.service = str(folder / "service.sock")
        self._unix("service", socket.SOCK_STREAM, self.service)
        self.connected = socket.create_connection(self.tcp)
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Foreign:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._stop_in)
        self._thread.join()
        os.close(self._stop_out)
        self._selector.close()
        for one in (*self._open, self.connected):
            one.close()

    def _keep(self, name: str, one: socket.socket) -> socket.socket:
        one.setblocking(False)
        self._open.append(one)
        self._selector.register(one, selectors.EVENT_READ, name)
        return one

    def _tcp(self, name: str, family: socket.AddressFamily, host: str) -> tuple[str, int]:
        one = socket.socket(family)
        one.setsockopt(socket.IPPROTO_TCP, 23, 16)  # fast open
        one.bind((host, 0))
        one.listen(64)
        return self._keep(name, one).getsockname()[:2]

    def _unix(self, name: str, kind: socket.SocketKind, path: str) -> None:
        one = socket.socket(socket.AF_UNIX, kind)
        one.bind(path)
        if not path.startswith("\0"):
            os.chmod(path, 0o777)
        if kind == socket.SOCK_STREAM:
            one.listen(64)
        self._keep(name, one)

    def _serve(self) -> None:
        self._selector.register(self._stop_out, selectors.EVENT_READ, "stop")
        while True:
            for key, _ in self._selector.select():
                if key.data == "stop":
                    return
                one = key.fileobj
                assert isinstance(one, socket.socket)
                if one.type == socket.SOCK_DGRAM:
                    one.recv(2048)
                    self.received.append(key.data)
                elif one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    self._accept(one, key.data)
                elif not self._read(one):
                    self._selector.unregister(one)

    def _accept(self, one: socket.socket, name: str) -> None:
        try:
            other, address = one.accept()
        except OSError:
            return  # gone before it was let in
        if name == "service":
            self._hand_over(other)
        if name not in ("service", "allowed") and address != self.connected.getsockname():
            self.received.append(name)
        if other.fileno() >= 0:
            self._keep(name, other)

    def _read(self, one: socket.socket) -> bool:
        try:
            data = one.recv(2048)
        except OSError:
            return False
        if b"leak" in data:
            self.received.append("data")
        return bool(data)

    def _hand_over(self, other: socket.socket) -> None:
        """Do what a listed service should not: hand in a connection to a host that is not allowed."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [self.connected.fileno()]))]
        try:
            other.sendmsg([b"x"], rights)
        except OSError:
            other.close()
