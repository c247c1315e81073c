"""Exact reverse samplers of a masked model: ancestral (K steps) and first-hitting (its limit).

Both are one loop over a plan of which step reveals which position. A row in which a step reveals
nothing is not sent through the network, and logits are computed only where tokens are revealed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor

from didi_core.models.folder import LoadedModel
from didi_core.models.noise import NoiseKeys
from didi_core.sampling.drawing import adjust, draw_tokens
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import (
    Prior,
    Sampled,
    Sampler,
    SampleSettings,
)
from didi_core.sampling.reveal import (
    NEVER,
    alpha_grid,
    ancestral_plan,
    first_hitting_plan,
)
from didi_core.sampling.sampler_spec import Builder, SamplerSpec, without_settings
from didi_core.sampling.uniform import UniformSampler

Plan = Callable[[Prior, SampleSettings], Int[Tensor, "batch width"]]


@dataclass(frozen=True)
class PlannedSampler:
    """Reveals positions in planned steps, drawing each from p(x | z_t)."""

    predictor: Predictor
    plan: Plan
    greedy_tail: bool = False
    """Take the most probable token in the last step of the grid instead of drawing."""

    @torch.no_grad()
    def sample(self, prior: Prior, settings: SampleSettings) -> Sampled:
        """Fill the free positions of the prior; count the calls of each row."""
        tokens = prior.batch.tokens.clone()
        plan = self.plan(prior, settings)
        calls = torch.zeros_like(prior.batch.lengths)
        # The plan is known beforehand: it depends on the random numbers alone, never on tokens.
        for step in _steps(plan, settings):
            now = plan == step
            # The papers' grid calls the network in every step, also where nothing is revealed.
            every_row = settings.grid == "published"
            rows = (now.any(-1) | every_row).nonzero()[:, 0]
            calls[rows] += 1
            self._reveal(tokens, prior, now, rows, step, settings)
        return Sampled(tokens, calls, torch.zeros_like(calls))

    def _reveal(
        self,
        tokens: Tensor,
        prior: Prior,
        now: Tensor,
        rows: Tensor,
        step: int,
        settings: SampleSettings,
    ) -> None:
        """Draw the positions `now` of `rows`, in place."""
        keys = NoiseKeys(settings.seed, prior.records[rows], step)
        lengths = prior.batch.lengths[rows]
        # Of z_t, for networks that are told the time; first-hitting has no grid to tell it by.
        alpha = None if settings.steps is None else alpha_grid(settings)[step]
        log_probs = self.predictor.log_probs(tokens[rows], lengths, now[rows], keys, alpha)
        row, position = now.nonzero(as_tuple=True)
        if self._takes_best(step, settings):
            rank = adjust(log_probs, settings.draw).argmax(-1)
        else:
            record = prior.records[row]
            rank = draw_tokens(log_probs, settings.draw, settings.seed, record, position, step)
        tokens[row, position] = self.predictor.vocabulary.generable.to(rank.device)[rank]

    def _takes_best(self, step: int, settings: SampleSettings) -> bool:
        """Tell whether the step takes the most probable tokens, as the published clean-up does."""
        if settings.grid == "published":
            return step == settings.steps
        return self.greedy_tail and step + 1 == settings.steps

    def num_steps(self, num_free: int, settings: SampleSettings) -> int:
        """Return the most calls that a row with so many free positions needs."""
        if settings.steps is None:
            return num_free
        if settings.grid == "published":
            return settings.steps + 1
        return min(settings.steps, num_free)


def ancestral(predictor: Predictor) -> PlannedSampler:
    """Return the sampler of K steps on an even grid (MDLM, arXiv 2406.07524, section 3.2)."""
    return PlannedSampler(predictor, ancestral_plan)


def greedy_tail(predictor: Predictor) -> PlannedSampler:
    """Return ancestral with the most probable tokens in its last step (not the model's law)."""
    return PlannedSampler(predictor, ancestral_plan, greedy_tail=True)


def first_hitting(predictor: Predictor) -> PlannedSampler:
    """Return the sampler of one token a call, in random order."""
    return PlannedSampler(predictor, first_hitting_plan)


def _steps(plan: Tensor, settings: SampleSettings) -> list[int]:
    """Return the steps to be run: all of the published grid, else those that reveal something."""
    if settings.grid == "published" and settings.steps is not None:
        return list(range(settings.steps + 1))
    return plan[plan != NEVER].unique().tolist()


def _by_process(
    masked: Callable[[Predictor], Sampler], uniform: Callable[[Predictor], Sampler]
) -> Builder:
    """Return a builder that follows the model's process."""

    def builder(predictor: Predictor, model: LoadedModel, settings: None) -> Sampler:
        del settings
        return uniform(predictor) if model.process == "uniform" else masked(predictor)

    return builder


ENTRIES = (
    SamplerSpec(
        "ancestral",
        _by_process(ancestral, UniformSampler),
        summary="an even share of the positions in each step, each drawn from the model",
        calls="at most the steps",
        exact="as the steps grow",
        processes=("absorbing", "uniform"),
    ),
    SamplerSpec(
        "greedy-tail",
        _by_process(greedy_tail, partial(UniformSampler, greedy_tail=True)),
        summary="ancestral, but the last step takes the likeliest",
        calls="as `ancestral`",
        exact="no",
        processes=("absorbing", "uniform"),
    ),
    SamplerSpec(
        "first-hitting",
        without_settings(first_hitting),
        summary="one call a token: the model's limit",
        calls="one a token",
        exact="yes",
        takes_steps=False,
        has_published_grid=False,
        reveals_on_grid=False,
    ),
)
