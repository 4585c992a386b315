"""Deciding: whether a request is allowed, and by which clause of which agreement, in words.

Two evaluators answer each request: the policy engine (``cedar``) and the clauses here; all that they share is how the site of an
endpoint and the country of a code are found. Only
what both allow is allowed; where they differ the request is refused and says so. Deciding changes nothing; recording what
was decided and minding the clock are in ``decisions``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from genba.errors import nearest
from genba.trust.agreements import Agreement, Rules
from genba.trust.cedar import CompiledRules, is_permitted
from genba.trust.jurisdictions import is_within
from genba.trust.requests import ACTS_ON_MACHINES, CUSTODY, Request
from genba.trust.sites import Site, site_of_endpoint

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition of an agreement, and whether a request meets it."""

    agreement: str
    name: str
    holds: bool
    words: str


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer that can be recorded and checked again."""

    is_allowed: bool
    #: why, in words: what the agreement allows, or every clause that is not met
    reasons: tuple[str, ...]
    request: Request
    policy_hash: str
    #: when it was decided, ns since 1970, UTC
    now_ns: int

    def body(self) -> dict[str, Any]:
        """Return it as plain values, for a ledger."""
        return {
            "allowed": self.is_allowed,
            "reasons": list(self.reasons),
            "request": self.request.body(),
            "request_digest": self.request.digest,
            "policy_hash": self.policy_hash,
            "now_ns": self.now_ns,
        }


def decide(request: Request, compiled: CompiledRules, now_ns: int) -> Decision:
    """Decide one request.

    Args:
        request: what is asked.
        compiled: the agreements and sites that it is decided by.
        now_ns: when, ns since 1970, UTC.

    Raises:
        ConfigError: an endpoint of the request cannot be read as one.
    """
    found = clauses(request, compiled.rules, now_ns // NS_PER_S)
    refusals = [f"{clause.agreement}: {clause.name}: {clause.words}" for clause in found if not clause.holds]
    is_permit = is_permitted(request, compiled, now_ns // NS_PER_S)
    if is_permit != (not refusals):
        refusals.append(
            f"{request.agreement}: the policy engine says {'yes' if is_permit else 'no'}, the clauses say "
            f"{'no' if is_permit else 'yes'}: a defect of Genba, please report it; refused until it is mended"
        )
    reasons = refusals or [f"{clause.agreement}: {clause.name}: {clause.words}" for clause in found]
    return Decision(not refusals, tuple(reasons), request, compiled.policy_hash, now_ns)


def clauses(request: Request, rules: Rules, now_s: int) -> list[Clause]:
    """Return every condition on a request, met or not; it is allowed where all are met.

    Raises:
        ConfigError: an endpoint of the request cannot be read as one.
    """
    known = rules.agreements_of(request.owner)
    places, undeclared = _places(request, rules)
    out = list(_exclusions(request, known, places))
    agreement = next((one for one in known if one.id == request.agreement), None)
    if agreement is None:
        words = (
            f"{request.owner!r} has no such agreement{nearest(request.agreement, [one.id for one in known])}"
            if known
            else f"no agreement of {request.owner!r} is known: what nobody allowed is refused"
        )
        return [*out, Clause(request.agreement, "agreement", False, words)]
    return [*out, *_conditions(request, agreement, places, undeclared, now_s)]


def _places(request: Request, rules: Rules) -> tuple[dict[str, Site], list[str]]:
    """Return every declared site that a request touches, and what it touches that nobody declared."""
    found: dict[str, Site] = {}
    undeclared = []
    for name in request.sites:
        if name in rules.sites:
            found[name] = rules.sites[name]
        else:
            undeclared.append(f"site {name!r}")
    for endpoint in request.endpoints:
        site = site_of_endpoint(rules.sites, endpoint)
        if site is not None:
            found[site.id] = site
        else:
            undeclared.append(f"endpoint {endpoint!r}")
    return found, undeclared


def _exclusions(request: Request, known: tuple[Agreement, ...], places: dict[str, Site]) -> Iterator[Clause]:
    """Yield what excludes; it holds whichever agreement is named, and at any time."""
    for one in known:
        if request.dataset not in one.datasets:
            continue
        if request.party in one.excluded:
            yield Clause(one.id, "excluded", False, f"{request.party!r} is excluded from data set {request.dataset!r}")
        for name, site in places.items():
            if site.operator in one.excluded:
                words = f"site {name!r} is operated by {site.operator!r}, which is excluded from data set {request.dataset!r}"
                yield Clause(one.id, "excluded", False, words)


def _conditions(
    request: Request, agreement: Agreement, places: dict[str, Site], undeclared: list[str], now_s: int
) -> Iterator[Clause]:
    def clause(name: str, holds: bool, met: str, unmet: str) -> Clause:
        return Clause(agreement.id, name, holds, met if holds else unmet)

    listed = ", ".join
    yield clause(
        "datasets",
        request.dataset in agreement.datasets,
        f"it is about data set {request.dataset!r}",
        f"it is not about data set {request.dataset!r}, only {listed(agreement.datasets)}",
    )
    yield clause(
        "parties",
        request.party in agreement.parties,
        f"{request.party!r} is among the parties",
        f"{request.party!r} is not among the parties ({listed(agreement.parties)}); ask the owner",
    )
    if request.act not in CUSTODY:
        yield clause(
            "purposes",
            request.serves in agreement.purposes,
            f"{request.act!r} serves purpose {request.serves!r}, which is allowed",
            f"{request.act!r} serves purpose {request.serves!r}; allowed: {listed(agreement.purposes)}",
        )
    if request.act in ACTS_ON_MACHINES:
        yield clause(
            "machines",
            request.embodiment in agreement.machines,
            f"machine type {request.embodiment!r} is listed",
            f"machine type {request.embodiment!r} is not listed; listed: {listed(agreement.machines) or 'none'}",
        )
    yield clause(
        "from",
        now_s >= agreement.from_s,
        f"it holds since {agreement.valid_from}",
        f"it does not hold before {agreement.valid_from}, 00:00 UTC",
    )
    yield clause(
        "until",
        now_s < agreement.end_s,
        f"it holds until {agreement.valid_until}",
        f"it expired after {agreement.valid_until}, 24:00 UTC; renew it with the owner",
    )
    unlisted = sorted({*places, *request.sites} - set(agreement.sites))
    yield clause(
        "sites",
        not unlisted,
        f"{listed(sorted(places))}: allowed",
        f"{listed(unlisted)}: not allowed; allowed: {listed(agreement.sites)}",
    )
    outside = [
        f"{name} lies in {site.jurisdiction}"
        for name, site in sorted(places.items())
        if not any(is_within(site.jurisdiction, allowed) for allowed in agreement.jurisdictions)
    ]
    yield clause(
        "jurisdictions",
        not outside,
        f"everything lies in {listed(agreement.jurisdictions)}",
        f"{listed(outside)}; allowed: {listed(agreement.jurisdictions)}",
    )
    yield clause(
        "endpoints",
        not undeclared,
        "every place has a declared jurisdiction",
        f"{listed(undeclared)}: nobody declared whose law applies there; declare it in sites.toml with its evidence",
    )
