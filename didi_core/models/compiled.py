"""Blocks compiled by torch: fewer passes over memory, and on a GPU fewer launches.

The blocks of a network are one program for torch, compiled once for every batch size and width
(`dynamic=True`): https://pytorch.org/docs/stable/generated/torch.compile.html. Sums are taken in
another order, so results differ from uncompiled ones by rounding.
"""

import torch
from torch import nn

from didi_core.errors import UserError
from didi_core.models.denoiser import Denoiser, time_input


def compile_blocks(network: nn.Module, flag: str) -> None:
    """Compile the blocks of a denoiser where they are; its weights and their names stay.

    Args:
        flag: what asked for it, named where it is impossible.

    Raises:
        UserError: torch cannot compile on this machine, as without a C++ compiler; the network
            is not one of this package.
    """
    if not isinstance(network, Denoiser):
        raise UserError(f"{flag} compiles masked and uniform-state models alone: leave it out.")
    for block in network.blocks:
        block.compile(dynamic=True)
    try:
        _call_once(network)
    except Exception as error:  # what a missing compiler raises differs between versions of torch
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"{flag}: torch cannot compile here ({reason}): install a C++ compiler, or leave the "
            "flag out."
        ) from error


@torch.no_grad()
def _call_once(network: nn.Module) -> None:
    device = next(network.parameters()).device
    tokens = torch.full((2, 9), network.settings.mask_id, device=device)
    lengths = torch.tensor([9, 7], device=device)
    network.trunk(tokens, lengths, **time_input(network, torch.ones(2, device=device)))
