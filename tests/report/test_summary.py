"""Words and comparisons: the direction of a metric decides what is better, and an interval over 0 decides nothing."""

from __future__ import annotations

import dataclasses
import math

import pytest

from genba.report import summary
from genba.report.run import read_run
from genba.spec.task import Metric

LATENESS = Metric(name="lateness_s", unit="s", meaning="", better="lower")


def _results(toy_run):
    results = {(result.task, result.policy): result for result in read_run(toy_run).results}
    facts = dataclasses.replace(summary.task_facts("toy/none@1", []), primary=LATENESS, metrics=(LATENESS,))
    template = results[("toy/orders@1", "expert")]

    def result(values, seeds=None, kind="model"):
        outcomes = tuple({"success": 1.0, "lateness_s": value} for value in values)
        seeds = tuple(seeds or range(len(values)))
        return dataclasses.replace(template, policy=kind, kind=kind, seeds=seeds, outcomes=outcomes)

    return facts, result


def test_less_of_what_should_be_low_is_better(toy_run):
    facts, result = _results(toy_run)
    ours = result([10.0, 11.0, 12.0, 13.0] * 3)
    theirs = result([20.0, 21.5, 22.0, 23.0] * 3, kind="baseline")
    found = summary.compare(facts, ours, theirs)
    # Differences -10, -10.5, -10, -10, three times over: mean -10.125.
    assert found is not None and found.verdict == "better"
    assert found.difference.mean == pytest.approx(-10.125)
    assert "10.1 s below baseline" in summary.words(found, facts).replace("\N{NO-BREAK SPACE}", " ")
    worse = summary.compare(facts, theirs, ours)
    assert worse is not None and worse.verdict == "worse"


def test_a_difference_that_may_be_nothing_is_called_nothing(toy_run):
    facts, result = _results(toy_run)
    found = summary.compare(facts, result([1.0, 2.0] * 5), result([2.0, 1.0] * 5, kind="expert"))
    assert found is not None and found.verdict == "unclear"
    assert summary.words(found, facts).startswith("not clearly different from expert")


def test_a_handful_of_worlds_decides_nothing_however_far_apart(toy_run):
    facts, result = _results(toy_run)
    nine, ten = [0.0] * 9, [0.0] * 10
    few = summary.compare(facts, result(nine), result([9.0] * 9, kind="expert"))
    enough = summary.compare(facts, result(ten), result([9.0] * 10, kind="expert"))
    assert few is not None and summary.words(few, facts) == "9 worlds are too few to compare with expert"
    assert enough is not None and (few.verdict, enough.verdict) == ("unclear", "better")


def test_long_times_are_in_hours():
    assert summary.with_unit(36000.0, "s").replace("\N{NO-BREAK SPACE}", " ") == "10 h"
    assert summary.with_unit(-9000.0, "s", sign=True).replace("\N{NO-BREAK SPACE}", " ") == "−2.5 h"
    assert summary.with_unit(7199.0, "s").replace("\N{NO-BREAK SPACE}", " ") == "7 199 s"


def test_only_worlds_that_both_met_are_compared(toy_run):
    facts, result = _results(toy_run)
    ours = result([1.0, 2.0, 99.0], seeds=[5, 6, 7])
    theirs = result([77.0, 3.0, 4.0], seeds=[4, 6, 5])
    found = summary.compare(facts, ours, theirs)
    # Shared seeds 5 and 6: 1 - 4 and 2 - 3.
    assert found is not None and found.num_worlds == 2 and found.difference.mean == pytest.approx(-2.0)
    assert summary.compare(facts, ours, result([1.0, 2.0, 3.0], seeds=[7, 8, 9])) is None


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (0.0002, "<0.1 %"), (0.005, "0.5 %"), (0.5, "50 %"), (0.995, "99.5 %"), (0.9999, ">99.9 %"), (1.0, "100 %"), (math.nan, "–")],
)  # fmt: skip
def test_a_share_close_to_none_or_all_is_not_written_as_such(share, text):
    assert summary.percent(share).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (12345.6, "12 346"), (-0.0042, "−0.0042"), (1.23456, "1.23"), (2.5e-5, "2.5e-05"), (math.inf, "–")],
)
def test_numbers_have_three_digits_that_count(value, text):
    assert summary.number(value).replace("\N{NO-BREAK SPACE}", " ") == text


def test_a_name_does_not_repeat_the_unit_beside_it():
    assert summary.metric_name(LATENESS) == "lateness"
    assert summary.metric_name(Metric(name="hold_force_ratio", unit="1", meaning="")) == "hold force ratio"
