"""The head at chosen positions alone, in shapes that repeat.

How many positions are masked differs at every update. On a CPU each new shape costs a compiled
kernel that oneDNN keeps (the last 1,024 of them) and blocks of memory that fit nothing later: a
training grew by gigabytes. So positions are rounded up to edges, and the extra rows dropped.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from didi_core.models.soft_tokens import SoftTokens
from didi_core.models.token_layout import TrunkStates

Places = Bool[Tensor, "batch width"] | Callable[[], Bool[Tensor, "batch width"]]
"""Where the head is asked for; a function where that is known after the trunk alone."""
Positions = Int[Tensor, "chosen"] | Callable[[], Int[Tensor, "chosen"]]
"""The same, counted in row-major order."""


def flat_positions(at: Places) -> Positions:
    """Return where `at` is True, counted in row-major order.

    To be asked for before the trunk: on a GPU the count is waited for, and then nothing is queued.
    """
    if isinstance(at, Tensor):
        return at.flatten().nonzero()[:, 0]
    return lambda: at().flatten().nonzero()[:, 0]


def head_at(
    head: Callable[[Tensor], Tensor],
    states: TrunkStates,
    positions: Positions,
) -> Float[Tensor, "chosen *out"]:
    """Apply `head` to the trunk's hidden states at `positions`.

    Args:
        head: treats each of its rows alone.
    """
    if not isinstance(positions, Tensor):
        positions = positions()
    count = len(positions)
    if states.hidden.device.type == "cpu":
        # The first position of all is never padding, whose values are undefined.
        positions = F.pad(positions, (0, rounded_count(count) - count))
    return head(states.at(positions))[:count]


def rounded_count(count: int) -> int:
    """Round up to the next edge: 16 apart up to 255, then at most an eighth more.

    >>> [rounded_count(n) for n in (0, 1, 100, 1000, 2049)]
    [0, 16, 112, 1024, 2304]
    """
    gap = max(16, 1 << max(0, count.bit_length() - 4))
    return -(-count // gap) * gap


class HeadAtPositions(nn.Module):
    """A network with a `trunk`, tokens to hidden states, and a `head`, those to logits."""

    states: Callable[..., TrunkStates]
    """As `trunk` is called."""
    head: Callable[[Tensor], Tensor]

    def trunk(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        soft: SoftTokens | None = None,
        noise: Float[Tensor, "batch width hidden"] | None = None,
        alpha: Float[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "batch width hidden"]:
        """Return the hidden states after the final norm. Values at padding are undefined.

        Args:
            alpha: share of tokens kept in each row, for networks conditioned on time; others
                do not look at it.

        Raises:
            UserError: the network is conditioned on time and `alpha` is None.
        """
        return self.states(tokens, lengths, soft, noise, alpha).padded()

    def logits_at(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Places,
        soft: SoftTokens | None = None,
        noise: Float[Tensor, "batch width hidden"] | None = None,
        alpha: Float[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "chosen vocabulary"]:
        """Run the trunk, then the head where `at` is True, in row-major order.

        Args:
            at: a function is asked when the blocks have been called.
        """
        positions = flat_positions(at)
        return head_at(self.head, self.states(tokens, lengths, soft, noise, alpha), positions)

    def states_at(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Places,
        soft: SoftTokens | None = None,
        noise: Float[Tensor, "batch width hidden"] | None = None,
        alpha: Float[Tensor, "batch"] | None = None,
    ) -> tuple[Float[Tensor, "chosen hidden"], Float[Tensor, "chosen vocabulary"]]:
        """Return the trunk's hidden states where `at` is True, and what `logits_at` does."""
        positions = flat_positions(at)

        def both(hidden: Tensor) -> Tensor:
            return torch.cat([hidden, self.head(hidden)], dim=-1)

        states = self.states(tokens, lengths, soft, noise, alpha)
        size = states.hidden.shape[-1]
        found = head_at(both, states, positions)
        return found[:, :size], found[:, size:]
