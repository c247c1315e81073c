"""Gaussian noise on one-hot vectors, as far as its argmax and a tempered softmax need it.

Of w_t = alpha~ x + sigma~ epsilon (Duo [1]_, section 3.1) only the true token's entry has a mean;
the others are sigma~ times K - 1 standard normal numbers, whose largest k, with whose they are, can
be drawn without the rest: order statistics of uniforms, and tokens at random. With k = K - 1
nothing is left out. One draw serves all times of a path, because epsilon does not depend on them.
The top-k softmax is that of [2]_.

.. [1] Sahoo et al. "The diffusion duality", arXiv 2506.10892.
.. [2] Deschenaux et al. "The diffusion duality, chapter II", arXiv 2602.21185.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class GaussianNoise:
    """Noise of each position."""

    clean: Int[Tensor, "n"]
    """Rank of the true token among the generable ones."""
    own: Float[Tensor, "n"]
    """Its noise."""
    ranks: Int[Tensor, "n k"]
    """The other tokens of largest noise, largest first."""
    others: Float[Tensor, "n k"]
    """Their noise."""

    def argmax(self, gamma: Float[Tensor, "n"]) -> Int[Tensor, "n"]:
        """Return the rank of the largest entry of w: the token z_t of the uniform process."""
        entries = self._entries(gamma)
        return torch.where(entries[:, 0] >= entries[:, 1], self.clean, self.ranks[:, 0])

    def softmax(
        self, gamma: Float[Tensor, "n"], temperature: float, num_left: int = 0
    ) -> tuple[Int[Tensor, "n entries"], Float[Tensor, "n entries"]]:
        """Rank the true and the k other tokens, and return softmax(w / temperature) over them.

        At temperature 0 it is the one-hot vector of `argmax`.

        Args:
            num_left: tokens beside these that the sum below the softmax counts too, each by its
                mean given that it is smaller than the kept ones ([2]_); the probabilities then add
                up to what they are of all tokens, which is less than 1.
        """
        ranks, entries = torch.cat([self.clean[:, None], self.ranks], dim=-1), self._entries(gamma)
        if temperature == 0:
            one_hot = torch.zeros_like(entries)
            return ranks, one_hot.scatter(-1, entries.argmax(-1, keepdim=True), 1.0)
        logits = entries / temperature
        if num_left == 0:
            return ranks, logits.softmax(-1)
        spread = torch.sigmoid(gamma).sqrt() / temperature
        left = math.log(num_left) + log_mean_below(self.others[:, -1], spread)
        log_sum = torch.logaddexp(logits.logsumexp(-1), left)
        return ranks, (logits - log_sum[:, None]).exp()

    def _entries(self, gamma: Float[Tensor, "n"]) -> Float[Tensor, "n entries"]:
        # alpha~ and sigma~: their squares sum to one, and their ratio's is the SNR exp(-gamma).
        mean, deviation = torch.sigmoid(-gamma).sqrt(), torch.sigmoid(gamma).sqrt()
        own = mean + deviation * self.own
        return torch.cat([own[:, None], deviation[:, None] * self.others], dim=-1)


def log_mean_below(bound: Float[Tensor, "n"], spread: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Return log E[exp(spread * x) | x < bound] for a standard normal x, in float64.

    Completing the square shifts the normal density by `spread`: the mean is exp(spread^2 / 2) times
    Phi(bound - spread) / Phi(bound). At the published temperature terms are near 4e5 and cancel.
    """
    bound, spread = bound.double(), spread.double()
    above, below = torch.special.log_ndtr(bound - spread), torch.special.log_ndtr(bound)
    return spread.square() / 2 + above - below


def num_uniforms(num_others: int) -> int:
    """Count the uniforms that a position's noise takes."""
    return 2 * num_others + 1


def noise_of(
    clean: Int[Tensor, "n"], uniform: Float[Tensor, "n uniforms"], num_tokens: int
) -> GaussianNoise:
    """Make each position's noise from `num_uniforms(k)` float64 uniforms in (0, 1)."""
    k = (uniform.shape[-1] - 1) // 2
    own, sizes, who = uniform.split([1, k, k], dim=-1)
    left = num_tokens - 1 - torch.arange(k, device=uniform.device)
    # The largest of m uniforms is U ** (1 / m); the next, below it, is that of m - 1.
    log_ordered = (sizes.log() / left).cumsum(-1)
    # From the distance to 1: of many tokens the largest uniform may round to 1, whose normal
    # number is infinite, and a long training meets that.
    others = -torch.special.ndtri(-torch.expm1(log_ordered))
    ranks = distinct(who, num_tokens - 1)
    ranks = ranks + (ranks >= clean[:, None]).long()  # the true token is none of the others
    return GaussianNoise(clean, torch.special.ndtri(own[:, 0]), ranks, others)


def distinct(uniform: Float[Tensor, "n k"], size: int) -> Int[Tensor, "n k"]:
    """Draw k different numbers below `size` in each row, in uniformly random order."""
    k = uniform.shape[-1]
    if k == size:
        return uniform.argsort(-1)
    index = torch.arange(k, device=uniform.device)
    left = size - index
    picks = (uniform * left).long().minimum(left - 1)
    for column in range(1, k):
        # A pick counts the numbers not taken: below the i-th taken one stand so many less i.
        free_below = picks[:, :column].sort(-1).values - index[:column]
        picks[:, column] += (free_below <= picks[:, column, None]).sum(-1)
    return picks
