"""The digest by which weights are known: in checkpoints' passports, in bundles, in results."""

from __future__ import annotations

import hashlib

import torch


def weights_digest(model: torch.nn.Module) -> str:
    """Return the sha256 over the names, types, shapes and bytes of all weights, in the order of their names.

    It is the same wherever the weights lie and however they are sharded; numbers count as float32, as they are exported. Where
    they are sharded every rank takes part; one tensor is whole at a time.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        plain = whole.detach().to("cpu", torch.float32 if whole.is_floating_point() else whole.dtype).contiguous()
        digest.update(f"{name} {plain.dtype} {list(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return digest.hexdigest()
