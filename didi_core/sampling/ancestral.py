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
from didi_core.sampling.predictor import Predictor, StatePredictor
from didi_core.sampling.request import (
    Prior,
    Sampled,
    Sampler,
    SampleSettings,
)
from didi_core.sampling.reveal import (
    NEVER,
    ancestral_plan,
    first_hitting_plan,
    reveal_uniform,
)
from didi_core.sampling.sampler_spec import Builder, SamplerSpec, without_settings
from didi_core.sampling.step_draw import Step, StepDraw, draw_plain
from didi_core.sampling.uniform import UniformSampler

Plan = Callable[[Prior, SampleSettings], Int[Tensor, "batch width"]]


@dataclass(frozen=True)
class PlannedSampler:
    """Reveals positions in planned steps, drawing each from p(x | z_t)."""

    predictor: StatePredictor
    plan: Plan
    greedy_tail: bool = False
    """Take the most probable token in the last step of the grid instead of drawing."""
    draw: StepDraw = draw_plain
    """Draws what a step reveals; guidance has others."""

    def sample(self, prior: Prior, settings: SampleSettings) -> Sampled:
        """Fill the free positions of the prior; count the calls of each row."""
        tokens, lengths = prior.batch.tokens.clone(), prior.batch.lengths
        plan = self.plan(prior, settings)
        order = reveal_uniform(prior, settings.seed)
        calls, passes, guided = (torch.zeros_like(lengths) for _ in range(3))
        # The papers' grid calls the network in every step, also where nothing is revealed.
        every_row = settings.grid == "published"
        for number in _steps(plan, settings):
            now = plan == number
            # Rows in which nothing is revealed are not sent through the network.
            rows = (now.any(-1) | every_row).nonzero()[:, 0]
            state = Prior(prior.batch.rows(rows).with_tokens(tokens[rows]), prior.records[rows])
            best = self._takes_best(number, settings)
            step = Step(state, now[rows], order[rows], number, settings, best)
            at, batch = self.draw.places(self.predictor, step), state.batch
            with torch.no_grad():
                said = self.predictor.predict(
                    batch.tokens, batch.lengths, at, step.keys, step.alpha
                )
                revealed = self.draw(self.predictor, step, said)
            tokens[rows] = revealed.tokens
            calls[rows] += self.predictor.passes
            passes[rows] += revealed.head_passes
            guided[rows] += revealed.guide_calls
        return Sampled(tokens, calls, torch.zeros_like(calls), passes, guided)

    def _takes_best(self, step: int, settings: SampleSettings) -> bool:
        """Whether the step takes the most probable tokens: the published clean-up call does."""
        if settings.grid == "published":
            return step == settings.steps
        return self.greedy_tail and step + 1 == settings.steps

    def num_steps(self, num_free: int, settings: SampleSettings) -> int:
        if settings.steps is None:
            steps = num_free
        elif settings.grid == "published":
            steps = settings.steps + 1
        else:
            steps = min(settings.steps, num_free)
        return steps * self.predictor.passes


def ancestral(predictor: StatePredictor) -> PlannedSampler:
    """K steps on an even grid (MDLM, arXiv 2406.07524, section 3.2)."""
    return PlannedSampler(predictor, ancestral_plan)


def greedy_tail(predictor: Predictor) -> PlannedSampler:
    """Ancestral, but the last step takes the most probable tokens (not the model's law)."""
    return PlannedSampler(predictor, ancestral_plan, greedy_tail=True)


def first_hitting(predictor: Predictor) -> PlannedSampler:
    """One token a call, in random order."""
    return PlannedSampler(predictor, first_hitting_plan)


def _steps(plan: Tensor, settings: SampleSettings) -> list[int]:
    """Steps that must be run: all of the published grid, else those that reveal something."""
    if settings.grid == "published" and settings.steps is not None:
        return list(range(settings.steps + 1))
    return plan[plan != NEVER].unique().tolist()


def _by_process(
    masked: Callable[[Predictor], Sampler], uniform: Callable[[Predictor], Sampler]
) -> Builder:
    """A builder that follows the model's process."""

    def builder(predictor: Predictor, model: LoadedModel, settings: None) -> Sampler:
        del settings
        return uniform(predictor) if model.process == "uniform" else masked(predictor)

    return builder


ENTRIES = (
    SamplerSpec(
        "ancestral",
        _by_process(ancestral, UniformSampler),
        summary="an even share of the positions in each step, each drawn from the model",
        reads_joint_head=True,
        calls="at most the steps",
        exact="as the steps grow",
        processes=("absorbing", "uniform"),
    ),
    SamplerSpec(
        "greedy-tail",
        _by_process(greedy_tail, partial(UniformSampler, greedy_tail=True)),
        summary="ancestral, but the last step takes the likeliest",
        reads_joint_head=True,
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
