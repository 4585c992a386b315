"""A measurement is the same however many workers do it, judged by the verifier, and no error passes."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import toy

from genba.bench.metrics import wilson
from genba.bench.results import LATENCY_EDGES_S, Result, measure_latency
from genba.bench.rollout import roll_out
from genba.errors import BundleError, ConfigError, SimulatorError

SEEDS = range(1_000_000, 1_000_006)


def measure(policy, **options):
    return roll_out(options.pop("task", "toy:CART"), policy, progress=False, **{"seeds": SEEDS, "workers": 0} | options)


def test_outcomes_are_the_verifiers_for_each_seed_in_order():
    result = measure("expert", keep=SEEDS)
    assert result.seeds == tuple(SEEDS)
    for seed, outcome in zip(SEEDS, result.outcomes, strict=True):
        assert toy.verify_cart(result.traces[seed]) == {k: v for k, v in outcome.items() if k != "num_steps"}
    assert result.success == wilson(int(result.values("success").sum()), 6)
    assert result.metrics["error"].mean == pytest.approx(result.values("error").mean())
    assert (result.kind, result.on_test_seeds, result.deadline_enforced) == ("expert", True, False)
    assert result.control["num_steps"] == 6 * 60
    assert result.simulated_s == pytest.approx(6 * 3.0)


def test_two_workers_find_what_one_process_finds():
    for task, policy in (("toy:CART", "expert"), ("toy:LINES", "most_slack")):
        here = measure(policy, task=task)
        there = measure(policy, task=task, workers=2, keep=[SEEDS[3]])
        assert there.outcomes == here.outcomes
        assert list(there.traces) == [SEEDS[3]]


def test_a_bundle_is_measured_like_any_policy_and_held_to_its_deadline(bundle):
    result = measure(bundle, workers=2, seeds=SEEDS[:2], allow_unchecked=True)
    assert (result.kind, result.policy, result.deadline_enforced) == ("model", "model", True)
    assert len(result.weights_digest) == 64
    assert result.provenance == {"recipe": "test"}
    # at most 15 decisions in 60 control steps; fewer only where one was late
    assert result.latency.num_decisions <= 2 * 15
    assert sum(result.control["flow_steps"].values()) == result.latency.num_decisions
    free = measure(bundle, seeds=SEEDS[:2], enforce_deadline=False, flow_steps=1, allow_unchecked=True)
    assert free.control["flow_steps"] == {"1": 30}


def test_a_bundle_for_another_machine_is_refused(bundle):
    with pytest.raises(BundleError, match=r"made for another toy/lines@1"):
        measure(bundle, task="toy:LINES")


def test_an_episode_that_raises_names_task_policy_seed_and_error():
    for workers in (0, 2):
        with pytest.raises(SimulatorError, match=r"broken: seed 100000\d: ZeroDivisionError: the toy broke on purpose"):
            measure("broken", workers=workers)


def test_a_worker_that_dies_is_an_error_that_names_its_seed(tmp_path, monkeypatch):
    (tmp_path / "dying.py").write_text(
        textwrap.dedent("""
        import dataclasses, os, toy
        def die(trace):
            os._exit(9)
        TASK = dataclasses.replace(toy.CART, verify=die)
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SimulatorError, match=r"seed 1000000: worker: the process ended by itself with status 9"):
        measure("expert", task="dying:TASK", workers=1, seeds=SEEDS[:1])


def test_workers_end_when_their_parent_is_killed(tmp_path):
    (tmp_path / "endless.py").write_text(
        textwrap.dedent("""
        import dataclasses, os, time, toy
        def hang(trace):
            with open(os.environ["PIDS"], "a") as file:
                file.write(f"{os.getpid()}\\n")
            time.sleep(120)
        TASK = dataclasses.replace(toy.CART, verify=hang)
        """)
    )
    pids = tmp_path / "pids"
    program = "from genba.bench.rollout import roll_out; roll_out('endless:TASK', 'expert', seeds=[1, 2], workers=2)"
    paths = os.pathsep.join([str(tmp_path), str(Path(toy.__file__).parent)])
    parent = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": paths, "PIDS": str(pids)}
    )
    try:
        _wait(lambda: pids.exists() and len(pids.read_text().split()) == 2, within_s=60)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    for pid in pids.read_text().split():
        _wait(lambda pid=pid: not _runs(int(pid)), within_s=20)


def _runs(pid: int) -> bool:
    try:
        # a zombie that nobody reaps has ended too
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait(condition, *, within_s: float) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_a_policy_that_is_nothing_and_seeds_that_repeat_are_refused():
    with pytest.raises(ConfigError, match=r"policy 'expret' is neither .* did you mean 'expert'"):
        measure("expret")
    with pytest.raises(ConfigError, match="seeds: got 2 of which 1 differ"):
        measure("expert", seeds=[5, 5])
    with pytest.raises(ConfigError, match="seeds: got 0"):
        measure("expert", seeds=[])


def test_a_worker_imports_neither_torch_nor_the_data_package():
    program = "import sys, genba.bench.worker; print([m for m in ('torch', 'pyarrow', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_result_survives_its_file(tmp_path):
    result = measure("zero", seeds=SEEDS[:3])
    nan = dataclasses.replace(result, outcomes=({"success": 0.0, "error": math.nan}, *result.outcomes[1:]))
    for original in (result, nan):
        original.write(tmp_path / "result.json")
        back = Result.read(tmp_path / "result.json")
        for field in dataclasses.fields(Result):
            if field.name not in ("outcomes", "traces"):
                assert getattr(back, field.name) == getattr(original, field.name), field.name
        for metric in ("success", "error"):
            np.testing.assert_array_equal(back.values(metric), original.values(metric))
    assert "hostname" not in (tmp_path / "result.json").read_text()


def test_a_file_that_is_no_result_is_refused(tmp_path):
    path = tmp_path / "result.json"
    with pytest.raises(ConfigError, match="no such file"):
        Result.read(path)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="got format and version"):
        Result.read(path)
    path.write_text('{"format": "genba-result", "version": 1}')
    with pytest.raises(ConfigError, match="not a whole result"):
        Result.read(path)


def test_every_latency_is_in_the_histogram_once():
    latencies_s = [1e-6, 0.002, 0.002, 0.5, 1e4]
    latency = measure_latency(latencies_s)
    assert (sum(latency.histogram), len(latency.histogram)) == (5, len(LATENCY_EDGES_S) - 1)
    assert (latency.histogram[0], latency.histogram[-1]) == (1, 1)
    assert (latency.p50_s, latency.max_s) == (0.002, 1e4)
    assert measure_latency([]).num_decisions == 0


def test_surprise_and_planning_are_refused_where_nothing_can_be_foretold_or_wanted(bundle):
    with pytest.raises(ConfigError, match="--surprise: got a policy without a world model"):
        measure("expert", surprise="watch")
    with pytest.raises(ConfigError, match="--candidates: this machine has no objective"):
        measure(bundle, candidates=2)
    with pytest.raises(ConfigError, match="--surprise heed: this machine has no caution; ask for 'watch'"):
        measure(bundle, surprise="heed")
    with pytest.raises(ConfigError, match="the watch sees what the policy is not shown"):
        measure(bundle, surprise="watch", masked=["goal"])


def test_watching_changes_nothing_that_is_done(bundle):
    plain, watched = (
        measure(bundle, seeds=SEEDS[:2], surprise=how, enforce_deadline=False, allow_unchecked=True)
        for how in ("off", "watch")
    )
    assert watched.outcomes == plain.outcomes
    assert watched.policy == plain.policy
    assert watched.control["num_eased"] == 0
