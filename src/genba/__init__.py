"""Genba: one foundation model for machines, from their logs back into their actuators.

Read ``ARCHITECTURE.md`` for the way the data goes, then ``genba.spec`` for the nouns.
"""

__version__ = "0.1.0"
