"""What a confined command may reach: endpoints, addresses to listen on, files, sockets; each with where that comes from.

A policy is facts, checked when it is made. Names are turned into addresses once, by ``Policy.pin``, and stay pinned for
the whole run. What it does not list is refused. It decides nothing itself: ``decide`` does, with a policy in hand.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from genba.errors import SandboxError

#: Files of /etc that programs read to find libraries, names, users, certificates and the time zone; nothing secret.
_ETC = (
    "ld.so.cache ld.so.conf ld.so.conf.d nsswitch.conf host.conf hosts resolv.conf gai.conf services protocols passwd "
    "group localtime timezone locale.alias ssl pki ca-certificates os-release debian_version mime.types fonts alternatives magic "
    "python3 python3.11 python3.12 python3.13 mtab"
)
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sys")
_DEVICES_READ = ("/dev/random", "/dev/urandom")
_DEVICES_WRITTEN = ("/dev/null", "/dev/zero", "/dev/full", "/dev/shm")

#: What processes of one host call it among themselves.
LOOPBACK = ("127.0.0.1", "::1")

Resolve = Callable[[str], Iterable[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """One host and the ports on it: to connect to, or to listen on."""

    host: str
    """As it was written: a name or an address."""
    low_port: int
    """The first port; 0 (to listen on) means a port that the kernel picks."""
    high_port: int
    """The last port, included."""
    source: str
    """Where this permission comes from: an agreement, a site, the command line."""
    addresses: tuple[str, ...] = ()
    """IPv4 and IPv6 addresses in their short form, pinned; empty until a name has been resolved."""

    def __post_init__(self) -> None:
        if not self.host or not all(one.isascii() and (one.isalnum() or one in "-._:") for one in self.host):
            raise ValueError(f"got host {self.host!r}, expected a name or an address")
        if not 0 <= self.low_port <= self.high_port <= 65535:
            raise ValueError(f"{self.host}: got ports {self.low_port} to {self.high_port}, expected 0 to 65535, rising")
        if not self.source:
            raise ValueError(f"{self.host}: no source; expected where this permission comes from")
        for one in self.addresses:
            if _address(one) != one:
                raise ValueError(f"{self.host}: got address {one!r}, expected {_address(one)!r}")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.low_port}" + ("" if self.low_port == self.high_port else f"-{self.high_port}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PathRule:
    """One path and everything beneath it."""

    path: str
    """Absolute, without symbolic links."""
    source: str
    """Where this permission comes from."""

    def __post_init__(self) -> None:
        if not os.path.isabs(self.path):
            raise ValueError(f"got path {self.path!r}, expected an absolute one")
        if not self.source:
            raise ValueError(f"{self.path}: no source; expected where this permission comes from")


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """Everything that a confined command may reach; what is not listed is refused."""

    endpoints: tuple[Endpoint, ...] = ()
    """Hosts that may be connected to; only they may connect to what the command listens on."""
    binds: tuple[Endpoint, ...] = ()
    """Addresses of this host that may be listened on."""
    readable: tuple[PathRule, ...] = ()
    """Paths that may be read and executed."""
    writable: tuple[PathRule, ...] = ()
    """Paths that may also be written."""
    sockets: tuple[PathRule, ...] = ()
    """Unix sockets of services outside that may be connected to."""
    has_own_ports: bool = False
    """Whether its processes may talk to each other over loopback: each port that they themselves listen on, and no other."""

    def __post_init__(self) -> None:
        for endpoint in self.endpoints:
            if endpoint.low_port == 0:
                raise ValueError(f"{endpoint.host}: got port 0, expected the port to connect to")
            for one in endpoint.addresses:
                _check_reachable(endpoint.host, one)
        for rule in self.sockets:
            if inside := next((folder for folder in self.writable if is_beneath(rule.path, folder.path)), None):
                raise ValueError(
                    f"socket {rule.path} lies in {inside.path}, which the command may write: it could put another in "
                    "its place; list a socket elsewhere"
                )

    def pin(self, resolve: Resolve | None = None) -> Policy:
        """Return the policy with every name resolved to its addresses, which hold for the whole run.

        Args:
            resolve: turns a name into addresses; the system's resolver by default.

        Raises:
            SandboxError: a name has no address, or one that no connection may go to.
        """
        resolve = resolve or _system_addresses
        try:
            return dataclasses.replace(
                self,
                endpoints=tuple(_pin(one, resolve) for one in self.endpoints),
                binds=tuple(_pin(one, resolve) for one in self.binds),
            )
        except ValueError as error:
            raise SandboxError(str(error)) from error

    def names(self) -> dict[str, tuple[str, ...]]:
        """Return the pinned addresses of every endpoint that was given by name."""
        every = (*self.endpoints, *self.binds)
        return {one.host: one.addresses for one in every if one.addresses != (one.host,)}

    def peers(self) -> tuple[str, ...]:
        """Return the addresses that may connect to what the command listens on: its endpoints' and its own."""
        found = {one for endpoint in (*self.endpoints, *self.binds) for one in endpoint.addresses}
        found |= set(LOOPBACK) if self.has_own_ports else set()
        return tuple(sorted(one for one in found if not ipaddress.ip_address(one).is_unspecified))


def is_beneath(path: str, folder: str) -> bool:
    """Return whether ``path`` is ``folder`` or lies in it, by their names alone."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def parse_endpoint(text: str, source: str, *, to_listen_on: bool = False) -> Endpoint:
    """Read ``HOST:PORT``, ``HOST:LOW-HIGH`` or ``HOST:*``; an IPv6 address stands in brackets.

    Raises:
        SandboxError: the text is none of these.
    """
    host, _, ports = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    low, dash, high = ("0" if to_listen_on else "1", "-", "65535") if ports == "*" else ports.partition("-")
    if (":" in bare and not bracketed) or not low.isdecimal() or (dash and not high.isdecimal()):
        raise SandboxError(f"got {text!r}, expected HOST:PORT, HOST:LOW-HIGH or HOST:*, an IPv6 host in brackets")
    try:
        addresses = (_address(bare),)
        bare = addresses[0]
    except ValueError:
        addresses = ()
    try:
        return Endpoint(host=bare, low_port=int(low), high_port=int(high or low), source=source, addresses=addresses)
    except ValueError as error:
        raise SandboxError(str(error)) from error


def path_rule(path: Path | str, source: str) -> PathRule:
    """Return a rule for ``path`` with its symbolic links followed, as the kernel will see it.

    Raises:
        SandboxError: nothing is there.
    """
    try:
        return PathRule(path=str(Path(path).resolve(strict=True)), source=source)
    except OSError as error:
        raise SandboxError(f"{path}: {error.strerror}; a path that is allowed must be there") from error


def runtime_paths() -> tuple[tuple[PathRule, ...], tuple[PathRule, ...]]:
    """Return what nearly every program reads, and what it writes: libraries, Python, ``/proc``, a few devices.

    Paths that this computer does not have are left out. No home folder, no ``/tmp``, no disks.
    """
    # The last is the folder that this package is imported from, which Python must be able to list.
    python = (sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(__file__).resolve().parents[3]))
    readable = [*_SYSTEM, *(f"/etc/{name}" for name in _ETC.split()), *_DEVICES_READ, *python]
    return _present(readable, "needed to run programs"), _present(_DEVICES_WRITTEN, "needed to run programs")


def _present(paths: Iterable[str], source: str) -> tuple[PathRule, ...]:
    found = {os.path.realpath(path) for path in paths if os.path.exists(path)}
    return tuple(PathRule(path=path, source=source) for path in sorted(found))


def _pin(endpoint: Endpoint, resolve: Resolve) -> Endpoint:
    if endpoint.addresses:
        return endpoint
    found = tuple(dict.fromkeys(_address(one) for one in resolve(endpoint.host)))
    if not found:
        raise SandboxError(f"{endpoint.host}: no address found ({endpoint.source}); list an address or a known name")
    return dataclasses.replace(endpoint, addresses=found)


def _system_addresses(name: str) -> list[str]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SandboxError(f"{name}: no address found ({error}); list an address or a known name") from error
    return [str(one[4][0]) for one in found]


def _address(text: str) -> str:
    """Return an address in its short form; an IPv4 address inside an IPv6 one as IPv4."""
    parsed = ipaddress.ip_address(text)
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id is not None:
            raise ValueError(f"{text}: got an address of one link, expected one that means the same host everywhere")
        parsed = parsed.ipv4_mapped or parsed
    return str(parsed)


def _check_reachable(host: str, text: str) -> None:
    parsed = ipaddress.ip_address(text)
    kinds = {
        "unspecified": parsed.is_unspecified,
        "multicast": parsed.is_multicast,
        "link-local": parsed.is_link_local,
        "broadcast": text == "255.255.255.255",
    }
    if kind := next((kind for kind, holds in kinds.items() if holds), None):
        raise ValueError(f"{host}: {text} is an address of kind {kind!r}; expected the address of one host")
