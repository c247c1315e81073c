"""ReMDM (arXiv 2503.00307): ancestral sampling that masks revealed tokens again now and then.

In a step from alpha_t to alpha_s a revealed token is masked with probability sigma, and a masked
position is revealed with probability (alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t), its token
drawn from p(x | z_t). So the share of revealed positions after the step is alpha_s for every sigma
up to (1 - alpha_s) / alpha_t. Schedules of sigma (section 4 of the paper):

- cap: min(eta, (1 - alpha_s) / alpha_t);
- rescale: eta times the largest possible, min(1, (1 - alpha_s) / alpha_t);
- loop: alpha rises to `alpha_on` while t > `t_on`, stays there with the cap's sigma until `t_off`,
  and rises to 1;
- renoise (not of the paper): 1 - alpha_s. Then a revealed token stays, and a masked position is
  revealed, with one probability, (alpha_s - alpha_s alpha_t) / (1 - alpha_t) = alpha_s: the clean
  sequence that the network predicts from z_t is masked afresh at s, whatever z_t showed.

What a step reveals is drawn independently, as in ancestral sampling, so it is exact in the limit of
many steps and a small eta. (With renoise of many steps alone: near the end they hide and redraw at
most one token each, as a Gibbs sampler does.) Confidence weighting shares a sigma among the
revealed tokens of a row by their uncertainty, and masked positions are revealed as if sigma were 0:
not exact, and more positions are masked than alpha_s says, until the last step reveals them all.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.models.noise import NoiseKeys
from didi_core.sampling.drawing import adjust, draw_tokens
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, Sampled, SampleSettings
from didi_core.sampling.sampler_spec import SamplerSpec, with_settings

_ROUNDING = 1e-9
"""A time this near to `t_on` or `t_off` counts as equal to it."""


@dataclass(frozen=True)
class Transition:
    """Describes one step of the chain, before any weighting by confidence."""

    alpha_t: float
    """Share of positions revealed before the step."""
    alpha_s: float
    """And after it."""
    sigma: float
    """Chance that a revealed token is masked again."""


@dataclass(frozen=True)
class RemdmSettings:
    """Settings. Published: cap with eta 0.008, rescale 0.015, loop 0.02; top-p 0.9 with all."""

    schedule: str = "cap"
    """cap, rescale, loop or renoise."""
    eta: float = 0.02
    """Strength, of all but renoise; 0 is ancestral sampling (with loop: on a grid that pauses)."""
    weighting: str = "uniform"
    """uniform; confidence: sigma is shared by the softmax of minus the probability with which each
    token was drawn (released: with schedule=rescale and eta=1)."""
    t_on: float = 0.55
    """loop alone: the time, from 1 down to 0, at which re-masking begins."""
    t_off: float = 0.05
    """loop alone: the time at which it ends."""
    alpha_on: float = 0.9
    """loop alone: share of positions revealed while it lasts."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        wrong = []
        if self.schedule not in ("cap", "rescale", "loop", "renoise"):
            wrong.append(f"schedule={self.schedule} must be cap, rescale, loop or renoise")
        if not 0 <= self.eta <= 1:
            wrong.append(f"eta={self.eta} must be from 0 to 1")
        if self.weighting not in ("uniform", "confidence"):
            wrong.append(f"weighting={self.weighting} must be uniform or confidence")
        if not 0 < self.t_off < self.t_on < 1:
            wrong.append(
                f"t_off={self.t_off} and t_on={self.t_on} must be above 0 and below 1, "
                "t_off the smaller"
            )
        if not 0 < self.alpha_on < 1:
            wrong.append(f"alpha_on={self.alpha_on} must be above 0 and below 1")
        return wrong

    def transitions(self, steps: int, exponent: float = 1.0) -> list[Transition]:
        """Return the steps from t = 1 to t = 0; after step k of K, t = 1 - (k / K) ** exponent."""
        times = [1.0 - (k / steps) ** exponent for k in range(steps + 1)]
        alphas = [self.alpha(t) for t in times]
        return [
            Transition(alphas[k], alphas[k + 1], self._sigma(times[k], alphas[k], alphas[k + 1]))
            for k in range(steps)
        ]

    def alpha(self, t: float) -> float:
        """Return the share of positions revealed at time t."""
        if self.schedule != "loop":
            return 1.0 - t
        if t > self.t_on:
            return (1.0 - t) * self.alpha_on / (1.0 - self.t_on)
        if t > self.t_off:
            return self.alpha_on
        return 1.0 - t * (1.0 - self.alpha_on) / self.t_off

    def _sigma(self, t: float, alpha_t: float, alpha_s: float) -> float:
        if self.schedule == "renoise":
            return 1.0 - alpha_s
        # Above (1 - alpha_s) / alpha_t a masked position would be revealed with a negative chance.
        largest = 1.0 if alpha_t == 0.0 else min(1.0, (1.0 - alpha_s) / alpha_t)
        if self.schedule == "rescale":
            return self.eta * largest
        looping = self.t_off + _ROUNDING < t <= self.t_on + _ROUNDING
        if self.schedule == "loop" and not looping:
            return 0.0
        return min(self.eta, largest)


@dataclass(frozen=True)
class RemaskingSampler:
    """Reveals and masks again, step by step, by the rates of a schedule."""

    predictor: Predictor
    remasking: RemdmSettings = RemdmSettings()

    @torch.no_grad()
    def sample(self, prior: Prior, settings: SampleSettings) -> Sampled:
        """Fill the free positions of the prior; count the calls of each row."""
        assert settings.steps is not None
        tokens = prior.batch.tokens.clone()
        certainty = torch.zeros_like(tokens, dtype=torch.float64)
        calls = torch.zeros_like(prior.batch.lengths)
        moves = self.remasking.transitions(settings.steps, settings.reveal_exponent)
        for step, move in enumerate(moves):
            calls += self.step(tokens, certainty, prior, move, step, settings)
        return Sampled(tokens, calls, torch.zeros_like(calls))

    def num_steps(self, num_free: int, settings: SampleSettings) -> int:
        """Return the most calls that a row with so many free positions needs."""
        assert settings.steps is not None
        return settings.steps if num_free else 0

    def step(
        self,
        tokens: Int[Tensor, "batch width"],
        certainty: Float[Tensor, "batch width"],
        prior: Prior,
        move: Transition,
        step: int,
        settings: SampleSettings,
    ) -> Bool[Tensor, "batch"]:
        """Take `tokens` from z_t to z_s, in place; which rows needed a call.

        Args:
            certainty: probability with which each revealed token was drawn; kept up to date where
                the weighting needs it.
            prior: keys, lengths and the positions to fill.
            step: number of the step, part of every key.
        """
        masked = (tokens == self.predictor.vocabulary.mask_id) & prior.batch.maskable
        standing = prior.batch.maskable & ~masked
        position = torch.arange(tokens.shape[1], device=tokens.device)
        keys = (prior.records[:, None], position, step)
        uniform = keyed_uniform(settings.seed, Stream.REVEAL, *keys, device=tokens.device)
        weighted = self.remasking.weighting == "confidence"
        process = AbsorbingProcess(self.predictor.vocabulary.mask_id)
        # (alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t); with weights as if sigma were 0.
        sigma = 0.0 if weighted else move.sigma
        reveal = process.reveal_probability(move.alpha_t, move.alpha_s, sigma)
        revealed = masked & (uniform < reveal)
        share = uncertainty_share(certainty, standing) if weighted else 1.0
        # One number a position serves both: it is either masked or standing.
        remasked = standing & (uniform < move.sigma * share)
        rows = revealed.any(-1)
        if rows.any():  # tokens are predicted from z_t, before anything is masked again
            self._reveal(tokens, certainty, prior, revealed, move.alpha_t, step, settings)
        tokens.masked_fill_(remasked, self.predictor.vocabulary.mask_id)
        return rows

    def _reveal(
        self,
        tokens: Tensor,
        certainty: Tensor,
        prior: Prior,
        revealed: Tensor,
        alpha: float,
        step: int,
        settings: SampleSettings,
    ) -> None:
        """Draw the positions `revealed`, in place."""
        rows = revealed.any(-1).nonzero()[:, 0]
        keys = NoiseKeys(settings.seed, prior.records[rows], step)
        lengths = prior.batch.lengths[rows]
        log_probs = self.predictor.log_probs(tokens[rows], lengths, revealed[rows], keys, alpha)
        row, position = revealed.nonzero(as_tuple=True)
        record = prior.records[row]
        rank = draw_tokens(log_probs, settings.draw, settings.seed, record, position, step)
        tokens[row, position] = self.predictor.vocabulary.generable.to(rank.device)[rank]
        if self.remasking.weighting == "confidence":
            # The probability that the token was drawn with: after temperature, bias and top-p.
            forbidden = settings.draw.forbidden_at(record, position)
            chances = adjust(log_probs, settings.draw, forbidden).exp()
            certainty[row, position] = chances.gather(-1, rank[:, None])[:, 0]


def uncertainty_share(
    certainty: Float[Tensor, "batch width"], standing: Bool[Tensor, "batch width"]
) -> Float[Tensor, "batch width"]:
    """Return the softmax of minus the certainty over each row's `standing` positions, else 0."""
    weight = (-certainty).exp() * standing
    return weight / weight.sum(-1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)


ENTRY = SamplerSpec(
    "remdm",
    with_settings(RemaskingSampler),
    summary="masks some tokens again",
    calls="at most the steps",
    exact="as the steps grow and `eta` shrinks; never with `weighting=confidence`",
    has_published_grid=False,
    has_best_grid=False,
    settings=RemdmSettings,
)
