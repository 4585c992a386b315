"""What is good for the car, of what its world model foretells: getting on, along the route, with room to stop, gently.

Plain arithmetic on readouts, in SI units; the weights are ours, chosen on validation worlds. Read next: ``genba.runtime.planning``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genba.spec.embodiment import load_embodiment

#: half the width of what must be free along the route, from the LiDAR's returns to the middle of the car
HALF_CORRIDOR_M = 1.5
#: from the LiDAR to the front bumper, and what stays free before it
FRONT_M, MARGIN_M = 2.2, 2.0
#: braking that stopping counts on, and the time until it begins
BRAKING_MPS2, REACTION_S = 4.0, 0.3
#: one metre too few to stop in weighs as much as so many metres of progress; likewise a metre beside the route, a change of 1 m/s^2
WEIGHT_ROOM, WEIGHT_ASIDE, WEIGHT_CHANGE = 3.0, 0.3, 0.02

_CAR = load_embodiment("vehicle/urban-car@1")
_ROUTE = [d.name for channel in _CAR.telemetry if channel.name == "route" for d in channel.dimensions]
_X, _Y = (slice(_ROUTE.index(f"{name}_0"), _ROUTE.index(f"{name}_9") + 1) for name in ("waypoint_x", "waypoint_y"))
_LATERAL, _REMAINING = _ROUTE.index("lateral_error"), _ROUTE.index("remaining_distance")
_RANGE_M = _CAR.points[0].range_max_m


def objective(foretold: Mapping[str, np.ndarray], actions: np.ndarray) -> np.ndarray:
    """Score candidates; higher is better.

    Args:
        foretold: as ``planning.roll_forward`` gives it.
        actions: ``[candidate, chunk, 2]``: acceleration in m/s^2, steering angle in rad.

    Returns:
        float64 ``[candidate]``, in metres of progress.
    """
    speed = foretold["telemetry"][1:, :, 0, 0]
    route = foretold["route"][:, :, 0]
    progress = route[0, :, _REMAINING] - route[-1, :, _REMAINING]
    free = free_way_m(foretold["lidar"][1:], route[1:])
    needed = REACTION_S * speed + np.maximum(speed, 0.0) ** 2 / (2 * BRAKING_MPS2) + MARGIN_M
    room = np.maximum(needed - free, 0.0).max(0)
    aside = (route[1:, :, _LATERAL] ** 2).mean(0)
    change = np.abs(actions[:, 0, 0] - foretold["telemetry"][0, :, 0, 1])
    return progress - WEIGHT_ROOM * room - WEIGHT_ASIDE * aside - WEIGHT_CHANGE * change


def free_way_m(nearness: np.ndarray, route: np.ndarray) -> np.ndarray:
    """Return how far ahead of the front bumper the first return on the route is, at most the last waypoint's distance.

    Args:
        nearness: ``[..., token, bin of the token]``, 1 - distance / range.
        route: ``[..., dimension]`` of the route channel, waypoints in the car's frame, 3 m apart.
    """
    near = nearness.reshape(*nearness.shape[:-2], -1)
    bins = near.shape[-1]
    angle = (np.arange(bins) + 0.5) / bins * 2 * np.pi - np.pi
    # Foretold nearness may pass 1.
    distance = np.maximum(1.0 - near, 0.0) * _RANGE_M
    # Between the waypoints, every metre from the bumper on: what stands beside the car is not in its way.
    at = np.arange(3.0, 30.5, 1.0)
    knots = np.arange(0.0, 30.5, 3.0)
    line = []
    for part in (_X, _Y):
        ways = np.concatenate([np.zeros((*route.shape[:-1], 1)), route[..., part]], -1)
        low = np.minimum((at / 3.0).astype(int), len(knots) - 2)
        share = (at - knots[low]) / 3.0
        line.append(ways[..., low] * (1 - share) + ways[..., low + 1] * share)
    dx = (distance * np.cos(angle))[..., :, None] - line[0][..., None, :]
    dy = (distance * np.sin(angle))[..., :, None] - line[1][..., None, :]
    # What is foretold is a mean: a direction counts as taken when its nearness is clearly not 0.
    taken = (dx**2 + dy**2 < HALF_CORRIDOR_M**2) & (near > 0.1)[..., None]
    first = np.where(taken.any(-2), at, at[-1] + FRONT_M).min(-1)
    return first - FRONT_M
