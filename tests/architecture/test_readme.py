"""The documents agree with the code: the table is generated, and every path and link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from genba.report.job_shops import job_shops_table
from genba.report.readme import END, START, results_table
from genba.report.stores import stores_table

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/genba/**/*.md")])


def test_the_readmes_table_is_what_the_result_files_give():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    between = readme.partition(START)[2].partition(END)[0].strip()
    assert between == results_table(ROOT / "docs" / "results"), "run 'genba report readme'"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_of_the_source_that_a_document_names_exists(path):
    for name in re.findall(r"`(src/genba/[\w./-]+|tests/[\w./-]+|scripts/[\w./-]+)`", path.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name


def test_decisions_are_numbered_without_gaps():
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)))
    assert named <= targets


def test_the_table_of_stores_is_what_the_measurement_gives():
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    between = page.partition(START)[2].partition(END)[0].strip()
    assert between == stores_table(ROOT / "docs" / "measurements" / "stores.json"), "run 'genba report stores'"


def test_the_table_of_job_shops_is_what_the_measurement_gives():
    page = (ROOT / "docs" / "factory.md").read_text(encoding="utf-8")
    between = page.partition(START)[2].partition(END)[0].strip()
    assert between == job_shops_table(ROOT / "docs" / "measurements" / "fjsp.json"), "run 'genba report job-shops'"
