"""The analytic sampler of score models: Tweedie's step for ratios of probabilities (SEDD [1]_).

From alpha_t to alpha_s a masked position becomes token j with probability rho mu(j), where
rho = (alpha_s - alpha_t) / (1 - alpha_t) is the schedule's chance of a reveal and mu the network's
prediction, and stays masked otherwise (theorem 4.2, with s(j) = mu(j) alpha_t / (1 - alpha_t); what
sums past one is normalised). With a mu that sums to one this is ancestral sampling. Here mu says
itself how fast a position is revealed, so that nothing is known before the call: every masked
position needs its logits, and a row needs a call in every step until it has no mask. The last step
reveals what is left, as in the paper.

Exact, as ancestral sampling is, in the limit of many steps and a perfect network.

.. [1] Lou, Meng, Ermon. "Discrete diffusion modeling by estimating the ratios of the data
   distribution", arXiv 2310.16834.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.diffusion.score_entropy import ScoreEntropyProcess
from didi_core.models.noise import NoiseKeys
from didi_core.sampling.drawing import draw_tokens
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, Sampled, SampleSettings
from didi_core.sampling.reveal import alpha_grid
from didi_core.sampling.sampler_spec import SamplerSpec, without_settings

POSITIONS_AT_ONCE = 4_096
"""Positions whose float64 predictions stand in memory, beside those of the whole batch."""


@dataclass(frozen=True)
class AnalyticSampler:
    """Reveals each masked position with the probability that the network's scores give it."""

    predictor: Predictor

    @property
    def process(self) -> ScoreEntropyProcess:
        return ScoreEntropyProcess(self.predictor.vocabulary.mask_id)

    @torch.no_grad()
    def sample(self, prior: Prior, settings: SampleSettings) -> Sampled:
        """Fill the free positions of the prior; count the calls of each row."""
        tokens = prior.batch.tokens.clone()
        calls = torch.zeros_like(prior.batch.lengths)
        for step, alphas in enumerate(pairwise(alpha_grid(settings))):
            rows = self._masked(tokens, prior).any(-1).nonzero()[:, 0]
            if not len(rows):
                break
            part = Prior(prior.batch.rows(rows).with_tokens(tokens[rows]), prior.records[rows])
            tokens[rows] = self.step(part, *alphas, step, settings)
            calls[rows] += 1
        return Sampled(tokens, calls, torch.zeros_like(calls))

    def num_steps(self, num_free: int, settings: SampleSettings) -> int:
        """Return the most calls that a row with so many free positions needs."""
        assert settings.steps is not None
        return settings.steps if num_free else 0

    def step(
        self, part: Prior, alpha_t: float, alpha_s: float, step: int, settings: SampleSettings
    ) -> Int[Tensor, "batch width"]:
        """Take rows that have something masked from z_t to z_s.

        Args:
            alpha_t: share of tokens kept in the state at hand.
            alpha_s: and in the state to come; at 1 nothing stays masked.
            step: number of the step, part of every key.
        """
        batch, records = part.batch, part.records
        masked = self._masked(batch.tokens, part)
        keys = NoiseKeys(settings.seed, records, step)
        logits = self.predictor.logits(batch.tokens, batch.lengths, masked, keys, alpha_t)
        row, position = masked.nonzero(as_tuple=True)
        uniform = keyed_uniform(
            settings.seed, Stream.REVEAL, records[row], position, step, device=records.device
        )
        # By the schedule alone: (alpha_s - alpha_t) / (1 - alpha_t).
        rho = self.process.reveal_probability(alpha_t, alpha_s)
        generable = self.predictor.vocabulary.generable.to(records.device)
        tokens = batch.tokens.clone()
        for at in torch.arange(len(row), device=records.device).split(POSITIONS_AT_ONCE):
            log_mu = self.process.log_prediction(logits[at].double())
            # Revealed by the network's own chance; in the last step all that is left.
            now = (uniform[at] < reveal_chance(log_mu, rho)) | (alpha_s >= 1.0)
            # Which token: from mu normalised, given that the position is revealed.
            filled = row[at[now]], position[at[now]]
            key = (records[filled[0]], filled[1], step)
            tokens[filled] = generable[draw_tokens(log_mu[now], settings.draw, settings.seed, *key)]
        return tokens

    def _masked(self, tokens: Tensor, prior: Prior) -> Bool[Tensor, "batch width"]:
        return (tokens == self.predictor.vocabulary.mask_id) & prior.batch.maskable


def reveal_chance(log_mu: Float[Tensor, "n generable"], rho: float) -> Float[Tensor, "n"]:
    """Return the chance that a masked position is revealed: rho times the sum of mu, at most 1.

    Args:
        rho: chance by the schedule alone.
    """
    return (rho * log_mu.exp().sum(-1)).clamp_max(1.0)


ENTRY = SamplerSpec(
    "analytic",
    without_settings(AnalyticSampler),
    summary="score models, which have no other",
    calls="at most the steps",
    exact="as the steps grow",
    has_published_grid=False,
    has_best_grid=False,
    processes=("sedd",),
)
