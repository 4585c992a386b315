"""Counts the bytes of all live tensors while a model trains, by what they are for; works on tensors without memory too.

torch has trackers of its own, but none for layers that are called several times per train step, as ours are (once per
expert). Counted are tensors' storages; not counted is what torch takes beside them: the accelerator's context,
communication buffers, workspaces and the allocator's gaps. Read next: ``dry_run``.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch._guards import active_fake_mode
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.weak import WeakIdKeyDictionary

from genba.train.plan import ACTIVATIONS, GATHERED, GRADIENTS, KINDS, OPTIMIZER

#: frames to look up for who allocates
_DEPTH = 12


class LiveBytes(TorchDispatchMode):
    """While entered, follows every storage from its first tensor to its end.

    Attributes:
        now: kind -> live bytes.
        peak: kind -> bytes at the moment since ``reset_peak`` when their sum was greatest.
    """

    def __init__(self, known: dict[str, Iterable[Tensor]]) -> None:
        super().__init__()
        self.now = dict.fromkeys(KINDS, 0)
        self.peak = dict(self.now)
        self._storages = WeakIdKeyDictionary()  # storage -> [kind, bytes]
        for kind, tensors in known.items():
            for tensor in tensors:
                self._see(tensor, kind)

    @property
    def peak_bytes(self) -> int:
        """Bytes at the peak."""
        return sum(self.peak.values())

    def reset_peak(self) -> None:
        """Begin a new phase: the peak is what lives now."""
        self.peak = dict(self.now)

    def move(self, tensors: Iterable[Tensor], kind: str) -> None:
        """Say that these tensors, known or not, are of ``kind``."""
        for tensor in tensors:
            local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
            entry = self._storages.get(local.untyped_storage())
            if entry is None:
                self._see(local, kind)
            else:
                self.now[entry[0]] -= entry[1]
                self.now[kind] += entry[1]
                entry[0] = kind

    def __enter__(self) -> LiveBytes:
        self._outer = active_fake_mode()
        self._resize = original = torch.UntypedStorage.resize_

        def resize(storage: torch.UntypedStorage, size: int) -> Any:
            # FSDP frees and refills gathered weights like this, unseen by dispatch.
            out = original(storage, size)
            entry = self._storages.get(storage)
            if entry is not None:
                self._change(entry, size)
            return out

        torch.UntypedStorage.resize_ = resize  # type: ignore[method-assign, assignment]
        return super().__enter__()

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]
        super().__exit__(exc_type, exc_val, exc_tb)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(t, DTensor) for t in types):
            return NotImplemented  # comes back as operations on local parts
        if func is torch.ops._c10d_functional.wait_tensor.default and active_fake_mode() is not None:
            return args[0]  # as it does on a device; its stand-in for fake tensors would copy
        out = func(*args, **(kwargs or {}))
        # DTensor works out shapes under a fake mode of its own: those tensors are of the whole model and never live.
        if active_fake_mode() is self._outer:
            kind = None
            for leaf in tree_iter(out):
                if isinstance(leaf, Tensor) and leaf.untyped_storage() not in self._storages:
                    kind = kind or _purpose()
                    self._see(leaf, kind)
        return out

    def _see(self, tensor: Tensor, kind: str) -> None:
        local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        if local.device.type == "meta":
            return
        storage = local.untyped_storage()
        if storage in self._storages:
            return
        entry = self._storages[storage] = [kind, 0]
        weakref.finalize(storage, self._change, entry, 0)
        self._change(entry, storage.nbytes())

    def _change(self, entry: list[Any], size: int) -> None:
        self.now[entry[0]] += size - entry[1]
        entry[1] = size
        if sum(self.now.values()) > self.peak_bytes:
            self.peak = dict(self.now)


def _purpose() -> str:
    """Return what the running operation allocates for, from who called it."""
    frame = sys._getframe(2)
    for _ in range(_DEPTH):
        if frame is None:
            break
        file, function = frame.f_code.co_filename, frame.f_code.co_name
        if "_fully_shard" in file and ("reduce" in function or "grad" in function):
            return GRADIENTS
        if "_fully_shard" in file and ("all_gather" in function or "unshard" in function):
            return GATHERED
        if file.endswith(("optim/adamw.py", "optim/adam.py")):
            return OPTIMIZER
        frame = frame.f_back
    return ACTIVATIONS
