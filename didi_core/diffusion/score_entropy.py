"""SEDD: absorbing noise, and a network that predicts ratios of probabilities by score entropy.

The concrete score of a masked position is s(j) = p_t(z with j there) / p_t(z), for every token j
that could stand there (Lou et al. [1]_). It is written s(j) = mu(j) alpha / (1 - alpha); mu(j) at
the optimum is p(x_l = j | z_t), and the network is asked for log mu. Nothing makes mu sum to one,
which sets it apart from MDLM, whose bound is this one with a normalised mu. What mu sums to is how
much faster than the schedule the reverse process reveals the position.

.. [1] Lou, Meng, Ermon. "Discrete diffusion modeling by estimating the ratios of the data
   distribution", arXiv 2310.16834.
"""

import math
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from didi_core.diffusion.absorbing import AbsorbingProcess


@dataclass(frozen=True)
class ScoreEntropyProcess(AbsorbingProcess):
    """The absorbing process, its predictions scored by denoising score entropy."""

    def log_prediction(self, logits: Float[Tensor, "n generable"]) -> Float[Tensor, "n generable"]:
        """Return log mu: logits over K, so that mu sums to one where a fresh network says zero."""
        return logits - math.log(logits.shape[-1])

    def denoising_terms(
        self,
        log_probs: Float[Tensor, "n generable"],
        clean: Int[Tensor, "n"],
        noised: Int[Tensor, "n"],
        t: Float[Tensor, "n"],
    ) -> Float[Tensor, "n"]:
        """Return sum_j mu(j) - 1 - log mu(x_l) of each masked position, in nats.

        It is never below -log p(x_l | z_t) of the same mu normalised, and equal to it where mu sums
        to one. `bound_terms` weighs it with -alpha' / (1 - alpha), which is the paper's form
        (theorem 3.6): the rate of noise -alpha' / alpha times sum_j s(j) - r log s(x_l)
        + r (log r - 1), with r = alpha / (1 - alpha) the score of a token that is known.

        Args:
            log_probs: log mu, of `log_prediction`.
            clean: rank of the true token among the generable ones.
            noised: of z_t, which is mask everywhere.
            t: time of the position's row.
        """
        excess = log_probs.exp().sum(-1) - 1.0
        return excess + super().denoising_terms(log_probs, clean, noised, t)
