"""Agreements as ODRL 2.2 in JSON-LD: out to partners' catalogues and in again, without loss.

A small profile, ``PROFILE``. One owner's file is one JSON-LD document: ``@graph`` holds an ``Agreement`` per agreement,

* ``uid``: the agreement's id; ``assigner``: the owner;
* one ``permission`` to ``use`` the ``target`` data sets, for the ``assignee`` parties, under these constraints, all with
  operator ``isAnyOf`` but for the dates: ``purpose``, ``spatial`` (ISO 3166 codes), ``dateTime`` ``gteq`` the first day and ``lt``
  the day after the last one (00:00 UTC), and two of the profile's own: ``genba:site`` and, where machines are listed,
  ``genba:machine``;
* one ``prohibition`` of ``use`` of the same targets, with constraint ``recipient`` ``isAnyOf`` the excluded parties, where there are.

Names are IRIs: ``urn:genba:<kind>:<percent-encoded name>``. Anything outside the profile is refused by name: a duty that was
dropped would be a promise broken.

Source: W3C, ODRL Information Model 2.2 and ODRL Vocabulary & Expression 2.2.
"""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote, unquote

from genba.errors import ConfigError, nearest
from genba.trust.agreements import Agreement, OwnerAgreements
from genba.trust.requests import PURPOSES, Purpose

PROFILE = "urn:genba:odrl:1"
CONTEXT = ["http://www.w3.org/ns/odrl.jsonld", {"genba": f"{PROFILE}:"}]


def to_odrl(one: OwnerAgreements) -> str:
    """Return one owner's agreements as a JSON-LD document."""
    document = {
        "@context": CONTEXT,
        "genba:note": one.note,
        "@graph": [_agreement_out(one.owner, agreement) for agreement in one.agreements],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def from_odrl(text: str, *, where: str) -> OwnerAgreements:
    """Invert ``to_odrl``; ``where`` names the source in errors.

    Raises:
        ConfigError: not JSON, outside the profile, or agreements that cannot be accepted.
    """
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except ValueError as error:
        raise ConfigError(f"{where}: not valid JSON: {error}") from error
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply to be agreements") from None
    reader = _Reader(where)
    table = reader.table(document, "top level", {"@context", "@graph"}, {"genba:note"})
    reader.equal(table["@context"], CONTEXT, "@context")
    note = reader.text(table.get("genba:note", ""), "genba:note")
    graph = reader.items(table["@graph"], "@graph")
    owners, agreements = [], []
    for number, item in enumerate(graph):
        owner, agreement = reader.agreement(item, f"@graph[{number}]")
        owners.append(owner)
        agreements.append(agreement)
    for number, owner in enumerate(owners):
        if owner != owners[0]:
            raise ConfigError(f"{where}: @graph[{number}].assigner: got {owner!r}, expected one owner ({owners[0]!r})")
    try:
        return OwnerAgreements(owner=owners[0], agreements=tuple(agreements), note=note)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _agreement_out(owner: str, agreement: Agreement) -> dict[str, Any]:
    end = agreement.valid_until + timedelta(days=1)
    targets = [_iri("dataset", name) for name in agreement.datasets]
    constraints = [
        _any_of("purpose", [_iri("purpose", name) for name in agreement.purposes]),
        _any_of("spatial", [_iri("iso3166", code) for code in agreement.jurisdictions]),
        _dated("gteq", agreement.valid_from),
        _dated("lt", end),
        _any_of("genba:site", [_iri("site", name) for name in agreement.sites]),
    ]
    if agreement.machines:
        constraints.append(_any_of("genba:machine", [_iri("machine", name) for name in agreement.machines]))
    out: dict[str, Any] = {
        "@type": "Agreement",
        "uid": _iri("agreement", agreement.id),
        "profile": PROFILE,
        "assigner": _iri("party", owner),
        "permission": [
            {
                "action": "use",
                "target": targets,
                "assignee": [_iri("party", name) for name in agreement.parties],
                "constraint": constraints,
            }
        ],
    }
    if agreement.excluded:
        recipients = _any_of("recipient", [_iri("party", name) for name in agreement.excluded])
        out["prohibition"] = [{"action": "use", "target": targets, "constraint": [recipients]}]
    return out


class _Reader:
    """Reads the profile strictly; every error names the source and the path."""

    def __init__(self, where: str) -> None:
        self._where = where

    def agreement(self, item: Any, path: str) -> tuple[str, Agreement]:
        table = self.table(item, path, {"@type", "uid", "profile", "assigner", "permission"}, {"prohibition"})
        self.equal(table["@type"], "Agreement", f"{path}.@type")
        self.equal(table["profile"], PROFILE, f"{path}.profile")
        (permission,) = self.items(table["permission"], f"{path}.permission", size=1)
        inside = f"{path}.permission[0]"
        permission = self.table(permission, inside, {"action", "target", "assignee", "constraint"}, set())
        self.equal(permission["action"], "use", f"{inside}.action")
        limits = self.constraints(permission["constraint"], f"{inside}.constraint")
        for name in ("purpose", "spatial", "dateTime gteq", "dateTime lt", "genba:site"):
            if name not in limits:
                raise ConfigError(f"{self._where}: {inside}.constraint: none on {name!r}; expected one")
        if "recipient" in limits:
            raise self.wrong(f"{inside}.constraint", "recipient", "the recipients of a permission as its 'assignee'")
        excluded: tuple[str, ...] = ()
        if "prohibition" in table:
            (prohibition,) = self.items(table["prohibition"], f"{path}.prohibition", size=1)
            outside = f"{path}.prohibition[0]"
            prohibition = self.table(prohibition, outside, {"action", "target", "constraint"}, set())
            self.equal(prohibition["action"], "use", f"{outside}.action")
            self.equal(prohibition["target"], permission["target"], f"{outside}.target")
            refusals = self.constraints(prohibition["constraint"], f"{outside}.constraint")
            if set(refusals) != {"recipient"}:
                raise self.wrong(f"{outside}.constraint", sorted(refusals), "one on 'recipient', and no other")
            excluded = refusals["recipient"]
        for number, purpose in enumerate(limits["purpose"]):
            if purpose not in PURPOSES:
                raise self.wrong(f"{inside}.constraint: purpose[{number}]", purpose, f"one of {', '.join(PURPOSES)}")
        try:
            agreement = Agreement(
                id=self.name(table["uid"], "agreement", f"{path}.uid"),
                datasets=self.names(permission["target"], "dataset", f"{inside}.target"),
                parties=self.names(permission["assignee"], "party", f"{inside}.assignee"),
                purposes=cast(tuple[Purpose, ...], limits["purpose"]),
                jurisdictions=limits["spatial"],
                sites=limits["genba:site"],
                machines=limits.get("genba:machine", ()),
                valid_from=limits["dateTime gteq"],
                valid_until=limits["dateTime lt"] - timedelta(days=1),
                excluded=excluded,
            )
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"{self._where}: {path}: {error}") from error
        return self.name(table["assigner"], "party", f"{path}.assigner"), agreement

    def constraints(self, value: Any, path: str) -> dict[str, Any]:
        """Return the constraints by left operand; a date's by operator too."""
        kinds = {
            "purpose": "purpose",
            "spatial": "iso3166",
            "recipient": "party",
            "genba:site": "site",
            "genba:machine": "machine",
        }
        found: dict[str, Any] = {}
        for number, item in enumerate(self.items(value, path)):
            here = f"{path}[{number}]"
            table = self.table(item, here, {"leftOperand", "operator", "rightOperand"}, set())
            left, operator, right = table["leftOperand"], table["operator"], table["rightOperand"]
            if left == "dateTime" and operator in ("gteq", "lt"):
                key, got = f"dateTime {operator}", self.day(right, f"{here}.rightOperand")
            elif left in tuple(kinds):
                self.equal(operator, "isAnyOf", f"{here}.operator")
                key, got = left, self.names(right, kinds[left], f"{here}.rightOperand")
            elif left == "dateTime":
                raise self.wrong(f"{here}.operator", operator, "'gteq' or 'lt'")
            else:
                raise self.wrong(f"{here}.leftOperand", left, f"one of dateTime, {', '.join(kinds)}")
            if key in found:
                raise ConfigError(f"{self._where}: {here}: a second constraint on {key!r}; expected one")
            found[key] = got
        return found

    def table(self, value: Any, path: str, needed: set[str], allowed: set[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(path, value, "an object")
        for key in value:
            if key not in needed | allowed:
                raise ConfigError(
                    f"{self._where}: {path}: {key!r} is outside the profile and would be lost{nearest(key, needed | allowed)}"
                )
        for key in sorted(needed - set(value)):
            raise ConfigError(f"{self._where}: {path}: no {key!r}; expected {', '.join(sorted(needed))}")
        return value

    def items(self, value: Any, path: str, *, size: int | None = None) -> list[Any]:
        if not isinstance(value, list) or not value or (size is not None and len(value) != size):
            raise self.wrong(path, value, f"a list of {size or 'at least one'}")
        return value

    def text(self, value: Any, path: str) -> str:
        if not isinstance(value, str):
            raise self.wrong(path, value, "a string")
        return value

    def equal(self, value: Any, expected: Any, path: str) -> None:
        if value != expected:
            raise self.wrong(path, value, repr(expected))

    def names(self, value: Any, kind: str, path: str) -> tuple[str, ...]:
        return tuple(self.name(item, kind, f"{path}[{n}]") for n, item in enumerate(self.items(value, path)))

    def name(self, value: Any, kind: str, path: str) -> str:
        found = unquote(value.removeprefix(f"urn:genba:{kind}:")) if isinstance(value, str) else ""
        if not found or value != _iri(kind, found):
            raise self.wrong(path, value, f"'urn:genba:{kind}:<percent-encoded name>'")
        return found

    def day(self, value: Any, path: str) -> date:
        expected = "a day's beginning as {'@value': '2027-04-01T00:00:00Z', '@type': 'xsd:dateTime'}"
        table = self.table(value, path, {"@value", "@type"}, set())
        self.equal(table["@type"], "xsd:dateTime", f"{path}.@type")
        try:
            found = datetime.strptime(self.text(table["@value"], path), "%Y-%m-%dT00:00:00Z").date()
            if table["@value"] != f"{found.isoformat()}T00:00:00Z":
                raise ValueError("not in its only form")
        except ValueError:
            raise self.wrong(path, value, expected) from None
        return found

    def wrong(self, path: str, value: Any, expected: str) -> ConfigError:
        shown = repr(value)
        return ConfigError(
            f"{self._where}: {path}: got {shown[:100]}{'…' if len(shown) > 100 else ''}, expected {expected}"
        )


def _any_of(left: str, names: list[str]) -> dict[str, Any]:
    return {"leftOperand": left, "operator": "isAnyOf", "rightOperand": names}


def _dated(operator: str, day: date) -> dict[str, Any]:
    moment = {"@value": f"{day.isoformat()}T00:00:00Z", "@type": "xsd:dateTime"}
    return {"leftOperand": "dateTime", "operator": operator, "rightOperand": moment}


def _iri(kind: str, name: str) -> str:
    return f"urn:genba:{kind}:{quote(name, safe='')}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in names if names.count(key) > 1)!r} stands twice in one object")
    return out
