"""One reverse step of a uniform-state model at each position, as a mixture of three.

The token at s is uniform, or the one that stood at t, or drawn from the prediction x_theta; those
of ancestral steps and of psi differ in the shares alone. Which of the three is drawn first, so that
cumulative sums over x_theta are needed only where it is drawn from.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.sampling.drawing import draw_adjusted

SMALLEST_SHARE = 1e-20
"""In place of a share of the mixture that is zero."""


@dataclass(frozen=True)
class Move:
    """Describes one step, of all positions or each with its own times."""

    alpha_t: float | Float[Tensor, "n"]
    """Share of tokens kept in the state at hand."""
    alpha_s: float | Float[Tensor, "n"]
    """And in the state to come."""
    kappa: float = 1.0
    """Weight of the reverse posterior; the rest is the corrector's."""

    def shares(
        self, chance: Float[Tensor, "n"], num_tokens: int
    ) -> tuple[Float[Tensor, "n"], Float[Tensor, "n"]]:
        """Return the chances that z_s is uniform, and that it is z_t; the rest is x_theta's.

        Args:
            chance: x_theta(z_t), what the network gives the token at hand.
            num_tokens: K.
        """
        alpha_t, alpha_s = (
            torch.as_tensor(each, dtype=torch.float64) for each in (self.alpha_t, self.alpha_s)
        )
        # Where a bent grid's first alphas round to zero the posterior keeps z_t.
        ratio = torch.where(alpha_s > 0, alpha_t / alpha_s, 1.0)
        # Duo's equation 5, over K alpha_t x_theta(z_t) + 1 - alpha_t: of the reverse posterior
        # (1 - alpha_s) (1 - alpha_t / alpha_s) is uniform, and
        # K alpha_t x_theta(z_t) + alpha_t / alpha_s - alpha_t stays z_t. Of the corrector's
        # q(z_s | x') 1 - alpha_s is uniform; x' is z_t with K alpha_t x_theta(z_t) over the same.
        own = num_tokens * alpha_t * chance
        whole, fresh = own + (1.0 - alpha_t), 1.0 - self.kappa
        uniform = (1.0 - alpha_s) * (self.kappa * (1.0 - ratio) / whole + fresh)
        stays = self.kappa * (own + (ratio - alpha_t)) + fresh * alpha_s * own
        return uniform, stays / whole


class Key(NamedTuple):
    """Names the random numbers of positions."""

    seed: int
    record: Int[Tensor, "n"]
    position: Int[Tensor, "n"]
    step: int


def draw_mixture(
    log_probs: Float[Tensor, "n generable"], noised: Int[Tensor, "n"], move: Move, key: Key
) -> Int[Tensor, "n"]:
    """Draw z_s exactly, in float64: which part of the mixture, then from it.

    Args:
        log_probs: of x_theta; what is drawn from is widened to float64 here.
        noised: rank of z_t among the generable tokens.
    """
    num_tokens, device = log_probs.shape[-1], log_probs.device
    chance = log_probs.gather(-1, noised.unsqueeze(-1)).squeeze(-1).double().exp()
    uniform, stays = move.shares(chance, num_tokens)
    which = keyed_uniform(key.seed, Stream.REVEAL, *key[1:], device=device)
    # The number that chose the uniform part is uniform again within it.
    rank = (which / uniform.clamp_min(SMALLEST_SHARE) * num_tokens).clamp_max(num_tokens - 1)
    rank = torch.where(which < uniform, rank.long(), noised)
    # What neither part took is drawn from x_theta; only there is its cumulative sum needed.
    at = (which >= uniform + stays).nonzero()[:, 0]
    own = (key.seed, key.record[at], key.position[at], key.step)
    rank[at] = draw_adjusted(log_probs[at], "float64", *own)
    return rank


def draw_as_published(
    log_probs: Float[Tensor, "n generable"], noised: Int[Tensor, "n"], move: Move, key: Key
) -> Int[Tensor, "n"]:
    """Draw in float32 from the whole law, to reproduce papers; arguments of `draw_mixture`."""
    at, num_tokens = noised.unsqueeze(-1), log_probs.shape[-1]
    chance = log_probs.gather(-1, at).squeeze(-1).exp()
    uniform, stays = (share.unsqueeze(-1) for share in move.shares(chance, num_tokens))
    # The mixture written out: x_theta's part, the uniform one, and z_t's on the token at hand.
    law = (1.0 - uniform - stays).clamp_min(0.0) * log_probs.exp() + uniform / num_tokens
    return draw_adjusted(law.scatter_add(-1, at, stays).log(), "float32", *key)
