"""The policy engine and the clauses, which know nothing of each other's answer, agree on random agreements and requests."""

import sys
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trust_rules import EVIDENCE, rules

from genba.errors import ConfigError
from genba.trust import cedar
from genba.trust.agreements import Agreement, OwnerAgreements, Rules
from genba.trust.cedar import compile_rules, is_permitted
from genba.trust.decide import clauses
from genba.trust.requests import ACTS, PURPOSES, Request
from genba.trust.sites import Site


def test_without_the_engine_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cedarpy", None)
    with pytest.raises(ConfigError, match=r"needs the package cedarpy: pip install 'genba\[trust\]'"):
        compile_rules(rules())


def test_policies_that_the_engine_does_not_take_are_refused(monkeypatch):
    monkeypatch.setattr(cedar, "SCHEMA", "entity Other;")
    with pytest.raises(ConfigError, match="agreements: not valid as Cedar policies: "):
        compile_rules(rules())


# Random rules and requests, made of few names so that they meet often.
NAMES = st.sampled_from(["a", "b", 'c"\\'])
CODES = st.sampled_from(["JP", "JP-23", "US", "US-OR", "FR"])
DAYS = st.integers(0, 3).map(lambda n: date(2026, 1, 1) + timedelta(days=n))


def some(values, *, least=1):
    return st.lists(values, min_size=least, max_size=3, unique=True).map(tuple)


@st.composite
def agreements(draw, number):
    parties = draw(some(NAMES))
    purposes = draw(some(st.sampled_from(PURPOSES)))
    first, last = sorted([draw(DAYS), draw(DAYS)])
    return Agreement(
        id=f"id{number}",
        datasets=draw(some(NAMES)),
        parties=parties,
        purposes=purposes,
        machines=draw(some(NAMES)) if {"adapt", "deploy"} & set(purposes) else (),
        jurisdictions=draw(some(CODES)),
        sites=draw(some(NAMES)),
        valid_from=first,
        valid_until=last,
        excluded=tuple(name for name in draw(some(NAMES, least=0)) if name not in parties),
    )


@st.composite
def worlds(draw):
    sites = {
        name: Site(id=name, operator=draw(NAMES), jurisdiction=draw(CODES), evidence=EVIDENCE, endpoints=(f"h{n}:1",))
        for n, name in enumerate(draw(some(NAMES)))
    }
    owners = tuple(
        OwnerAgreements(
            owner=owner, agreements=tuple(draw(agreements(f"{owner}{n}")) for n in range(draw(st.integers(1, 2))))
        )
        for owner in draw(st.sampled_from([("o",), ("o", "p")]))
    )
    act = draw(st.sampled_from(sorted(ACTS)))
    request = Request(
        act=act,
        party=draw(NAMES),
        owner=draw(st.sampled_from(["o", "o", "p"])),
        dataset=draw(NAMES),
        agreement=draw(st.sampled_from(["ido0", "ido0", "ido1", "idp0"])),
        sites=draw(some(NAMES)),
        endpoints=draw(some(st.sampled_from(["h0:1", "h1:1", "h9:1"]), least=0)),
        purpose=draw(st.sampled_from(PURPOSES)) if act == "read" else "",
        embodiment=draw(NAMES) if act in ("adapt", "export", "deploy") else "",
    )
    # Just before, at, and just after midnights.
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(
        days=draw(st.integers(0, 4)), seconds=draw(st.integers(-1, 1))
    )
    return Rules(owners, sites), request, int(moment.timestamp())


@settings(max_examples=400, deadline=None)
@given(worlds())
def test_the_policy_engine_and_the_clauses_give_the_same_answer(world):
    found, request, now_s = world
    assert is_permitted(request, compile_rules(found), now_s) == all(c.holds for c in clauses(request, found, now_s))
