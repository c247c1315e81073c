"""DiDi-Instruct (arXiv 2509.25035): distillation by a discriminator's log density ratio.

One step: draw tau; let the student take its reverse steps; mask its samples and the references at
tau; update the discriminator; reward the samples with its logits; update the student by the score
function, weighted by omega / pi, with a divergence from the teacher and an entropy bonus.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from lightning.fabric import Fabric
from torch import Tensor, nn

from didi_core.batches import TokenBatch
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.draws import Stream, keyed_generator, keyed_uniform
from didi_core.diffusion.schedules import LogLinearSchedule
from didi_core.distill import terms
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.reference import GroupedReference
from didi_core.distill.rollout import ReverseStep, all_masked, reverse_step
from didi_core.distill.updates import Trained
from didi_core.distill.whole_batch import share_of_mean, whole_figures
from didi_core.models.discriminator import Discriminator
from didi_core.models.ema import ExponentialMovingAverage
from didi_core.rows import mean_or_zero, row_mean, row_sum
from didi_core.sampling.predictor import Predictor
from didi_core.vocabulary import Vocabulary


@dataclass(frozen=True)
class MaskedState:
    """A state z'_tau and where it is masked."""

    tokens: Int[Tensor, "batch width"]
    masked: Bool[Tensor, "batch width"]


class DidiInstruct:
    """Owns the student, the frozen teacher and the discriminator."""

    def __init__(
        self,
        teacher: nn.Module,
        vocabulary: Vocabulary,
        reference: GroupedReference,
        settings: DidiSettings,
        seed: int,
    ) -> None:
        self.settings = settings
        self.seed = seed
        self.vocabulary = vocabulary
        self.reference = reference
        self.process = AbsorbingProcess(vocabulary.mask_id, LogLinearSchedule())
        self.teacher = teacher.eval().requires_grad_(False)
        student = copy.deepcopy(teacher).requires_grad_(True)
        # The head's fresh weights must not depend on what ran before.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            judge = Discriminator(teacher)
        judge.train_last_blocks(settings.discriminator_blocks)
        self.student = Trained(student, settings.student, forward_methods=("logits_at",))
        self.discriminator = Trained(judge, settings.discriminator, forward_methods=("logits_at",))
        self.ema = ExponentialMovingAverage(student, settings.ema)

    def setup(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.student.setup(fabric)
        self.discriminator.setup(fabric)
        self.teacher.to(fabric.device)
        self.ema.module.to(fabric.device)

    def step(self, step: int, steps: int) -> dict[str, float]:
        fabric = self.fabric
        reference = self.reference.batch(step, fabric.global_rank, fabric.world_size)
        batch, rows = reference.batch.to(fabric.device), reference.rows.to(fabric.device)
        tau = self.draw_tau(step, rows)
        reverse = self.roll_out(batch, rows, tau, step)
        # Not coupled: masked anew at times of their own, shared by a group as tau is.
        coupled = self.settings.coupled_time
        time = tau if coupled else self.draw_tau(step, rows, Stream.NOISE)
        fake = self.mask_at(batch.with_tokens(reverse[-1].after), time, rows, step, side=0)
        real = self.mask_at(batch, time, rows, step, side=1)
        figures = self._update_discriminator(batch, real, fake, step, steps)
        if step >= self.settings.discriminator_warmup:
            reward = self.reward(batch, fake)
            advantage = self.advantage(reward, judged=fake.masked.any(-1))
            figures |= self._update_student(batch, reverse, advantage, tau, step, steps)
            figures["reward"] = float(reward.mean()) * share_of_mean(fabric, len(batch))
        return whole_figures(fabric, figures)

    def draw_tau(
        self, step: int, rows: Int[Tensor, "batch"], stream: Stream = Stream.TIME
    ) -> Float[Tensor, "batch"]:
        """Times of the intermediate state, one a group or one a row (METHODS 2, step 1)."""
        keys = rows // self.settings.group_size if self.settings.share_tau else rows
        a, b = self.settings.tau_beta
        low, high = self.settings.tau_range
        if (a, b) == (1.0, 1.0):
            tau = keyed_uniform(self.seed, stream, step, keys, device=rows.device)
        else:
            # A Beta draw needs a generator; one per key keeps it independent of the batch.
            drawn = [self._draw_beta(a, b, stream, step, int(key)) for key in keys]
            tau = torch.tensor(drawn, device=rows.device)
        return tau.clamp(low, high).float()

    def _draw_beta(self, a: float, b: float, stream: Stream, step: int, key: int) -> float:
        seed = keyed_generator(self.seed, stream, step, key).initial_seed()
        return float(np.random.default_rng(seed).beta(a, b))

    def roll_out(
        self, batch: TokenBatch, rows: Int[Tensor, "batch"], tau: Float[Tensor, "batch"], step: int
    ) -> list[ReverseStep]:
        """All-mask to z_tau to x, or in one step where score decomposition is off (step 2)."""
        alpha_end = 1.0 - self.settings.end_time
        alpha_tau = self.process.schedule.alpha(tau)
        student = Predictor(self.student, self.vocabulary)
        state = batch.with_tokens(all_masked(batch, self.vocabulary.mask_id))
        key = (self.seed, rows, step)
        if not self.settings.score_decomposition:
            reveal = torch.full_like(tau, alpha_end)
            return [self._reverse(student, state, reveal, key, 0)]
        first = self._reverse(student, state, alpha_tau, key, 0)
        reveal = (alpha_end - alpha_tau).clamp_min(0) / (1.0 - alpha_tau)
        return [first, self._reverse(student, batch.with_tokens(first.after), reveal, key, 1)]

    def _reverse(
        self, student: Predictor, state: TokenBatch, reveal: Tensor, key: tuple, index: int
    ) -> ReverseStep:
        seed, rows, step = key
        return reverse_step(
            student, state, self.vocabulary.mask_id, reveal, seed, rows, step, index
        )

    def mask_at(
        self, batch: TokenBatch, time: Float[Tensor, "batch"], rows: Tensor, step: int, side: int
    ) -> MaskedState:
        """Samples or references masked at their row's time (step 3)."""
        position = torch.arange(batch.tokens.shape[1], device=rows.device)
        uniform = keyed_uniform(
            self.seed, Stream.CORRUPT, rows[:, None], position, step, side, device=rows.device
        )
        tokens = self.process.corrupt(batch.tokens, batch.maskable, time, uniform)
        return MaskedState(tokens, (tokens == self.vocabulary.mask_id) & batch.maskable)

    def _update_discriminator(
        self, batch: TokenBatch, real: MaskedState, fake: MaskedState, step: int, steps: int
    ) -> dict[str, float]:
        # One forward over both sides: spectral norm advances its power iteration once a step.
        judge = self.discriminator
        lengths = torch.cat([batch.lengths, batch.lengths])
        tokens = torch.cat([real.tokens, fake.tokens])
        logits = judge.logits_at(tokens, lengths, torch.cat([real.masked, fake.masked]))
        sizes = [int(real.masked.sum()), int(fake.masked.sum())]
        shares = (share_of_mean(self.fabric, sizes[0]), share_of_mean(self.fabric, sizes[1]))
        sides = logits.split(sizes)
        loss = terms.discriminator_loss(*sides, self.settings.label_smoothing, shares)
        self.discriminator.update(loss, step, steps)
        right = [mean_or_zero((sides[0] > 0).float()), mean_or_zero((sides[1] < 0).float())]
        return {
            "discriminator_loss": float(loss.detach()),
            "discriminator_right": float(shares[0] * right[0] + shares[1] * right[1]) / 2,
        }

    @torch.no_grad()
    def reward(self, batch: TokenBatch, fake: MaskedState) -> Float[Tensor, "batch"]:
        """One number a row, from the updated discriminator (step 5)."""
        judge = self.discriminator.module
        judge.eval()
        with self.fabric.autocast():
            logits = judge.logits_at(fake.tokens, batch.lengths, fake.masked)
        judge.train()
        row = fake.masked.nonzero()[:, 0]
        return terms.row_reward(logits, row, len(batch), self.settings.reward_clip)

    def advantage(
        self, reward: Float[Tensor, "batch"], judged: Bool[Tensor, "batch"]
    ) -> Float[Tensor, "batch"]:
        """What the score function weighs each row by: its reward, normalised where that is on."""
        if not self.settings.group_normalise:
            return reward
        return terms.grouped_advantage(
            reward, self.settings.group_size, self.settings.advantage_clip, judged
        )

    def weight(self, tau: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """omega(tau) / pi(tau), each where it is switched on (step 6)."""
        weight = torch.ones_like(tau)
        if self.settings.use_omega:
            weight = weight * self.process.schedule.weight(tau).clamp(*self.settings.omega_range)
        if self.settings.use_pi:
            weight = weight / terms.beta_density(tau, *self.settings.tau_beta)
        return weight

    def student_loss(
        self,
        batch: TokenBatch,
        reverse: list[ReverseStep],
        advantage: Float[Tensor, "batch"],
        tau: Float[Tensor, "batch"],
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """Score-function loss, divergence from the teacher and entropy bonus (steps 5 to 7)."""
        num_rows, settings = len(batch), self.settings
        log_prob = sum(row_sum(s.drawn_log_prob(), s.row, num_rows) for s in reverse)
        if settings.reduce_log_prob == "mean":
            log_prob = log_prob / batch.maskable.sum(-1)
        policy = -(self.weight(tau) * advantage * log_prob).mean()
        strengths = (settings.kl_start, settings.kl_middle)
        divergence = [self._divergence(batch, s, num_rows) for s in reverse]
        regulariser = sum(c * d for c, d in zip(strengths, divergence, strict=False))
        entropies = [row_mean(terms.entropy(s.log_probs), s.row, num_rows).mean() for s in reverse]
        entropy = sum(entropies) / len(entropies)
        loss = policy + regulariser - settings.entropy_bonus * entropy
        return loss, {
            "policy_loss": float(policy.detach()),
            "kl_to_teacher": float(sum(divergence).detach()) / len(divergence),
            "entropy": float(entropy.detach()),
        }

    def _divergence(self, batch: TokenBatch, step: ReverseStep, num_rows: int) -> Tensor:
        """Mean over rows of the mean over masked positions, in nats."""
        with torch.no_grad(), self.fabric.autocast():
            predictor = Predictor(self.teacher, self.vocabulary)
            teacher = predictor.log_probs(step.before, batch.lengths, step.masked)
        each = terms.divergence(
            step.log_probs, teacher, self.settings.kl_kind, self.settings.kl_beta
        )
        return row_mean(each, step.row, num_rows).mean()

    def _update_student(
        self,
        batch: TokenBatch,
        reverse: list[ReverseStep],
        advantage: Float[Tensor, "batch"],
        tau: Float[Tensor, "batch"],
        step: int,
        steps: int,
    ) -> dict[str, float]:
        loss, figures = self.student_loss(batch, reverse, advantage, tau)
        share = share_of_mean(self.fabric, len(batch))
        norm = self.student.update(share * loss, step, steps)
        self.ema.update(self.student.module)
        return {**{name: share * each for name, each in figures.items()}, "gradient_norm": norm}

    def result(self) -> nn.Module:
        return self.ema.module

    def state_dict(self) -> dict[str, Any]:
        return {
            "student": self.student.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "ema": self.ema.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.student.load_state_dict(state["student"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.ema.load_state_dict(state["ema"])
