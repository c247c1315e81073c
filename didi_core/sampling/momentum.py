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

Where the positions of a step are those of `apart`, the two add up: what is revealed together
depends less on each other, and what it tells of the rest is heard in full. Which positions come
next is then not known before their call, so that what is said of every blank is kept (for each of
a batch's tokens as many numbers as the vocabulary has).

The idea is not new for images: self-guidance reuses the output of the step before in the same
form [1]_.

.. [1] SG-prev, arXiv 2412.05827.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.data.vocabulary import Vocabulary
from didi_core.models.joint_head import JointHead
from didi_core.models.noise import NoiseKeys
from didi_core.models.positions import Places
from didi_core.models.weak_file import MOST_WEIGHT, POSITIONS
from didi_core.sampling.ancestral import ancestral
from didi_core.sampling.apart import ApartSampler, ApartSettings
from didi_core.sampling.contrast import guided_log_probs
from didi_core.sampling.predictor import Prediction, StatePredictor
from didi_core.sampling.request import Prior, Sampled, Sampler, SampleSettings
from didi_core.sampling.reveal import NEVER, ancestral_plan
from didi_core.sampling.sampler_spec import SamplerSpec, with_settings
from didi_core.sampling.step_draw import StepDraw, draw_plain


@dataclass(frozen=True)
class MomentumSettings:
    """Settings of the guided law, and of how positions are chosen."""

    weight: float = 1.0
    """w, from 0 to 100; at 0 this is `ancestral`, or `apart`."""
    positions: str = POSITIONS[0]
    """random as `ancestral` chooses them, or apart."""
    threshold: float = ApartSettings.threshold
    """That of `apart`, with positions=apart."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        right = 0 <= self.weight <= MOST_WEIGHT
        wrong = [] if right else [f"weight={self.weight:g} must be from 0 to {MOST_WEIGHT:g}"]
        if self.positions not in POSITIONS:
            wrong.append(f"positions={self.positions} must be {' or '.join(POSITIONS)}")
        if self.positions != "apart" and self.threshold != ApartSettings.threshold:
            wrong.append(f"threshold={self.threshold:g} is of positions=apart: add that")
        return wrong + ApartSettings(self.threshold).problems()


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


class MomentumPredictor:
    """Predicts by log p*, for the rows of one batch: what was said of them is kept by record."""

    def __init__(
        self,
        own: StatePredictor,
        weight: float,
        prior: Prior,
        plan: Int[Tensor, "batch width"] | None,
    ) -> None:
        """Take the step that reveals each position; without it any blank may be next."""
        self.own, self.weight, self.plan = own, weight, plan
        self.maskable = prior.batch.maskable
        self.row_of = {record: row for row, record in enumerate(prior.records.tolist())}
        self.past = Past(prior.batch.tokens)

    @property
    def denoiser(self) -> Any:
        """Return the network, by whose attention positions are chosen."""
        return self.own.denoiser

    @property
    def vocabulary(self) -> Vocabulary:
        return self.own.vocabulary

    @property
    def joint_head(self) -> JointHead | None:
        return self.own.joint_head

    @property
    def passes(self) -> int:
        """Return the passes of a whole trunk that one call makes for each row: no more for this."""
        return self.own.passes

    def predict(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Places,
        keys: NoiseKeys | None = None,
        alpha: float | Float[Tensor, "batch"] | None = None,
    ) -> Prediction:
        """Return log p* where `at` is True; keep what is said of what each row may reveal next.

        Args:
            at: a function is asked once, after the network's blocks were called.
            keys: say which rows these are, and which step this is.
        """
        assert keys is not None, "samplers give them"
        rows = torch.tensor([self.row_of[each] for each in keys.records.tolist()])
        rows = rows.to(tokens.device)
        now = later = torch.zeros_like(self.maskable[rows])

        def places() -> Bool[Tensor, "batch width"]:
            nonlocal now, later
            now = at if isinstance(at, Tensor) else at()
            if self.plan is not None:
                later = next_revealed(self.plan[rows], keys.step)
            else:
                later = (tokens == self.vocabulary.mask_id) & self.maskable[rows]
            return now | later

        # Known places are told before the trunk: what is asked after it, a GPU waits for.
        asked = places() if isinstance(at, Tensor) else places
        found = self.own.predict(tokens, lengths, asked, keys, alpha)
        revealed, kept = now[now | later], later[now | later]
        whole = torch.zeros_like(self.maskable)
        whole[rows] = now
        log_probs = self.past.guided(whole, found.log_probs[revealed], self.weight)
        self.past.keep(rows, later, found.log_probs[kept])
        return Prediction(log_probs, None if found.hidden is None else found.hidden[revealed])


@dataclass(frozen=True)
class MomentumSampler:
    """Reveals as `ancestral` or `apart` do, by a law moved on from that of the step before."""

    predictor: StatePredictor
    momentum: MomentumSettings = MomentumSettings()
    draw: StepDraw = draw_plain
    """Draws what a step reveals; guidance has others."""

    def sample(self, prior: Prior, settings: SampleSettings) -> Sampled:
        """Fill the free positions of the prior; count the calls of each row."""
        if not self.momentum.weight:
            return self._planned(self.predictor).sample(prior, settings)
        plan = ancestral_plan(prior, settings) if self.momentum.positions == "random" else None
        moved = MomentumPredictor(self.predictor, self.momentum.weight, prior, plan)
        return self._planned(moved).sample(prior, settings)

    def _planned(self, predictor: StatePredictor) -> Sampler:
        """Return what chooses the positions."""
        if self.momentum.positions == "apart":
            return ApartSampler(predictor, ApartSettings(self.momentum.threshold), self.draw)
        return replace(ancestral(predictor), draw=self.draw)

    def num_steps(self, num_free: int, settings: SampleSettings) -> int:
        """Return the most calls that a row with so many free positions needs."""
        return self._planned(self.predictor).num_steps(num_free, settings)


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
