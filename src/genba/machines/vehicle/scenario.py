"""What a seed means: the ego's route, the light's phase, and who else is on the road and when.

A scenario is plain data, drawn here and nowhere else; SUMO moves what it names. Read next: ``traffic``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from genba.machines.vehicle.network import ARM_LENGTH_M, ARMS, CYCLE_S, MANOEUVRES

#: cars per second that enter each arm, and people per second who set out anywhere
CAR_RATE_HZ = 0.08
PERSON_RATE_HZ = 0.16
#: cars on the arms at the start, on average per lane
INITIAL_CARS_PER_LANE = 0.8
TRUCK_SHARE = 0.12
TURN_SHARES = {"left": 0.2, "straight": 0.6, "right": 0.2}
#: traffic is scheduled for this long: warm-up and the longest episode
SCHEDULE_S = 86.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Car:
    """One car or truck: where from, where to, and when."""

    id: int
    origin: str
    target: str
    lane: int
    kind: str
    depart_s: float
    #: metres from the far end of its arm; -1 where it enters there
    position_m: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """One pedestrian: walks from a sidewalk of one arm over the junction to one of another."""

    id: int
    origin: str
    target: str
    depart_s: float
    #: metres from the junction at the start
    distance_m: float
    speed_mps: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """Everything that SUMO is told about one episode."""

    seed: int
    manoeuvre: str
    ego_lane: int
    ego_position_m: float
    ego_speed_mps: float
    #: seconds since the ego's arm last turned green
    cycle_s: float
    cars: tuple[Car, ...]
    persons: tuple[Person, ...]

    def to_json(self) -> dict[str, object]:
        """Return plain lists and numbers."""
        return asdict(self)


def draw_scenario(
    seed: int,
    car_rates_hz: Mapping[str, float] | None = None,
    *,
    person_rate_hz: float = PERSON_RATE_HZ,
    initial_cars_per_lane: float = INITIAL_CARS_PER_LANE,
) -> Scenario:
    """Draw the scenario of ``seed``.

    Args:
        seed: of all that is drawn.
        car_rates_hz: for some arms, how many cars enter there per second.
        person_rate_hz: how many people set out per second, anywhere.
        initial_cars_per_lane: how many cars are on a lane at the start, on average.
    """
    rates_hz = dict.fromkeys(ARMS, CAR_RATE_HZ) | dict(car_rates_hz or {})
    random = np.random.default_rng([seed, 0x5C])
    manoeuvre = str(random.choice(list(MANOEUVRES)))
    ego_lane = int(random.choice(MANOEUVRES[manoeuvre][1]))
    ego_position_m = float(random.uniform(15.0, 40.0))
    cars: list[Car] = []
    for arm in ARMS:
        for lane in (1, 2):
            count = random.poisson(initial_cars_per_lane)
            # 12 m slots, so that nobody begins inside somebody else; slots near the ego stay free.
            slots = np.arange(20.0, ARM_LENGTH_M - 30.0, 14.0)
            if arm == "s" and lane == ego_lane:
                slots = slots[np.abs(slots - ego_position_m) > 16.0]
            for position in random.permutation(slots)[:count]:
                cars.append(_car(random, len(cars), arm, lane, 0.0, float(position)))
        depart_s = float(random.exponential(1 / rates_hz[arm]))
        while depart_s < SCHEDULE_S:
            cars.append(_car(random, len(cars), arm, 0, depart_s, -1.0))
            depart_s += float(random.exponential(1 / rates_hz[arm]))
    persons: list[Person] = []
    depart_s = -15.0
    while (depart_s := depart_s + float(random.exponential(1 / person_rate_hz))) < SCHEDULE_S - 10.0:
        origin = str(random.choice(list(ARMS)))
        persons.append(
            Person(
                id=len(persons),
                origin=origin,
                target=str(random.choice([arm for arm in ARMS if arm != origin])),
                depart_s=max(depart_s, 0.0),
                distance_m=float(random.uniform(2.0, 30.0)),
                speed_mps=float(random.uniform(1.0, 1.6)),
            )
        )
    return Scenario(
        seed=seed,
        manoeuvre=manoeuvre,
        ego_lane=ego_lane,
        ego_position_m=ego_position_m,
        ego_speed_mps=float(random.uniform(7.0, 10.0)),
        cycle_s=float(random.uniform(0.0, CYCLE_S)),
        cars=tuple(sorted(cars, key=lambda car: (car.depart_s, car.id))),
        persons=tuple(persons),
    )


def _car(random: np.random.Generator, number: int, arm: str, lane: int, depart_s: float, position_m: float) -> Car:
    turn = str(random.choice(list(TURN_SHARES), p=list(TURN_SHARES.values())))
    if (lane, turn) in ((1, "left"), (2, "right")):
        turn = "straight"
    if lane == 0:
        lane = {"left": 2, "right": 1}.get(turn, int(random.integers(1, 3)))
    # Clockwise from north: the arm to the left of one's own when driving in is the next one.
    step = {"left": 1, "straight": 2, "right": 3}[turn]
    return Car(
        id=number,
        origin=arm,
        target=ARMS[(ARMS.index(arm) + step) % 4],
        lane=lane,
        kind="truck" if random.random() < TRUCK_SHARE else "car",
        depart_s=round(depart_s, 1),
        position_m=position_m,
    )
