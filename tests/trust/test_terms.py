"""What several agreements allow together: only what each allows, and no longer than the first of them."""

from dataclasses import replace

import pytest
from trust_rules import ABROAD, FLEET, FULL, MAKER, TRAINING, rules

from genba.errors import PassportError
from genba.trust.agreements import OwnerAgreements
from genba.trust.passport import Deployment
from genba.trust.requests import Holding
from genba.trust.terms import EVERYWHERE, agreement_digest, agreement_of, both, deployment_under

GRIP, OPEN, DRIVE = (
    Holding("maker", "grip", "full"),
    Holding("maker", "open", "abroad"),
    Holding("fleet", "drive", "training"),
)
#: 2027-04-01, 00:00 UTC: 57 years after 1970 with 14 leap days, and 90 days of 2027
END_NS = (57 * 365 + 14 + 90) * 86400 * 10**9


def test_one_agreement_allows_what_it_says():
    assert deployment_under(rules(), [GRIP]) == Deployment(
        embodiments=("arm@1",), sites=("lab", "plant"), parties=("lab-co",), until_ns=END_NS
    )


def test_two_allow_what_both_say_and_the_first_to_end_ends_both():
    shorter = replace(ABROAD, machines=("arm@1", "car@1"), valid_until=FULL.valid_until.replace(day=30))
    found = deployment_under(rules(OwnerAgreements(owner="maker", agreements=(FULL, shorter))), [GRIP, OPEN])
    assert found == Deployment(
        embodiments=("arm@1",), sites=("lab", "plant"), parties=("lab-co",), until_ns=END_NS - 86400 * 10**9
    )


def test_one_agreement_without_deployment_allows_no_place_for_all():
    found = deployment_under(rules(), [GRIP, DRIVE])
    assert found == Deployment(embodiments=(), sites=(), until_ns=END_NS)


def test_a_site_that_an_excluded_party_operates_is_no_place():
    # "open" is not among the data sets that are excluded from plant-co; "grip" is, by another of the owner's agreements
    keeping_out = replace(TRAINING, id="keeping-out", datasets=("grip",), excluded=("host-co",))
    owner = OwnerAgreements(
        owner="maker", agreements=(replace(ABROAD, datasets=("open",)), replace(FULL, id="full"), keeping_out)
    )
    found = deployment_under(rules(owner), [OPEN])
    assert found.sites == ("abroad", "lab", "plant")
    assert deployment_under(rules(owner), [OPEN, GRIP]).sites == ("lab", "plant")


def test_who_runs_the_machine_must_be_a_party_to_every_agreement():
    both_parties = replace(FULL, parties=("lab-co", "plant-co"))
    abroad = replace(ABROAD, parties=("plant-co", "lab-co", "host-co"))
    owner = OwnerAgreements(owner="maker", agreements=(both_parties, abroad))
    assert deployment_under(rules(owner), [GRIP]).parties == ("lab-co", "plant-co")
    assert deployment_under(rules(owner), [OPEN]).parties == ("host-co", "lab-co", "plant-co")
    assert deployment_under(rules(owner), [GRIP, OPEN]).parties == ("lab-co", "plant-co")


def test_nothing_read_forbids_nothing():
    assert deployment_under(rules(), []) == EVERYWHERE


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (("*",), ("a", "b"), ("a", "b")),
        (("a", "b"), ("*",), ("a", "b")),
        (("*",), ("*",), ("*",)),
        (("a", "b"), ("b", "c"), ("b",)),
        (("a",), (), ()),
    ],
)
def test_names_that_both_allow(one, other, expected):
    found = both(
        Deployment(embodiments=one, sites=other, parties=one), Deployment(embodiments=other, sites=one, parties=other)
    )
    assert (found.embodiments, found.sites, found.parties) == (expected, expected, expected)


@pytest.mark.parametrize(("one", "other", "expected"), [(None, None, None), (1, None, 1), (None, 2, 2), (2, 1, 1)])
def test_the_earlier_end_ends_both(one, other, expected):
    assert both(Deployment(until_ns=one), Deployment(until_ns=other)).until_ns == expected


def test_a_source_without_its_agreement_is_refused():
    with pytest.raises(PassportError, match=r"maker/grip: no agreement 'ful' .*did you mean 'full'"):
        agreement_of(rules(), Holding("maker", "grip", "ful"))
    with pytest.raises(PassportError, match="stranger/grip: no agreement 'full' of this owner is known"):
        deployment_under(rules(), [Holding("stranger", "grip", "full")])
    with pytest.raises(PassportError, match="agreement 'full' is about grip, reach only"):
        deployment_under(rules(), [Holding("maker", "drive", "full")])


def test_a_digest_stands_for_every_fact_of_an_agreement_and_whose_it_is():
    changed = [
        agreement_digest("maker", FULL),
        agreement_digest("fleet", FULL),
        agreement_digest("maker", replace(FULL, sites=("lab",))),
        agreement_digest("maker", replace(FULL, valid_until=FULL.valid_until.replace(day=30))),
    ]
    assert len(set(changed)) == len(changed)
    assert agreement_digest("maker", replace(FULL)) == changed[0]
    assert MAKER.agreements[0] is FULL and FLEET.agreements[0] is TRAINING
