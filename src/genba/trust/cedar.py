"""Agreements as Cedar policies: what a policy engine decides by, in a form that others can read and check.

Each agreement becomes one ``permit``, and one ``forbid`` where it excludes someone; whatever no ``permit`` matches is refused,
and a ``forbid`` beats every ``permit``. The policies are validated against the schema before they are used. The engine
answers yes or no; the reasons in words, and a second answer that must agree, are in ``decide``.

Source: the Cedar policy language, version 4 (Apache-2.0), through cedarpy.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from genba.errors import ConfigError
from genba.trust.agreements import Agreement, Rules
from genba.trust.digest import canonical_json, digest_bytes
from genba.trust.jurisdictions import is_within
from genba.trust.keys import key_id
from genba.trust.requests import ACTS, ACTS_ON_MACHINES, CUSTODY, Request
from genba.trust.sites import site_of_endpoint

SCHEMA = f"""\
entity Party;
entity Dataset;
action {", ".join(f'"{act}"' for act in ACTS)} appliesTo {{
  principal: [Party],
  resource: [Dataset],
  context: {{
    agreement: String,
    purpose: String,
    embodiment: String,
    now_s: Long,
    sites: Set<String>,
    operators: Set<String>,
    jurisdictions: Set<String>,
    undeclared: Set<String>
  }}
}};
"""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRules:
    """Rules, the policies made of them, and the digest of both."""

    rules: Rules
    policies: str
    #: digest of ``text``: it changes whenever an answer could
    policy_hash: str
    parsed: Any
    #: the policies, the schema and the sites' facts, as canonical JSON: what can be kept, and hashed again
    text: bytes


def compile_rules(rules: Rules) -> CompiledRules:
    """Make policies of agreements.

    Raises:
        ConfigError: the policy engine is not installed, or does not take the policies.
    """
    cedarpy = _engine()
    codes = sorted({site.jurisdiction for site in rules.sites.values()})
    parts = [
        part for one in rules.owners for agreement in one.agreements for part in _policies(one.owner, agreement, codes)
    ]
    policies = "\n".join(parts)
    found = cedarpy.validate_policies(policies, SCHEMA)
    if not found.validation_passed:
        raise ConfigError(f"agreements: not valid as Cedar policies: {'; '.join(str(e.error) for e in found.errors)}")
    sites = {name: _plain(asdict(site)) for name, site in rules.sites.items()}
    text = canonical_json({"policies": policies, "schema": SCHEMA, "sites": sites})
    return CompiledRules(rules, policies, digest_bytes(text), cedarpy.PolicySet.from_str(policies), text)


def is_permitted(request: Request, compiled: CompiledRules, now_s: int) -> bool:
    """Return the engine's answer; False also where it could not evaluate a policy.

    Args:
        request: what is asked.
        compiled: what it is decided by.
        now_s: when, seconds since 1970, UTC.
    """
    cedarpy = _engine()
    result = cedarpy.is_authorized(
        {
            "principal": {"type": "Party", "id": request.party},
            "action": {"type": "Action", "id": request.act},
            "resource": {"type": "Dataset", "id": key_id(request.owner, request.dataset)},
            "context": _context(request, compiled.rules, now_s),
        },
        compiled.parsed,
        [],
    )
    return bool(result.allowed) and not result.diagnostics.errors


def _context(request: Request, rules: Rules, now_s: int) -> dict[str, Any]:
    found = {name: rules.sites.get(name) for name in request.sites}
    undeclared = [name for name, site in found.items() if site is None]
    sites = {name: site for name, site in found.items() if site is not None}
    for endpoint in request.endpoints:
        site = site_of_endpoint(rules.sites, endpoint)
        if site is None:
            undeclared.append(endpoint)
        else:
            sites[site.id] = site
    return {
        "agreement": request.agreement,
        "purpose": request.serves,
        "embodiment": request.embodiment,
        "now_s": now_s,
        "sites": sorted({*sites, *request.sites}),
        "operators": sorted({site.operator for site in sites.values()}),
        "jurisdictions": sorted({site.jurisdiction for site in sites.values()}),
        "undeclared": undeclared,
    }


def _policies(owner: str, agreement: Agreement, codes: list[str]) -> list[str]:
    datasets = _entities("Dataset", [key_id(owner, dataset) for dataset in agreement.datasets])
    # A country stands for its parts: Cedar compares words, so the parts where sites lie are written out.
    allowed = agreement.jurisdictions
    within = sorted({*allowed, *(code for code in codes if any(is_within(code, one) for one in allowed))})
    on_machines = f"{_entities('Action', ACTS_ON_MACHINES)}.contains(action)"
    conditions = [
        f"{datasets}.contains(resource)",
        f"context.agreement == {_text(agreement.id)}",
        f"{_entities('Party', agreement.parties)}.contains(principal)",
        f"{_entities('Action', CUSTODY)}.contains(action) || {_texts(agreement.purposes)}.contains(context.purpose)",
        f"!{on_machines} || {_texts(agreement.machines)}.contains(context.embodiment)"
        if agreement.machines
        else f"!{on_machines}",
        f"context.now_s >= {agreement.from_s} && context.now_s < {agreement.end_s}",
        f"{_texts(agreement.sites)}.containsAll(context.sites)",
        f"{_texts(within)}.containsAll(context.jurisdictions)",
        "context.undeclared.isEmpty()",
    ]
    whens = "\n".join(f"when {{ {condition} }}" for condition in conditions)
    out = [f"@id({_text(agreement.id)})\npermit (principal, action, resource)\n{whens};\n"]
    if agreement.excluded:
        parties, operators = _entities("Party", agreement.excluded), _texts(agreement.excluded)
        out.append(
            f"@id({_text(agreement.id + ', excluded')})\nforbid (principal, action, resource)\n"
            f"when {{ {datasets}.contains(resource) }}\n"
            f"when {{ {parties}.contains(principal) || {operators}.containsAny(context.operators) }};\n"
        )
    return out


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _texts(values: Any) -> str:
    return "[" + ", ".join(_text(value) for value in values) + "]"


def _entities(kind: str, names: Any) -> str:
    return "[" + ", ".join(f"{kind}::{_text(name)}" for name in names) + "]"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str) else value.isoformat()


def _engine() -> Any:
    # Imported here because it is an optional package: only who has agreements needs it.
    try:
        import cedarpy
    except ImportError as error:
        raise ConfigError("deciding by agreements needs the package cedarpy: pip install 'genba[trust]'") from error
    return cedarpy
