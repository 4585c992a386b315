"""Everything that says no between a policy and an actuator. It knows limits and nothing of models."""
