"""From agreements to a policy: which hosts a command may reach, given whose data it touches.

A host is allowed where it is an endpoint of a site that every agreement of that data allows today, or of the site where this
host stands. What a site declares is all that there is: an endpoint that no site declares has no jurisdiction and is in no policy.
Storage URLs name no host, so what serves them must be declared as ``host:port`` as well. Whether the data may be used at
all is not decided here but by the gatekeeper; files are added by whoever knows the command.
"""

from __future__ import annotations

from collections.abc import Iterable

from genba.errors import SandboxError, nearest
from genba.trust.agreements import Rules
from genba.trust.requests import Holding
from genba.trust.sandbox.policy import Endpoint, Policy, parse_endpoint
from genba.trust.sites import Site, site_of_endpoint


def agreed_policy(
    rules: Rules, *, party: str, site: str, terms: Iterable[Holding], now_s: int, needed: Iterable[str] = ()
) -> Policy:
    """Return what a command may reach that touches the data under ``terms``; no files yet.

    Its processes may talk to each other over loopback, and listen at the endpoints of this host's own site.

    Args:
        rules: every owner's agreements, and all sites.
        party: who runs the command.
        site: id of the site where this host stands.
        terms: whose data it touches, and under which agreements.
        now_s: today, seconds since 1970, UTC.
        needed: endpoints (``host:port``) that the command was told to use.

    Raises:
        SandboxError: this host's site is not declared, or a needed endpoint is of no site or of one that is not allowed.
    """
    if site not in rules.sites:
        raise SandboxError(
            f"site {site!r}, where this host is said to stand, is not declared, so nobody knows whose law applies here"
            f"{nearest(site, rules.sites)}"
        )
    terms = sorted(set(terms))
    allowed = agreed_sites(rules, party=party, terms=terms, now_s=now_s)
    named = ", ".join(dict.fromkeys(agreement for _, _, agreement in terms))
    endpoints: list[Endpoint] = []
    for one in rules.sites.values():
        if one.id == site:
            endpoints += _endpoints(one, "where this host stands")
        elif one.id in allowed:
            endpoints += _endpoints(one, f"allowed by {named}")
    for endpoint in needed:
        owner = site_of_endpoint(rules.sites, endpoint)
        if owner is None:
            raise SandboxError(
                f"{endpoint}: no site declares this endpoint, so nobody knows whose law applies there; declare it in "
                f"sites.toml with its evidence"
            )
        if owner.id != site and owner.id not in allowed:
            raise SandboxError(
                f"{endpoint}: is at site {owner.id!r} ({owner.jurisdiction}), which not every agreement of this data allows "
                f"({named or 'none is named'}); allowed: {', '.join(sorted({*allowed, site}))}"
            )
    binds = []
    for one in _endpoints(rules.sites[site], "where this host stands"):
        # Ranks listen at a port that the kernel picks; who reaches it, the other sites' policies say.
        binds += [one, parse_endpoint(_text(one.host, 0), one.source)]
    return Policy(endpoints=tuple(endpoints), binds=tuple(dict.fromkeys(binds)), has_own_ports=True)


def agreed_sites(rules: Rules, *, party: str, terms: Iterable[Holding], now_s: int) -> set[str]:
    """Return the sites that every one of these agreements allows to ``party`` today; none where there is no agreement."""
    allowed: set[str] | None = None
    for owner, dataset, agreement_id in terms:
        sites: set[str] = set()
        for one in rules.agreements_of(owner):
            is_meant = one.id == agreement_id and dataset in one.datasets and party in one.parties
            if is_meant and one.from_s <= now_s < one.end_s:
                sites = set(one.sites)
        allowed = sites if allowed is None else allowed & sites
    return allowed or set()


def _endpoints(site: Site, why: str) -> list[Endpoint]:
    source = f"site {site.id} in {site.jurisdiction}, {why}"
    return [parse_endpoint(one, source) for one in site.endpoints if "://" not in one]


def _text(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
