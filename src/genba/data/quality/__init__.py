"""Is what a vault holds good enough to learn from? Measures taken of every episode, and small checks of the measures.

``genba data fsck`` asks whether the bytes are the ones that were stored. This package asks whether they make sense: gaps,
clocks that jump or drift, sensors that stand still, values at their limits, the same data twice, wrong units, missing
calibration. Read in this order: ``findings`` (what is reported), ``thresholds`` (what counts), ``samples`` and
``measures`` (one bounded pass over an episode), the checks (``clocks``, ``alignment``, ``sensors``, ``units``,
``bookkeeping``, ``peers``, ``duplicates``), and ``inspect``, which runs them over a vault.
"""
