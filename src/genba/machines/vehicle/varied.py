"""The worlds that may be trained on beside the nominal one: a control, a density and parked vehicles of its own for each seed.

Whatever ``conditions`` holds out stays out: nobody steps into the road away from a crossing, runs a red light or stands on a lane, the road
grips, every sensor and every light works, and the road with priority carries clearly less than the dense one. Read next: ``kerb``.
"""

from __future__ import annotations

import math

import numpy as np

from genba.machines.vehicle.conditions import SIZES_M, Condition
from genba.machines.vehicle.kerb import Parked
from genba.machines.vehicle.network import ARMS, Control
from genba.machines.vehicle.scenario import CAR_RATE_HZ, INITIAL_CARS_PER_LANE, PERSON_RATE_HZ
from genba.machines.vehicle.traffic_process import CAR, TRUCK

#: share of the worlds without a light
PRIORITY_SHARE = 0.5
#: cars per second and arm at most, from sparse to dense (0.08 is usual); an arm has at least this share of it
CAR_RATES_HZ: dict[Control, tuple[float, float]] = {"signalised": (0.02, 0.13), "priority": (0.02, 0.10)}
LEAST_ARM_SHARE = 0.5
#: what a minor arm has of it: who waits there at the line keeps those behind waiting
MINOR_SHARE = 0.4
#: people, as a factor on the usual number
PERSON_FACTORS = (0.3, 3.0)
#: vehicles parked at each kerb, on average; share of trucks among them
PARKED_PER_KERB, PARKED_TRUCK_SHARE = 0.35, 0.4
#: room beside a car in the middle of the outer lane: the kerb lies 0.68 m beside it
KERB_GAP_M = (0.8, 1.4)
#: where vehicles are parked, from the junction: on the way in farther off than people set out (30 m, and half a truck), on the way
#: out past the crossing; one in each slot of 12 m
SLOTS_M = {"in": np.arange(35.0, 80.0, 12.0), "out": np.arange(12.0, 60.0, 12.0)}
SLOT_SHIFT_M = 3.0


def vary(seed: int) -> Condition:
    """Draw the world of ``seed``."""
    random = np.random.default_rng([seed, 0x7A])
    control: Control = "priority" if random.random() < PRIORITY_SHARE else "signalised"
    level_hz = float(random.uniform(*CAR_RATES_HZ[control]))
    rates_hz = {arm: level_hz * float(random.uniform(LEAST_ARM_SHARE, 1.0)) for arm in ARMS}
    if control == "priority":
        rates_hz |= {arm: rates_hz[arm] * MINOR_SHARE for arm in "ns"}
    # as often fewer people than usual as more
    low, high = np.log(PERSON_FACTORS)
    person_rate_hz = PERSON_RATE_HZ * math.exp(float(random.uniform(low, high)))
    return Condition(
        name="varied",
        description="A control, a density and parked vehicles of its own for each seed.",
        control=control,
        car_rates_hz=rates_hz,
        person_rate_hz=person_rate_hz,
        initial_cars_per_lane=INITIAL_CARS_PER_LANE * level_hz / CAR_RATE_HZ,
        parked=_park(random),
    )


def _park(random: np.random.Generator) -> tuple[Parked, ...]:
    parked: list[Parked] = []
    for arm in ARMS:
        for side in ("in", "out"):
            count = int(random.poisson(PARKED_PER_KERB))
            for slot_m in random.permutation(SLOTS_M[side])[:count]:
                kind = TRUCK if random.random() < PARKED_TRUCK_SHARE else CAR
                parked.append(
                    Parked(
                        kind=kind,
                        width_m=SIZES_M[kind][1],
                        arm=arm,
                        side=side,
                        from_junction_m=float(slot_m + random.uniform(0.0, SLOT_SHIFT_M)),
                        gap_m=float(random.uniform(*KERB_GAP_M)),
                    )
                )
    return tuple(parked)
