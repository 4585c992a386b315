"""The ranks of a run as a mesh.

There is no mesh in a single process, where nothing is spread. How a process group starts and ends is here too, because
its end has a trap. Read next: ``parallelize``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from genba.errors import ConfigError
from genba.train.plan import Layout


@dataclass(frozen=True, kw_only=True, slots=True)
class Mesh:
    """The same ranks seen as one axis and as two."""

    #: all ranks: every parameter but the routed experts is sharded over them
    every: DeviceMesh
    #: ranks that hold the same routed experts, and share them
    copies: DeviceMesh
    #: ranks among which routed experts are dealt out
    experts: DeviceMesh


def make_mesh(layout: Layout, device_type: str) -> Mesh | None:
    """Make the mesh of a layout over the running process group; None for one rank.

    Raises:
        ConfigError: the process group has another size than the layout.
    """
    running = dist.get_world_size() if dist.is_initialized() else 1
    if running != layout.ranks:
        raise ConfigError(f"ranks: got a layout for {layout.ranks}, expected {running}, the processes that run")
    if layout.ranks == 1:
        return None
    both = init_device_mesh(
        device_type, (layout.expert_copies, layout.expert_parallel), mesh_dim_names=("copies", "experts")
    )
    return Mesh(every=both._flatten("every"), copies=both["copies"], experts=both["experts"])


@contextmanager
def process_group(device_type: str) -> Iterator[tuple[int, int]]:
    """Join the process group that the launcher (``torchrun``) described, if any, and give (rank, world size).

    Without a launcher there is one process and no group.
    """
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield 0, 1
        return
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), dist.get_world_size()
        # Without it a rank that is done first tears gloo's threads down under the others (exit code -6 after success).
        dist.barrier()
    finally:
        dist.destroy_process_group()
