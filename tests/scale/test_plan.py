"""Layouts refuse what does not divide, and say which number would."""

import dataclasses

import pytest

from genba.errors import ConfigError
from genba.model.config import preset
from genba.train.plan import Layout, choose_layout, largest_shard, sharded_axis


def test_experts_are_dealt_out_as_far_as_they_divide():
    # 384 experts and 4096 ranks share the divisors 1, 2, 4, ... 128; 64 is the most that is allowed.
    assert choose_layout(preset("one_trillion"), 4096) == Layout(ranks=4096, expert_parallel=64)
    # 96 ranks and 384 experts: 48 divides both, 96 would too but is more than 64.
    assert choose_layout(preset("one_trillion"), 96).expert_parallel == 48
    assert choose_layout(preset("debug"), 4096) == Layout(ranks=4096, expert_parallel=1)


def test_what_does_not_divide_is_refused():
    with pytest.raises(ConfigError, match="expert_parallel: got 3, expected a divisor of ranks"):
        Layout(ranks=8, expert_parallel=3)
    with pytest.raises(ConfigError, match="expected a divisor of 384 experts"):
        choose_layout(preset("one_trillion"), 1000, expert_parallel=5)
    with pytest.raises(ConfigError, match="debug has no mixture; use 1"):
        choose_layout(preset("debug"), 8, expert_parallel=2)
    with pytest.raises(ConfigError, match="expected at least 1"):
        Layout(ranks=0)
    assert dataclasses.replace(Layout(ranks=8), expert_parallel=2).expert_copies == 4


def test_a_parameter_is_cut_where_it_wastes_least():
    assert sharded_axis((8, 5), 4) == 0
    # 3 rows over 4 ranks would leave a quarter of them empty, 8 columns none.
    assert sharded_axis((3, 8), 4) == 1
    assert largest_shard((3, 8), 4) == 3 * 2
    # Nothing divides: rows are rounded up.
    assert largest_shard((9, 5), 4) == 3 * 5
    # Slivers of one column are not worth it.
    assert sharded_axis((3, 4096), 4096) == 0
