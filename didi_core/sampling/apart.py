"""Reveal apart what depends on each other: ancestral sampling that chooses its positions.

Tokens revealed in one step are drawn independently of each other, which is wrong where they depend
on each other. Each step of this sampler reveals as many positions of a row as the ancestral one
does, chosen with the attention of the very call that predicts them:

1. two blank positions count as *dependent* where their attention to each other (both ways, mean
   over blocks and heads, less what the two attend and are attended to on average, as in
   Dunn et al. 2008 for contacts) lies more than `threshold` standard deviations above that of the
   row's pairs of blanks;
2. blank positions are ordered at random, those that depend on another blank one first: the first of
   each pair is then soon known, and decides the second;
3. in that order a position is taken unless it depends on one taken before. Where a step has to
   reveal more, it goes on with the positions left out, in the same order.

Which positions are revealed depends on the state alone, never on the tokens drawn in the step. So
with consistent conditionals it is exact wherever what a step reveals is independent given the
state: with one token a step, or with enough steps. At few steps it is a heuristic: attention is no
proof of dependence, nor its absence of independence. A trained network's conditionals depend on the
order, and its own law (the limit of `ancestral`) is that of random order. A row with three blanks
or fewer has no pair two deviations above its mean, and is filled as `ancestral` would.

The idea is not new: DAPD [1]_ makes a graph of the masked tokens from attention and unmasks an
independent set of it together; DEMASK [2]_, DAWN [3]_ and DOS choose by dependence, too. Here
tokens are drawn where others seek the likeliest ones, and the number of calls is given.

.. [1] arXiv 2603.12996.
.. [2] arXiv 2604.02560.
.. [3] github.com/silence1024/DAWN
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.models.attention_watch import watched_attention
from didi_core.sampling.predictor import StatePredictor
from didi_core.sampling.request import Prior, Sampled, SampleSettings
from didi_core.sampling.reveal import NEVER, ancestral_plan, reveal_uniform
from didi_core.sampling.sampler_spec import SamplerSpec, with_settings
from didi_core.sampling.step_draw import Revealed, Step, StepDraw, draw_plain


@dataclass(frozen=True)
class ApartSettings:
    """Settings of when two positions count as dependent."""

    threshold: float = 2.0
    """Standard deviations above the mean attention of the row's pairs."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        return [] if self.threshold > 0 else [f"threshold={self.threshold} must be above 0"]


@dataclass(frozen=True)
class ApartSampler:
    """Takes the steps and calls of the ancestral sampler, with positions chosen by attention."""

    predictor: StatePredictor
    apart: ApartSettings = ApartSettings()

    draw: StepDraw = draw_plain
    """Draws what a step reveals; guidance has others."""

    @torch.no_grad()
    def sample(self, prior: Prior, settings: SampleSettings) -> Sampled:
        """Fill the free positions of the prior; count the calls of each row."""
        tokens = prior.batch.tokens.clone()
        plan = ancestral_plan(prior, settings)
        uniform = reveal_uniform(prior, settings.seed)
        calls, passes, guided = (torch.zeros_like(prior.batch.lengths) for _ in range(3))
        # The plan says how many a step reveals, as the ancestral sampler would; not which.
        for number in plan[plan != NEVER].unique().tolist():
            count = (plan == number).sum(-1)
            rows = count.nonzero()[:, 0]
            part = Prior(prior.batch.rows(rows).with_tokens(tokens[rows]), prior.records[rows])
            revealed = self.step(part, uniform[rows], count[rows], number, settings)
            tokens[rows] = revealed.tokens
            calls[rows] += self.predictor.passes
            passes[rows] += revealed.head_passes
            guided[rows] += revealed.guide_calls
        return Sampled(tokens, calls, torch.zeros_like(calls), passes, guided)

    def num_steps(self, num_free: int, settings: SampleSettings) -> int:
        """Return the most calls that a row with so many free positions needs."""
        assert settings.steps is not None
        return min(settings.steps, num_free) * self.predictor.passes

    def step(
        self,
        part: Prior,
        uniform: Float[Tensor, "batch width"],
        count: Int[Tensor, "batch"],
        number: int,
        settings: SampleSettings,
    ) -> Revealed:
        """Reveal `count` positions of each row, chosen by the attention of the step's own call.

        Args:
            uniform: the random order of positions.

        Raises:
            UserError: the network is not one of this package.
        """
        batch = part.batch
        masked = (batch.tokens == self.predictor.vocabulary.mask_id) & batch.maskable
        step = Step(part, masked, uniform, number, settings)

        def places() -> Bool[Tensor, "batch width"]:
            nonlocal step
            dependent = dependence(watch.mean(), masked) > self.apart.threshold
            step = replace(step, now=choose(dependent, masked, uniform, count))
            return self.draw.places(self.predictor, step)

        with watched_attention(self.predictor.denoiser) as watch:
            said = self.predictor.predict(
                batch.tokens, batch.lengths, places, step.keys, step.alpha
            )
        return self.draw(self.predictor, step, said)


def dependence(
    attention: Float[Tensor, "batch width width"], blank: Bool[Tensor, "batch width"]
) -> Float[Tensor, "batch width width"]:
    """Return the attention of pairs of blanks, in deviations above the mean of the row's pairs.

    Args:
        blank: positions that take part. All other pairs, and a position with itself, get -inf and
            count in no mean: what is filled already says nothing of what is to be filled together.
    """
    # a_ij + a_ji over pairs of different blanks.
    itself = torch.eye(blank.shape[-1], dtype=torch.bool, device=blank.device)
    pair = blank[:, :, None] & blank[:, None, :] & ~itself
    mutual = (attention + attention.transpose(-1, -2)).masked_fill(~pair, 0.0).double()
    # Average product correction (Dunn et al. 2008): less a_i a_j / a, what i and j attend and are
    # attended to at all.
    each = mutual.sum(-1)
    whole = each.sum(-1)[:, None, None].clamp_min(1e-300)
    excess = (mutual - each[:, :, None] * each[:, None, :] / whole) * pair
    # Standard deviations above the mean, over the row's pairs.
    number = pair.sum((-1, -2)).clamp_min(1)[:, None, None]
    centred = (excess - excess.sum((-1, -2), keepdim=True) / number) * pair
    deviation = (centred.square().sum((-1, -2), keepdim=True) / number).sqrt()
    return (centred / deviation.clamp_min(1e-300)).masked_fill(~pair, -torch.inf)


def choose(
    dependent: Bool[Tensor, "batch width width"],
    masked: Bool[Tensor, "batch width"],
    uniform: Float[Tensor, "batch width"],
    count: Int[Tensor, "batch"],
) -> Bool[Tensor, "batch width"]:
    """Choose `count` masked positions of each row, as far as possible none that depend on another.

    Args:
        uniform: the random order, from 0 to 1.
    """
    dependent = dependent & masked[:, :, None] & masked[:, None, :]
    # Uniform numbers lie below 1: those that depend on a blank come first, then the free ones.
    order = torch.where(dependent.any(-1), uniform, uniform + 1.0).masked_fill(~masked, torch.inf)
    left_out = ~first_independent(dependent, order)
    # What was left out comes behind all others, in its own order; a double argsort gives places.
    place = (order + 2.0 * left_out).argsort(dim=-1, stable=True).argsort(dim=-1)
    return (place < count[:, None]) & masked


def first_independent(
    dependent: Bool[Tensor, "batch width width"], order: Float[Tensor, "batch width"]
) -> Bool[Tensor, "batch width"]:
    """Return what is taken going through the positions in order, none that depends on one taken.

    All rows at once: a position is decided when all it depends on that come before it are, which
    takes as many rounds as the longest such chain, not as many as there are positions. Positions
    at infinity take no part.
    """
    # before[i, j]: i depends on j, and j comes first.
    before = dependent & (order[:, None, :] < order[:, :, None])
    undecided = order.isfinite()
    taken = torch.zeros_like(undecided)
    while undecided.any():
        # Out is what depends on one taken; in, what waits for no undecided one before it.
        undecided &= ~(before & taken[:, None, :]).any(-1)
        now = undecided & ~(before & undecided[:, None, :]).any(-1)
        taken |= now
        undecided &= ~now
    return taken


ENTRY = SamplerSpec(
    "apart",
    with_settings(ApartSampler),
    summary="the calls of ancestral, but avoids revealing together what seems to depend on each "
    "other",
    reads_joint_head=True,
    calls="as `ancestral`",
    exact="as the steps grow, where the conditionals agree with each other",
    has_published_grid=False,
    settings=ApartSettings,
)
