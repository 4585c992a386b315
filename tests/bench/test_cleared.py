"""A bundle that loses its clearance during a measurement: the episode under way falls back, and none begins after it."""

import cleared
import pytest
import toy
from cleared import PARENT

from genba.bench.collect import collect
from genba.bench.pool import run_seeds
from genba.bench.rollout import check_passport, roll_out
from genba.bench.worker import Job, Runner
from genba.errors import PassportError, SignatureError
from genba.registry import TASKS, task
from genba.runtime.bundle import Bundle


@pytest.fixture
def case(tmp_path_factory, tmp_path):
    """A bundle with papers and a machine that it may act on."""
    return cleared.make_case(tmp_path_factory.getbasetemp() / "papers", tmp_path)


def job(case) -> Job:
    return Job(
        task="toy:CART", policy=str(case.bundle), policy_name="model", trust=str(case.machine), record_as="model"
    )


def test_no_episode_begins_after_the_clearance_is_lost(case):
    runner = Runner(job(case))
    try:
        assert runner.run(1).run.log.refusals == {}
        case.revoke(PARENT)
        assert "was revoked" in runner.clearance.look_again()
        with pytest.raises(PassportError, match=rf"parent {PARENT} was revoked: withdrawn"):
            runner.run(2)
    finally:
        runner.close()


def test_a_worker_that_is_refused_says_why(case):
    case.revoke(PARENT)
    with pytest.raises(PassportError, match=rf"parent {PARENT} was revoked: withdrawn"):
        list(run_seeds(job(case), [1], num_workers=1))
    (case.machine / "revocations.json").write_bytes(b"{}")
    with pytest.raises(SignatureError, match="not a DSSE envelope"):
        list(run_seeds(job(case), [1], num_workers=1))


def test_what_was_found_stands_in_result_and_episodes(case, sink):
    result = roll_out("toy:CART", case.bundle, seeds=[1_000_000], workers=0, trust=case.machine, progress=False)
    assert result.passport.endswith("released by lab")
    given = {"policy": case.bundle, "seeds": [1], "sink": sink, "workers": 0, "progress": False}
    collect("toy:CART", **given, trust=case.machine)
    assert sink.episodes[0].metadata.source == f"passport {result.passport}"
    collect("toy:CART", **given, tag="again", allow_unchecked=True)
    assert sink.episodes[1].metadata.source == "passport not checked (no --trust)"
    collect("toy:CART", **given | {"policy": "expert"})
    assert sink.episodes[2].metadata.source == ""
    with pytest.raises(PassportError, match="not a simulator of this project"):
        collect("toy:CART", **given, tag="more")


def test_a_job_without_a_bundle_has_no_clearance():
    runner = Runner(Job(task="toy:CART", policy=toy.CART.expert, policy_name="expert"))
    assert runner.clearance is None
    runner.close()


def test_every_registered_task_is_a_simulator_of_this_project(case):
    bundle = Bundle.read(case.bundle)
    for task_id in sorted(TASKS):
        assert check_passport(task(task_id), bundle, None) == "not checked (no --trust)", task_id
