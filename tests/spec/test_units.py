"""Units: the border where numbers get their meaning."""

from __future__ import annotations

import pytest

from genba.spec.units import UNITS, check_unit, to_ns


@pytest.mark.parametrize("unit", sorted(UNITS))
def test_every_listed_unit_is_accepted(unit):
    check_unit(unit)


def test_an_unknown_unit_is_refused_with_the_nearest_known_one():
    with pytest.raises(ValueError, match=r"got 'm/sec', expected a known unit; did you mean 'm/s'\?"):
        check_unit("m/sec")


def test_seconds_become_whole_nanoseconds_and_never_drift():
    # 0.1 s is not a binary fraction: 0.1 * 1e9 = 100000000.00000001 in floats of other widths, and must be 10^8.
    assert to_ns(0.1) == 100_000_000
    assert sum(to_ns(0.1) for _ in range(1000)) == to_ns(100.0)
    assert to_ns(-2.5e-9) == -2  # halves go to the even neighbour
