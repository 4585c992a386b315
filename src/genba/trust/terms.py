"""What the agreements of all data that a model was made from allow together: where and by whom the model may be run, and until when.

A machine at work has no agreements, so what they allow is worked out here, when the model is made, and stands in its
``passport``. A place or a party counts only where every agreement allows it, and the first to end ends all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import date

from genba.errors import PassportError, nearest
from genba.trust.agreements import Agreement, Rules
from genba.trust.decide import NS_PER_S
from genba.trust.digest import digest_json
from genba.trust.passport import Deployment
from genba.trust.requests import Holding

#: no agreement forbids anything: what the terms of nothing are
EVERYWHERE = Deployment(embodiments=("*",), sites=("*",), parties=("*",))


def agreement_of(rules: Rules, source: Holding) -> Agreement:
    """Return the agreement that stands behind a source.

    Raises:
        PassportError: there is none of this name about this data set: what nobody allowed has no passport.
    """
    known = rules.agreements_of(source.owner)
    found = next((one for one in known if one.id == source.agreement), None)
    if found is None:
        raise PassportError(
            f"{source.owner}/{source.dataset}: no agreement {source.agreement!r} of this owner is known"
            f"{nearest(source.agreement, [one.id for one in known])}; put it into the trust folder's agreements"
        )
    if source.dataset not in found.datasets:
        raise PassportError(
            f"{source.owner}/{source.dataset}: agreement {source.agreement!r} is about {', '.join(found.datasets)} only; leave "
            f"the data set out, or agree on it with the owner"
        )
    return found


def agreement_digest(owner: str, agreement: Agreement) -> str:
    """Return the digest of everything that an agreement says."""
    facts = {name: value.isoformat() if isinstance(value, date) else value for name, value in asdict(agreement).items()}
    return digest_json({"agreement": facts, "owner": owner})


def deployment_under(rules: Rules, sources: Iterable[Holding]) -> Deployment:
    """Return where a model that was made from ``sources`` may run, and by whom.

    An agreement without the purpose ``deploy`` allows no place at all. A site whose operator is excluded from a data set, by
    whichever of the owner's agreements, is no place either.

    Raises:
        PassportError: as ``agreement_of`` says.
    """
    allowed = EVERYWHERE
    for source in sources:
        agreement = agreement_of(rules, source)
        if "deploy" in agreement.purposes:
            excluded = {
                party
                for one in rules.agreements_of(source.owner)
                if source.dataset in one.datasets
                for party in one.excluded
            }
            sites = tuple(name for name in agreement.sites if rules.sites[name].operator not in excluded)
            terms = Deployment(
                embodiments=agreement.machines,
                sites=sites,
                # No party is excluded by another of the owner's agreements: ``Rules`` does not hold together then.
                parties=agreement.parties,
                until_ns=agreement.end_s * NS_PER_S,
            )
        else:
            terms = Deployment(until_ns=agreement.end_s * NS_PER_S)
        allowed = both(allowed, terms)
    return allowed


def both(one: Deployment, other: Deployment) -> Deployment:
    """Return what two deployments both allow."""
    ends = [end for end in (one.until_ns, other.until_ns) if end is not None]
    return Deployment(
        embodiments=_common(one.embodiments, other.embodiments),
        sites=_common(one.sites, other.sites),
        parties=_common(one.parties, other.parties),
        until_ns=min(ends, default=None),
    )


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    if "*" in one:
        return tuple(sorted(other))
    return tuple(sorted(name for name in one if name in other or "*" in other))
