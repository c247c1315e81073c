"""How much positions attend to each other, taken from a network while it predicts.

In a protein model attention between two positions says that their residues depend on each other
(Rao et al., "Transformer protein language models are unsupervised structure learners", 2020).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from didi_core.errors import UserError


@dataclass
class AttentionWatch:
    """The attention weights of every block that was called, summed over blocks and heads."""

    total: Float[Tensor, "batch width width"] | None = None
    count: int = 0

    def add(
        self,
        query: Float[Tensor, "batch heads width head_dim"],
        key: Float[Tensor, "batch heads width head_dim"],
        keep: Bool[Tensor, "batch width"] | None,
    ) -> None:
        """Take in a block: a head at a time, since all at once may not fit memory."""
        for head in range(query.shape[1]):
            scores = (query[:, head] @ key[:, head].transpose(-1, -2)).float()
            scores = scores * query.shape[-1] ** -0.5
            if keep is not None:
                scores = scores.masked_fill(~keep[:, None, :], -torch.inf)
            weights = scores.softmax(-1)
            self.total = weights if self.total is None else self.total + weights
            self.count += 1

    def mean(self) -> Float[Tensor, "batch width width"]:
        """Return the mean weight that a position (the first width) gives to another (the second).

        Raises:
            UserError: no block was called: the network is not one of this package.
        """
        if self.total is None:
            raise UserError(
                "sampler apart needs a network of this package: choose another sampler."
            )
        return self.total / self.count


@contextmanager
def watched_attention(network: nn.Module) -> Iterator[AttentionWatch]:
    """Watch all blocks of a network of this package while the context lasts."""
    watch = AttentionWatch()
    if any(each._compiled_call_impl is not None for each in network.modules()):
        # What it remembers would make each block another program. Here alone: it loads a compiler.
        watch.add = torch.compiler.disable(watch.add)  # type: ignore[method-assign]
    blocks: list[Any] = [each for each in network.modules() if hasattr(each, "attention_watch")]
    for block in blocks:
        block.attention_watch = watch
    try:
        yield watch
    finally:
        for block in blocks:
            block.attention_watch = None
