"""Blocks compiled by torch: fewer passes over memory, and on a GPU fewer launches.

The blocks of a network are one program for torch, compiled once for every batch size and width
(`dynamic=True`): https://pytorch.org/docs/stable/generated/torch.compile.html. Sums are taken in
another order, so results differ from uncompiled ones by rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from didi_core.errors import UserError
from didi_core.models.denoiser import Denoiser, time_input
from didi_core.peak_memory import is_out_of_memory


@contextmanager
def compiled_blocks(network: nn.Module, flag: str) -> Iterator[None]:
    """Have the blocks of a denoiser compiled while the context lasts; weights and names stay.

    Args:
        flag: what asked for it, named where it is impossible.

    Raises:
        UserError: torch cannot compile on this machine, as without a C++ compiler; the network
            is not one of this package.
    """
    if not isinstance(network, Denoiser):
        raise UserError(f"{flag} compiles masked and uniform-state models alone: leave it out.")
    try:
        for block in network.blocks:
            block.compile(dynamic=True)
        _try(network, flag)
        yield
    finally:
        for block in network.blocks:
            block._compiled_call_impl = None  # what `compile` sets; there is no way back but this


def _try(network: Denoiser, flag: str) -> None:
    """Call it once, which compiles."""
    try:
        _call_once(network)
    except Exception as error:  # what a missing compiler raises differs between versions of torch
        if is_out_of_memory(error):
            raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"{flag}: torch cannot compile here ({reason}): install a C++ compiler, or leave the "
            "flag out."
        ) from error


@torch.no_grad()
def _call_once(network: Denoiser) -> None:
    device = next(network.parameters()).device
    tokens = torch.full((2, 9), network.settings.mask_id, device=device)
    lengths = torch.tensor([9, 7], device=device)
    network.trunk(tokens, lengths, **time_input(network, torch.ones(2, device=device)))
