"""Let the expert drive the simulated car once with its telemetry over a CAN bus, and keep the bus as a candump log.

    python scripts/can_drive.py --seed 0 --out drive.log
    genba data import drive.log --dbc src/genba/machines/vehicle/urban_car.dbc --vault vault

It prints what the verifier made of the drive. Needs the extras vehicle and can.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from genba.machines.vehicle.can_bus import CanBus
from genba.machines.vehicle.simulator import VehicleEnv
from genba.machines.vehicle.tasks import INTERSECTION
from genba.runtime.executor import Executor
from genba.runtime.loop import run_episode


def main() -> None:
    """Parse the command line, drive, say how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="the world")
    parser.add_argument("--out", type=Path, required=True, help="the log, replaced where it is there")
    given = parser.parse_args()
    bus = CanBus(given.out)
    env = VehicleEnv(bus=bus)
    try:
        expert = INTERSECTION.policies[INTERSECTION.expert](env)
        executor = Executor(expert, env.embodiment, enforce_deadline=False)
        run = run_episode(env, executor, seed=given.seed, max_steps=INTERSECTION.max_steps)
        outcome = INTERSECTION.verify(env.trace())
    finally:
        env.close()
        bus.close()
    print(f"{given.out}: {run.simulated_s:.1f} s, " + ", ".join(f"{name} {value:g}" for name, value in outcome.items()))


if __name__ == "__main__":
    main()
