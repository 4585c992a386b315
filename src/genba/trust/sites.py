"""Sites: places where data is kept or computed on, who operates them, whose law applies, and what proves that.

``sites.toml`` lists them. An endpoint (``host:port``, ``host:low-high``, or a storage URL) belongs to exactly one site; one that no site
declares has no jurisdiction and is refused. What a document says is not judged here: its digest ties the claim to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from genba.config import read_toml
from genba.errors import ConfigError, nearest
from genba.trust.jurisdictions import check_code

_HOST = re.compile(
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})(?:-([0-9]{1,5}))?"
)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/\s?#@]*)((?:/[^\s?#]*)?)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What shows that a site lies where it says."""

    statement: str
    """What the document states, in words."""
    digest: str
    """Digest of the document, ``"sha256:<64 hex digits>"``."""
    dated: date
    """Day of the document, UTC."""

    def __post_init__(self) -> None:
        check_name("statement", self.statement)
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", self.digest):
            raise ValueError(f"digest: got {self.digest!r}, expected 'sha256:' and 64 hex digits")
        check_day("dated", self.dated)


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """One place."""

    id: str
    """Unique, e.g. ``"nagoya-plant"``."""
    operator: str
    """The party that operates it, named as in agreements."""
    jurisdiction: str
    """Whose law applies: a code of ISO 3166."""
    evidence: Evidence
    """What shows it."""
    endpoints: tuple[str, ...] = ()
    """Where it is reached: ``host:port``, ``host:low-high`` for several ports, or a storage URL that holds for everything below."""

    def __post_init__(self) -> None:
        check_name("id", self.id)
        check_name("operator", self.operator)
        try:
            check_code(self.jurisdiction)
        except ValueError as error:
            raise ValueError(f"jurisdiction: {error}") from None
        for number, endpoint in enumerate(self.endpoints):
            try:
                normal_endpoint(endpoint)
            except ValueError as error:
                raise ValueError(f"endpoints[{number}]: {error}") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class _SiteFile:
    sites: tuple[Site, ...]

    def __post_init__(self) -> None:
        if not self.sites:
            raise ValueError("sites: got none, expected at least one [[sites]]")


def read_sites(path: Path | str) -> Mapping[str, Site]:
    """Read the sites in a file, by id.

    Raises:
        ConfigError: the file does not fit, an id or an endpoint stands twice.
    """
    sites: dict[str, Site] = {}
    for number, site in enumerate(read_toml(path, _SiteFile).sites):
        if site.id in sites:
            raise ConfigError(f"{path}: sites[{number}].id: {site.id!r} stands twice; expected one table per site")
        for place, endpoint in enumerate(site.endpoints):
            for other in (*sites.values(), site):
                known = other.endpoints[:place] if other is site else other.endpoints
                if clash := next((one for one in known if _overlap(endpoint, one)), None):
                    raise ConfigError(
                        f"{path}: sites[{number}].endpoints[{place}]: {endpoint!r} is declared already, as {clash!r} of "
                        f"{other.id!r}; expected each endpoint at one place"
                    )
        sites[site.id] = site
    return sites


def site_of_endpoint(sites: Mapping[str, Site], endpoint: str) -> Site | None:
    """Return the site that declares an endpoint, or None: then nobody declared whose law applies.

    Raises:
        ConfigError: it is neither ``host:port`` nor a storage URL.
    """
    try:
        normal_endpoint(endpoint)
    except ValueError as error:
        raise ConfigError(f"endpoint: {error}") from None
    for site in sites.values():
        if any(_lies_below(endpoint, declared) for declared in site.endpoints):
            return site
    return None


def require_site(sites: Mapping[str, Site], endpoint: str) -> Site:
    """Return the site that declares an endpoint.

    Raises:
        ConfigError: no site declares it, or it is no endpoint.
    """
    site = site_of_endpoint(sites, endpoint)
    if site is None:
        known = [one for each in sites.values() for one in each.endpoints]
        raise ConfigError(
            f"{endpoint}: no site declares this endpoint, so nobody knows whose law applies there; declare it in "
            f"sites.toml with its evidence{nearest(endpoint, known)}"
        )
    return site


def normal_endpoint(endpoint: str) -> str:
    """Return an endpoint in its only form: scheme and host in small letters, no slash at the end.

    Raises:
        ValueError: it is neither ``host:port``, ``host:low-high`` nor a storage URL.
    """
    if match := _HOST.fullmatch(endpoint):
        low, high = int(match[1]), int(match[2] or match[1])
        if not 0 < low <= high < 65536:
            raise ValueError(f"got {endpoint!r}, expected a port from 1 to 65535, or two, rising")
        host = endpoint.rpartition(":")[0].lower()
        return f"{host}:{low}" if low == high else f"{host}:{low}-{high}"
    match = _URL.fullmatch(endpoint)
    if match is None or not (match[2] or match[3].strip("/")):
        raise ValueError(f"got {endpoint!r}, expected host:port or a storage URL such as 's3://bucket/prefix'")
    parts = match[3].split("/")
    if "%" in match[3] or "\\" in match[3] or any(part in (".", "..") for part in parts):
        raise ValueError(f"got {endpoint!r}, expected a path without '.', '..', '%' and '\\'")
    return f"{match[1].lower()}://{match[2].lower()}" + "".join(f"/{part}" for part in parts if part)


def check_name(name: str, text: str) -> None:
    """Refuse a name that is empty, has space around it or holds what cannot be seen.

    Raises:
        ValueError: naming ``name``.
    """
    if not text or text != text.strip() or not text.isprintable():
        raise ValueError(f"{name}: got {text!r}, expected words without space around them")


def check_day(name: str, day: date) -> None:
    """Refuse a time of day where a day is expected.

    Raises:
        ValueError: naming ``name``.
    """
    if isinstance(day, datetime):
        raise ValueError(f"{name}: got {day.isoformat()}, expected a day without a time, e.g. {day.date().isoformat()}")


def _lies_below(endpoint: str, declared: str) -> bool:
    got, known = normal_endpoint(endpoint), normal_endpoint(declared)
    if "://" in got or "://" in known:
        return got == known or got.startswith(known + "/")
    (host, low, high), (known_host, known_low, known_high) = _ports(got), _ports(known)
    return host == known_host and known_low <= low and high <= known_high


def _overlap(one: str, other: str) -> bool:
    """Return whether something lies below both of two endpoints."""
    if "://" in one or "://" in other:
        return _lies_below(one, other) or _lies_below(other, one)
    (host, low, high), (other_host, other_low, other_high) = (
        _ports(normal_endpoint(one)),
        _ports(normal_endpoint(other)),
    )
    return host == other_host and low <= other_high and other_low <= high


def _ports(normal: str) -> tuple[str, int, int]:
    host, _, ports = normal.rpartition(":")
    low, _, high = ports.partition("-")
    return host, int(low), int(high or low)
