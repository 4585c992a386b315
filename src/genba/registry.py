"""Names that lead to code without importing it.

Each plug point (embodiment, reader, policy, task) is a mapping from a name to a ``"module:attribute"`` string. Strings
keep the arrows one-way and start-up fast; a test resolves every entry.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from genba.errors import RegistryError, nearest

#: Embodiment id -> the TOML file's package and name.
EMBODIMENTS: dict[str, str] = {
    "arm/panda-grip@1": "genba.machines.arm:embodiment.toml",
    "vehicle/urban-car@1": "genba.machines.vehicle:embodiment.toml",
    "factory/parallel-lines@2": "genba.machines.factory:embodiment.toml",
    "factory/job-shop@1": "genba.machines.factory.fjsp:embodiment.toml",
    "vehicle/toyota-can@1": "genba.data.readers:toyota_rav4_1.toml",
    "vehicle/toyota-can@2": "genba.data.readers:toyota_rav4.toml",
    "factory/line-sensors@1": "genba.floor:line_sensors.toml",
    "factory/skab-bench@1": "genba.data.readers:skab_bench.toml",
    "metaworld/sawyer@1": "genba.machines.metaworld:embodiment.toml",
    "metadrive/car@1": "genba.machines.metadrive:embodiment.toml",
    "metaworld/sawyer-camera@1": "genba.machines.metaworld:embodiment_camera.toml",
}

#: Tasks that measure what was never trained on: they have no train seeds, and training refuses their episodes.
_HELD_OUT: dict[str, str] = {
    "arm/grip-heavy-filling@1": "genba.machines.arm.tasks:HEAVY_FILLING",
    "arm/grip-slippery@1": "genba.machines.arm.tasks:SLIPPERY",
    "arm/grip-cylinder@1": "genba.machines.arm.tasks:CYLINDER",
    "arm/grip-off-centre@1": "genba.machines.arm.tasks:OFF_CENTRE",
    "arm/grip-noisy@1": "genba.machines.arm.tasks:NOISY",
    "arm/grip-dead-pad@1": "genba.machines.arm.tasks:DEAD_PAD",
    "arm/grip-slow-gripper@1": "genba.machines.arm.tasks:SLOW_GRIPPER",
    "arm/grip-knock@1": "genba.machines.arm.tasks:KNOCK",
    "vehicle/red-light-runner@1": "genba.machines.vehicle.tasks:RED_LIGHT_RUNNER",
    "vehicle/jaywalker@1": "genba.machines.vehicle.tasks:JAYWALKER",
    "vehicle/occluded-pedestrian@1": "genba.machines.vehicle.tasks:OCCLUDED_PEDESTRIAN",
    "vehicle/blocked-lane@1": "genba.machines.vehicle.tasks:BLOCKED_LANE",
    "vehicle/lidar-drop-out@1": "genba.machines.vehicle.tasks:LIDAR_DROP_OUT",
    "vehicle/stopped-in-box@1": "genba.machines.vehicle.tasks:STOPPED_IN_BOX",
    "vehicle/low-friction@1": "genba.machines.vehicle.tasks:LOW_FRICTION",
    "vehicle/wrong-way-cyclist@1": "genba.machines.vehicle.tasks:WRONG_WAY_CYCLIST",
    "vehicle/ingolstadt1@1": "genba.machines.vehicle.tasks:INGOLSTADT",
    "vehicle/rilsa1@1": "genba.machines.vehicle.tasks:RILSA1",
    "vehicle/rilsa3@1": "genba.machines.vehicle.tasks:RILSA3",
    "vehicle/emergency-vehicle@1": "genba.machines.vehicle.tasks:EMERGENCY_VEHICLE",
    "vehicle/signal-off@1": "genba.machines.vehicle.tasks:SIGNAL_OFF",
    "vehicle/dense-priority-road@1": "genba.machines.vehicle.tasks:DENSE_PRIORITY_ROAD",
    "vehicle/slippery-jaywalker@1": "genba.machines.vehicle.tasks:SLIPPERY_JAYWALKER",
    "vehicle/all-way-stop@1": "genba.machines.vehicle.tasks:ALL_WAY_STOP",
    "factory/two-at-once@1": "genba.machines.factory.tasks:TWO_AT_ONCE",
    "factory/shortage-xl@1": "genba.machines.factory.tasks:SHORTAGE_XL",
    "metaworld/ml45-test@1": "genba.machines.metaworld.tasks:ML45_TEST",
}
HELD_OUT_TASKS: frozenset[str] = frozenset(_HELD_OUT)

#: Task id -> the ``Task`` object.
TASKS: dict[str, str] = {
    "arm/grip@1": "genba.machines.arm.tasks:GRIP",
    "vehicle/intersection@1": "genba.machines.vehicle.tasks:INTERSECTION",
    "vehicle/varied@1": "genba.machines.vehicle.tasks:VARIED",
    "vehicle/cologne1@1": "genba.machines.vehicle.tasks:COLOGNE",
    "factory/shortage@1": "genba.machines.factory.tasks:SHORTAGE",
    "factory/events@1": "genba.machines.factory.tasks:EVENTS",
    "factory/job-shop@1": "genba.machines.factory.fjsp.tasks:JOB_SHOP",
    "factory/shortage-s@1": "genba.machines.factory.tasks:SHORTAGE_S",
    "factory/shortage-l@1": "genba.machines.factory.tasks:SHORTAGE_L",
    "metadrive/general@1": "genba.machines.metadrive.tasks:GENERAL",
    "metaworld/mt10@1": "genba.machines.metaworld.tasks:MT10",
    "metaworld/mt50@1": "genba.machines.metaworld.tasks:MT50",
    "metaworld/ml45@1": "genba.machines.metaworld.tasks:ML45",
    "metaworld/ml45-adapt@1": "genba.machines.metaworld.tasks:ML45_ADAPT",
    "metaworld/mt10-camera@1": "genba.machines.metaworld.tasks:MT10_CAMERA",
    "metaworld/mt50-camera@1": "genba.machines.metaworld.tasks:MT50_CAMERA",
    **_HELD_OUT,
}
#: Ending of a file -> the function that makes a ``Task`` of the recorded scene that it holds.
SCENE_FILES: dict[str, str] = {".xml": "genba.machines.vehicle.tasks:recorded"}
#: Each machine's main task: what a run's page shows even where the run has no result of it.
MAIN_TASKS: tuple[str, ...] = ("arm/grip@1", "vehicle/intersection@1", "factory/shortage@1")

#: Reader name -> the ``Reader`` class.
READERS: dict[str, str] = {
    "argoverse2": "genba.data.readers.argoverse2:Argoverse2Reader",
    "asc": "genba.data.readers.asc:AscReader",
    "blf": "genba.data.readers.blf:BlfReader",
    "candump": "genba.data.readers.candump:CandumpReader",
    "comma2k19": "genba.data.readers.comma2k19:Comma2k19Reader",
    "hdf5": "genba.data.readers.hdf5:Hdf5Reader",
    "kitti": "genba.data.readers.kitti:KittiReader",
    "lerobot": "genba.data.readers.lerobot:LeRobotReader",
    "mcap": "genba.data.readers.mcap:McapReader",
    "mdf4": "genba.data.readers.mdf4:Mdf4Reader",
    "nuscenes": "genba.data.readers.nuscenes:NuScenesReader",
    "parquet": "genba.data.readers.parquet:ParquetReader",
    "ros2": "genba.data.readers.ros2:Ros2Reader",
    "skab": "genba.data.readers.skab:SkabReader",
    "table": "genba.data.readers.table:TableReader",
}

#: Writer name -> the ``Writer`` class.
WRITERS: dict[str, str] = {
    "hdf5": "genba.data.writers.hdf5:Hdf5Writer",
    "lerobot": "genba.data.writers.lerobot:LeRobotWriter",
    "mcap": "genba.data.writers.mcap:McapWriter",
    "parquet": "genba.data.writers.parquet:ParquetWriter",
}


def resolve(entry: str) -> Any:
    """Import and return what a ``"module:attribute"`` string names.

    Raises:
        RegistryError: the module or the attribute does not exist.
    """
    module_name, _, attribute = entry.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise RegistryError(f"{entry}: cannot import {module_name} ({error}); is its extra installed?") from error
    if not hasattr(module, attribute):
        raise RegistryError(f"{entry}: {module_name} has no {attribute!r}{nearest(attribute, vars(module))}")
    return getattr(module, attribute)


def look_up(registry: dict[str, str], name: str, *, kind: str) -> str:
    """Return the entry for ``name``.

    Raises:
        RegistryError: naming the nearest known name.
    """
    if name not in registry:
        raise RegistryError(f"no {kind} {name!r}{nearest(name, registry)}")
    return registry[name]


def task(task_id: str) -> Any:
    """Return the ``Task`` with this id, e.g. ``"arm/grip@1"``, or of this file's scene."""
    path = Path(task_id)
    if path.suffix in SCENE_FILES:
        return resolve(SCENE_FILES[path.suffix])(path)
    return resolve(look_up(TASKS, task_id, kind="task"))
