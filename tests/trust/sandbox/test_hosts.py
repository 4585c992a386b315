"""A hosts file of the run's own: pinned names first, everything else as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from genba.errors import SandboxError
from genba.trust.sandbox import hosts, kernel

EXISTING = "127.0.0.1 localhost\n10.9.9.9 store other # a comment\n# store\n\n10.1.1.1 site\n"
NAMES = {"store": ("10.0.0.1", "fd00::1"), "site": ("10.1.1.1",)}


def test_pinned_names_replace_what_the_host_says_of_them():
    assert hosts.hosts_text({"store": ("10.0.0.1", "fd00::1")}, EXISTING) == (
        "10.0.0.1 store\nfd00::1 store\n127.0.0.1 localhost\n# store\n\n10.1.1.1 site\n"
    )


def test_line_is_missing_where_a_name_leads_elsewhere_or_nowhere():
    assert hosts.missing_lines(NAMES, EXISTING) == ["10.0.0.1 store"]
    assert hosts.missing_lines({"new": ("10.0.0.3",)}, EXISTING) == ["10.0.0.3 new"]
    assert hosts.missing_lines({"site": ("10.1.1.1", "10.1.1.2")}, EXISTING) == []
    # A name with a pinned and a foreign address could lead to the foreign one.
    assert hosts.missing_lines({"site": ("10.1.1.1",)}, EXISTING + "10.5.5.5 site\n") == ["10.1.1.1 site"]


def test_without_namespaces_the_error_says_which_lines_to_add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(flags: int) -> None:
        raise PermissionError(1, "unshare: Operation not permitted")

    monkeypatch.setattr(kernel, "unshare", refuse)
    with pytest.raises(SandboxError, match=r"add these lines to it, .*: 10.0.0.1 store.site-a.test"):
        hosts.install({"store.site-a.test": ("10.0.0.1",)}, tmp_path / "hosts")


def test_names_that_the_host_knows_already_need_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "etc").write_text("127.0.0.1 localhost\n")
    monkeypatch.setattr(hosts, "HOSTS", str(tmp_path / "etc"))
    hosts.install({"localhost": ("127.0.0.1", "::1")}, tmp_path / "hosts")
    assert not (tmp_path / "hosts").exists()
