"""A command reaches the sites that every agreement of its data allows, and its own; nothing that nobody declared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from trust_rules import ABROAD, FLEET, FULL, MAKER, SITES, TRAINING, rules

from genba.errors import SandboxError
from genba.trust.agreements import OwnerAgreements, Rules
from genba.trust.sandbox.agreed import agreed_policy, agreed_sites

#: within every agreement of ``trust_rules``: they hold from 2026-04-01
NOW_S = FULL.from_s + 86_400
FULLY, TRAINED, OPEN = ("maker", "grip", "full"), ("fleet", "drive", "training"), ("maker", "open", "abroad")


def reached(*terms: tuple[str, str, str], site: str = "lab", party: str = "lab-co", now_s: int = NOW_S) -> set[str]:
    policy = agreed_policy(rules(), party=party, site=site, terms=terms, now_s=now_s)
    return {one.host for one in policy.endpoints}


def test_allowed_are_the_sites_that_every_agreement_allows():
    # full: lab, plant; training: lab; abroad: lab, plant, abroad. 10.0.0.1 is lab's, .2 plant's, .3 abroad's.
    assert reached(FULLY) == {"10.0.0.1", "10.0.0.2"}
    assert reached(OPEN) == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
    assert reached(FULLY, OPEN) == {"10.0.0.1", "10.0.0.2"}
    assert reached(FULLY, OPEN, TRAINED) == {"10.0.0.1"}


def test_own_site_is_always_reached_and_nothing_else_without_an_agreement():
    assert reached() == {"10.0.0.1"}
    assert reached(site="plant") == {"10.0.0.2"}
    assert reached(TRAINED, site="plant") == {"10.0.0.1", "10.0.0.2"}


@pytest.mark.parametrize(
    ("terms", "party", "now_s"),
    [
        (("nobody", "grip", "full"), "lab-co", NOW_S),
        (("maker", "grip", "unknown"), "lab-co", NOW_S),
        (("maker", "drive", "full"), "lab-co", NOW_S),
        (FULLY, "rival", NOW_S),
        (FULLY, "lab-co", FULL.from_s - 1),
        (FULLY, "lab-co", FULL.end_s),
    ],
)
def test_agreement_that_does_not_hold_allows_no_site(terms: tuple[str, str, str], party: str, now_s: int):
    assert agreed_sites(rules(), party=party, terms=[terms], now_s=now_s) == set()
    assert reached(terms, OPEN, party=party, now_s=now_s) == {"10.0.0.1"}


def test_agreement_holds_to_its_last_second():
    for now_s in (FULL.from_s, FULL.end_s - 1):
        assert agreed_sites(rules(), party="lab-co", terms=[FULLY], now_s=now_s) == {"lab", "plant"}


def test_each_permission_names_its_agreements_and_site():
    policy = agreed_policy(rules(), party="lab-co", site="lab", terms=[FULLY, OPEN], now_s=NOW_S)
    sources = {one.host: one.source for one in policy.endpoints}
    # In the order of the terms: data set "grip" comes before "open".
    assert sources["10.0.0.1"] == "site lab in JP-23, where this host stands"
    assert sources["10.0.0.2"] == "site plant in JP, allowed by full, abroad"


def test_it_listens_at_its_own_site_and_its_processes_talk_to_each_other():
    policy = agreed_policy(rules(), party="lab-co", site="lab", terms=[OPEN], now_s=NOW_S)
    assert [(one.host, one.low_port, one.high_port) for one in policy.binds] == [
        ("10.0.0.1", 80, 80),
        ("10.0.0.1", 0, 0),
    ]
    assert policy.has_own_ports


def test_ipv6_address_of_its_own_site_is_listened_at():
    sites = {**SITES, "lab": replace(SITES["lab"], endpoints=("[fd00::5]:80",))}
    own = Rules((MAKER,), sites)
    policy = agreed_policy(own, party="lab-co", site="lab", terms=[], now_s=NOW_S)
    assert [(one.host, one.low_port, one.high_port) for one in policy.binds] == [("fd00::5", 80, 80), ("fd00::5", 0, 0)]


def test_storage_urls_are_no_hosts():
    policy = agreed_policy(rules(), party="lab-co", site="lab", terms=[FULLY], now_s=NOW_S)
    # SITES: lab declares s3://lab/v beside its host.
    assert {str(one) for one in policy.endpoints} == {"10.0.0.1:80", "10.0.0.2:80"}


def test_endpoint_that_a_command_needs_is_declared_and_allowed_or_nothing_starts():
    def needing(endpoint: str, *terms: tuple[str, str, str]) -> None:
        agreed_policy(rules(), party="lab-co", site="lab", terms=terms, now_s=NOW_S, needed=[endpoint])

    needing("10.0.0.1:80", TRAINED)
    # One's own site needs no agreement.
    needing("10.0.0.1:80")
    needing("10.0.0.2:80", FULLY)
    with pytest.raises(SandboxError, match=r"10.0.0.9:80: no site declares this endpoint, so nobody knows whose law"):
        needing("10.0.0.9:80", FULLY)
    with pytest.raises(
        SandboxError,
        match=r"10.0.0.2:80: is at site 'plant' \(JP\), which not every agreement .*\(training\); allowed: lab",
    ):
        needing("10.0.0.2:80", TRAINED)
    with pytest.raises(SandboxError, match=r"'abroad' \(US-OR\), .*\(none is named\); allowed: lab"):
        needing("10.0.0.3:80")


def test_host_at_a_site_that_nobody_declared_runs_nothing():
    with pytest.raises(SandboxError, match=r"site 'home'.* is not declared, so nobody knows whose law applies here"):
        agreed_policy(rules(), party="lab-co", site="home", terms=[], now_s=NOW_S)


def test_agreement_of_the_same_name_but_another_owner_does_not_count():
    other = Rules((OwnerAgreements(owner="fleet", agreements=(replace(TRAINING, datasets=("grip",)),)), MAKER), SITES)
    assert agreed_sites(other, party="lab-co", terms=[("fleet", "grip", "full")], now_s=NOW_S) == set()
    assert {one.id for one in (*MAKER.agreements, *FLEET.agreements)} == {FULL.id, ABROAD.id, TRAINING.id}
