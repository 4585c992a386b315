"""MetaDrive's own environment behind ``Env``: a seed is a scene, that is a road of three blocks and the traffic on it.

Map, traffic, physics, sensors, and when an episode has ended and how are the package's (Apache-2.0, ``metadrive-simulator==0.4.3``),
unchanged and with its defaults; here they become streams and steps. The seed is the package's own scenario number, so seed ``s`` is the
scene that others call ``s``. Read next: ``expert``, ``peers``, ``verifier``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from genba.errors import SimulatorError, SpecError
from genba.spec.action import Action
from genba.spec.conformance import commanded
from genba.spec.embodiment import load_embodiment
from genba.spec.protocols import Step
from genba.spec.streams import Stream, ragged
from genba.spec.units import to_ns

#: Most control steps of an episode: the ``horizon`` of the authors' experiment.
MAX_STEPS = 1000
#: Scenes that the package is told there are; it wants to know.
NUM_SCENES = 100_000
NUM_BEAMS, RANGE_M = 240, 50.0
NUM_BORDER_BEAMS, BORDER_RANGE_M = 48, 25.0
NUM_LINE_BEAMS, LINE_RANGE_M = 24, 10.0
NUM_OTHERS = 4
#: The words of the package's ``info`` that a trace keeps.
ENDINGS = ("arrive_dest", "out_of_road", "crash_vehicle", "crash_object", "crash_sidewalk")


def package() -> Any:
    """Return the module ``metadrive``.

    Raises:
        SimulatorError: it is not installed, or has no assets.
    """
    try:
        import metadrive  # optional (extra `metadrive`): the task is listed without it
    except ImportError as error:
        raise SimulatorError(
            f"metadrive: cannot be imported ({error}); install it with: pip install 'genba[metadrive]'"
        ) from error
    # Without them its first reset would fetch an archive from the network.
    if not (Path(metadrive.__file__).parent / "assets" / "version.txt").exists():
        raise SimulatorError("metadrive: its assets are missing; install them with: python scripts/metadrive_assets.py")
    return metadrive


class MetaDriveEnv:
    """One car on MetaDrive's roads; see ``spec.protocols.Env``.

    The package allows one world a process: resetting one of these ends the world of any other.

    Raises:
        SimulatorError: MetaDrive is not installed, or has no assets.
    """

    _owner: MetaDriveEnv | None = None

    def __init__(self) -> None:
        self.embodiment = load_embodiment("metadrive/car@1")
        package()
        self._world: Any = None
        self._ended = True
        self._seed = -1

    @property
    def world(self) -> Any:
        """The package's own environment, for an expert and the package's own policies; a policy that is compared must not look at it.

        Raises:
            SimulatorError: there is none.
        """
        if self._world is None:
            raise SimulatorError(
                "metadrive: no world yet, or another environment of this process took its place; call reset(seed) first"
            )
        return self._world

    def reset(self, seed: int) -> Step:
        """Begin scene ``seed``, at most ``NUM_SCENES - 1``."""
        if not 0 <= seed < NUM_SCENES:
            raise SpecError(f"{self.embodiment.id}: seed: got {seed}, expected a scene from 0 to {NUM_SCENES - 1}")
        if self._world is None:
            if MetaDriveEnv._owner is not None:
                MetaDriveEnv._owner.close()
            self._world = _make()
            MetaDriveEnv._owner = self
        with _own_draws():
            self._world.reset(seed=seed)
        self._seed, self._control_step, self._ended = seed, 0, False
        self._log: dict[str, list[Any]] = {name: [] for name in (*ENDINGS, "action", "reward", "cost", "completion")}
        self._poses: list[np.ndarray] = []
        self._others: list[np.ndarray] = []
        self._keep_poses()
        return Step(0, self._samples())

    def step(self, action: Action | None) -> Step:
        """Drive for 0.1 s.

        Raises:
            SpecError: no action, or one that is not two finite numbers.
            SimulatorError: not reset, or the episode has ended.
        """
        if self._ended:
            raise SimulatorError("metadrive: step: no episode is under way; call reset(seed) first")
        continuous = commanded(self.embodiment, action, "steering and throttle")
        command = np.clip(continuous, -1.0, 1.0).astype(np.float32)
        with _own_draws():
            _, reward, terminated, truncated, info = self.world.step(command)
        self._control_step += 1
        for name in ENDINGS:
            self._log[name].append(bool(info[name]))
        for name, value in (
            ("action", command),
            ("reward", float(reward)),
            ("cost", float(info["cost"])),
            ("completion", float(info["route_completion"])),
        ):
            self._log[name].append(value)
        self._keep_poses()
        self._ended = bool(terminated or truncated)
        return Step(self._time_ns, self._samples(), bool(terminated), bool(truncated and not terminated))

    def trace(self) -> dict[str, np.ndarray]:
        """Return the episode so far in the package's own words: arrays named in ``verifier``.

        Raises:
            SimulatorError: not reset.
        """
        if self._seed < 0:
            raise SimulatorError("metadrive: trace: no episode has begun; call reset(seed) first")
        log = self._log
        splits = np.concatenate([[0], np.cumsum([len(rows) for rows in self._others])])
        return {
            "scene": np.array(self._seed),
            **{name: np.array(log[name], np.bool_) for name in ENDINGS},
            "action": np.array(log["action"], np.float32).reshape(-1, 2),
            **{name: np.array(log[name], np.float64) for name in ("reward", "cost", "completion")},
            "ego": np.stack(self._poses),
            "others": np.concatenate(self._others),
            "other_splits": splits.astype(np.int64),
            **self._road,
        }

    def instruction(self) -> str:
        """The navigation says it all."""
        return ""

    def close(self) -> None:
        """End the world."""
        if self._world is not None:
            self._world.close()
            MetaDriveEnv._owner = None
        self._world, self._ended = None, True

    @property
    def _time_ns(self) -> int:
        return self._control_step * to_ns(self.embodiment.control.period_s)

    def _keep_poses(self) -> None:
        world = self.world
        car = world.agent
        self._poses.append(np.array([*car.position, car.heading_theta, car.speed]))
        others = [v for v in world.engine.traffic_manager.vehicles if v is not car]
        rows = [[*v.position, v.heading_theta, v.LENGTH, v.WIDTH] for v in others]
        self._others.append(np.array(rows, np.float64).reshape(-1, 5))
        if not self._control_step:
            self._road = _road(world)

    def _samples(self) -> dict[str, Stream]:
        world = self.world
        car, engine = world.agent, world.engine
        static, detectors = engine.physics_world.static_world, engine.get_sensor
        seen = world.observations["default_agent"]
        borders = detectors("side_detector").perceive(car, static, NUM_BORDER_BEAMS, BORDER_RANGE_M).cloud_points
        lines = detectors("lane_line_detector").perceive(car, static, NUM_LINE_BEAMS, LINE_RANGE_M).cloud_points
        tracked = detectors("lidar").get_surrounding_vehicles_info(
            car, seen.detected_objects, RANGE_M, NUM_OTHERS, False
        )
        others = np.array(tracked, np.float32).reshape(NUM_OTHERS, 4)
        top_mps = car.max_speed_km_h / 3.6
        # The package says a fraction of range and top speed, and four zeros for nobody: metres, m/s and missing.
        others = np.where(
            others.any(1, keepdims=True), (2.0 * others - 1.0) * [RANGE_M, RANGE_M, top_mps, top_mps], np.nan
        )
        turned = math.remainder(car.heading_theta - math.atan2(*car.last_heading_dir[::-1]), 2 * math.pi)
        rows = {
            "borders": BORDER_RANGE_M * np.array(borders),
            "lines": LINE_RANGE_M * np.array(lines),
            "motion": np.array([car.speed, turned / 0.1, *car.last_current_action[-1]]),
            "lane": np.array(_lane(car)),
            "navigation": np.array(car.navigation.get_navi_info()),
            "others": others.ravel(),
        }
        times_ns = np.array([self._time_ns], np.int64)
        samples = {name: Stream(times_ns, row.astype(np.float32)[None]) for name, row in rows.items()}
        return {**samples, "lidar": ragged(times_ns, [_points(np.array(seen.cloud_points, np.float32))])}


def _points(shares: np.ndarray) -> np.ndarray:
    """Return what was hit, float32 ``[hits, 3]``, of each beam's share of the range; beams go round to the left from ahead."""
    turn = 2 * np.pi / NUM_BEAMS * np.arange(NUM_BEAMS, dtype=np.float32)
    points = RANGE_M * shares[:, None] * np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], 1)
    return points[shares < 1.0].astype(np.float32)


def _lane(car: Any) -> list[float]:
    """Return the distances to the road's sides, the offset from the lane's centre, and the angle to it: m, m, m, rad."""
    _, lateral_m = car.lane.local_coordinates(car.position)
    along_m, _ = car.navigation.current_ref_lanes[-1].local_coordinates(car.position)
    angle = math.remainder(
        car.heading_theta - car.navigation.current_ref_lanes[-1].heading_theta_at(along_m), 2 * math.pi
    )
    return [
        *(min(max(distance, -5.0), 30.0) for distance in (car.dist_to_left_side, car.dist_to_right_side)),
        min(max(lateral_m, -10.0), 10.0),
        angle,
    ]


def _road(world: Any) -> dict[str, np.ndarray]:
    """Return the centre lines of all lanes, and the route's first lanes, for pictures: points a metre or two apart."""
    graph = world.current_map.road_network.graph
    lines = []
    for ends in graph.values():
        for lanes in ends.values():
            for lane in lanes:
                count = max(2, int(lane.length / 2.0) + 1)
                lines.append(np.array([lane.position(s, 0.0) for s in np.linspace(0.0, lane.length, count)]))
    splits = np.concatenate([[0], np.cumsum([len(line) for line in lines])])
    return {"lanes": np.concatenate(lines), "lane_splits": splits.astype(np.int64)}


def _make() -> Any:
    """Start the package's environment as its authors' test has it: three blocks, density 0.1, 1000 steps."""
    from metadrive import MetaDriveEnv as Package  # optional (extra `metadrive`)

    return Package(
        {
            "start_seed": 0,
            "num_scenarios": NUM_SCENES,
            "map": 3,
            "traffic_density": 0.1,
            "random_traffic": False,
            "horizon": MAX_STEPS,
            # A map is made again when its scene comes again, rather than kept for ever.
            "store_map": False,
            # Cars are made anew for each scene: without it a second drive was seen to differ a little from the first.
            "force_destroy": True,
            "log_level": logging.ERROR,
        }
    )


@contextmanager
def _own_draws() -> Iterator[None]:
    """Leave numpy's shared generator to whoever else in the process draws from it."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
