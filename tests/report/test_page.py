"""The page: whole, self-contained, and honest about what is missing; judged as text and in a real browser."""

from __future__ import annotations

import dataclasses
import re
import shutil
from html.parser import HTMLParser

from browser import browse, needs_chromium

from genba.bench.results import Result
from genba.report.page import render, write_page
from genba.report.run import read_run


class _Outline(HTMLParser):
    """Collects ids, links, sources and the number of body rows of each table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.rows: list[int] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [found["href"] or ""] if "href" in found else []
        self.sources += [found["src"] or ""] if "src" in found else []
        if tag == "table":
            self.rows.append(-1)  # the head's row
        if tag == "tr":
            self.rows[-1] += 1
        assert tag not in ("script", "iframe", "object", "embed", "form"), tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_table_picture_and_chart_of_the_run_is_there(toy_run):
    text = render(read_run(toy_run))
    outline = _Outline(text)
    # Outcomes and control of two tasks with results (2 and 3 policies), and the evidence of all 5.
    assert sorted(outline.rows) == [2, 2, 3, 3, 5]
    assert len(outline.sources) == 2
    # One loss; one world model; one latency histogram for each of 5 results.
    assert text.count("<svg") == 1 + 1 + 5
    for words in ("Trained half of its steps.", "2 min", "100 train steps", "0123456789ab", "ab" * 8, "1 234 567"):
        assert words in outline.text.replace("\N{NO-BREAK SPACE}", " "), words
    # 0.25 against 0.5.
    assert "50 % of persistence" in outline.text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_page_names_nothing_outside_itself(toy_run):
    text = render(read_run(toy_run))
    outline = _Outline(text)
    assert all(source.startswith("data:") for source in outline.sources)
    assert all(link.startswith(("#", "data:")) for link in outline.links)
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.ids)
    assert not re.search(r"https?://|@import|url\(", text)


def test_each_measurement_says_whether_the_models_passport_held_and_names_nobody(toy_run, tmp_path):
    run = shutil.copytree(toy_run, tmp_path / "run")
    result = Result.read(run / "results" / "toy-model.json")
    for name, passport, refusals in (
        ("held", f"checked: sha256:{'cd' * 32}, released by Some Lab", {}),
        ("lost", f"checked: sha256:{'ef' * 32}, released by Some Lab", {"it was revoked by Some Owner": 7, "late": 2}),
        ("open", "not checked (no --trust)", {}),
    ):
        control = dict(result.control) | {"refusals": refusals}
        changed = dataclasses.replace(result, policy=name, passport=passport, control=control)
        changed.write(run / "results" / f"toy-{name}.json")
    text = render(read_run(run))
    evidence = text[text.index('<table class="evidence">') :]
    rows = {row.partition("<small>")[0]: row for row in evidence.split('<tr><th scope="row">')[1:]}
    cells = {name: row.split('<td class="left">')[2].partition("</td>")[0] for name, row in rows.items()}
    assert cells["held"] == "held<small><code>cdcdcdcdcdcd</code></small>"
    # 7 and 2 control steps
    assert cells["lost"].endswith("<small><b>refused in 9 control steps</b></small>")
    assert (cells["open"], cells["expert"]) == ("not checked", "–")
    assert "was not revoked, and allowed this machine, site, party and day" in evidence
    assert "Some Lab" not in text and "Some Owner" not in text


def test_words_from_files_cannot_become_markup(toy_run):
    assert "Cart &lt;at&gt; work" in render(read_run(toy_run))


def test_every_missing_part_says_which_command_makes_it(tmp_path):
    text = _Outline(render(read_run(tmp_path))).text
    for command in ("make demo", "genba demo", "genba train run", "genba bench run arm/grip@1 --policy expert --out"):
        assert command in text, command
    assert text.count("No results of this task.") == 3


def test_the_page_is_written_beside_the_run(toy_run, tmp_path):
    assert write_page(toy_run) == toy_run / "report.html"
    assert write_page(toy_run, tmp_path / "x.html").read_text().startswith("<!doctype html>")
    assert not list(toy_run.glob(".*.part"))


@needs_chromium
def test_a_browser_shows_every_table_and_asks_for_nothing_but_the_page(toy_run, tmp_path):
    write_page(toy_run)
    shown, asked, said = browse(toy_run, "report.html", tmp_path / "profile")
    assert sorted(_Outline(shown).rows) == [2, 2, 3, 3, 5]
    assert asked == ["/report.html"]
    # Chromium would say here what the policy refused or what failed to load.
    assert "CONSOLE" not in said, said
