"""The car's objective: room to stop counts more than getting on, and what stands beside the route is not in its way."""

from __future__ import annotations

import numpy as np
import pytest

from genba.machines.vehicle import objective as car
from genba.spec.embodiment import load_embodiment

FACTS = load_embodiment("vehicle/urban-car@1")
NAMES = {c.name: [d.name for d in c.dimensions] for c in FACTS.telemetry}
#: 12 tokens of 10 directions, 3 degrees each; direction 60 begins straight ahead
TOKENS, BINS = 12, 120


def straight(remaining_m: float = 50.0, lateral_m: float = 0.0) -> np.ndarray:
    """Return a route straight ahead."""
    route = np.zeros(len(NAMES["route"]))
    for i in range(10):
        route[NAMES["route"].index(f"waypoint_x_{i}")] = 3.0 * (i + 1)
    route[NAMES["route"].index("remaining_distance")] = remaining_m
    route[NAMES["route"].index("lateral_error")] = lateral_m
    return route


def sweep(at_m: float | None = None, angle_rad: float = 0.0) -> np.ndarray:
    """Return an empty sweep, or one with a single return."""
    near = np.zeros(BINS)
    if at_m is not None:
        near[int((angle_rad / (2 * np.pi) + 0.5) * BINS)] = 1 - at_m / 60.0
    return near.reshape(TOKENS, -1)


def foretold(speed_mps: float, sweeps: list[np.ndarray], remaining_m: list[float], lateral_m: float = 0.0):
    """Return one horizon of several candidates that differ in what they will see and how far they will be."""
    count = len(sweeps)
    telemetry = np.zeros((2, count, 1, 4))
    telemetry[..., 0] = speed_mps
    route = np.stack([[straight()] * count, [straight(r, lateral_m) for r in remaining_m]])[:, :, None]
    return {"telemetry": telemetry, "route": route, "lidar": np.stack([[sweep()] * count, sweeps])}


def test_the_way_is_free_as_far_as_the_first_return_on_the_route():
    nearness = np.stack([sweep(), sweep(12.4), sweep(12.4, np.pi / 2), sweep(12.4, -np.pi), sweep(2.0, np.pi / 2)])
    free = car.free_way_m(nearness, np.stack([straight()] * 5))
    # The line is looked at every metre: the first point within 1.5 m of a return at 12.4 m, 1.5 degrees aside, is at 11 m.
    assert free.tolist() == pytest.approx([30.0, 11.0 - 2.2, 30.0, 30.0, 30.0])


def test_room_to_stop_counts_more_than_getting_on():
    # At 8 m/s: 0.3 s * 8 + 64 / 8 + 2 = 12.4 m are needed, 8.8 m are free: 3 * 3.6 = 10.8 m of progress less.
    told = foretold(8.0, [sweep(), sweep(12.4)], [46.0, 45.0])
    free, blocked = car.objective(told, np.zeros((2, 8, 2)))
    assert free == pytest.approx(4.0)
    assert blocked == pytest.approx(5.0 - 10.8)


def test_getting_on_straight_and_gently_is_better():
    scores = car.objective(foretold(5.0, [sweep(), sweep()], [48.0, 47.0]), np.zeros((2, 8, 2)))
    assert scores.tolist() == pytest.approx([2.0, 3.0])
    aside = car.objective(foretold(5.0, [sweep()], [48.0], lateral_m=1.0), np.zeros((1, 8, 2)))
    assert aside.tolist() == pytest.approx([2.0 - 0.3])
    hard = np.zeros((1, 8, 2))
    hard[0, 0, 0] = -4.0
    assert car.objective(foretold(5.0, [sweep()], [48.0]), hard).tolist() == pytest.approx([2.0 - 0.08])
