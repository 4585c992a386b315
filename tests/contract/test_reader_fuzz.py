"""Whatever is done to a log's bytes: a reader refuses it by name, or gives episodes that fit; nothing else comes out.

Few and always the same inputs here; ``scripts/fuzz_readers.py`` tries as many as there is time for.
"""

import importlib

import fuzzing
import pytest
from fuzzing import DAMAGES, Damage, Guarded, Plan, attempt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genba.registry import READERS

damages = st.builds(
    Damage, st.sampled_from(sorted(DAMAGES)), st.floats(0, 1, exclude_max=True, width=32), st.integers(0, 2**16 - 1)
)
plans = st.builds(
    Plan, st.floats(0, 1, exclude_max=True, width=32), st.lists(damages, min_size=1, max_size=4).map(tuple)
)


def write_log(name, folder):
    """Write the small sound log of a reader."""
    try:
        made = importlib.import_module(f"logs.{name.replace('-', '_')}")
    except ModuleNotFoundError:
        pytest.fail(f"tests/logs/{name.replace('-', '_')}.py: missing; a reader is not fuzzed without a log to break")
    folder.mkdir()
    return made.write_log(folder)


@pytest.fixture(scope="module", params=sorted(READERS))
def broken(request, tmp_path_factory):
    """A reader's guarded process, its sound log and options, and a folder for damaged copies."""
    folder = tmp_path_factory.mktemp("fuzz")
    log, options = write_log(request.param, folder / "sound")
    (folder / "broken").mkdir()
    guarded = Guarded(request.param)
    yield guarded, log, options, folder / "broken"
    guarded.close()


def test_sound_log_is_read_within_the_limits(broken):
    guarded, log, options, _ = broken
    guarded.warm_up(log, options)
    answer = guarded.read(log, options)
    assert answer["outcome"] == "accepted", answer["detail"]
    assert answer["detail"].endswith(" recognised")


@settings(
    max_examples=30, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)  # fmt: skip
@given(plan=plans)
def test_damaged_log_is_refused_by_name_or_fits(broken, plan):
    guarded, log, options, scratch = broken
    answer = attempt(guarded, plan, log, options, scratch)
    assert answer["outcome"] in ("refused", "accepted"), f"{answer['file']}, {plan}:\n{answer['detail']}"


@pytest.mark.parametrize("other", range(len(fuzzing.OTHERS)))
def test_file_of_another_format_is_refused_or_fits(broken, other):
    guarded, log, options, scratch = broken
    plan = Plan(0.0, (Damage("replace", 0.0, other),))
    answer = attempt(guarded, plan, log, options, scratch)
    assert answer["outcome"] in ("refused", "accepted"), f"{answer['file']}, {plan}:\n{answer['detail']}"
