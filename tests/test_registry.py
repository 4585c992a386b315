"""Names lead to code; a wrong one is told apart: unknown name, missing module, missing attribute."""

from __future__ import annotations

import pytest

from genba.errors import RegistryError
from genba.registry import look_up, resolve, task


def test_an_entry_leads_to_what_it_names():
    assert resolve("genba.registry:resolve") is resolve


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("genba.regstry:resolve", "cannot import genba.regstry"),
        ("genba.registry:resolv", "genba.registry has no 'resolv'; did you mean 'resolve'"),
    ],
)
def test_an_entry_that_leads_nowhere_says_which_part_is_wrong(entry, message):
    with pytest.raises(RegistryError, match=message):
        resolve(entry)


def test_an_unknown_name_is_answered_with_its_nearest():
    assert look_up({"arm": "x:y"}, "arm", kind="machine") == "x:y"
    with pytest.raises(RegistryError, match=r"no machine 'amr'; did you mean 'arm'\?"):
        look_up({"arm": "x:y"}, "amr", kind="machine")
    with pytest.raises(RegistryError, match=r"no task 'arm/grip'; did you mean 'arm/grip@1'\?"):
        task("arm/grip")
