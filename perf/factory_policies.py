"""Every way to re-sequence the factory on the same frozen instances, in CPU time of one core: a table and a JSON file.

    python perf/factory_policies.py 10x200 --bundle BUNDLE --seeds 50 --out docs/measurements/factory-10x200.json

Each schedule goes through the task's verifier. `clairvoyant` knew of the shortage before the first order started and was free to plan
all of them, so no policy that hears of it later should be expected to reach it; being a search, it is no proof. A model's time holds everything from the situation on: what it is shown (the best
of twenty rules included), the network, decoding, search.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from genba.bench.metrics import mean_interval
from genba.bench.results import commit, hardware
from genba.machines.factory import baselines
from genba.machines.factory.anytime import AnytimeScheduler
from genba.machines.factory.decoder import decode, run_plan, variants
from genba.machines.factory.features import channels
from genba.machines.factory.local_search import LocalSearch
from genba.machines.factory.problem import Schedule, Situation, merge, situation_at
from genba.machines.factory.search import best_of_atc, by_start
from genba.machines.factory.simulator import FactoryEnv
from genba.machines.factory.verifier import check, verify
from genba.runtime.bundle import Bundle
from genba.runtime.engine import OnnxEngine
from genba.runtime.policy import EnginePolicy
from genba.spec.observation import Observation
from genba.spec.streams import ragged
from genba.spec.units import to_ns

#: CPU seconds that a model's decision may take, by size: what was asked for.
DECISION_S = {"5x50": 0.010, "10x200": 0.030, "20x1000": 0.150, "30x2000": 0.600}

#: A row that no policy can be asked to reach.
CLAIRVOYANT = "clairvoyant"


def proposer(policy: EnginePolicy, env: FactoryEnv) -> Callable[[Situation], tuple[np.ndarray, np.ndarray]]:
    """Return a callable that shows a situation to the network and gives its scores."""

    def propose(situation: Situation) -> tuple[np.ndarray, np.ndarray]:
        time_ns = to_ns(situation.now_s)
        samples = {name: ragged([time_ns], [rows]) for name, rows in channels(situation, env.plan).items()}
        action = policy.act(Observation(env.embodiment.id, time_ns, samples)).at(time_ns)
        assert action is not None
        return action.choices["sequence"], action.choices["line"][:, : situation.problem.num_lines]

    return propose


def ways(env: FactoryEnv, bundle: Path | None, size: str, budgets_s: list[float]) -> dict[str, Callable[[], Schedule]]:
    """Return what is compared, each a function from nothing to the schedule that would be in force."""

    def rule(name: str) -> Callable[[], Schedule]:
        policy = baselines.POLICIES[name](env)

        def run() -> Schedule:
            situation = env.situation()
            start_s, line = policy.plan(situation)
            return merge(situation, env.plan, run_plan(situation, by_start(start_s), line)[0], line)

        return run

    names = ["right_shift", "fifo", "edd", "wspt", "atc", "atc_best_of_20"]
    for budget_s in budgets_s:
        names += [f"annealing_{budget_s:g}s", f"local_search_{budget_s:g}s"]
        names += [f"cp_sat_{budget_s:g}s"] if size == "5x50" and budget_s >= 1 else []
    found = {name: rule(name) for name in names}
    if bundle is not None:
        propose = proposer(EnginePolicy(OnnxEngine(Bundle.read(bundle, env.embodiment))), env)

        def greedy() -> Schedule:
            situation = env.situation()
            start_s, line, _ = decode(situation, *propose(situation))
            return merge(situation, env.plan, start_s, line)

        def sampled() -> Schedule:
            began_s, situation = time.thread_time(), env.situation()
            sequence, line = propose(situation)
            least, slowest_s = decode(situation, sequence, line), 0.0
            varied = variants(situation, sequence, line, seed=0)
            # a decoding that would not end in time is not begun
            while (at_s := time.thread_time()) + slowest_s < began_s + 0.98 * DECISION_S[size]:
                least = min(least, next(varied), key=lambda found: found[2])
                slowest_s = max(slowest_s, time.thread_time() - at_s)
            return merge(situation, env.plan, *least[:2])

        def within(deadline_s: float) -> Callable[[], Schedule]:
            # learns in the first call what a network takes, as a plant's scheduler would
            def run() -> Schedule:
                scheduler = AnytimeScheduler(env.plan, clock=time.thread_time)
                return scheduler.decide(env.situation(), deadline_s, propose)

            return run

        found["model"] = greedy
        found["model_sampled"] = sampled
        for budget_s in sorted({DECISION_S[size], *budgets_s}):
            found[f"model_with_search_{budget_s:g}s"] = within(budget_s)
    return found


def clairvoyant(env: FactoryEnv, budget_s: float) -> Callable[[], Schedule]:
    """Return what plans every order anew as if the shortage had been known at the start, with so many CPU seconds of search."""

    def run() -> Schedule:
        began_s = time.thread_time()
        situation = situation_at(env.problem, None, 0)
        start_s, line, _ = best_of_atc(situation)
        search = LocalSearch(situation, by_start(start_s), line)
        search.run_for(budget_s - (time.thread_time() - began_s))
        return merge(situation, None, run_plan(situation, search.sequence, search.line)[0], search.line)

    return run


def judged_s(env: FactoryEnv, *, frozen: bool) -> float:
    """Return the weighted tardiness of the schedule in force, in seconds, after the task's verifier took it."""
    if frozen:
        return verify(env.trace())["weighted_tardiness_s"]
    facts = {name: np.asarray(value).tolist() for name, value in env.trace().items()}
    check(facts, facts["start_s"], facts["line"], frozen=False)
    return float(env.plan.weighted_tardiness_s(env.problem))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=sorted(DECISION_S))
    parser.add_argument("--scenario", default="shortage")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first", type=int, default=1_000_000)
    parser.add_argument("--budgets", type=float, nargs="*", default=[0.1, 1.0])
    parser.add_argument(
        "--clairvoyant", type=float, default=0.0, help="CPU seconds of its search; 0 leaves the row out"
    )
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    env = FactoryEnv(given.size, scenario=given.scenario)
    compared = ways(env, given.bundle, given.size, given.budgets)
    if given.clairvoyant:
        compared[f"{CLAIRVOYANT}_{given.clairvoyant:g}s"] = clairvoyant(env, given.clairvoyant)
    env.reset(0)
    for name, run in compared.items():  # compile and warm up; what takes 10 s is what takes 1 s, told another number
        if not name.endswith("_10s"):
            run()
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in compared}
    for seed in range(given.first, given.first + given.seeds):
        env.reset(seed)
        pushed_back = env.plan
        for name, run in compared.items():
            env.plan = pushed_back
            began_s = time.thread_time()
            env.plan = run()
            took_s = time.thread_time() - began_s
            rows[name].append((judged_s(env, frozen=not name.startswith(CLAIRVOYANT)), took_s))
    best = np.array([cost for cost, _ in rows["atc_best_of_20"]])
    bundle = Bundle.read(given.bundle, env.embodiment) if given.bundle else None
    result = {
        "size": given.size,
        "scenario": given.scenario,
        "seeds": [given.first, given.first + given.seeds],
        "bundle": bundle.weights_digest if bundle else "",
        # one embodiment: a specialist
        "trained_on": bundle.provenance["trained_jointly_on"] if bundle else [],
        "commit": commit(),
        "hardware": hardware(),
        "policies": {},
    }
    for name, found in rows.items():
        cost, took = np.array(found).T
        interval = mean_interval(cost.tolist())
        # of the same instances: the ratio of means, its interval by the bootstrap over instances
        draws = np.random.default_rng(0).integers(0, len(cost), (2000, len(cost)))
        ratio = cost[draws].mean(1) / best[draws].mean(1)
        low, high = np.quantile(ratio, [0.025, 0.975])
        result["policies"][name] = {
            "weighted_tardiness_h": round(float(cost.mean()) / 3600, 2),
            "interval": str(interval),
            "over_best_of_20": round(float(cost.mean() / best.mean()), 4),
            "over_best_of_20_95": [round(float(low), 4), round(float(high), 4)],
            "cpu_ms": {"p50": round(float(np.median(took)) * 1e3, 2), "max": round(float(took.max()) * 1e3, 2)},
            "cost_s": [int(value) for value in cost],
        }
        print(
            f"{name:28s} {cost.mean() / 3600:10.1f} h  {cost.mean() / best.mean():.3f} [{low:.3f}, {high:.3f}]  "
            f"{np.median(took) * 1e3:9.2f} ms (max {took.max() * 1e3:.1f})"
        )
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
