"""A network's weights in short: their number, and a name for their values that tells changes."""

import hashlib

import torch
from torch import nn

SAMPLED_VALUES = 64
"""Values looked at in each tensor: any training step changes some of them."""


def count_parameters(network: nn.Module) -> int:
    """Return the number of weights of all parts, trained or not."""
    return sum(parameter.numel() for parameter in network.parameters())


def weights_digest(network: nn.Module) -> str:
    """Digest the names, shapes, types and a sample of all weights to sixteen hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().reshape(-1)
        stride = max(1, flat.numel() // SAMPLED_VALUES)
        digest.update(flat[::stride].to("cpu", torch.float64).numpy().tobytes())
    return digest.hexdigest()[:16]
