import re
import subprocess

import pytest
from browser import needs_chromium

from genba.floor.decide import decider
from genba.floor.explain import moves
from genba.floor.state import begin
from genba.floor.what_if import change_from_words, what_if
from genba.machines.factory.generator import generate_undisturbed
from genba.report.gantt import render_gantt, write_gantt


@pytest.fixture(scope="module")
def asked():
    state = begin(*generate_undisturbed(1, "5x50"))
    return what_if(state, change_from_words(state, breakdown="line-1=12h"), decider("atc"), deadline_s=1.0)


def test_the_page_holds_a_sentence_for_every_moved_order_without_any_script(asked):
    text = render_gantt(asked.before, asked.after, title=asked.title)
    moved = moves(asked.before, asked.after)
    assert moved
    assert text.count("<li data-order=") == len(moved)
    assert all(f'data-order="{move.order}"' in text for move in moved)
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


def test_names_cannot_break_out_of_the_page(asked):
    text = render_gantt(asked.before, asked.after, title="</script><script>alert(1)</script>")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


@needs_chromium
def test_a_browser_draws_both_plans_with_every_order_and_refuses_nothing(asked, tmp_path):
    page = tmp_path / "plan.html"
    write_gantt(page, asked.before, asked.after, title=asked.title)
    flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
    flags += " --disable-sync --no-first-run --enable-logging=stderr --dump-dom"
    done = subprocess.run(
        ["chromium", *flags.split(), f"--user-data-dir={tmp_path}/profile", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    bars = re.findall(r'<rect class="bar[^"]*"[^>]*data-order="([^"]+)"', done.stdout)
    # at first the page shows what is not over yet: every order that ends after two hours ago, in both plans
    since_s = asked.after.now_s - 2 * 3600
    for state in (asked.before, asked.after):
        ends_s = state.schedule.end_s(state.problem)
        assert all(bars.count(o) in (1, 2) for o, end in zip(state.order_ids, ends_s) if end > since_s)
    assert "CONSOLE" not in done.stderr, done.stderr
