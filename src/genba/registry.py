"""Names that lead to code without importing it.

Each plug point (embodiment, reader, policy, task) is a mapping from a name to a ``"module:attribute"`` string. Strings
keep the arrows one-way and start-up fast; a test resolves every entry.
"""

from __future__ import annotations

import importlib
from typing import Any

from genba.errors import RegistryError, nearest

#: Embodiment id -> the TOML file's package and name.
EMBODIMENTS: dict[str, str] = {
    "arm/panda-grip@1": "genba.machines.arm:embodiment.toml",
    "vehicle/urban-car@1": "genba.machines.vehicle:embodiment.toml",
    "factory/parallel-lines@1": "genba.machines.factory:embodiment.toml",
    "vehicle/toyota-can@1": "genba.data.readers:toyota_rav4_1.toml",
    "vehicle/toyota-can@2": "genba.data.readers:toyota_rav4.toml",
}

#: Task id -> the ``Task`` object.
TASKS: dict[str, str] = {
    "arm/grip@1": "genba.machines.arm.tasks:GRIP",
    "vehicle/intersection@1": "genba.machines.vehicle.tasks:INTERSECTION",
    "factory/shortage@1": "genba.machines.factory.tasks:SHORTAGE",
}

#: Reader name -> the ``Reader`` class.
READERS: dict[str, str] = {
    "argoverse2": "genba.data.readers.argoverse2:Argoverse2Reader",
    "comma2k19": "genba.data.readers.comma2k19:Comma2k19Reader",
    "kitti": "genba.data.readers.kitti:KittiReader",
    "nuscenes": "genba.data.readers.nuscenes:NuScenesReader",
}

#: Writer name -> the ``Writer`` class.
WRITERS: dict[str, str] = {}


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
    """Return the ``Task`` with this id, e.g. ``"arm/grip@1"``."""
    return resolve(look_up(TASKS, task_id, kind="task"))
