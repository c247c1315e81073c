"""RGAS, the reward-guided ancestral sampler of DiDi-Instruct (arXiv 2509.25035).

First part: gradient tilting. The discriminator reads the student's soft distribution at masked
positions; the gradient of its logits with respect to the student's log-probabilities, clamped,
times h, is added to them before drawing. Second part: re-ranking. Candidates for the next state
are scored by the discriminator and one is drawn from the softmax of the scores. All positions that
a step reveals are the same for all candidates. Not exact; costs discriminator calls, counted apart.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.diffusion.draws import Stream, draw_categorical, keyed_uniform
from didi_core.models.denoiser import Denoiser
from didi_core.models.discriminator import Discriminator, load_discriminator, soft_tokens
from didi_core.models.folder import LoadedModel
from didi_core.models.noise import NoiseKeys
from didi_core.rows import row_mean
from didi_core.sampling.drawing import draw_tokens
from didi_core.sampling.kind import SamplerKind
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, Sampled, SampleSettings
from didi_core.sampling.reveal import NEVER, ancestral_plan


def first_rerank_step(steps: int, rerank_share: float) -> int:
    """The number of steps before re-ranking: at least `rerank_share` of all re-rank.

    The subtraction forgives rounding: 10 steps times 0.9 are nine, not ten.
    """
    return steps - math.ceil(steps * rerank_share - 1e-9)


@dataclass(frozen=True)
class RgasSettings:
    """Guidance. Published: h from 30 to 40, M = 4, switch at half of the steps."""

    tilt_start: float = 30.0
    """h of the first tilted step."""
    tilt_end: float = 40.0
    """h of the last tilted step; linear between."""
    gradient_clip: float = 1.0
    """Bound on each component of the gradient."""
    rerank_share: float = 0.5
    """Share of the steps, at the end, that re-rank instead of tilting."""
    num_candidates: int = 4
    """M, candidate states of a re-ranking step."""
    rerank_positions: str = "masked"
    """masked: mean logit over positions still masked, times the number masked before the step;
    all: sum over every position of the sequence, as released."""

    def problems(self) -> list[str]:
        """What is wrong with the values, each with the setting's name."""
        wrong = []
        for name in ("tilt_start", "tilt_end"):
            if not math.isfinite(getattr(self, name)):
                wrong.append(f"{name}={getattr(self, name)} must be a finite number")
        if not self.gradient_clip > 0:
            wrong.append(f"gradient_clip={self.gradient_clip} must be above 0")
        if not 0 <= self.rerank_share <= 1:
            wrong.append(f"rerank_share={self.rerank_share} must be from 0 to 1")
        if self.num_candidates < 1:
            wrong.append(f"num_candidates={self.num_candidates} must be at least 1")
        if self.rerank_positions not in ("masked", "all"):
            wrong.append(f"rerank_positions={self.rerank_positions} must be masked or all")
        return wrong


@dataclass(frozen=True)
class GuidedSampler:
    """Ancestral sampling with a discriminator's guidance."""

    predictor: Predictor
    discriminator: Discriminator
    guidance: RgasSettings = RgasSettings()

    def sample(self, prior: Prior, settings: SampleSettings) -> Sampled:
        assert settings.steps is not None
        tokens = prior.batch.tokens.clone()
        plan = ancestral_plan(prior, settings)
        calls = torch.zeros_like(prior.batch.lengths)
        judged = torch.zeros_like(calls)
        first_rerank = first_rerank_step(settings.steps, self.guidance.rerank_share)
        for step in [int(s) for s in plan[plan != NEVER].unique()]:
            rows = (plan == step).any(-1).nonzero()[:, 0]
            calls[rows] += 1
            part = Prior(prior.batch.rows(rows).with_tokens(tokens[rows]), prior.records[rows])
            now = plan[rows] == step
            if step < first_rerank:
                strength = self._tilt(step, first_rerank)
                tokens[rows] = self._tilted(part, now, step, strength, settings)
                judged[rows] += 1
            else:
                tokens[rows], cost = self._reranked(part, now, step, settings)
                judged[rows] += cost
        return Sampled(tokens, calls, judged)

    def num_steps(self, num_free: int, settings: SampleSettings) -> int:
        assert settings.steps is not None
        return min(settings.steps, num_free)

    def _tilt(self, step: int, num_tilted: int) -> float:
        start, end = self.guidance.tilt_start, self.guidance.tilt_end
        return start + (end - start) * step / max(1, num_tilted - 1)

    def _tilted(
        self, part: Prior, now: Tensor, step: int, strength: float, settings: SampleSettings
    ) -> Int[Tensor, "batch width"]:
        """Draw the positions `now` from log p + h * clamped gradient."""
        tokens, lengths = part.batch.tokens, part.batch.lengths
        masked = self._masked(part, tokens)
        with torch.no_grad():
            keys = NoiseKeys(settings.seed, part.records, step)
            log_probs = self.predictor.log_probs(tokens, lengths, masked, keys)
        gradient = self.reward_gradient(tokens, lengths, masked, log_probs)
        clip = self.guidance.gradient_clip
        tilted = (log_probs + strength * gradient.clamp(-clip, clip)).log_softmax(-1)
        return self._draw(part, now, tilted[now[masked]], step, settings, Stream.TOKEN)

    def reward_gradient(
        self,
        tokens: Tensor,
        lengths: Tensor,
        masked: Bool[Tensor, "batch width"],
        log_probs: Tensor,
    ) -> Float[Tensor, "masked generable"]:
        """Gradient of the summed logits at masked positions by the log-probabilities there."""
        with torch.enable_grad():
            leaf = log_probs.detach().clone().requires_grad_(True)
            vocabulary = self.predictor.vocabulary
            soft = soft_tokens(leaf.log_softmax(-1), masked, vocabulary.generable, vocabulary.size)
            reward = self.discriminator.logits_at(tokens, lengths, masked, soft).sum()
            (gradient,) = torch.autograd.grad(reward, leaf)
        return gradient

    @torch.no_grad()
    def _reranked(
        self, part: Prior, now: Tensor, step: int, settings: SampleSettings
    ) -> tuple[Tensor, Int[Tensor, "batch"]]:
        """One of M candidates by the softmax of their scores; the calls each row's scoring cost."""
        tokens, lengths = part.batch.tokens, part.batch.lengths
        count = self.guidance.num_candidates
        # Candidates share the noise: one call of the student serves them all.
        keys = NoiseKeys(settings.seed, part.records, step)
        log_probs = self.predictor.log_probs(tokens, lengths, now, keys)
        draw = [
            self._draw(part, now, log_probs, step, settings, Stream.CANDIDATE, index)
            if index
            else self._draw(part, now, log_probs, step, settings, Stream.TOKEN)
            for index in range(count)
        ]
        candidates = torch.stack(draw, dim=1)
        picked, cost = candidates[:, 0].clone(), torch.zeros_like(lengths)
        remaining = self._masked(part, picked)
        still_open = remaining.any(-1).nonzero()[:, 0]
        if count > 1 and len(still_open):
            some = Prior(part.batch.rows(still_open), part.records[still_open])
            scores = self.scores(candidates[still_open], some, remaining[still_open])
            uniform = keyed_uniform(
                settings.seed, Stream.CANDIDATE, some.records, 2**20, step, device=tokens.device
            )
            picked[still_open] = candidates[still_open, draw_categorical(scores, uniform)]
            cost[still_open] = count
        return picked, cost

    @torch.no_grad()
    def scores(
        self,
        candidates: Int[Tensor, "batch candidates width"],
        part: Prior,
        remaining: Bool[Tensor, "batch width"],
    ) -> Float[Tensor, "batch candidates"]:
        """The discriminator's score of each candidate (see `RgasSettings.rerank_positions`)."""
        batch, count, width = candidates.shape
        lengths = part.batch.lengths.repeat_interleave(count)
        if self.guidance.rerank_positions == "all":
            position = torch.arange(width, device=lengths.device)
            at = position < lengths[:, None]
        else:
            at = remaining.repeat_interleave(count, 0)
        logits = self.discriminator.logits_at(candidates.flatten(0, 1), lengths, at)
        mean = row_mean(logits, at.nonzero()[:, 0], batch * count)
        if self.guidance.rerank_positions == "all":
            return (mean * at.sum(-1)).view(batch, count)
        before = self._masked(part, part.batch.tokens).sum(-1)
        return mean.view(batch, count) * before[:, None]

    def _masked(self, part: Prior, tokens: Tensor) -> Bool[Tensor, "batch width"]:
        return (tokens == self.predictor.vocabulary.mask_id) & part.batch.maskable

    def _draw(
        self,
        part: Prior,
        now: Tensor,
        log_probs: Tensor,
        step: int,
        settings: SampleSettings,
        stream: Stream,
        index: int = 0,
    ) -> Int[Tensor, "batch width"]:
        """The state after drawing the positions `now`; candidates differ by their key."""
        row, position = now.nonzero(as_tuple=True)
        key = step + (index << 32)
        rank = draw_tokens(
            log_probs, settings.draw, settings.seed, part.records[row], position, key, stream
        )
        tokens = part.batch.tokens.clone()
        tokens[row, position] = self.predictor.vocabulary.generable.to(rank.device)[rank]
        return tokens


def _build(predictor: Predictor, model: LoadedModel, guidance: RgasSettings) -> GuidedSampler:
    discriminator = load_discriminator(
        cast(Denoiser, model.denoiser), model.extras["discriminator"]
    )
    return GuidedSampler(predictor, discriminator, guidance)


ENTRY = SamplerKind(
    "rgas",
    _build,
    has_published_grid=False,
    settings=RgasSettings,
    needs=("discriminator",),
    found_in="a student distilled with method=didi",
)
