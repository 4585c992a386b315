"""Agreements: what an owner allows to be done with its data, by whom, where, for what, and until when.

One TOML file per owner. ``read_rules`` reads a folder::

    trust/
      sites.toml               places, their operators, jurisdictions and evidence (``sites``)
      agreements/<any>.toml    one owner's agreements

and refuses what contradicts itself, with file and path. What the facts mean for one request is in ``decide``; the same
facts as ODRL are in ``odrl``, as Cedar policies in ``cedar``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from genba.config import read_toml
from genba.errors import ConfigError, nearest
from genba.trust.jurisdictions import check_code, is_within
from genba.trust.requests import Purpose
from genba.trust.sites import Site, check_day, check_name, read_sites

SITES_FILE, AGREEMENT_FOLDER = "sites.toml", "agreements"
#: purposes that need machines named
ON_MACHINES = ("adapt", "deploy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """What one owner allows with some of its data sets."""

    id: str
    """Unique among all owners; an agreement that is renewed keeps it."""
    datasets: tuple[str, ...]
    """The owner's data sets that it is about."""
    parties: tuple[str, ...]
    """Who may do what it allows."""
    purposes: tuple[Purpose, ...]
    """What for."""
    jurisdictions: tuple[str, ...]
    """Whose law must apply wherever it happens; codes of ISO 3166, a country stands for its parts."""
    sites: tuple[str, ...]
    """Where it may happen; each lies in one of the jurisdictions."""
    valid_from: date = field(metadata={"key": "from"})
    """First day on which it holds, from 00:00 UTC."""
    valid_until: date = field(metadata={"key": "until"})
    """Last day on which it holds, to 24:00 UTC."""
    machines: tuple[str, ...] = ()
    """Ids of the machine types (embodiments) that a model may be adapted to and deployed on."""
    excluded: tuple[str, ...] = ()
    """Who may never use these data sets, under whichever agreement and at whatever time, nor operate a site of their use."""

    def __post_init__(self) -> None:
        for name in ("datasets", "parties", "purposes", "jurisdictions", "sites", "machines", "excluded"):
            values = getattr(self, name)
            if not values and name not in ("machines", "excluded"):
                raise ValueError(f"{name}: got none, expected at least one")
            for number, value in enumerate(values):
                check_name(f"{name}[{number}]", value)
                if value in values[:number]:
                    raise ValueError(f"{name}[{number}]: {value!r} stands twice; expected each once")
        check_name("id", self.id)
        for number, code in enumerate(self.jurisdictions):
            try:
                check_code(code)
            except ValueError as error:
                raise ValueError(f"jurisdictions[{number}]: {error}") from None
        check_day("from", self.valid_from)
        check_day("until", self.valid_until)
        if self.valid_until < self.valid_from:
            raise ValueError(f"until: got {self.valid_until}, which is before it begins ({self.valid_from}, in from)")
        if self.valid_until == date.max:
            raise ValueError(f"until: got {self.valid_until}, expected a day that is followed by another")
        if both := [party for party in self.parties if party in self.excluded]:
            raise ValueError(f"excluded: {both[0]!r} is among the parties too; expected it in one of the two lists")
        on_machines = [purpose for purpose in self.purposes if purpose in ON_MACHINES]
        if on_machines and not self.machines:
            raise ValueError(f"machines: got none, expected the machine types for purpose {on_machines[0]!r}")
        if self.machines and not on_machines:
            raise ValueError(
                "machines: got some, but no purpose uses them; expected 'adapt' or 'deploy' among the purposes"
            )

    @property
    def from_s(self) -> int:
        """When it begins to hold, seconds since 1970, UTC."""
        return _midnight_s(self.valid_from)

    @property
    def end_s(self) -> int:
        """When it no longer holds, seconds since 1970, UTC; the first such second."""
        return _midnight_s(self.valid_until + timedelta(days=1))


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnerAgreements:
    """One owner's file."""

    owner: str
    """Whose data it is, as episodes name it."""
    agreements: tuple[Agreement, ...]
    """What the owner allows; everything else is refused."""
    note: str = ""
    """For whoever reads the file; nothing is decided by it."""

    def __post_init__(self) -> None:
        check_name("owner", self.owner)
        if not self.agreements:
            raise ValueError("agreements: got none, expected at least one [[agreements]]")


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that decisions are made by: all owners' agreements, and all sites."""

    owners: tuple[OwnerAgreements, ...]
    sites: Mapping[str, Site]

    def agreements_of(self, owner: str) -> tuple[Agreement, ...]:
        """Return one owner's agreements; none of an owner that is unknown."""
        return tuple(agreement for one in self.owners if one.owner == owner for agreement in one.agreements)


def read_rules(folder: Path | str) -> Rules:
    """Read a folder of sites and agreements.

    Raises:
        ConfigError: a file is missing or does not fit, or facts contradict each other.
    """
    folder = Path(folder)
    sites = read_sites(folder / SITES_FILE)
    paths = sorted((folder / AGREEMENT_FOLDER).glob("*.toml"))
    if not paths:
        raise ConfigError(f"{folder / AGREEMENT_FOLDER}: no agreements; expected one <owner>.toml per owner")
    return make_rules([(str(path), read_toml(path, OwnerAgreements)) for path in paths], sites)


def make_rules(owners: Iterable[tuple[str, OwnerAgreements]], sites: Mapping[str, Site]) -> Rules:
    """Check owners' agreements, each with the name of its source, against the sites and each other.

    Raises:
        ConfigError: an id or an owner stands twice, a site is unknown, lies elsewhere or belongs to an excluded party.
    """
    seen: dict[str, str] = {}
    sources: dict[str, str] = {}
    kept = []
    for source, one in owners:
        if one.owner in sources:
            raise ConfigError(
                f"{source}: owner: {one.owner!r} has a file already ({sources[one.owner]}); expected one file per owner"
            )
        sources[one.owner] = source
        excluded = {(name, dataset) for each in one.agreements for name in each.excluded for dataset in each.datasets}
        for number, agreement in enumerate(one.agreements):
            where = f"{source}: agreements[{number}]"
            if agreement.id in seen:
                raise ConfigError(
                    f"{where}.id: {agreement.id!r} stands in {seen[agreement.id]} too; expected ids that differ"
                )
            seen[agreement.id] = where
            for place, name in enumerate(agreement.sites):
                _check_site(f"{where}.sites[{place}]", agreement, name, sites)
            for dataset in agreement.datasets:
                for place, party in enumerate(agreement.parties):
                    if (party, dataset) in excluded:
                        raise ConfigError(
                            f"{where}.parties[{place}]: another agreement of {one.owner!r} excludes {party!r} from data set "
                            f"{dataset!r}; expected it either allowed or excluded"
                        )
                for place, name in enumerate(agreement.sites):
                    if (sites[name].operator, dataset) in excluded:
                        raise ConfigError(
                            f"{where}.sites[{place}]: {name!r} is operated by {sites[name].operator!r}, which is excluded from "
                            f"data set {dataset!r}; leave the site or the exclusion out"
                        )
        kept.append(one)
    return Rules(tuple(kept), dict(sites))


def _check_site(where: str, agreement: Agreement, name: str, sites: Mapping[str, Site]) -> None:
    if name not in sites:
        raise ConfigError(f"{where}: no site {name!r} in {SITES_FILE}{nearest(name, sites)}")
    code = sites[name].jurisdiction
    if not any(is_within(code, allowed) for allowed in agreement.jurisdictions):
        raise ConfigError(
            f"{where}: {name!r} lies in {code}, expected a site in {', '.join(agreement.jurisdictions)}: leave it out, or "
            f"allow its jurisdiction"
        )


def _midnight_s(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
