"""Arm: a Franka Panda that adapts its grip."""
