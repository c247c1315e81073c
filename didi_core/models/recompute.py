"""Activation checkpointing: blocks are computed again in the backward pass, not remembered.

Chen et al., "Training deep nets with sublinear memory cost" (arXiv 1604.06174). Of each block only
its input is kept: less memory for about a third more time, and the same numbers.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def call_block(block: nn.Module, *inputs: Any, again: bool) -> Tensor:
    """Call `block(*inputs)`; with `again` anew where a gradient asks for its inner values."""
    if again and torch.is_grad_enabled():
        # Nothing in a block is drawn at random.
        return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)
    return block(*inputs)


def checkpoint_activations(network: Any) -> None:
    """Let every trunk in `network`, ours or of transformers, compute its blocks again."""
    for module in network.modules():
        if hasattr(module, "checkpoint_activations"):
            module.checkpoint_activations = True
    if hasattr(network, "gradient_checkpointing_enable"):
        network.gradient_checkpointing_enable({"use_reentrant": False})
