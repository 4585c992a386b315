"""Only what an agreement allows is allowed; each clause refuses just outside its edge, in words; two evaluators agree."""

from dataclasses import replace
from datetime import date

import cedarpy
import pytest
from trust_rules import ABROAD, FLEET, FULL, MAKER, NOW_NS, SITES, TRAIN, TRAINING, moment_ns, rules

from genba.errors import ConfigError
from genba.trust.agreements import Rules, make_rules
from genba.trust.cedar import compile_rules, is_permitted
from genba.trust.decide import decide
from genba.trust.requests import ACTS

COMPILED = compile_rules(rules())
NS = 1_000_000_000


def refused(request, now_ns=NOW_NS, compiled=COMPILED):
    decision = decide(request, compiled, now_ns)
    assert not decision.is_allowed
    return decision.reasons


def allowed(request, now_ns=NOW_NS, compiled=COMPILED):
    decision = decide(request, compiled, now_ns)
    assert decision.is_allowed, decision.reasons
    return decision.reasons


def test_what_is_allowed_says_by_which_clauses():
    assert allowed(TRAIN) == (
        "full: datasets: it is about data set 'grip'",
        "full: parties: 'lab-co' is among the parties",
        "full: purposes: 'train' serves purpose 'train', which is allowed",
        "full: from: it holds since 2026-04-01",
        "full: until: it holds until 2027-03-31",
        "full: sites: lab: allowed",
        "full: jurisdictions: everything lies in JP",
        "full: endpoints: every place has a declared jurisdiction",
    )


@pytest.mark.parametrize("act", sorted(ACTS))
def test_every_act_can_be_allowed(act):
    embodiment = "arm@1" if act in ("adapt", "export", "deploy") else ""
    allowed(replace(TRAIN, act=act, embodiment=embodiment, purpose="train" if act == "read" else ""))


CASES = [
    ({"dataset": "drive"}, "full: datasets: it is not about data set 'drive', only grip, reach"),
    ({"party": "other"}, "full: parties: 'other' is not among the parties (lab-co); ask the owner"),
    (
        {"act": "deploy", "embodiment": "arm@2"},
        "full: machines: machine type 'arm@2' is not listed; listed: arm@1",
    ),
    (
        {"act": "export", "embodiment": "arm@2"},
        "full: machines: machine type 'arm@2' is not listed; listed: arm@1",
    ),
    (
        {"endpoints": ("10.0.0.9:80", "s3://lab/w")},
        "full: endpoints: endpoint '10.0.0.9:80', endpoint 's3://lab/w': nobody declared whose law applies there; declare it "
        "in sites.toml with its evidence",
    ),
    ({"owner": "nobody"}, "full: agreement: no agreement of 'nobody' is known: what nobody allowed is refused"),
    ({"agreement": "ful"}, "ful: agreement: 'maker' has no such agreement; did you mean 'full'?"),
]


@pytest.mark.parametrize(("change", "reason"), CASES)
def test_one_thing_out_of_place_is_refused_by_its_clause_alone(change, reason):
    assert refused(replace(TRAIN, **change)) == (reason,)


def test_an_agreement_of_another_owner_does_not_count():
    (reason,) = refused(replace(TRAIN, agreement="training"))
    assert reason.startswith("training: agreement: 'maker' has no such agreement")


def test_a_purpose_that_is_not_listed_is_refused_for_reading_too():
    of_fleet = replace(TRAIN, owner="fleet", dataset="drive", agreement="training")
    allowed(of_fleet)
    assert refused(replace(of_fleet, act="evaluate")) == (
        "training: purposes: 'evaluate' serves purpose 'evaluate'; allowed: train",
    )
    allowed(replace(of_fleet, act="read", purpose="train"))
    assert refused(replace(of_fleet, act="read", purpose="deploy")) == (
        "training: purposes: 'read' serves purpose 'deploy'; allowed: train",
    )
    assert refused(replace(of_fleet, act="deploy", embodiment="car@1"))[1] == (
        "training: machines: machine type 'car@1' is not listed; listed: none"
    )


@pytest.mark.parametrize(
    ("moment", "is_allowed"),
    [
        ("2026-03-31T23:59:59", False),
        ("2026-04-01T00:00:00", True),
        ("2027-03-31T23:59:59", True),
        ("2027-04-01T00:00:00", False),
    ],
)
def test_an_agreement_holds_from_its_first_to_its_last_second(moment, is_allowed):
    assert decide(TRAIN, COMPILED, moment_ns(moment)).is_allowed is is_allowed
    # The last nanosecond of a second is still in it.
    assert decide(TRAIN, COMPILED, moment_ns(moment) + NS - 1).is_allowed is is_allowed


def test_expiry_and_beginning_are_named():
    assert refused(TRAIN, moment_ns("2027-04-01T00:00:00")) == (
        "full: until: it expired after 2027-03-31, 24:00 UTC; renew it with the owner",
    )
    assert refused(TRAIN, moment_ns("2026-03-31T23:59:59")) == (
        "full: from: it does not hold before 2026-04-01, 00:00 UTC",
    )


def test_every_place_counts_not_only_the_first():
    allowed(replace(TRAIN, sites=("lab", "plant"), endpoints=("10.0.0.2:80", "s3://lab/v/one")))
    abroad = (
        "full: sites: abroad: not allowed; allowed: lab, plant",
        "full: jurisdictions: abroad lies in US-OR; allowed: JP",
    )
    assert refused(replace(TRAIN, sites=("lab", "abroad"))) == abroad
    # An endpoint brings its site with it.
    assert refused(replace(TRAIN, endpoints=("10.0.0.3:80",))) == abroad
    assert refused(replace(TRAIN, sites=("lab", "moon")))[0] == "full: sites: moon: not allowed; allowed: lab, plant"


def test_an_excluded_party_is_refused_under_whichever_agreement_and_after_it_expired():
    request = replace(TRAIN, party="rival")
    assert refused(request)[0] == "full: excluded: 'rival' is excluded from data set 'grip'"
    assert refused(request, moment_ns("2030-01-01T00:00:00"))[0].startswith("full: excluded: ")
    # In a data set that the exclusion is not about, it is like any other.
    assert not [r for r in refused(replace(request, dataset="open", agreement="abroad")) if "excluded" in r]
    # Even where another agreement, read by other means than ``make_rules``, allows it.
    lax = replace(FULL, id="lax", parties=("lab-co", "rival"), excluded=())
    both = compile_rules(Rules((replace(MAKER, agreements=(FULL, lax)),), SITES))
    assert refused(replace(request, agreement="lax"), compiled=both) == (
        "full: excluded: 'rival' is excluded from data set 'grip'",
    )


def test_an_excluded_operator_may_not_host_either():
    lax = replace(TRAINING, id="lax", jurisdictions=("JP", "US"), sites=("lab", "abroad"), excluded=())
    both = compile_rules(Rules((replace(FLEET, agreements=(TRAINING, lax)),), SITES))
    request = replace(TRAIN, owner="fleet", dataset="drive", agreement="lax", sites=("lab", "abroad"))
    assert refused(request, compiled=both) == (
        "training: excluded: site 'abroad' is operated by 'host-co', which is excluded from data set 'drive'",
    )
    allowed(replace(request, sites=("lab",)), compiled=both)


def test_a_country_holds_its_parts_and_a_part_not_its_country():
    def at(jurisdiction, permitted):
        site = replace(SITES["lab"], jurisdiction=jurisdiction)
        agreement = replace(FULL, jurisdictions=(permitted,), sites=("lab",))
        made = Rules((replace(MAKER, agreements=(agreement,)),), {"lab": site})
        return decide(TRAIN, compile_rules(made), NOW_NS).reasons

    assert len(at("JP-23", "JP")) == len(at("JP", "JP")) == len(at("JP-23", "JP-23")) == 8
    assert at("JP", "JP-23") == ("full: jurisdictions: lab lies in JP; allowed: JP-23",)
    assert at("JP-22", "JP-23") == ("full: jurisdictions: lab lies in JP-22; allowed: JP-23",)


def test_where_the_two_evaluators_differ_it_is_refused():
    """Here by giving the engine the policies of other rules than the clauses see."""
    stricter = compile_rules(rules(replace(MAKER, agreements=(replace(FULL, parties=("other",)),))))
    mixed = replace(stricter, rules=COMPILED.rules)
    assert refused(TRAIN, compiled=mixed) == (
        "full: the policy engine says no, the clauses say yes: a defect of Genba, please report it; refused until it is mended",
    )
    mixed = replace(COMPILED, rules=stricter.rules)
    assert refused(TRAIN, compiled=mixed)[1].startswith("full: the policy engine says yes, the clauses say no")


def test_a_policy_that_cannot_be_evaluated_allows_nothing():
    """The engine passes over a ``forbid`` that fails, and would permit."""
    policies = COMPILED.policies + "forbid (principal, action, resource) when { context.nothing };"
    broken = replace(COMPILED, policies=policies, parsed=cedarpy.PolicySet.from_str(policies))
    assert is_permitted(TRAIN, COMPILED, NOW_NS // NS)
    assert not is_permitted(TRAIN, broken, NOW_NS // NS)


def test_the_hash_changes_with_every_fact_that_could_change_an_answer():
    seen = {COMPILED.policy_hash}
    assert compile_rules(rules()).policy_hash in seen
    for change in ({"parties": ("x",)}, {"valid_until": date(2027, 4, 1)}, {"excluded": ()}, {"machines": ("arm@2",)}):
        seen.add(compile_rules(rules(replace(MAKER, agreements=(replace(FULL, **change),)), FLEET)).policy_hash)
    moved = SITES | {"plant": replace(SITES["plant"], operator="other")}
    seen.add(compile_rules(make_rules([("a", MAKER), ("b", FLEET)], moved)).policy_hash)
    assert len(seen) == 6


def test_a_decision_can_be_written_down():
    decision = decide(TRAIN, COMPILED, NOW_NS)
    assert decision.body() == {
        "allowed": True,
        "reasons": list(decision.reasons),
        "request": {
            "act": "train",
            "party": "lab-co",
            "owner": "maker",
            "dataset": "grip",
            "agreement": "full",
            "sites": ["lab"],
            "endpoints": [],
            "purpose": "",
            "embodiment": "",
        },
        "request_digest": TRAIN.digest,
        "policy_hash": COMPILED.policy_hash,
        "now_ns": NOW_NS,
    }
    assert replace(TRAIN, party="x").digest != TRAIN.digest


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"act": "copy"}, "act: got 'copy', expected one of admit, keep, read"),
        ({"party": ""}, "party: got nothing, expected a name"),
        ({"owner": ""}, "owner: got nothing"),
        ({"dataset": ""}, "dataset: got nothing"),
        ({"agreement": ""}, "agreement: got nothing"),
        ({"sites": ()}, r"sites: got \[\], expected the id of every site"),
        ({"sites": ("lab", "")}, "sites: got"),
        ({"act": "read"}, "purpose: got '', expected what is read for: one of train, evaluate, adapt, deploy"),
        ({"purpose": "deploy"}, "purpose: got 'deploy', but 'train' has purpose 'train'"),
        ({"act": "admit", "purpose": "train"}, "purpose: got 'train', but 'admit' has none"),
        ({"embodiment": "arm@1"}, "embodiment: got 'arm@1', expected none for 'train'"),
        ({"act": "deploy"}, "embodiment: got '', expected the machine type's id"),
    ],
)
def test_a_question_that_makes_no_sense_is_not_asked(change, match):
    with pytest.raises(ValueError, match=match):
        replace(TRAIN, **change)


def test_a_purpose_may_be_said_twice():
    assert replace(TRAIN, purpose="train").serves == "train"


def test_an_endpoint_that_is_none_is_not_decided_on():
    with pytest.raises(ConfigError, match=r"endpoint: got '10\.0\.0\.1', expected host:port or a storage URL"):
        decide(replace(TRAIN, endpoints=("10.0.0.1",)), COMPILED, NOW_NS)


def test_names_cannot_break_out_of_a_policy():
    nasty = 'x"].contains(principal) } || true; //\\'
    made = compile_rules(rules(replace(MAKER, agreements=(replace(FULL, parties=(nasty,), datasets=(nasty, "grip")),))))
    allowed(replace(TRAIN, party=nasty, dataset=nasty), compiled=made)
    assert refused(TRAIN, compiled=made)


def test_two_agreements_share_nothing():
    """What one allows in Japan and the other anywhere: each names its own sites only."""
    allowed(replace(TRAIN, dataset="open", agreement="abroad", sites=("abroad",)))
    assert ABROAD.sites != FULL.sites
    assert len(refused(replace(TRAIN, sites=("abroad",)))) == 2
