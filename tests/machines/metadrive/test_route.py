"""Lane changes to the goal are counted, and a path follows the lanes that lead on."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from genba.machines.metadrive.route import NEVER, SPACING_M, find_route


@dataclass(frozen=True)
class Straight:
    """A lane along x, as the package's lanes answer."""

    x: float
    y: float
    length: float

    @property
    def start(self):
        return (self.x, self.y)

    @property
    def end(self):
        return (self.x + self.length, self.y)

    def position(self, along_m, lateral_m):
        return (self.x + along_m, self.y + lateral_m)

    def heading_theta_at(self, along_m):
        return 0.0


def route(*roads):
    names = [f"n{i}" for i in range(len(roads) + 1)]
    graph = {a: {b: lanes} for a, b, lanes in zip(names[:-1], names[1:], roads)}
    network = SimpleNamespace(graph=graph)
    return find_route(SimpleNamespace(map=SimpleNamespace(road_network=network), checkpoints=names))


def test_lanes_that_end_are_as_many_changes_away_as_lanes_lie_between():
    # three lanes, of which the two left ones lead on; then the leftmost of those alone
    found = route(
        [Straight(0, 0, 50), Straight(0, -3.5, 50), Straight(0, -7, 50)],
        [Straight(50, 0, 30), Straight(50, -3.5, 30)],
        [Straight(80, 0, 40)],
    )
    assert found.following == [[0, 1, -1], [0, -1], [-1]]
    # from the right: one change in the first road, one in the second
    assert found.changes == [[0, 1, 2], [0, 1], [0]]


def test_where_no_lane_leads_on_nothing_is_promised():
    found = route([Straight(0, 0, 50)], [Straight(60, 0, 30)])
    assert found.changes[0][0] >= NEVER


def test_a_path_goes_through_lanes_and_on_beyond_the_last():
    found = route([Straight(0, 0, 10)], [Straight(10, 0, 10)])
    path = found.path(0, 0, 4.0, 30.0)
    assert path[:, 0] == pytest.approx(4.0 + SPACING_M * np.arange(60))
    assert not path[:, 1:].any()
