"""Momentum: the network's law, moved on from what the network said a step before (ours).

The tokens of one step are drawn independently given the state before it, z_s. So what they tell
of a position that is still blank is the difference between what the network says of it after the
step and before, and few steps weaken it: tokens that were drawn apart speak less clearly than
tokens that were drawn one after the other. The law

    log p* = log-softmax(log T(z_t) + w (log T(z_t) - log T(z_s)))

strengthens it by w. It is the guided law of `contrast` with the network's own past in the place of
a weak copy, so that it needs no training and no pass more: a call says what its step reveals, and
what it holds of the positions of the next step is kept for that. The first step has no past, and
with w = 0, or one step, this is ancestral sampling. It is no sampler of the network's own law at
any number of steps: with one token a step, too, the last one is believed more than it is worth.

The idea is not new for images: self-guidance reuses the output of the step before in the same
form [1]_.

.. [1] SG-prev, arXiv 2412.05827.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.models.noise import NoiseKeys
from didi_core.models.weak_file import MOST_WEIGHT
from didi_core.sampling.contrast import guided_log_probs
from didi_core.sampling.joint_draw import draw_together, keyed_choice
from didi_core.sampling.predictor import Prediction, Predictor
from didi_core.sampling.request import Prior, Sampled, SampleSettings
from didi_core.sampling.reveal import NEVER, alpha_grid, ancestral_plan, reveal_uniform
from didi_core.sampling.sampler_spec import SamplerSpec, with_settings


@dataclass(frozen=True)
class MomentumSettings:
    """Settings of the guided law."""

    weight: float = 1.0
    """w, from 0 to 100; at 0 this is `ancestral`."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        right = 0 <= self.weight <= MOST_WEIGHT
        return [] if right else [f"weight={self.weight:g} must be from 0 to {MOST_WEIGHT:g}"]


class Past:
    """What the network last said of the positions that each row reveals next."""

    def __init__(self, tokens: Int[Tensor, "batch width"]) -> None:
        self.entry = torch.full_like(tokens, -1)
        """Place of each position among `log_probs`; -1 where nothing is kept."""
        self.log_probs: Float[Tensor, "kept generable"] | None = None

    def keep(
        self,
        rows: Int[Tensor, "rows"],
        at: Bool[Tensor, "rows width"],
        log_probs: Float[Tensor, "chosen generable"],
    ) -> None:
        """Replace what is kept of some rows, given in increasing order."""
        self.entry[rows] = -1
        others = self.entry >= 0
        if self.log_probs is None:
            self.log_probs = log_probs
        else:
            self.log_probs = torch.cat([self.log_probs[self.entry[others]], log_probs])
        first = int(others.sum())
        self.entry[others] = torch.arange(first, device=at.device)
        whole = torch.zeros_like(others)
        whole[rows] = at
        self.entry[whole] = first + torch.arange(len(log_probs), device=at.device)

    def guided(
        self,
        at: Bool[Tensor, "batch width"],
        log_probs: Float[Tensor, "chosen generable"],
        weight: float,
    ) -> Float[Tensor, "chosen generable"]:
        """Return log p* where `at` is True; the law as it is where nothing is kept of it."""
        entry = self.entry[at]
        known = entry >= 0
        if self.log_probs is None or not known.any():
            return log_probs
        moved = guided_log_probs(log_probs[known], self.log_probs[entry[known]], weight)
        return log_probs.index_copy(0, known.nonzero()[:, 0], moved)


@dataclass(frozen=True)
class MomentumSampler:
    """Reveals as the ancestral sampler does, by a law moved on from that of the step before."""

    predictor: Predictor
    momentum: MomentumSettings = MomentumSettings()

    @torch.no_grad()
    def sample(self, prior: Prior, settings: SampleSettings) -> Sampled:
        """Fill the free positions of the prior; count the calls of each row."""
        tokens, plan = prior.batch.tokens.clone(), ancestral_plan(prior, settings)
        order = reveal_uniform(prior, settings.seed)
        calls, passes = (torch.zeros_like(prior.batch.lengths) for _ in range(2))
        past = Past(tokens)
        for step in plan[plan != NEVER].unique().tolist():
            now = plan == step
            rows = now.any(-1).nonzero()[:, 0]
            state = Prior(prior.batch.rows(rows).with_tokens(tokens[rows]), prior.records[rows])
            prediction = self._predict(state, plan[rows], step, settings, past, rows)
            row, position = now.nonzero(as_tuple=True)
            choose = keyed_choice(settings, prior.records[row], position, step)
            head = self.predictor.joint_head
            drawn = draw_together(head, prediction, now[rows], order[rows], choose)
            generable = self.predictor.vocabulary.generable.to(tokens.device)
            tokens[row, position] = generable[drawn.rank]
            calls[rows] += self.predictor.passes
            passes[rows] += drawn.head_passes
        return Sampled(tokens, calls, torch.zeros_like(calls), passes)

    def _predict(
        self,
        state: Prior,
        plan: Int[Tensor, "rows width"],
        step: int,
        settings: SampleSettings,
        past: Past,
        rows: Int[Tensor, "rows"],
    ) -> Prediction:
        """Return log p* at what the step reveals; keep what is said of what each row reveals next.

        Args:
            state: the rows that the step reveals something in.
        """
        now, weight = plan == step, self.momentum.weight
        soon = next_revealed(plan, step) if weight else torch.zeros_like(now)
        asked = now | soon
        keys, alpha = NoiseKeys(settings.seed, state.records, step), alpha_grid(settings)[step]
        batch = state.batch
        found = self.predictor.predict(batch.tokens, batch.lengths, asked, keys, alpha)
        revealed = now[asked]
        log_probs = found.log_probs[revealed]
        if weight:
            whole = torch.zeros_like(past.entry, dtype=torch.bool)
            whole[rows] = now
            log_probs = past.guided(whole, log_probs, weight)
            past.keep(rows, soon, found.log_probs[~revealed])
        return Prediction(log_probs, None if found.hidden is None else found.hidden[revealed])

    def num_steps(self, num_free: int, settings: SampleSettings) -> int:
        """Return the most calls that a row with so many free positions needs."""
        assert settings.steps is not None
        return min(settings.steps, num_free) * self.predictor.passes


def next_revealed(plan: Int[Tensor, "rows width"], step: int) -> Bool[Tensor, "rows width"]:
    """Mark what each row reveals in the first of its steps after `step`.

    Args:
        plan: the step that reveals each position; `NEVER` where none does.
    """
    later = plan.masked_fill(plan <= step, NEVER)
    return (later == later.amin(-1, keepdim=True)) & (later != NEVER)


ENTRY = SamplerSpec(
    "momentum",
    with_settings(MomentumSampler),
    summary="ancestral, by a law moved on from what the model said a step before",
    reads_joint_head=True,
    calls="as `ancestral`",
    exact="no",
    has_published_grid=False,
    settings=MomentumSettings,
)
