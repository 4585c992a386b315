"""What a task's results say: rows in order, numbers as text, and the model against the others on the same worlds.

Shared by the page and the README's table, so both say the same. Read next: ``page``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from genba import registry
from genba.bench.metrics import Interval, paired_difference
from genba.bench.results import Result
from genba.errors import RegistryError
from genba.spec.task import Metric

MINUS, NBSP = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
#: Unit -> the ending that a metric's name may carry for it.
_SUFFIXES = {"m": "_m", "s": "_s", "N": "_n", "m/s": "_mps", "m/s^2": "_mps2", "rad": "_rad", "J": "_j"}

#: Fewer shared worlds than this decide nothing: a bootstrap of so few says more than they do.
MIN_WORLDS = 10

SUCCESS = Metric(name="success", unit="1", meaning="Share of episodes that succeeded.", better="higher")


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFacts:
    """What the page says of a task beside its results."""

    id: str
    description: str
    metrics: tuple[Metric, ...]
    primary: Metric
    #: control steps' period, in seconds; 0 where not known
    period_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The model against another policy on the primary metric."""

    other: Result
    #: model minus other, over the worlds that both met
    difference: Interval
    num_worlds: int
    #: ``better``, ``worse``, or ``unclear`` where the interval holds 0 or the worlds are fewer than ``MIN_WORLDS``
    verdict: str


def task_facts(task_id: str, results: Sequence[Result]) -> TaskFacts:
    """Return a task's facts from the registry; where its machine is not installed, what its results tell."""
    try:
        task = registry.task(task_id)
    except RegistryError:
        names = sorted({name for result in results for name in result.metrics})
        metrics = tuple(Metric(name=name, unit="", meaning="") for name in names)
        return TaskFacts(id=task_id, description="", metrics=metrics, primary=SUCCESS, period_s=0.0)
    metrics = tuple(metric for metric in task.metrics if metric.name != "success")
    primary = next((metric for metric in metrics if metric.name == task.primary), SUCCESS)
    return TaskFacts(
        id=task_id,
        description=task.description,
        metrics=metrics,
        primary=primary,
        period_s=task.embodiment.control.period_s,
    )


def compare(facts: TaskFacts, model: Result, other: Result) -> Comparison | None:
    """Compare on the worlds that both met; None where there are fewer than two, or the metric was not measured."""
    shared = sorted(set(model.seeds) & set(other.seeds))
    name = facts.primary.name
    if len(shared) < 2 or any(name not in result.outcomes[0] for result in (model, other)):
        return None
    ours, theirs = dict(zip(model.seeds, model.values(name))), dict(zip(other.seeds, other.values(name)))
    difference = paired_difference([ours[seed] for seed in shared], [theirs[seed] for seed in shared])
    sign = {"higher": 1.0, "lower": -1.0, "neither": math.nan}[facts.primary.better]
    if len(shared) < MIN_WORLDS:
        verdict = "unclear"
    elif sign * difference.low > 0 and sign * difference.high > 0:
        verdict = "better"
    elif sign * difference.low < 0 and sign * difference.high < 0:
        verdict = "worse"
    else:
        verdict = "unclear"
    return Comparison(other=other, difference=difference, num_worlds=len(shared), verdict=verdict)


def best(facts: TaskFacts, results: Sequence[Result], kind: str) -> Result | None:
    """Return the best policy of a kind on the primary metric, None where there is none."""
    those = [result for result in results if result.kind == kind and math.isfinite(primary_value(facts, result).mean)]
    if not those:
        return None
    sign = -1.0 if facts.primary.better == "lower" else 1.0
    return max(those, key=lambda result: sign * primary_value(facts, result).mean)


def primary_value(facts: TaskFacts, result: Result) -> Interval:
    """Return the metric that ranks policies, with its interval; NaN where it was not measured."""
    if facts.primary.name == "success":
        return result.success
    return result.metrics.get(facts.primary.name, Interval(math.nan, -math.inf, math.inf))


def primary_text(facts: TaskFacts, value: Interval) -> str:
    """Write the primary metric: a share in percent, anything else with its unit."""
    if facts.primary.name == "success":
        return percent(value.mean)
    return with_unit(value.mean, facts.primary.unit)


def words(comparison: Comparison, facts: TaskFacts) -> str:
    """Say a comparison in one sentence."""
    difference, name = comparison.difference, policy_name(comparison.other.policy)
    if comparison.num_worlds < MIN_WORLDS:
        return f"{comparison.num_worlds} worlds are too few to compare with {name}"
    if facts.primary.name == "success":
        size = f"{abs(difference.mean) * 100:.0f} points"
        interval = f"{signed(round(difference.low * 100))} to {signed(round(difference.high * 100))} points"
    else:
        size = with_unit(abs(difference.mean), facts.primary.unit)
        unit = facts.primary.unit
        interval = f"{with_unit(difference.low, unit, sign=True)} to {with_unit(difference.high, unit, sign=True)}"
    direction = "above" if difference.mean > 0 else "below"
    what = {
        "better": f"{size} {direction} {name}",
        "worse": f"{size} {direction} {name}",
        "unclear": f"not clearly different from {name}",
    }[comparison.verdict]
    return f"{what} (95{NBSP}%: {interval}, same {comparison.num_worlds} worlds)"


def policy_name(policy: str) -> str:
    """Write a policy's or a loss' name as words."""
    return policy.replace("_", " ")


def metric_name(metric: Metric) -> str:
    """Write a metric's name as words, without the unit that stands beside it."""
    suffix = _SUFFIXES.get(metric.unit, "")
    return policy_name(metric.name.removesuffix(suffix) if suffix else metric.name)


def percent(share: float) -> str:
    """Write a share in percent, so that what is close to none or all is not written as none or all."""
    if not math.isfinite(share):
        return "–"
    value = share * 100
    if 0 < value < 0.1:
        return f"<0.1{NBSP}%"
    if 99.9 < value < 100:
        return f">99.9{NBSP}%"
    return f"{value:.1f}{NBSP}%" if 0 < value < 1 or 99 < value < 100 else f"{value:.0f}{NBSP}%"


def number(value: float) -> str:
    """Write a number with three digits that count, without an exponent where people would not use one."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    text = f"{size:,.0f}".replace(",", NBSP) if size >= 1000 else f"{size:.3g}" if size >= 1e-3 else f"{size:.1e}"
    return f"{MINUS}{text}" if value < 0 else text


def signed(value: float) -> str:
    """Write a difference with its sign."""
    text = number(value)
    return f"+{text}" if value > 0 and text != "0" else text


def with_unit(value: float, unit: str, *, sign: bool = False) -> str:
    """Write a number and its unit; a ratio has none, and long times are in hours."""
    if unit == "s" and abs(value) >= 7200:
        value, unit = value / 3600, "h"
    text = signed(value) if sign else number(value)
    return text if unit in ("", "1", "count") or not math.isfinite(value) else f"{text}{NBSP}{unit.replace('*', '·')}"


def interval_text(value: Interval) -> str:
    """Write an interval's ends, or nothing where it is unbounded."""
    return f"{number(value.low)} – {number(value.high)}" if math.isfinite(value.low + value.high) else ""
