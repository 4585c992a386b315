"""One environment for all tests of the vehicle: SUMO's process starts once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from genba.machines.vehicle.simulator import VehicleEnv


@pytest.fixture(scope="package")
def env() -> Iterator[VehicleEnv]:
    environment = VehicleEnv()
    yield environment
    environment.close()
