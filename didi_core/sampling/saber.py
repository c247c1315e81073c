"""Saber: reveal as many positions as the network is sure of, and take back what it came to doubt.

After Dong et al., arXiv 2510.18165. A step of a row with M masked positions, k steps of K done:

1. predict every position to fill, in one call. Each masked one gets a token drawn from p(x | z);
   confidence is the probability that p gives a position's token, the drawn one or the one standing.
2. reveal the masked positions whose confidence is above the mean, over the tokens standing, of the
   confidence each was revealed with; at least max(`min_reveal`, M / (K - k)) of the most confident.
3. take back the standing tokens whose confidence fell most since the step before, only where it
   fell: one for every `mu` revealed in this step, one at least, but fewer than were revealed.

So every step leaves fewer masked positions, and the last step of K none: a row needs at most K
calls, fewer where the network grows sure. Not exact: it prefers likely tokens. Ours: tokens are
drawn (the paper takes the most probable one), K bounds the steps, there are no blocks, and a token
revealed in a step is not judged in the same step. A network is trained at masked positions alone;
what it says of a token it sees is whatever it happened to learn.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.models.noise import NoiseKeys
from didi_core.sampling.drawing import draw_tokens
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, Sampled, SampleSettings
from didi_core.sampling.sampler_spec import SamplerSpec, with_settings


@dataclass(frozen=True)
class SaberSettings:
    """Settings. Published: two positions a step at least, one taken back for every eight."""

    min_reveal: int = 2
    """A step reveals at least so many positions, where so many are masked."""
    mu: int = 8
    """One token is taken back for every mu that the step revealed; 0 takes none back."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        wrong = []
        if self.min_reveal < 1:
            wrong.append(f"min_reveal={self.min_reveal} must be at least 1")
        if self.mu < 0:
            wrong.append(f"mu={self.mu} must be 0 or more")
        return wrong


@dataclass
class Standing:
    """Remembers of the tokens that stand revealed; 0 at all other positions."""

    first: Float[Tensor, "batch width"]
    """Confidence with which each was revealed."""
    last: Float[Tensor, "batch width"]
    """Its confidence in the latest step."""

    def rows(self, index: Int[Tensor, "rows"]) -> "Standing":
        return Standing(self.first[index], self.last[index])


@dataclass(frozen=True)
class SaberSampler:
    """Reveals as many as it is sure of, and takes back what it came to doubt."""

    predictor: Predictor
    saber: SaberSettings = SaberSettings()

    @torch.no_grad()
    def sample(self, prior: Prior, settings: SampleSettings) -> Sampled:
        """Fill the free positions of the prior; count the calls of each row."""
        assert settings.steps is not None
        tokens = prior.batch.tokens.clone()
        nothing = torch.zeros_like(tokens, dtype=torch.float64)
        memory = Standing(nothing, nothing.clone())
        calls = torch.zeros_like(prior.batch.lengths)
        for step in range(settings.steps):
            rows = self._masked(tokens, prior).any(-1).nonzero()[:, 0]
            if not len(rows):
                break
            part = Prior(prior.batch.rows(rows).with_tokens(tokens[rows]), prior.records[rows])
            tokens[rows], new = self.step(part, memory.rows(rows), step, settings)
            memory.first[rows], memory.last[rows] = new.first, new.last
            calls[rows] += 1
        return Sampled(tokens, calls, torch.zeros_like(calls))

    def num_steps(self, num_free: int, settings: SampleSettings) -> int:
        """Return the most calls that a row with so many free positions needs."""
        assert settings.steps is not None
        return min(settings.steps, num_free)

    def step(
        self, part: Prior, memory: Standing, step: int, settings: SampleSettings
    ) -> tuple[Int[Tensor, "batch width"], Standing]:
        """Return the state after step `step` (from 0) of rows that have something masked."""
        assert settings.steps is not None
        state, masked = part.batch.tokens, self._masked(part.batch.tokens, part)
        standing = part.batch.maskable & ~masked
        guess, confidence = self._predict(part, masked, step, settings)
        num_masked = masked.sum(-1)
        left = settings.steps - step
        # ceil(M / (K - k)): so many a step, and the last step leaves nothing masked.
        floor = ((num_masked + left - 1) // left).clamp_min(self.saber.min_reveal)
        # A row where nothing stands yet has no bar to pass: 1 lets the floor alone decide (2).
        bar = mean_where(memory.first, standing).masked_fill(~standing.any(-1), 1.0)
        sure = (masked & (confidence > bar[:, None])).sum(-1)
        count = torch.minimum(torch.maximum(sure, floor), num_masked)
        revealed = highest(confidence.masked_fill(~masked, -torch.inf), count)
        # How far confidence fell since the step before; only what fell may be taken back (3).
        fall = (memory.last - confidence).masked_fill(~standing, 0.0)
        doubted = highest(fall, self._quota(count)) & (fall > 0)
        # Nothing is taken back from a finished row: it would need another call.
        doubted &= (count < num_masked)[:, None]
        after = torch.where(revealed, guess, state)
        after = after.masked_fill(doubted, self.predictor.vocabulary.mask_id)
        kept = (standing | revealed) & ~doubted
        first = torch.where(revealed, confidence, memory.first)
        return after, Standing(first * kept, confidence * kept)

    def _quota(self, revealed: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        """Return how many tokens may be taken back where so many were revealed."""
        if self.saber.mu == 0:
            return torch.zeros_like(revealed)
        return torch.minimum((revealed // self.saber.mu).clamp_min(1), revealed - 1)

    def _masked(self, tokens: Tensor, prior: Prior) -> Bool[Tensor, "batch width"]:
        return (tokens == self.predictor.vocabulary.mask_id) & prior.batch.maskable

    def _predict(
        self, part: Prior, masked: Tensor, step: int, settings: SampleSettings
    ) -> tuple[Int[Tensor, "batch width"], Float[Tensor, "batch width"]]:
        """Draw a token at each masked position; return the state, and each token's probability.

        The probability is the model's own, before temperature, bias and top-p; 0 where nothing
        is to be filled.
        """
        state, free = part.batch.tokens, part.batch.maskable
        keys = NoiseKeys(settings.seed, part.records, step)
        # The share that stands is each row's own: no grid tells it.
        alpha = 1.0 - masked.sum(-1) / free.sum(-1)
        log_probs = self.predictor.log_probs(state, part.batch.lengths, free, keys, alpha)
        row, position = masked.nonzero(as_tuple=True)
        rank = draw_tokens(
            log_probs[masked[free]], settings.draw, settings.seed, part.records[row], position, step
        )
        vocabulary = self.predictor.vocabulary
        guess = state.clone()
        guess[masked] = vocabulary.generable.to(state.device)[rank]
        chosen = vocabulary.rank_of_id.to(state.device)[guess[free]]
        confidence = torch.zeros_like(state, dtype=torch.float64)
        confidence[free] = log_probs.double().gather(-1, chosen[:, None])[:, 0].exp()
        return guess, confidence


def mean_where(
    values: Float[Tensor, "batch width"], at: Bool[Tensor, "batch width"]
) -> Float[Tensor, "batch"]:
    """Return the mean over the positions `at` of each row; 0 where there are none."""
    return (values * at).sum(-1) / at.sum(-1).clamp_min(1)


def highest(
    values: Float[Tensor, "batch width"], count: Int[Tensor, "batch"]
) -> Bool[Tensor, "batch width"]:
    """Mark the `count` largest values of each row; of equal ones the first."""
    order = values.argsort(dim=-1, descending=True, stable=True)
    place = torch.empty_like(order)
    place.scatter_(-1, order, torch.arange(values.shape[-1], device=order.device).expand_as(order))
    return place < count[:, None]


ENTRY = SamplerSpec(
    "saber",
    with_settings(SaberSampler),
    summary="reveals as many as it is sure of, takes back what it doubts",
    calls="at most the steps, fewer where the network is sure",
    exact="no",
    has_published_grid=False,
    reveals_on_grid=False,
    settings=SaberSettings,
)
