"""Every planted defect is found in the right stream; sound episodes, simulated and real, give none."""

import numpy as np
import pytest
from planted_bench import Bench, is_found
from planted_cases import copy_cases, decision_cases, hidden_cases, rover_cases, sensor_cases, timing_cases
from rover import ROVER, drive

from genba.bench.collect import collect
from genba.data.quality.findings import KINDS
from genba.data.quality.inspect import inspect_vault
from genba.data.readers.comma2k19 import Comma2k19Reader
from genba.data.vault import Vault
from genba.spec.embodiment import load_embodiment

#: (task, who acts, episodes): quick policies; what they do is not judged here
RECORDED = (("arm/grip@1", "reactive", 4), ("vehicle/intersection@1", "idm", 2), ("factory/shortage@1", "edd", 2))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A vault of a few episodes of each simulated machine."""
    vault = Vault.open(tmp_path_factory.mktemp("recorded") / "vault", create=True)
    for task, policy, count in RECORDED:
        collect(task, policy=policy, seeds=range(count), sink=vault, workers=0, progress=False)
    return vault


@pytest.fixture(scope="module")
def drives():
    return [drive(seed, seconds=12.0) for seed in range(7)]


def report(findings):
    return [f"{f.kind} {f.place}: {f.message}" for f in findings]


def hold(bench, cases):
    """Every case's defect is found."""
    missed = {}
    for name, strength, make in cases:
        planted = make()
        assert planted.kind in KINDS
        findings = bench.findings(planted.episode)
        if not is_found(planted, findings):
            missed[name, strength] = (planted.kind, planted.stream, planted.dimension, report(findings))
    assert not missed


def test_sound_drives_give_nothing(drives):
    bench = Bench(ROVER, drives[1:])
    assert report(bench.findings(drives[0])) == []
    alone = Bench(ROVER, [])
    assert report(alone.findings(drives[0])) == []
    assert report(alone.findings(drive(8, seconds=12.0, labelled=True))) == []


@pytest.mark.parametrize("cases", [timing_cases, sensor_cases, rover_cases], ids=lambda cases: cases.__name__)
def test_defects_of_the_rover_are_found(drives, cases):
    hold(Bench(ROVER, drives[1:]), cases(ROVER, drives[0], np.random.default_rng(0)))


def test_odd_decisions_and_hidden_offsets_of_the_rover_are_found(drives):
    hold(Bench(ROVER, drives[1:]), [*decision_cases(ROVER, drives[0]), *hidden_cases(ROVER, drives[0])])


def test_copies_of_a_drive_are_found_and_drives_are_no_copies_of_each_other(drives):
    hold(Bench(ROVER, drives), copy_cases(ROVER, drives[0], np.random.default_rng(0)))


def test_recorded_episodes_of_every_simulator_give_nothing(recorded):
    *_, verdicts = inspect_vault(recorded, recorded.entries())
    assert len(verdicts) == sum(count for _, _, count in RECORDED)
    assert {v.episode_id: report(v.findings) for v in verdicts if v.findings} == {}


def test_defects_of_recorded_arms_are_found(recorded):
    facts = load_embodiment("arm/panda-grip@1")
    first, *others = [recorded.read(e.episode_id) for e in recorded.entries(embodiment_id=facts.id)]
    rng = np.random.default_rng(1)
    hold(Bench(facts, others), [*timing_cases(facts, first, rng), *sensor_cases(facts, first, rng)])
    hold(Bench(facts, others), [*decision_cases(facts, first), *hidden_cases(facts, first)])
    hold(Bench(facts, [first, *others]), copy_cases(facts, first, rng))


def test_copied_plan_of_a_factory_is_found(recorded):
    facts = load_embodiment("factory/parallel-lines@2")
    first, *others = [recorded.read(e.episode_id) for e in recorded.entries(embodiment_id=facts.id)]
    hold(Bench(facts, [first, *others]), copy_cases(facts, first, np.random.default_rng(0)))


def test_real_minute_of_driving_gives_nothing_until_it_is_broken(samples):
    log, dbc = samples / "vehicle" / "comma2k19", samples / "vehicle" / "dbc" / "toyota_2017.dbc"
    facts = Comma2k19Reader().embodiment(log, dbc=dbc)
    (episode,) = Comma2k19Reader().read(log, dbc=dbc)
    bench = Bench(facts, [])
    assert report(bench.findings(episode)) == []
    hold(bench, [case for case in timing_cases(facts, episode, np.random.default_rng(0)) if case[0] != "drift"])
