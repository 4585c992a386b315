"""The pack's page: every part is on it, it needs nothing but itself, and words of others cannot become markup."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

from browser import browse, needs_chromium
from governed import FLEET


class _Outline(HTMLParser):
    """Collects ids, links and the number of body rows of each table by its part."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.rows: dict[str, int] = {}
        self._part, self.text = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [found["href"] or ""] if "href" in found else []
        if tag == "table":
            self._part = found["data-part"] or ""
            self.rows.setdefault(self._part, 0)
            self.rows[self._part] -= 1  # the head's row
        if tag == "tr":
            self.rows[self._part] += 1
        assert tag not in ("script", "iframe", "object", "embed", "form", "img"), tag

    def handle_data(self, data: str) -> None:
        self.text += data


#: in the pack of everything: what is missing; three admissions and two readings, by what was asked; one refusal; four agreements of
#: three owners; nine kinds of entries; one run; two models; one withdrawal; two data sets; nineteen fields of each model
ROWS = {
    "missing": 4,
    "decisions": 5,
    "refusals": 1,
    "agreements": 4,
    "kinds": 9,
    "egress": 1,
    "models": 2,
    "withdrawals": 1,
    "datasets": 2,
    "content": 2 * 19,
}


def test_every_part_is_on_the_page(whole):
    outline = _Outline((whole.path / "index.html").read_text())
    assert {part: outline.rows[part] for part in ROWS} == ROWS
    # All but the page, the manifest and its signature, none of which can hold its own digest.
    assert outline.rows["files"] == whole.num_files - 3
    for words in (
        "4 decisions allowed, 1 refused",
        "Everything that is here holds",
        "made 2026-11-01 00:00:00 UTC",
        "Sample Overseas Hosting",
        "forbid (principal, action, resource)",
        "revoked: an owner withdrew data",
        "connect 203.0.113.9:443 (2)",
        "not by software",
    ):
        assert words in outline.text, words


def test_the_page_links_to_the_packs_files_alone(whole):
    text = (whole.path / "index.html").read_text()
    outline = _Outline(text)
    names = {path.relative_to(whole.path).as_posix() for path in whole.path.rglob("*") if path.is_file()}
    for link in outline.links:
        if link.startswith("#"):
            assert link[1:] in outline.ids, link
        else:
            assert link == "data:," or link.replace("%20", " ") in names, link
    assert not re.search(r"https?://|@import|url\(", text.replace("http-equiv", ""))


def test_words_from_records_cannot_become_markup(changed, repack):
    body = {
        "allowed": False,
        "request": {"act": "<img src=x>", "owner": "<b>"},
        "reasons": ["<script>"],
        "policy_hash": 1,
    }
    changed.trust.ledger.append("decision", body)
    changed.trust.ledger.append("decision", {"request": "no table", "reasons": "no list"})
    changed.trust.sign_head()
    text = (repack(changed).path / "index.html").read_text()
    # _Outline refuses the tags; here their words stand as words.
    outline = _Outline(text)
    assert "<script>" in outline.text and "&lt;script&gt;" in text
    assert "none recorded" in outline.text


def test_a_time_that_no_calendar_knows_is_shown_as_it_is(changed, repack):
    entries = changed.trust.path / "ledger" / "entries.jsonl"
    lines = entries.read_bytes().splitlines(keepends=True)
    entries.write_bytes(
        re.sub(rb'"time_ns":\d+}\n$', b'"time_ns":%d}\n' % 10**40, lines[5], count=1).join(
            [b"".join(lines[:5]), b"".join(lines[6:])]
        )
    )
    text = _Outline((repack(changed).path / "index.html").read_text()).text
    assert f"{10**40} ns" in text


def test_what_does_not_hold_comes_first(changed, repack):
    (changed.trust.path / "revocations.json").write_text("{}")
    outline = _Outline((repack(changed).path / "index.html").read_text())
    assert "1 things do not hold" in outline.text and "Everything that is here holds" not in outline.text


def test_a_pack_of_nothing_says_so_in_every_part(changed, repack):
    shutil.rmtree(changed.trust.path / "egress")
    shutil.rmtree(changed.trust.path / "policies")
    shutil.rmtree(changed.trust.path / "withdrawals")
    shutil.rmtree(changed.trust.path / "ledger")
    text = _Outline((repack(changed, vaults=(), runs=(), bundles=()).path / "index.html").read_text()).text
    for words in (
        "No decision is in the ledger",
        "No policy's text",
        "No egress log",
        "No model is known",
        "No data set is",
    ):
        assert words in text, words
    assert FLEET[2] in text


@needs_chromium
def test_a_browser_shows_every_table_and_asks_for_nothing_but_the_page(whole, tmp_path):
    shown, asked, said = browse(whole.path, "index.html", tmp_path / "profile")
    outline = _Outline(shown)
    assert {part: outline.rows[part] for part in ROWS} == ROWS
    assert asked == ["/index.html"]
    # Chromium would say here what the policy refused or what failed to load.
    assert "CONSOLE" not in said, said
