"""The exception tree, and the help that an error gives."""

from __future__ import annotations

import inspect
import re

import genba.errors
from genba.errors import FormatError, GenbaError, nearest


def test_every_error_stands_in_the_tree_that_the_docstring_draws():
    classes = {
        name: cls for name, cls in inspect.getmembers(genba.errors, inspect.isclass) if cls.__module__ == "genba.errors"
    }
    assert all(issubclass(cls, GenbaError) for cls in classes.values())
    drawn = re.findall(r"\b\w*Error\b", inspect.getdoc(genba.errors) or "")
    assert sorted(set(drawn)) == sorted(classes)


def test_a_close_word_is_offered_and_otherwise_all_known_ones():
    assert nearest("vehcle", ["vehicle", "arm"]) == "; did you mean 'vehicle'?"
    assert nearest("zzz", ["vehicle", "arm"]) == "; known: arm, vehicle"
    assert nearest("zzz", []) == ""


def test_a_format_error_names_the_file_and_the_byte():
    assert str(FormatError("log.mcap", "got 3 bytes, expected 8", offset=12)) == (
        "log.mcap: at byte 12: got 3 bytes, expected 8"
    )
    assert str(FormatError("log.mcap", "no footer")) == "log.mcap: no footer"
