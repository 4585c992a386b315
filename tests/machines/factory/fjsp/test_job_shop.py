"""The job shop as a task: what is shown, what is decided, what is judged."""

import numpy as np
import pytest

from genba.errors import SimulatorError, SpecError, VerificationError
from genba.machines.factory.fjsp.decoder import (
    as_decision,
    best_rule,
    decode,
    in_order,
    latest_starts,
    run_plan,
    run_scores,
    sample_decode,
)
from genba.machines.factory.fjsp.expert import JobShopExpert
from genba.machines.factory.fjsp.features import MEAN_TIME_S, channels, observe_situation
from genba.machines.factory.fjsp.generator import generate
from genba.machines.factory.fjsp.instance import JobShop, begin, situation_at
from genba.machines.factory.fjsp.local_search import LocalSearch
from genba.machines.factory.fjsp.simulator import JobShopEnv
from genba.machines.factory.fjsp.tasks import JOB_SHOP
from genba.machines.factory.fjsp.verifier import judge, verify
from genba.spec.action import Action
from genba.spec.conformance import check_observation
from genba.spec.embodiment import load_embodiment
from genba.spec.observation import observe

# two jobs, two machines: job 0 is 3 on machine 0, then 2 on either; job 1 is 4 on machine 0 or 5 on machine 1
SMALL = JobShop(name="small", job=np.array([0, 0, 1]), time=np.array([[3, 0], [2, 2], [4, 5]]))


def test_what_is_left_at_a_moment_is_what_has_not_started():
    # job 0: 0-3 on machine 0, then 3-5 there; job 1: 0-5 on machine 1
    situation = situation_at(SMALL, np.array([0, 3, 0]), np.array([0, 0, 1]), now=2)
    assert situation.operations.tolist() == [1]
    # the first of job 0 runs until 3; job 1 is over at 5, as is machine 1
    assert situation.ready.tolist() == [3, 5]
    assert situation.free.tolist() == [3, 5]
    assert situation_at(SMALL, np.array([0, 3, 0]), np.array([0, 0, 1]), now=4).operations.tolist() == []


def test_a_plan_is_run_as_given_and_written_as_scores_it_decodes_to_itself():
    situation = begin(SMALL)
    # both of job 0 and then job 1 on machine 0: 0-3, 3-5, 5-9
    start, machine, makespan = run_plan(situation, np.array([0, 1, 2]), np.array([0, 0, 0]))
    assert (start.tolist(), machine.tolist(), makespan) == ([0, 3, 5], [0, 0, 0], 9)
    again = decode(situation, *as_decision(situation, start, machine))
    assert [part.tolist() for part in again[:2]] == [[0, 3, 5], [0, 0, 0]]


def test_a_plan_whose_scores_turn_a_job_around_keeps_the_jobs_order():
    # operation 1 is wanted before operation 0 of its job: it comes right behind it
    assert in_order(begin(SMALL), np.array([2.0, 0.0, 1.0])).tolist() == [2, 0, 1]


def test_a_decision_that_does_not_fit_is_refused():
    situation = begin(SMALL)
    with pytest.raises(SpecError, match=r"got sequence \(2,\) and machine \(3, 2\), expected \(3,\)"):
        decode(situation, np.zeros(2), np.zeros((3, 2)))
    only = np.array([[-np.inf, 0.0], [0.0, -np.inf], [0.0, -np.inf]])
    with pytest.raises(SpecError, match="operation 0 on machine 1, which cannot do it"):
        decode(situation, np.zeros(3), only)


def test_how_late_operations_could_start_is_counted_back_from_the_end():
    # job 0: 0-3 on machine 0, 3-5 there; job 1: 0-5 on machine 1: all ends at 5, nothing can wait
    assert latest_starts(begin(SMALL), (np.array([0, 3, 0]), np.array([0, 0, 1]), 5)).tolist() == [0, 3, 0]
    # job 1 on machine 1 may start 4 later where the plan ends at 9
    assert latest_starts(begin(SMALL), (np.array([0, 3, 0]), np.array([0, 0, 1]), 9)).tolist() == [4, 7, 4]


def test_the_order_of_latest_starts_decodes_to_the_same_schedule_or_a_shorter_one():
    for seed in range(8):
        situation = begin(generate(seed))
        plan = best_rule(situation)
        again = decode(situation, *as_decision(situation, latest_starts(situation, plan), plan[1]))
        assert again[2] <= plan[2]
        # every operation as early as its job and machine allow, in the same order: nothing starts later
        assert (again[0] <= plan[0]).all()


def test_any_scores_give_a_schedule_without_fault_at_any_moment():
    rng = np.random.default_rng(0)
    for seed in range(12):
        shop = generate(seed)
        start, machine, makespan = best_rule(begin(shop))
        situation = situation_at(shop, start, machine, now=makespan // 3)
        rows = situation.operations
        scores = rng.normal(size=len(rows)), 3 * rng.normal(size=(len(rows), shop.time.shape[1]))
        for found in (run_scores(situation, *scores), sample_decode(situation, *scores, num_samples=20, seed=seed)):
            whole = start.copy(), machine.copy()
            whole[0][rows], whole[1][rows] = found[0][rows], found[1][rows]
            assert verify(shop, *whole) == found[2]
            assert found[0][rows].min() >= situation.now


def test_sampling_is_never_worse_than_the_scores_as_they_are():
    shop = generate(3)
    scores = np.zeros(len(shop.job)), np.zeros(shop.time.shape)
    assert sample_decode(begin(shop), *scores, num_samples=50, seed=0)[2] <= decode(begin(shop), *scores)[2]


def test_a_search_repeats_by_seed_is_never_worse_and_finds_the_best_of_a_small_shop():
    start, machine, makespan = run_plan(begin(SMALL), np.array([0, 1, 2]), np.array([0, 0, 0]))
    search = LocalSearch(begin(SMALL), (start, machine, makespan))
    search.run(1000)
    # job 0 takes at least 3 + 2: nothing is shorter than 5
    assert verify(SMALL, *search.plan[:2]) == search.plan[2] == 5
    for seed in range(4):
        shop = generate(seed)
        rule = best_rule(begin(shop))
        found = []
        for _ in range(2):
            search = LocalSearch(begin(shop), rule, seed=seed)
            search.run(20_000)
            found.append(search.plan)
        assert np.array_equal(found[0][0], found[1][0])
        assert verify(shop, *found[0][:2]) == found[0][2] <= rule[2]


def test_a_search_of_what_is_left_touches_nothing_else():
    shop = generate(5)
    start, machine, makespan = best_rule(begin(shop))
    situation = situation_at(shop, start, machine, now=makespan // 2)
    search = LocalSearch(situation, run_plan(situation, in_order(situation, start[situation.operations]), machine))
    search.run(5_000)
    found = search.plan
    rows = situation.operations
    whole = np.where(np.isin(np.arange(len(start)), rows), found[0], start)
    assert verify(shop, whole, np.where(found[1] >= 0, found[1], machine)) == found[2] <= makespan


def test_what_is_shown_does_not_depend_on_the_unit_of_time():
    shop = generate(11)
    longer = JobShop(name=shop.name, job=shop.job, time=shop.time * 7)
    once, seven = channels(begin(shop)), channels(begin(longer))
    for name, values in once.items():
        np.testing.assert_allclose(values, seven[name], rtol=1e-5, atol=1e-2)
    assert once["operations"][:, 1].mean() == pytest.approx(MEAN_TIME_S, rel=1e-5)


def test_the_slack_shown_is_zero_somewhere_at_least_where_the_longest_job_is_the_bound():
    # job 0 takes at least 5, job 1 at least 4; all shortest times over two machines are 4.5: 5 is the bound
    shown = channels(begin(SMALL))
    unit = MEAN_TIME_S / SMALL.mean_time()
    slack = shown["operations"][:, 6] / unit
    np.testing.assert_allclose(slack, [0, 0, 1], atol=1e-5)
    # tail: 3 + 2, 2, 4
    np.testing.assert_allclose(shown["operations"][:, 4] / unit, [5, 2, 4], rtol=1e-5)
    # work that no other machine can do: the first operation's 3 on machine 0
    np.testing.assert_allclose(shown["machines"][:, 2] / unit, [3, 0], rtol=1e-5)


@pytest.mark.parametrize(
    ("num_operations", "per_job", "num_machines", "says"),
    [
        (513, 27, 2, "got 513 operations, factory/job-shop@1 has room for 512"),
        (129, 1, 2, "got 129 jobs, factory/job-shop@1 has room for 128"),
        (4, 2, 65, "got 65 machines, factory/job-shop@1 has room for 64"),
    ],
)
def test_a_shop_that_is_too_large_for_the_model_is_refused_by_name(num_operations, per_job, num_machines, says):
    time = np.ones((num_operations, num_machines), np.int64)
    with pytest.raises(SpecError, match=f"many: {says}"):
        observe_situation(begin(JobShop(name="many", job=np.arange(num_operations) // per_job, time=time)))


def test_a_shop_that_just_fits_the_model_is_shown_whole():
    time = np.ones((512, 64), np.int64)
    shown = observe_situation(begin(JobShop(name="full", job=np.arange(512) // 4, time=time)))
    check_observation(load_embodiment("factory/job-shop@1"), shown)
    assert [len(shown.streams[name].sample(-1)) for name in ("operations", "machines", "jobs")] == [512, 64, 128]


def test_doing_nothing_executes_the_best_rule_and_searching_is_better():
    env = JobShopEnv()
    with pytest.raises(SimulatorError, match="no episode is running"):
        env.situation()
    step = env.reset(8)
    while not step.terminated:
        step = env.step(None)
    outcome = judge(env.trace())
    assert (outcome["share_of_best_rule"], outcome["makespan"]) == (1.0, best_rule(begin(generate(8)))[2])
    taught = _run(env, JobShopExpert(env, num_moves=300), 8)
    assert taught["makespan"] < outcome["makespan"]
    assert 1.0 <= taught["over_lower_bound"] < outcome["over_lower_bound"]


def test_the_teacher_corrects_a_shop_that_another_led_astray():
    env = JobShopEnv()
    expert = JobShopExpert(env, num_moves=300, num_warm_moves=300)
    expert.reset(2)
    step = env.reset(2)
    spt = JOB_SHOP.policies["spt"](env)
    makespans = []
    while not step.terminated:
        observation = observe(env.embodiment, step.samples, step.time_ns)
        label = expert.act(observation).at(step.time_ns)
        assert label is not None
        action = spt.act(observation).at(step.time_ns)
        found = decode(env.situation(), *(label.choices[name] for name in ("sequence", "machine")))
        makespans.append((found[2], run_plan_in_force(env)))
        step = env.step(action)
    assert all(labelled <= in_force for labelled, in_force in makespans)


def run_plan_in_force(env):
    situation = env.situation()
    return run_plan(situation, in_order(situation, env.start[situation.operations]), env.machine)[2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"start": [0, 3, 1], "machine": [0, 0, 0]}, "operations 0 and 2: at the same time on machine 0"),
        ({"start": [0, 4, 0]}, "operation 1: had started at 3, but moved at 4"),
        ({"start": [0, 3, 0], "history_start": [[0, 5, 0]]}, "operation 1: starts at 3, before 4, when it was planned"),
    ],
)
def test_an_episode_that_breaks_a_rule_is_refused(change, says):
    trace = {
        "job": SMALL.job, "time": SMALL.time, "rule_start": [0, 3, 0], "rule_machine": [0, 0, 1], "history_now": [4],
        "history_start": [[0, 3, 0]], "history_machine": [[0, 0, 1]], "start": [0, 3, 0], "machine": [0, 0, 1],
    }  # fmt: skip
    assert judge({name: np.array(value) for name, value in trace.items()})["success"] == 1.0
    with pytest.raises(VerificationError, match=says):
        judge({name: np.array(value) for name, value in (trace | change).items()})


def test_a_decision_over_other_operations_than_those_left_is_refused():
    env = JobShopEnv()
    env.reset(1)
    with pytest.raises(SpecError, match="the operations left in the newest observation"):
        env.step(Action(choices={"sequence": np.zeros(3, np.float32), "machine": np.zeros((3, 4), np.float32)}))


def _run(env, policy, seed):
    step = env.reset(seed)
    policy.reset(seed)
    while not step.terminated:
        observation = observe(env.embodiment, step.samples, step.time_ns)
        step = env.step(policy.act(observation).at(step.time_ns))
    return judge(env.trace())
