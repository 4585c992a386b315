"""Draws instances: the plant, its orders, a nominal plan, just-in-time deliveries for it, and the shortage.

The nominal plan is made before anybody knows of the shortage; the deliveries are planned so that it just fits. No
public benchmark of re-sequencing several lines under a component shortage was found, so the generator, with its frozen
seeds, is the benchmark.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from genba.errors import ConfigError, nearest
from genba.machines.factory.decoder import run_plan
from genba.machines.factory.problem import FREEZE_S, MAX_PARTS, Problem, Schedule, merge, situation_at
from genba.machines.factory.search import anneal, best_of_atc, by_start

MINUTE_S = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How large an instance is, and how hard it is hit."""

    num_lines: int
    num_orders: int
    num_families: int
    num_components: int
    #: components that run short
    num_short: int
    #: moves of the search that makes the nominal plan
    num_moves: int


#: Name -> size, lines x orders.
SIZES = {
    "5x50": Size(num_lines=5, num_orders=50, num_families=5, num_components=6, num_short=1, num_moves=5_000),
    "10x200": Size(num_lines=10, num_orders=200, num_families=8, num_components=6, num_short=2, num_moves=10_000),
    "20x1000": Size(num_lines=20, num_orders=1000, num_families=10, num_components=6, num_short=4, num_moves=5_000),
    "30x2000": Size(num_lines=30, num_orders=2000, num_families=10, num_components=6, num_short=4, num_moves=5_000),
}

#: Share of the horizon after which the supplier calls, that the shortage reaches, and by which deliveries slip.
EVENT_SHARE, REACH_SHARE, SLIP_SHARE = 0.20, 0.35, 0.35

#: Deliveries planned per component, and the share that is ordered beyond the need.
NUM_DELIVERIES, SPARE_SHARE = 8, 0.03


def generate(seed: int, size: str = "10x200") -> tuple[Problem, Schedule]:
    """Draw an instance and its nominal plan; the same seed gives the same.

    Raises:
        ConfigError: no such size.
    """
    stocked, nominal, facts = _draw(seed, size)
    return _let_deliveries_slip(stocked, nominal, facts.num_short), nominal


def generate_undisturbed(seed: int, size: str = "10x200") -> tuple[Problem, Schedule]:
    """Draw the same instance with every delivery as planned: what happens to it is for ``events`` to say.

    Raises:
        ConfigError: no such size.
    """
    return _draw(seed, size)[:2]


def _draw(seed: int, size: str) -> tuple[Problem, Schedule, Size]:
    if size not in SIZES:
        raise ConfigError(f"factory size: got {size!r}, expected a known one{nearest(size, SIZES)}")
    facts = SIZES[size]
    rng = np.random.default_rng([seed, facts.num_lines, facts.num_orders])
    plant = _draw_plant(rng, facts, seed)
    nominal = _plan_without_shortage(plant, facts.num_moves, seed)
    return _plan_deliveries(rng, plant, nominal), nominal, facts


def _draw_plant(rng: np.random.Generator, facts: Size, seed: int) -> Problem:
    """Draw lines, orders and due times; material is unlimited at first."""
    eligible = rng.random((facts.num_families, facts.num_lines)) < 0.6
    for family in range(facts.num_families):  # two lines at least can make each family
        missing = np.flatnonzero(~eligible[family])
        eligible[family, rng.permutation(missing)[: max(0, 2 - int(eligible[family].sum()))]] = True
    for line in np.flatnonzero(~eligible.any(0)):  # and each line can make one
        eligible[rng.integers(facts.num_families), line] = True
    speed = rng.uniform(0.8, 1.25, facts.num_lines)
    setup_s = rng.integers(10, 81, (facts.num_families, facts.num_families)) * MINUTE_S
    np.fill_diagonal(setup_s, 0)
    family = rng.integers(facts.num_families, size=facts.num_orders)
    work_s = rng.uniform(40, 180, facts.num_orders) * MINUTE_S
    time_s = np.where(eligible[family], np.round(work_s[:, None] / speed), 0).astype(np.int64)
    mean_s = time_s.sum(1) / (time_s > 0).sum(1)
    horizon_s = int((mean_s.sum() + 0.3 * facts.num_orders * setup_s.mean()) / facts.num_lines)
    due_s = np.maximum(rng.uniform(0.12, 1.05, facts.num_orders) * horizon_s, mean_s * 1.5).astype(np.int64)
    requirement = np.zeros((facts.num_orders, facts.num_components), np.int64)
    for order in range(facts.num_orders):
        kinds = rng.permutation(facts.num_components)[: rng.integers(2, MAX_PARTS + 1)]
        requirement[order, kinds] = rng.integers(1, 6, len(kinds))
    no_delivery = np.zeros((facts.num_components, NUM_DELIVERIES), np.int64)
    return Problem(
        seed=seed,
        processing_time_s=time_s,
        family=family,
        weight=rng.choice([1, 2, 4], facts.num_orders, p=[0.5, 0.3, 0.2]),
        due_s=due_s,
        setup_s=setup_s,
        line_family=rng.integers(facts.num_families, size=facts.num_lines),
        requirement=requirement,
        stock=requirement.sum(0),
        delivery_time_s=no_delivery,
        delivery_quantity=no_delivery,
        late_time_s=no_delivery,
        event_time_s=int(EVENT_SHARE * horizon_s),
        horizon_s=horizon_s,
    )


def _plan_without_shortage(plant: Problem, num_moves: int, seed: int) -> Schedule:
    situation = situation_at(plant, None, 0, event_known=False)
    start_s, line, _ = best_of_atc(situation)
    # temperatures written out: the frozen instances must not change when the search's defaults do
    sequence, line, _ = anneal(
        situation, by_start(start_s), line, num_moves=num_moves, seed=seed, hot=0.05, cold=0.0001
    )
    from_plan_s, _ = run_plan(situation, sequence, line)
    return merge(situation, None, from_plan_s, line)


def _plan_deliveries(rng: np.random.Generator, plant: Problem, nominal: Schedule) -> Problem:
    """Cut each component's consumption into nine periods; each period's units come just before it begins."""
    last_s = int(nominal.start_s.max()) + 1
    shape = (plant.num_components, NUM_DELIVERIES)
    period_s = last_s / (NUM_DELIVERIES + 1)
    jitter_s = rng.uniform(-0.3, 0.3, shape) * period_s
    time_s = ((np.arange(1, NUM_DELIVERIES + 1) * period_s)[None] + jitter_s).astype(np.int64)
    edges_s = np.concatenate([time_s, np.full((plant.num_components, 1), last_s)], 1)
    stock = np.zeros(plant.num_components, np.int64)
    quantity = np.zeros(shape, np.int64)
    for component in range(plant.num_components):
        need = plant.requirement[:, component]
        used = [int(need[nominal.start_s < edge].sum()) for edge in edges_s[component]]
        spare = int(np.ceil(SPARE_SHARE * need.sum()))
        stock[component] = used[0] + spare
        quantity[component] = np.diff(used)
    return replace(
        plant,
        stock=stock,
        delivery_time_s=time_s,
        delivery_quantity=quantity,
        late_time_s=time_s,
        late_quantity=quantity,
    )


def _let_deliveries_slip(plant: Problem, nominal: Schedule, num_short: int) -> Problem:
    """Let the deliveries of the most needed components within reach of the event slip."""
    from_s = plant.event_time_s + FREEZE_S
    until_s = plant.event_time_s + int(REACH_SHARE * plant.horizon_s)
    within = (nominal.start_s >= from_s) & (nominal.start_s < until_s)
    needed = plant.requirement[within].sum(0)
    late_s = plant.delivery_time_s.copy()
    for component in np.argsort(-needed, kind="stable")[:num_short]:
        hit = (late_s[component] > from_s) & (late_s[component] <= until_s)
        late_s[component, hit] += int(SLIP_SHARE * plant.horizon_s)
    return replace(plant, late_time_s=late_s)
