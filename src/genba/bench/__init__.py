"""Closed loop: collect demonstrations, roll out policies, measure, verify, keep results."""
