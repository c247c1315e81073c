"""DPLM's own sampler: every step predicts all positions and keeps the most confident tokens.

"reparam-uncond-deterministic-linear" with Gumbel arg-max draws (DPLM, arXiv 2402.18567; the
decoding is that of Zheng et al., arXiv 2302.05737). Step i of N, in a row with L positions to fill:

1. predict a token at each of them, also where one stands already; its score is the noised
   log-probability of the token;
2. if one token fills more than a quarter of the prediction, mask it there and redraw those
   positions once, given the rest: one more call for that row;
3. the L (N - i) / N positions of lowest score are masked; of the others, masked ones take the
   predicted token and filled ones keep theirs, although the fresh score decided.

It seeks modes and is not exact: do not expect the model's own law. Ours differs from the released
code where that lets framing, padding and kept residues take part: here they are neither counted
nor predicted.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.models.noise import NoiseKeys
from didi_core.sampling.drawing import adjust
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import (
    DrawSettings,
    Prior,
    Sampled,
    SampleSettings,
)
from didi_core.sampling.sampler_spec import SamplerSpec, with_settings

DEFAULT_STEPS = 500
"""As released; used where `--steps` is not given."""
_REDRAW_CALLS = 1 << 32
"""Noise of redraws is keyed from here on, past every step."""


@dataclass(frozen=True)
class DplmSettings:
    """Settings of the redraw of repeats. Published: a quarter, nucleus 0.95."""

    max_share: float = 0.25
    """A token that fills more than this share of a row's prediction is redrawn; 1 turns it off."""
    redraw_top_p: float = 0.95
    """The redraw keeps the fewest tokens whose probabilities sum to at least this."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        return [
            f"{name}={getattr(self, name)} must be above 0 and at most 1"
            for name in ("max_share", "redraw_top_p")
            if not 0 < getattr(self, name) <= 1
        ]


@dataclass(frozen=True)
class Guess:
    """Holds a predicted token at some positions."""

    tokens: Int[Tensor, "batch width"]
    """The state with the prediction filled in."""
    score: Float[Tensor, "batch width"]
    """Noised log-probability of each predicted token; infinity where nothing was predicted."""


@dataclass(frozen=True)
class DplmSampler:
    """Predicts everything, keeps what is most confident, and masks the rest again."""

    predictor: Predictor
    repeats: DplmSettings = DplmSettings()

    @torch.no_grad()
    def sample(self, prior: Prior, settings: SampleSettings) -> Sampled:
        """Fill the free positions of the prior; count the calls of each row."""
        assert settings.steps is not None
        tokens = prior.batch.tokens.clone()
        calls = torch.zeros_like(prior.batch.lengths)
        rows = prior.batch.maskable.any(-1).nonzero()[:, 0]
        if len(rows):
            part = Prior(prior.batch.rows(rows), prior.records[rows])
            for step in range(settings.steps):
                filled, cost = self.step(part, step, settings)
                part = Prior(part.batch.with_tokens(filled), part.records)
                calls[rows] += cost
            tokens[rows] = part.batch.tokens
        return Sampled(tokens, calls, torch.zeros_like(calls))

    def num_steps(self, num_free: int, settings: SampleSettings) -> int:
        """Return the calls of a row without redraws of repeats, which come on top."""
        assert settings.steps is not None
        return settings.steps if num_free else 0

    def step(
        self, part: Prior, step: int, settings: SampleSettings
    ) -> tuple[Int[Tensor, "batch width"], Int[Tensor, "batch"]]:
        """Return the state after step `step` (from 0), and the calls it cost each row."""
        assert settings.steps is not None
        state, free = part.batch.tokens, part.batch.maskable
        guess = self._guess(part, free, step, settings.draw, settings.seed, Stream.TOKEN)
        calls = torch.ones_like(part.batch.lengths)
        repeated = self.repeated(guess.tokens, free)
        if repeated.any():
            calls += repeated.any(-1)
            guess = self._redraw(part, guess, repeated, step, settings)
        # After step i of N, L (N - i) / N positions are masked, the least confident ones; a masked
        # position that stays takes the guess, a filled one keeps its token (3).
        num_masked = free.sum(-1) * (settings.steps - step - 1) // settings.steps
        mask_id = self.predictor.vocabulary.mask_id
        filled = torch.where(free & (state == mask_id), guess.tokens, state)
        return filled.masked_fill(below_cutoff(guess.score, num_masked), mask_id), calls

    def _guess(
        self,
        part: Prior,
        at: Bool[Tensor, "batch width"],
        step: int,
        draw: DrawSettings,
        seed: int,
        stream: Stream,
    ) -> Guess:
        """Take the arg-max of noised log-probabilities at the positions `at`."""
        state = part.batch.tokens
        # The redraw of a step is a call of its own, with noise of its own.
        call = step + (_REDRAW_CALLS if stream == Stream.REDRAW else 0)
        noise = NoiseKeys(seed, part.records, call)
        row, position = at.nonzero(as_tuple=True)
        forbidden = draw.forbidden_at(part.records[row], position)
        predicted = self.predictor.log_probs(state, part.batch.lengths, at, noise)
        log_probs = adjust(predicted, draw, forbidden)
        token = torch.arange(log_probs.shape[-1], device=state.device)
        keys = (part.records[row][:, None], position[:, None], step, token)
        uniform = keyed_uniform(seed, stream, *keys, device=state.device)
        best, rank = noised(log_probs, uniform, draw).max(-1)
        tokens = state.clone()
        tokens[at] = self.predictor.vocabulary.generable.to(state.device)[rank]
        score = torch.full_like(state, torch.inf, dtype=torch.float64)
        score[at] = best.double()
        return Guess(tokens, score)

    def repeated(
        self, predicted: Int[Tensor, "batch width"], free: Bool[Tensor, "batch width"]
    ) -> Bool[Tensor, "batch width"]:
        """Mark positions whose token fills more than `max_share` of the row's prediction."""
        # counts[row, id]: how often the row's prediction has the id, kept residues left out.
        counts = predicted.new_zeros(len(predicted), self.predictor.vocabulary.size)
        counts = counts.scatter_add(1, predicted, free.to(counts.dtype))
        most = self.repeats.max_share * free.sum(-1, keepdim=True)
        return free & (counts.gather(1, predicted) > most)

    def _redraw(
        self,
        part: Prior,
        guess: Guess,
        repeated: Bool[Tensor, "batch width"],
        step: int,
        settings: SampleSettings,
    ) -> Guess:
        """Return the guess with the `repeated` positions drawn anew, given the others."""
        rows = repeated.any(-1).nonzero()[:, 0]
        masked = guess.tokens.masked_fill(repeated, self.predictor.vocabulary.mask_id)
        some = Prior(part.batch.with_tokens(masked).rows(rows), part.records[rows])
        top_p = min(settings.draw.top_p, self.repeats.redraw_top_p)
        draw = replace(settings.draw, top_p=top_p)
        fresh = self._guess(some, repeated[rows], step, draw, settings.seed, Stream.REDRAW)
        score = torch.where(repeated[rows], fresh.score, guess.score[rows])
        return Guess(
            guess.tokens.index_copy(0, rows, fresh.tokens), guess.score.index_copy(0, rows, score)
        )


def noised(
    log_probs: Float[Tensor, "n generable"],
    uniform: Float[Tensor, "n generable"],
    settings: DrawSettings,
) -> Float[Tensor, "n generable"]:
    """Return log-probabilities plus Gumbel noise, normalised; float32 as in the released code."""
    if settings.precision == "float32":
        # Gumbel: -log(-log u), with the released code's guards against log 0.
        noise = -(-(uniform.float() + 1e-8).log() + 1e-8).log()
        return (log_probs.float() + noise).log_softmax(-1)
    return (log_probs - (-uniform.log()).log()).log_softmax(-1)


def below_cutoff(
    score: Float[Tensor, "batch width"], count: Int[Tensor, "batch"]
) -> Bool[Tensor, "batch width"]:
    """Mark the `count` positions of lowest score in each row; never one with score infinity.

    As released, a tie at the cut masks none of the tied positions, so that fewer are masked.
    """
    cutoff = score.sort(-1).values.gather(-1, count.unsqueeze(-1))
    return score < cutoff


ENTRY = SamplerSpec(
    "dplm",
    with_settings(DplmSampler),
    summary="DPLM's own: keeps the most confident, and redraws repeats",
    calls="the steps, and one for each redraw",
    exact="no",
    has_published_grid=False,
    reveals_on_grid=False,
    default_steps=DEFAULT_STEPS,
    settings=DplmSettings,
)
