"""The road: a four-way intersection, made by SUMO's ``netconvert``, and the routes and buildings on it.

Holds the description that ``netconvert`` is given, the cache of what it makes, and the geometry read back from it:
lanes, the ego's routes, stop line and goal. It holds no traffic. Read next: ``scenario``, which puts traffic on it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from genba.errors import SimulatorError
from genba.machines.vehicle.path import RoutePath, make_path

#: Debian packages that SUMO's binaries and libsumo link even where nothing is drawn.
SYSTEM_PACKAGES = "libgl1 libx11-6 libxext6 libxrender1 libexpat1 libatomic1 zlib1g"

ARM_LENGTH_M = 150.0
LANE_WIDTH_M = 3.2
SIDEWALK_WIDTH_M = 2.5
#: the street's limit, 40 km/h
SPEED_LIMIT_MPS = 11.11
#: the light's fixed programme for the ego's arm, in seconds from the start of its green
GREEN_S, YELLOW_S, ALL_RED_S = 16.0, 3.0, 2.0
CYCLE_S = 2 * (GREEN_S + YELLOW_S + ALL_RED_S)
#: how far past the junction the goal line lies
GOAL_AFTER_JUNCTION_M = 35.0
#: the paved strip beside the outermost lane's marking, and nuPlan's tolerance of a drivable area (0.3 m)
SHOULDER_M = 0.5

ARMS = "nesw"
#: with a light; without one: then the road from east to west has priority, and the ego comes from the minor one; with a stop sign at
#: every arm: whoever came first goes first
Control = Literal["signalised", "priority", "allway_stop"]
#: what netconvert calls the middle node
NODE_TYPES: dict[Control, str] = {"signalised": "traffic_light", "priority": "priority", "allway_stop": "allway_stop"}
#: Manoeuvre of the ego, which always comes from the south -> (arm it leaves by, lanes it may use).
MANOEUVRES: dict[str, tuple[str, tuple[int, ...]]] = {
    "left": ("w", (2,)),
    "straight": ("n", (1, 2)),
    "right": ("e", (1,)),
}

#: Corner buildings: x_min, y_min, x_max, y_max in metres, and their height.
BUILDINGS = np.array(
    [[sx * 27.0 - 14.0, sy * 27.0 - 14.0, sx * 27.0 + 14.0, sy * 27.0 + 14.0] for sx in (-1, 1) for sy in (-1, 1)]
)
BUILDING_HEIGHT_M = 9.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Road:
    """The geometry of the intersection, in world coordinates (origin at its centre, x east, y north, metres)."""

    #: the file that SUMO loads
    net_file: Path
    #: lane id -> centre line ``[points, 2]``, car lanes only, inside the junction too
    lanes: dict[str, np.ndarray]
    #: (manoeuvre, lane) -> the ego's path from the arm's far end to beyond the goal
    paths: dict[tuple[str, int], RoutePath]
    #: (arm, arm) -> the lines that cars from the one to the other follow inside the junction, each ``[points, 2]``
    ways: dict[tuple[str, str], list[np.ndarray]]
    #: all lane centre lines as segments x0, y0, x1, y1
    segments: np.ndarray


@functools.lru_cache(maxsize=len(NODE_TYPES))
def load_road(control: Control = "signalised") -> Road:
    """Return the road, building it on first use.

    Raises:
        SimulatorError: ``netconvert`` cannot run or refuses.
    """
    net_file = _build(control)
    root = ElementTree.parse(net_file).getroot()
    lanes = {
        lane.attrib["id"]: _shape(lane.attrib["shape"])
        for edge in root.iter("edge")
        if edge.get("function") in (None, "internal")
        for lane in edge.iter("lane")
        if lane.get("allow") != "pedestrian"
    }
    via = {
        (c.attrib["from"], c.attrib["to"], int(c.attrib["fromLane"])): (c.get("via"), int(c.attrib["toLane"]))
        for c in root.iter("connection")
    }

    def inside(origin: str, target: str, lane: int) -> tuple[list[np.ndarray], int]:
        """Follow a lane through the junction: its pieces inside, and the lane that it leaves by."""
        pieces, edge, edge_lane = [], f"{origin}_in", lane
        while True:
            inner, to_lane = via[edge, f"{target}_out", edge_lane]
            if inner is None:
                return pieces, to_lane
            pieces.append(lanes[inner])
            edge, edge_lane = inner.rsplit("_", 1)[0], int(inner.rsplit("_", 1)[1])

    ways: dict[tuple[str, str], list[np.ndarray]] = {}
    for edge, out, lane in via:
        if edge.endswith("_in") and lane > 0:
            ways.setdefault((edge[0], out[0]), []).append(np.concatenate(inside(edge[0], out[0], lane)[0]))
    paths = {}
    for manoeuvre, (arm, lane_indices) in MANOEUVRES.items():
        for lane in lane_indices:
            within, to_lane = inside("s", arm, lane)
            pieces = [lanes[f"s_in_{lane}"], *within]
            stop_m = float(np.linalg.norm(pieces[0][-1] - pieces[0][0]))
            junction_m = sum(float(np.linalg.norm(np.diff(p, axis=0), axis=1).sum()) for p in pieces[1:])
            pieces.append(lanes[f"{arm}_out_{to_lane}"])
            paths[manoeuvre, lane] = make_path(
                np.concatenate(pieces), stop_m=stop_m, goal_m=stop_m + junction_m + GOAL_AFTER_JUNCTION_M
            )
    segments = np.concatenate([np.concatenate([line[:-1], line[1:]], axis=1) for line in lanes.values()])
    return Road(net_file=net_file, lanes=lanes, paths=paths, ways=ways, segments=segments)


def sumo_home() -> Path:
    """Return where the ``eclipse-sumo`` wheel lies.

    Raises:
        SimulatorError: it is not installed.
    """
    try:
        import sumo  # the wheel's finder module; optional, needed only by this machine
    except ModuleNotFoundError as error:
        raise SimulatorError(
            "vehicle: SUMO is not installed; install genba[vehicle] (eclipse-sumo, libsumo)"
        ) from error
    return Path(sumo.SUMO_HOME)


def road_cache() -> Path:
    """Return the folder in which files of roads are kept, made if need be.

    Raises:
        SimulatorError: it cannot be made.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "genba"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SimulatorError(
            f"{cache}: cannot create the cache of road networks ({error}); set XDG_CACHE_HOME"
        ) from error
    return cache


def _build(control: Control) -> Path:
    nodes = (
        "<nodes>"
        + f'<node id="c" x="0" y="0" type="{NODE_TYPES[control]}" radius="6"/>'
        + "".join(
            f'<node id="{arm}" x="{x * ARM_LENGTH_M}" y="{y * ARM_LENGTH_M}"/>'
            for arm, x, y in (("n", 0, 1), ("e", 1, 0), ("s", 0, -1), ("w", -1, 0))
        )
        + "</nodes>"
    )
    shared = f'numLanes="2" speed="{SPEED_LIMIT_MPS}" width="{LANE_WIDTH_M}" sidewalkWidth="{SIDEWALK_WIDTH_M}"'
    # nothing is written where all are equal, so that the signalised net stays the file that it was
    ranks = [f' priority="{1 + (arm in "ew")}"' if control == "priority" else "" for arm in ARMS]
    edges = (
        "<edges>"
        + "".join(
            f'<edge id="{arm}_in" from="{arm}" to="c" {shared}{rank}/><edge id="{arm}_out" from="c" to="{arm}" {shared}{rank}/>'
            for arm, rank in zip(ARMS, ranks, strict=True)
        )
        + "</edges>"
    )
    options = [
        *("--crossings.guess", "true", "--no-turnarounds", "true", "--offset.disable-normalization", "true"),
        *("--tls.layout", "opposites", "--tls.left-green.time", "0", "--tls.green.time", f"{GREEN_S:.0f}"),
        *("--tls.yellow.time", f"{YELLOW_S:.0f}", "--tls.allred.time", f"{ALL_RED_S:.0f}"),
        *("--junctions.corner-detail", "8", "--junctions.internal-link-detail", "12"),
    ]
    home = sumo_home()
    digest = hashlib.sha256("\n".join([nodes, edges, *options, str(home)]).encode()).hexdigest()[:16]
    cache = road_cache()
    net_file = cache / f"intersection-{digest}.net.xml"
    if net_file.exists():
        return net_file
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        work = Path(folder)
        (work / "nodes.xml").write_text(nodes, encoding="utf-8")
        (work / "edges.xml").write_text(edges, encoding="utf-8")
        command = [str(home / "bin" / "netconvert"), "-n", "nodes.xml", "-e", "edges.xml", "-o", "net.xml", *options]
        try:
            ran = subprocess.run(
                command,
                cwd=work,
                env={**os.environ, "SUMO_HOME": str(home)},
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise SimulatorError(f"{command[0]}: cannot run ({error}); reinstall eclipse-sumo") from error
        if ran.returncode != 0:
            raise SimulatorError(
                f"{command[0]}: exit status {ran.returncode}: {ran.stderr.strip()}; "
                f"if a shared library is missing: apt-get install {SYSTEM_PACKAGES}"
            )
        # A rename is atomic: workers that build at the same time put the same file there.
        os.replace(work / "net.xml", net_file)
    return net_file


def _shape(text: str) -> np.ndarray:
    return np.array([[float(v) for v in point.split(",")[:2]] for point in text.split()])
