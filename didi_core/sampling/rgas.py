"""RGAS, the reward-guided ancestral sampler of DiDi-Instruct (arXiv 2509.25035).

First part: gradient tilting. The discriminator reads the student's soft distribution at masked
positions; the gradient of its logits with respect to the student's log-probabilities, clamped,
times h, is added to them before drawing. Second part: re-ranking. Candidates for the next state
are scored by the discriminator and one is drawn from the softmax of the scores. Not exact; costs
discriminator calls, counted apart.

All candidates of a step reveal the same positions, unless `candidate_positions=own`, as the
released code has it [1]_: then each reveals a masked position with the step's probability by a draw
of its own.

`compat=released` samples as the public checkpoint was, only to reproduce its figures. Student and
discriminator are told the true sigma, though they were trained with sigma 0; the mask is among what
the student may predict (no SUBS): it has a share of its softmax, of the discriminator's soft input
and of the gradient, and with the probability p of it a position is revealed with the probability
(1 - p)(a_s - a_t) / ((1 - p)(a_s - a_t) + 1 - a_s). Its times run from 1 to 1e-5 in K steps, with
alpha = 1 - (1 - 1e-3) t, and a step K + 1 reveals what is still masked. Candidates draw their own
positions and are scored by the sum over all positions, at the noise after the step; the last of the
K steps is re-ranked, too.

.. [1] github.com/haoyangzheng-ai/didi-instruct, `reward_guided_ancestral_step`: read for facts.
"""

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.data.batches import segment_mean
from didi_core.diffusion.draws import Stream, draw_categorical, keyed_uniform
from didi_core.errors import UserError
from didi_core.models.denoiser import Denoiser, told_the_time
from didi_core.models.discriminator import Discriminator, load_discriminator, soft_tokens
from didi_core.models.folder import LoadedModel
from didi_core.models.noise import NoiseKeys
from didi_core.sampling.drawing import draw_tokens
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import Prior, Sampled, SampleSettings
from didi_core.sampling.reveal import alpha_grid, ancestral_plan
from didi_core.sampling.sampler_spec import SamplerSpec

RELEASED_EPS = 1e-3
"""Of the released schedule, alpha = 1 - (1 - eps) t."""
RELEASED_END = 1e-5
"""Time at which the released steps end."""


def first_rerank_step(steps: int, rerank_share: float) -> int:
    """Return the number of steps before re-ranking: at least `rerank_share` of all re-rank.

    The subtraction forgives rounding: 10 steps times 0.9 are nine, not ten.
    """
    return steps - math.ceil(steps * rerank_share - 1e-9)


@dataclass(frozen=True)
class RgasSettings:
    """Settings of guidance. Published: h from 30 to 40, M = 4, switch at half of the steps."""

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
    rerank_positions: str = "auto"
    """masked: mean logit over positions still masked, times the number masked before the step (0
    where none is left); all: sum over every position of the sequence, as released; auto: masked, or
    all with compat=released."""
    candidate_positions: str = "auto"
    """shared: all candidates of a step reveal the same positions; own: each draws its own, as
    released; auto: shared, or own with compat=released."""
    compat: str = "none"
    """released: as the public checkpoint was sampled, without SUBS and with the true sigma."""

    @property
    def released(self) -> bool:
        """Tell whether to sample as the public checkpoint was."""
        return self.compat == "released"

    @property
    def scores_all(self) -> bool:
        """Tell whether candidates are scored over every position."""
        return self.rerank_positions == "all" or (self.rerank_positions == "auto" and self.released)

    @property
    def own_positions(self) -> bool:
        """Tell whether each candidate draws which positions it reveals."""
        return self.candidate_positions == "own" or (
            self.candidate_positions == "auto" and self.released
        )

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
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
        choices = {
            "rerank_positions": ("masked", "all", "auto"),
            "candidate_positions": ("shared", "own", "auto"),
            "compat": ("none", "released"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                wrong.append(f"{name}={getattr(self, name)} must be {' or '.join(allowed)}")
        return wrong


@dataclass(frozen=True)
class GuidedStep:
    """Describes one step of the grid, and what may be revealed in it."""

    number: int
    alpha_before: float
    """Share of tokens kept before the step."""
    alpha: float
    """and after it."""
    due: Bool[Tensor, "batch candidates width"]
    """Positions that each candidate may reveal; no others of it."""

    @property
    def asked(self) -> Bool[Tensor, "batch width"]:
        """Mark positions that any candidate may reveal."""
        return self.due.any(1)

    def rows(self, rows: Int[Tensor, "chosen"]) -> "GuidedStep":
        """Return the step of some of the rows."""
        return replace(self, due=self.due[rows])


@dataclass(frozen=True)
class GuidedSampler:
    """Samples ancestrally with a discriminator's guidance."""

    predictor: Predictor
    """Its vocabulary holds the mask among what can be generated where there is no SUBS."""
    discriminator: Discriminator
    guidance: RgasSettings = RgasSettings()

    def sample(self, prior: Prior, settings: SampleSettings) -> Sampled:
        """Fill the free positions of the prior; count the calls of each row."""
        assert settings.steps is not None
        tokens = prior.batch.tokens.clone()
        plan = ancestral_plan(prior, settings)
        calls = torch.zeros_like(prior.batch.lengths)
        judged = torch.zeros_like(calls)
        first_rerank = first_rerank_step(settings.steps, self.guidance.rerank_share)
        alphas = self.alphas(settings)
        for number in range(len(alphas) - 1):
            state = Prior(prior.batch.with_tokens(tokens), prior.records)
            due = self._due(state, plan, alphas, number, first_rerank, settings)
            step = GuidedStep(number, alphas[number], alphas[number + 1], due)
            rows = step.asked.any(-1).nonzero()[:, 0]
            if not len(rows):
                continue
            calls[rows] += 1
            part = Prior(state.batch.rows(rows), state.records[rows])
            if number < first_rerank:
                strength = self._tilt(number, first_rerank)
                tokens[rows] = self._tilted(part, step.rows(rows), strength, settings)
                judged[rows] += 1
            else:
                tokens[rows], cost = self._reranked(part, step.rows(rows), settings)
                judged[rows] += cost
        return Sampled(tokens, calls, judged)

    def num_steps(self, num_free: int, settings: SampleSettings) -> int:
        """Return the most calls that a row with so many free positions needs."""
        assert settings.steps is not None
        if self.guidance.own_positions:  # a call whose chosen candidate reveals nothing counts, too
            return settings.steps + self.guidance.released
        return min(settings.steps, num_free)

    def alphas(self, settings: SampleSettings) -> list[float]:
        """Return the share of tokens kept before the first step and after each."""
        even = alpha_grid(settings)
        if not self.guidance.released:
            return even
        times = [1.0 - (1.0 - RELEASED_END) * share for share in even]
        return [*(1.0 - (1.0 - RELEASED_EPS) * time for time in times), 1.0]

    def _due(
        self,
        state: Prior,
        plan: Int[Tensor, "batch width"],
        alphas: list[float],
        number: int,
        first_rerank: int,
        settings: SampleSettings,
    ) -> Bool[Tensor, "batch candidates width"]:
        """Return what each candidate of a step may reveal, before the network is asked.

        By the plan, or by draws of its own; a network that may predict the mask reveals less.
        """
        assert settings.steps is not None
        ranked = first_rerank <= number < settings.steps
        count = self.guidance.num_candidates if ranked else 1
        masked = self._masked(state, state.batch.tokens)[:, None]
        if not self.guidance.released and not (ranked and self.guidance.own_positions):
            return (masked & (plan == number)[:, None]).expand(-1, count, -1)
        before, after = alphas[number : number + 2]
        # With the mask's probability 0; a network that may predict it reveals a part of these.
        chance = (after - before) / (1.0 - before)
        each = [self._reveal_uniform(state, number, index, settings) for index in range(count)]
        return masked & (torch.stack(each, 1) < chance)

    def _reveal_uniform(
        self, part: Prior, number: int, index: int, settings: SampleSettings
    ) -> Float[Tensor, "batch width"]:
        """Return by what candidate `index` of a step decides which positions it reveals."""
        position = torch.arange(part.batch.tokens.shape[1], device=part.records.device)
        keys = (part.records[:, None], position, number, index)
        return keyed_uniform(settings.seed, Stream.REVEAL, *keys, device=position.device)

    def _tilt(self, step: int, num_tilted: int) -> float:
        start, end = self.guidance.tilt_start, self.guidance.tilt_end
        return start + (end - start) * step / max(1, num_tilted - 1)

    def _tilted(
        self, part: Prior, step: GuidedStep, strength: float, settings: SampleSettings
    ) -> Int[Tensor, "batch width"]:
        """Draw what is due from log p + h * clamped gradient."""
        tokens, lengths = part.batch.tokens, part.batch.lengths
        masked = self._masked(part, tokens)
        with torch.no_grad():
            keys = NoiseKeys(settings.seed, part.records, step.number)
            log_probs = self.predictor.log_probs(tokens, lengths, masked, keys, step.alpha_before)
        gradient = self.reward_gradient(tokens, lengths, masked, log_probs, step.alpha_before)
        clip = self.guidance.gradient_clip
        # p(x) exp(h g(x)), normalised: towards what the discriminator takes for a reference.
        tilted = (log_probs + strength * gradient.clamp(-clip, clip)).log_softmax(-1)
        return self._draw(part, step, masked, tilted, settings)

    def reward_gradient(
        self,
        tokens: Tensor,
        lengths: Tensor,
        masked: Bool[Tensor, "batch width"],
        log_probs: Tensor,
        alpha: float = 0.0,
    ) -> Float[Tensor, "masked generable"]:
        """Return the gradient of the logits summed over masks by the log-probabilities there."""
        with torch.enable_grad():
            # The discriminator reads soft tokens, so that its logits have a gradient by log p; each
            # position's law enters the logits of all others, hence one sum and one backward call.
            leaf = log_probs.detach().clone().requires_grad_(True)
            vocabulary = self.predictor.vocabulary
            soft = soft_tokens(leaf.log_softmax(-1), masked, vocabulary.generable, vocabulary.size)
            told = torch.full((len(tokens),), alpha, device=tokens.device)
            reward = self.discriminator.logits_at(tokens, lengths, masked, soft, told).sum()
            (gradient,) = torch.autograd.grad(reward, leaf)
        return gradient

    @torch.no_grad()
    def _reranked(
        self, part: Prior, step: GuidedStep, settings: SampleSettings
    ) -> tuple[Tensor, Int[Tensor, "batch"]]:
        """Pick a candidate by the softmax of scores; return what each row's scoring cost, too."""
        tokens, lengths = part.batch.tokens, part.batch.lengths
        count = step.due.shape[1]
        # Candidates share the noise: one call of the student serves them all.
        keys = NoiseKeys(settings.seed, part.records, step.number)
        at = step.asked
        log_probs = self.predictor.log_probs(tokens, lengths, at, keys, step.alpha_before)
        draw = [self._draw(part, step, at, log_probs, settings, index) for index in range(count)]
        candidates = torch.stack(draw, dim=1)
        picked, cost = candidates[:, 0].clone(), torch.zeros_like(lengths)
        # A row with nothing masked keeps its first candidate; the released code scores it, too.
        is_open = self._masked(part, candidates).flatten(1).any(-1) | self.guidance.released
        scored = is_open.nonzero()[:, 0]
        if count > 1 and len(scored):
            some = Prior(part.batch.rows(scored), part.records[scored])
            scores = self.scores(candidates[scored], some, step.alpha)
            uniform = keyed_uniform(
                settings.seed,
                Stream.CANDIDATE,
                some.records,
                2**20,
                step.number,
                device=tokens.device,
            )
            picked[scored] = candidates[scored, draw_categorical(scores, uniform)]
            cost[scored] = count
        return picked, cost

    @torch.no_grad()
    def scores(
        self, candidates: Int[Tensor, "batch candidates width"], part: Prior, alpha: float = 0.0
    ) -> Float[Tensor, "batch candidates"]:
        """Return the discriminator's score of each candidate (see `RgasSettings.rerank_positions`).

        Args:
            part: the state before the step.
            alpha: share of tokens kept after it.
        """
        batch, count, width = candidates.shape
        lengths = part.batch.lengths.repeat_interleave(count)
        if self.guidance.scores_all:
            position = torch.arange(width, device=lengths.device)
            at = position < lengths[:, None]
        else:
            at = self._masked(part, candidates).flatten(0, 1)
        told = torch.full((batch * count,), alpha, device=lengths.device)
        logits = self.discriminator.logits_at(candidates.flatten(0, 1), lengths, at, alpha=told)
        # Mean times count: over all positions their sum; else over those still masked, times the
        # number masked before the step, so that candidates that reveal differently compare.
        mean = segment_mean(logits, at.nonzero()[:, 0], batch * count)
        if self.guidance.scores_all:
            return (mean * at.sum(-1)).view(batch, count)
        before = self._masked(part, part.batch.tokens).sum(-1)
        return mean.view(batch, count) * before[:, None]

    def _masked(self, part: Prior, tokens: Int[Tensor, "..."]) -> Bool[Tensor, "..."]:
        """Mark where states [batch (candidates) width] are masked and to be filled."""
        free = part.batch.maskable
        free = free if tokens.ndim == free.ndim else free[:, None]
        return (tokens == self.predictor.vocabulary.mask_id) & free

    def _draw(
        self,
        part: Prior,
        step: GuidedStep,
        at: Bool[Tensor, "batch width"],
        log_probs: Float[Tensor, "at generable"],
        settings: SampleSettings,
        index: int = 0,
    ) -> Int[Tensor, "batch width"]:
        """Return the state of candidate `index` after drawing what it reveals.

        Args:
            at: where `log_probs` are of; all that is due lies in it.
        """
        written, mask = self._without_mask(log_probs)
        now = step.due[:, index]
        if mask is not None and step.alpha < 1:  # the last step reveals all there is
            # (1 - p) (a_s - a_t) / ((1 - p) (a_s - a_t) + 1 - a_s), p the mask's own probability:
            # the same number decides as for (a_s - a_t) / (1 - a_t), of which this is a part.
            kept = -torch.expm1(mask.double()) * (step.alpha - step.alpha_before)
            chance = torch.zeros(at.shape, dtype=kept.dtype, device=at.device)
            chance[at] = kept / (kept + 1.0 - step.alpha)
            now = now & (self._reveal_uniform(part, step.number, index, settings) < chance)
        row, position = now.nonzero(as_tuple=True)
        # Candidates differ by their keys.
        key, stream = step.number + (index << 32), Stream.CANDIDATE if index else Stream.TOKEN
        seed, record = settings.seed, part.records[row]
        rank = draw_tokens(written[now[at]], settings.draw, seed, record, position, key, stream)
        tokens = part.batch.tokens.clone()
        generable = self.predictor.vocabulary.generable
        generable = generable[generable != self.predictor.vocabulary.mask_id]
        tokens[row, position] = generable.to(rank.device)[rank]
        return tokens

    def _without_mask(self, log_probs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return log-probabilities given that it is not the mask, and that of the mask.

        The second is None where the network cannot predict it.
        """
        vocabulary = self.predictor.vocabulary
        rank = int(vocabulary.rank_of_id[vocabulary.mask_id])
        if rank < 0:
            return log_probs, None
        written = torch.cat([log_probs[:, :rank], log_probs[:, rank + 1 :]], -1)
        return written.log_softmax(-1), log_probs[:, rank]


def _build(predictor: Predictor, model: LoadedModel, guidance: RgasSettings) -> GuidedSampler:
    discriminator = load_discriminator(
        cast(Denoiser, model.denoiser), model.extras["discriminator"]
    )
    if guidance.released:
        if predictor.noise is not None:
            raise UserError(
                f"--sampler rgas(compat=released): --model {model.name} has a noise input, which "
                "the released sampler does not know: leave compat out."
            )
        predictor = without_subs(predictor)
        discriminator.trunk = told_the_time(discriminator.trunk)
    return GuidedSampler(predictor, discriminator, guidance)


def without_subs(predictor: Predictor) -> Predictor:
    """Return the predictor that is told the time, and may predict the mask."""
    vocabulary = predictor.vocabulary
    ids = tuple(sorted({*vocabulary.generable_ids, vocabulary.mask_id}))
    told = told_the_time(predictor.denoiser)
    return Predictor(told, replace(vocabulary, generable_ids=ids))


ENTRY = SamplerSpec(
    "rgas",
    _build,
    summary="guided by the discriminator of a method=didi student",
    calls="at most the steps, and the discriminator's beside",
    exact="no",
    has_published_grid=False,
    settings=RgasSettings,
    needs=("discriminator",),
    found_in="a student distilled with method=didi",
)
