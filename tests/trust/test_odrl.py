"""Agreements go out as ODRL and come in equal; what the profile does not know is refused by name."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trust_rules import FLEET, FULL, MAKER

from genba.errors import ConfigError
from genba.trust.agreements import OwnerAgreements
from genba.trust.odrl import from_odrl, to_odrl

NAME = st.text(min_size=1, max_size=8).filter(lambda text: text.strip() == text and text.isprintable())


@pytest.mark.parametrize("one", [MAKER, FLEET, replace(MAKER, note="a note")])
def test_round_trip(one):
    assert from_odrl(to_odrl(one), where="text") == one


@settings(max_examples=60, deadline=None)
@given(
    NAME,
    st.lists(NAME, min_size=1, max_size=3, unique=True),
    st.sets(NAME, max_size=2),
    st.dates(max_value=FULL.valid_until),
)
def test_any_name_and_day_survives(owner, names, excluded, first):
    agreement = replace(
        FULL, parties=tuple(names), datasets=tuple(names), sites=tuple(names), machines=tuple(names), valid_from=first,
        excluded=tuple(sorted(excluded - set(names))),
    )  # fmt: skip
    one = OwnerAgreements(owner=owner, agreements=(agreement,))
    assert from_odrl(to_odrl(one), where="text") == one


def test_the_terms_are_those_of_odrl():
    (out,) = json.loads(to_odrl(FLEET))["@graph"]
    assert (out["@type"], out["uid"], out["assigner"]) == (
        "Agreement",
        "urn:genba:agreement:training",
        "urn:genba:party:fleet",
    )
    (permission,) = out["permission"]
    assert permission["target"] == ["urn:genba:dataset:drive"]
    assert [(c["leftOperand"], c["operator"]) for c in permission["constraint"]] == [
        ("purpose", "isAnyOf"),
        ("spatial", "isAnyOf"),
        ("dateTime", "gteq"),
        ("dateTime", "lt"),
        ("genba:site", "isAnyOf"),
    ]
    # The last day is 2027-03-31, so it ends where the next begins.
    assert permission["constraint"][3]["rightOperand"]["@value"] == "2027-04-01T00:00:00Z"


def test_the_document_is_for_people_to_read_too():
    lines = to_odrl(replace(FLEET, note="現場の注意")).splitlines()
    assert (lines[0], lines[-1]) == ("{", "}")
    assert '  "genba:note": "現場の注意",' in lines


def change(path, value):
    """Return the agreement of FLEET with one place changed; a missing value takes it out."""
    document = json.loads(to_odrl(FLEET))
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(document)


AGREEMENT = ("@graph", 0)
PERMISSION = (*AGREEMENT, "permission", 0)
CONSTRAINT = (*PERMISSION, "constraint", 0)
DAY = (*PERMISSION, "constraint", 2, "rightOperand", "@value")


@pytest.mark.parametrize(
    ("path", "value", "match"),
    [
        ((*AGREEMENT, "obligation"), [], r"text: @graph\[0\]: 'obligation' is outside the profile and would be lost"),
        (
            (*PERMISSION, "duty"),
            [{"action": "pay"}],
            r"permission\[0\]: 'duty' is outside the profile and would be lost",
        ),
        ((*CONSTRAINT, "unit"), "x", r"constraint\[0\]: 'unit' is outside the profile"),
        ((*CONSTRAINT, "leftOperand"), "count", r"constraint\[0\].leftOperand: got 'count', expected one of dateTime"),
        ((*CONSTRAINT, "leftOperand"), ["purpose"], r"leftOperand: got \['purpose'\]"),
        (
            (*CONSTRAINT, "leftOperand"),
            "recipient",
            r"rightOperand\[0\]: got 'urn:genba:purpose:train', expected 'urn:genba:party",
        ),
        ((*CONSTRAINT, "operator"), "isNoneOf", r"constraint\[0\].operator: got 'isNoneOf', expected 'isAnyOf'"),
        ((*CONSTRAINT, "operator"), "lt", r"constraint\[0\].operator: got 'lt', expected 'isAnyOf'"),
        ((*AGREEMENT, "permission"), [{}, {}], r"permission: got \[{}, {}\], expected a list of 1"),
        ((*CONSTRAINT, "rightOperand"), [], r"rightOperand: got \[\], expected a list of at least one"),
        ((*CONSTRAINT, "rightOperand"), ["urn:genba:purpose:sell"], r"purpose\[0\]: got 'sell', expected one of train"),
        ((*PERMISSION, "constraint", 2, "operator"), "eq", "operator: got 'eq', expected 'gteq' or 'lt'"),
        ((*PERMISSION, "constraint", 2, "operator"), "lt", "a second constraint on 'dateTime lt'; expected one"),
        ((*PERMISSION, "constraint", 4), None, "constraint: none on 'genba:site'; expected one"),
        (DAY, "2026-04-01T10:00:00Z", "got .*2026-04-01T10:00:00Z.*, expected a day's beginning"),
        (DAY, "2026-4-1T00:00:00Z", "expected a day's beginning"),
        (DAY, 3, "got 3, expected a string"),
        ((*PERMISSION, "action"), "distribute", "action: got 'distribute', expected 'use'"),
        ((*PERMISSION, "assignee"), "urn:genba:party:x", "assignee: got 'urn:genba:party:x', expected a list"),
        ((*PERMISSION, "target"), ["urn:genba:dataset:other"], "prohibition.*target: got .*drive"),
        ((*PERMISSION, "target"), ["urn:genba:dataset:a/b"], "target"),
        ((*AGREEMENT, "uid"), "http://elsewhere", "uid: got 'http://elsewhere', expected 'urn:genba:agreement:"),
        ((*AGREEMENT, "uid"), 7, "uid: got 7"),
        (
            (*AGREEMENT, "uid"),
            "urn:genba:agreement:",
            "uid: got 'urn:genba:agreement:', expected 'urn:genba:agreement:<",
        ),
        ((*AGREEMENT, "@type"), "Offer", "@type: got 'Offer', expected 'Agreement'"),
        ((*AGREEMENT, "profile"), "urn:other", "profile: got 'urn:other'"),
        ((*AGREEMENT, "assigner"), None, "no 'assigner'; expected"),
        ((*AGREEMENT, "permission"), [], r"permission: got \[\], expected a list of 1"),
        ((*AGREEMENT, "prohibition", 0, "constraint", 0, "leftOperand"), "spatial", "rightOperand"),
        (("@graph",), [], r"@graph: got \[\]"),
        (("@graph",), [3], r"@graph\[0\]: got 3, expected an object"),
        (("@context",), "http://other", "@context: got 'http://other'"),
        (("genba:note",), 3, "genba:note: got 3, expected a string"),
    ],
)
def test_what_the_profile_does_not_know_is_refused_by_name(path, value, match):
    with pytest.raises(ConfigError, match=match):
        from_odrl(change(path, value), where="text")


def test_facts_are_checked_as_in_toml():
    codes = (*PERMISSION, "constraint", 1, "rightOperand")
    with pytest.raises(ConfigError, match=r"text: @graph\[0\]: jurisdictions\[0\]: got 'XX', expected a country"):
        from_odrl(change(codes, ["urn:genba:iso3166:XX"]), where="text")
    end = (*PERMISSION, "constraint", 3, "rightOperand", "@value")
    with pytest.raises(ConfigError, match="until: got 2025-12-31, which is before it begins"):
        from_odrl(change(end, "2026-01-01T00:00:00Z"), where="text")
    with pytest.raises(ConfigError, match=r"text: @graph\[0\]: date value out of range"):
        from_odrl(change(end, "0001-01-01T00:00:00Z"), where="text")


def test_two_owners_in_one_document_are_refused():
    document = json.loads(to_odrl(MAKER))
    document["@graph"][1]["assigner"] = "urn:genba:party:other"
    with pytest.raises(ConfigError, match=r"@graph\[1\].assigner: got 'other', expected one owner \('maker'\)"):
        from_odrl(json.dumps(document), where="text")


def test_who_receives_stands_in_its_own_place():
    recipients = {
        "leftOperand": "recipient",
        "operator": "isAnyOf",
        "rightOperand": ["urn:genba:party:x"],
    }
    document = json.loads(to_odrl(FLEET))
    (agreement,) = document["@graph"]
    agreement["permission"][0]["constraint"].append(recipients)
    with pytest.raises(ConfigError, match="got 'recipient', expected the recipients of a permission as its 'assignee'"):
        from_odrl(json.dumps(document), where="text")
    agreement["permission"][0]["constraint"].pop()
    sites = agreement["permission"][0]["constraint"][4]
    agreement["prohibition"][0]["constraint"].append(sites)
    with pytest.raises(
        ConfigError, match=r"got \['genba:site', 'recipient'\], expected one on 'recipient', and no other"
    ):
        from_odrl(json.dumps(document), where="text")


def test_owner_that_is_no_name_is_refused():
    with pytest.raises(ConfigError, match="text: owner: got ' x', expected words without space around them"):
        from_odrl(change((*AGREEMENT, "assigner"), "urn:genba:party:%20x"), where="text")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "not valid JSON"),
        ('{"a": 1, "a": 2}', "key 'a' stands twice"),
        ("[" * 100_000, "nested too deeply|not valid"),
    ],
)
def test_what_is_no_document_is_refused(text, match):
    with pytest.raises(ConfigError, match=match):
        from_odrl(text, where="text")
