"""Reverse samplers of a uniform-state model: ancestral, greedy-tail and psi.

All begin with uniform random tokens and draw every position anew in every step, so that each step
is a call. They differ in the law of z_s:

- ancestral: the reverse posterior q(z_s | z_t, x_theta) (Duo [1]_, equation 5);
- greedy-tail: the same, but the last step takes the most probable token of x_theta. It lowers the
  variety of samples, and they do not follow the model's law;
- psi: kappa q(z_s | z_t, x_theta) + (1 - kappa) q(z_s | x'), x' = q(z_0 | z_t, x_theta) the
  posterior at time 0: a predictor and a corrector [2]_. kappa = clip(1 - sigma / (1 - alpha_s),
  0, 1) with ReMDM's sigma, and 1 in the last step.

Positions are drawn independently within a step, so ancestral is exact in the limit of many steps,
and psi in that of many steps and an eta that vanishes faster than their number grows.

.. [1] Sahoo et al. "The diffusion duality", arXiv 2506.10892.
.. [2] Deschenaux et al. "The diffusion duality, chapter II", arXiv 2602.21185.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Int
from torch import Tensor

from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.diffusion.uniform import UniformProcess
from didi_core.sampling.drawing import adjust
from didi_core.sampling.mixture import (
    Key,
    Move,
    draw_as_published,
    draw_mixture,
)
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.remdm import RemdmSettings
from didi_core.sampling.request import Prior, Sampled, SampleSettings
from didi_core.sampling.reveal import alpha_grid
from didi_core.sampling.sampler_spec import SamplerSpec, with_settings

POSITIONS_AT_ONCE = 4_096
"""Positions whose float64 probabilities stand in memory, beside those of the whole batch."""


Plan = Callable[[SampleSettings], list[Move]]


@dataclass(frozen=True)
class PsiSettings:
    """Settings of sigma, as ReMDM's. Published for text: cap with eta 0.01 and top-p 0.9."""

    schedule: str = "cap"
    """cap, rescale, loop or renoise: kappa is 0, x' is noised afresh in every step."""
    eta: float = 0.01
    """Strength, of all but renoise; 0 is ancestral sampling (with loop: on a grid that pauses)."""
    t_on: float = 0.55
    """loop alone: the time, from 1 down to 0, at which correction begins."""
    t_off: float = 0.05
    """loop alone: the time at which it ends."""
    alpha_on: float = 0.9
    """loop alone: alpha while it lasts."""

    @property
    def _remasking(self) -> RemdmSettings:
        return RemdmSettings(
            schedule=self.schedule,
            eta=self.eta,
            t_on=self.t_on,
            t_off=self.t_off,
            alpha_on=self.alpha_on,
        )

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        return self._remasking.problems()

    def plan(self, settings: SampleSettings) -> list[Move]:
        assert settings.steps is not None
        steps = self._remasking.transitions(settings.steps, settings.reveal_exponent)
        return [Move(s.alpha_t, s.alpha_s, kappa_of(s.sigma, s.alpha_s)) for s in steps]


def kappa_of(sigma: float, alpha_s: float) -> float:
    """Return kappa = clip(1 - sigma / (1 - alpha_s), 0, 1); 1 in the last step."""
    return 1.0 if alpha_s >= 1.0 else min(1.0, max(0.0, 1.0 - sigma / (1.0 - alpha_s)))


def ancestral_moves(settings: SampleSettings) -> list[Move]:
    """Return the grid's steps, without correction."""
    return [Move(alpha_t, alpha_s) for alpha_t, alpha_s in pairwise(alpha_grid(settings))]


@dataclass(frozen=True)
class UniformSampler:
    """Draws every free position in every step of a plan."""

    predictor: Predictor
    plan: Plan = ancestral_moves
    greedy_tail: bool = False
    """Take the most probable token of x_theta in the last step."""

    @property
    def process(self) -> UniformProcess:
        return UniformProcess(self.predictor.vocabulary.generable_ids)

    @torch.no_grad()
    def sample(self, prior: Prior, settings: SampleSettings) -> Sampled:
        """Fill the free positions of the prior; count the calls of each row."""
        tokens, moves = self.start(prior, settings.seed), self.plan(settings)
        calls = torch.zeros_like(prior.batch.lengths)
        rows = prior.batch.maskable.any(-1).nonzero()[:, 0]
        if len(rows):
            part = Prior(prior.batch.with_tokens(tokens).rows(rows), prior.records[rows])
            for step, move in enumerate(moves):
                last = step == len(moves) - 1
                drawn = self.step(part, move, step, settings, greedy=self.greedy_tail and last)
                part = Prior(part.batch.with_tokens(drawn), part.records)
            tokens[rows] = part.batch.tokens
            calls[rows] = len(moves)
        return Sampled(tokens, calls, torch.zeros_like(calls))

    def num_steps(self, num_free: int, settings: SampleSettings) -> int:
        """Return the most calls that a row with so many free positions needs."""
        return len(self.plan(settings)) if num_free else 0

    def start(self, prior: Prior, seed: int) -> Int[Tensor, "batch width"]:
        """Draw the state at t = 1: uniform tokens at the free positions."""
        batch, device = prior.batch, prior.batch.tokens.device
        position = torch.arange(batch.tokens.shape[1], device=device)
        keys = (prior.records[:, None], position)
        uniform = keyed_uniform(seed, Stream.PRIOR, *keys, device=device)
        ones = torch.ones(len(batch), device=device)
        # Noise at t = 1 keeps nothing: whatever stood at a free position is replaced.
        return self.process.corrupt(batch.tokens, batch.maskable, ones, uniform)

    def step(
        self, part: Prior, move: Move, step: int, settings: SampleSettings, *, greedy: bool = False
    ) -> Int[Tensor, "batch width"]:
        """Take z_t to z_s.

        Args:
            step: number of the step, part of every key.
            greedy: take x_theta's most probable token, and draw nothing.
        """
        batch, vocabulary = part.batch, self.predictor.vocabulary
        device, free = batch.tokens.device, batch.maskable
        predicted = self.predictor.log_probs(batch.tokens, batch.lengths, free, alpha=move.alpha_t)
        row, position = free.nonzero(as_tuple=True)
        noised = vocabulary.rank_of_id.to(device)[batch.tokens[free]]
        ranks = []
        # In parts: float64 laws of all positions at once would not fit with a large vocabulary.
        for at in torch.arange(len(row), device=device).split(POSITIONS_AT_ONCE):
            forbidden = settings.draw.forbidden_at(part.records[row[at]], position[at])
            log_probs = adjust(predicted[at], settings.draw, forbidden)
            if greedy:
                ranks.append(log_probs.argmax(-1))
                continue
            key = Key(settings.seed, part.records[row[at]], position[at], step)
            draw = draw_mixture if settings.draw.precision == "float64" else draw_as_published
            ranks.append(draw(log_probs, noised[at], move, key))
        tokens = batch.tokens.clone()
        tokens[free] = vocabulary.generable.to(device)[torch.cat(ranks)]
        return tokens


def _psi(predictor: Predictor, settings: PsiSettings) -> UniformSampler:
    return UniformSampler(predictor, settings.plan)


ENTRY = SamplerSpec(
    "psi",
    with_settings(_psi),
    summary="uniform-state models: ancestral, and corrects earlier steps as it goes",
    calls="the steps",
    exact="as the steps grow and `eta` shrinks",
    has_published_grid=False,
    has_best_grid=False,
    processes=("uniform",),
    settings=PsiSettings,
)
