"""One party and one pack of everything that it has, made once; tests that change something change a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from audited import Party, given_by, make_party, party_at

from genba.report.evidence.write import Made, write_pack
from genba.trust.folder import TrustFolder


@pytest.fixture(scope="session")
def party(tmp_path_factory) -> Party:
    return make_party(tmp_path_factory.mktemp("party"))


@pytest.fixture(scope="session")
def whole(party, tmp_path_factory) -> Made:
    """The pack of everything, which no test changes."""
    return write_pack(given_by(party), tmp_path_factory.mktemp("packs") / "pack")


@pytest.fixture
def changed(party, tmp_path) -> Party:
    """A copy of the party, which the test may change."""
    shutil.copytree(party.trust.path.parent, tmp_path / "party")
    return party_at(tmp_path / "party")


@pytest.fixture
def repack(tmp_path) -> Callable[..., Made]:
    """Makes a pack of a party as it is then; ``changes`` are of what is given."""

    def make(party: Party, **changes: object) -> Made:
        party.trust = TrustFolder(party.trust.path)
        return write_pack(given_by(party, **changes), tmp_path / "repacked")

    return make
