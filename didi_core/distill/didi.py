"""DiDi-Instruct (arXiv 2509.25035): distillation by a discriminator's log density ratio.

One step (numbers as in METHODS 2, which the settings and the comments below refer to):

1. draw tau, one a group of rows of equal length;
2. let the student take its reverse steps, from all-mask by way of z_tau to x;
3. mask its samples and the references at tau;
4. update the discriminator, which tells the two apart at masked positions;
5. reward each sample by the discriminator's mean log-odds, and compare within groups;
6. weigh by omega(tau) / pi(tau);
7. update the student by the score function, with a divergence from the teacher and a bonus for
   entropy.

The reward belongs to a row, not to a token: every position sees the whole state under one label, so
that the best log-odds are the same everywhere, and no position's say more of one token than of
another. Defaults are ours; `preset=paper` (configs/preset/paper.yaml) holds the published ones.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from didi_core.data.batches import TokenBatch, mean_or_zero, segment_mean, segment_sum
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.draws import Stream, keyed_generator, keyed_uniform
from didi_core.diffusion.schedules import LogLinearSchedule
from didi_core.distill import terms
from didi_core.distill.distributed_mean import all_reduce_metrics, share_of_mean
from didi_core.distill.method import MethodEntry
from didi_core.distill.optimizers import OptimizerSettings, phase_length
from didi_core.distill.passes import Pass
from didi_core.distill.reference import GroupedReference, ReferenceBatch
from didi_core.distill.rollout import ReverseStep, all_masked, reverse_step
from didi_core.distill.student import DistilledStudent
from didi_core.models.denoiser import Denoiser
from didi_core.models.discriminator import Discriminator, save_discriminator
from didi_core.models.noise import NoiseSettings
from didi_core.number_checks import (
    decay_errors,
    fraction_errors,
    negative_errors,
    positive_errors,
    positive_int_errors,
    range_errors,
)


@dataclass
class DidiSettings:
    """Settings of the steps above (DiDi-Instruct, arXiv 2509.25035)."""

    # Step 1: tau, one a group.
    group_size: int = 4
    """Samples that share tau and length, over which rewards are normalised."""
    tau_beta: tuple[float, float] = (1.0, 1.0)
    """tau is drawn from this Beta distribution."""
    tau_range: tuple[float, float] = (0.02, 0.98)
    """It is clamped to this range."""
    share_tau: bool = True
    """One tau a group; the released code draws one a row."""
    # Step 2: the student's reverse steps.
    score_decomposition: bool = True
    """Two reverse steps, by way of z_tau; else one, from all-mask to x."""
    end_time: float = 1e-3
    """Time at which the last reverse step ends."""
    # Step 3: masking.
    coupled_time: bool = True
    """Re-mask x at the same tau; else at a time of its own."""
    # Step 4: the discriminator.
    label_smoothing: float = 0.1
    """Of the discriminator's labels."""
    discriminator_blocks: int = 4
    """Last blocks of the discriminator that train; all where there are fewer."""
    discriminator_warmup: int = 0
    """Updates of the discriminator alone before the student moves."""
    # Step 5: rewards.
    reward_clip: float = 8.0
    """Bound on the discriminator's log-odds."""
    group_normalise: bool = True
    """Normalise rewards within groups; else use them as they are."""
    group_deviation: str = "population"
    """Divisor of a group's variance: population, G; sample, G - 1 as torch's `std` and code
    that normalises rewards so has it."""
    advantage_clip: float = 3.0
    """Bound on the normalised reward."""
    # Step 6: weights.
    use_omega: bool = True
    """Weight by omega(tau) = -alpha'(tau) / (1 - alpha(tau))."""
    omega_range: tuple[float, float] = (0.1, 10.0)
    """Bounds on omega."""
    use_pi: bool = True
    """Divide by the density of tau."""
    # Step 7: the student's update.
    kl_kind: str = "jeffreys"
    """forward, backward or jeffreys divergence of the student."""
    kl_beta: float = 0.5
    """Share of the backward divergence in jeffreys."""
    kl_start: float = 0.01
    """Weight of the divergence from the teacher at the all-mask state."""
    kl_middle: float = 0.01
    """Weight of the divergence from the teacher at z_tau."""
    entropy_bonus: float = 0.0005
    """Weight of the entropy of the student's predictions."""
    reduce_log_prob: str = "mean"
    """Log-probability of a sample: mean over its tokens, or sum as published."""
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    student: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(lr=3e-5, warmup_steps=20, clip_norm=0.5)
    )
    discriminator: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(lr=1e-4, warmup_steps=20, clip_norm=1.0)
    )
    """The discriminator's optimiser."""
    ema: float = 0.999

    def problems(self) -> list[str]:
        """Return what is wrong with the values, each with the setting's name."""
        wrong = self.noise.problems()
        if self.kl_kind not in ("forward", "backward", "jeffreys"):
            wrong.append(f"kl_kind={self.kl_kind} must be forward, backward or jeffreys")
        if self.reduce_log_prob not in ("mean", "sum"):
            wrong.append(f"reduce_log_prob={self.reduce_log_prob} must be mean or sum")
        if self.group_deviation not in ("population", "sample"):
            wrong.append(f"group_deviation={self.group_deviation} must be population or sample")
        return wrong + positive_int_errors(self, "group_size") + self._range_problems()

    def _range_problems(self) -> list[str]:
        wrong = positive_errors(self, "reward_clip", "advantage_clip")
        wrong += negative_errors(self, "discriminator_blocks", "discriminator_warmup")
        wrong += negative_errors(self, "kl_start", "kl_middle")
        wrong += fraction_errors(self, "kl_beta") + decay_errors(self, "end_time")
        wrong += range_errors(self, "tau_range", 0, 1) + range_errors(
            self, "omega_range", 0, math.inf
        )
        if any(each in (0, 1) for each in self.tau_range):
            wrong.append(f"tau_range={list(self.tau_range)} must leave out 0 and 1 themselves")
        if len(self.tau_beta) != 2 or not all(0 < each < math.inf for each in self.tau_beta):
            wrong.append(f"tau_beta={list(self.tau_beta)} must be two numbers above 0")
        if not 0 <= self.label_smoothing < 0.5:  # at a half both sides have one label
            wrong.append(f"label_smoothing={self.label_smoothing:g} must be in [0, 0.5)")
        return wrong


@dataclass(frozen=True)
class MaskedState:
    """Holds a state z'_tau and where it is masked."""

    tokens: Int[Tensor, "batch width"]
    masked: Bool[Tensor, "batch width"]


@dataclass(frozen=True)
class Rollout:
    """Holds the student's samples of a pass, and how they are shown to the discriminator."""

    reverse: list[ReverseStep]
    time: Float[Tensor, "batch"]
    """At which samples and references are masked."""
    fake: MaskedState
    """The samples, masked."""


@dataclass(frozen=True)
class Judgement:
    """Holds what the student's samples are worth."""

    advantage: Float[Tensor, "batch"]
    """Weight of each row's log-probability; a constant to the gradient."""
    reward: Float[Tensor, "batch"]
    """Mean clipped log-odds of each row."""


class DidiInstruct(DistilledStudent):
    """Owns the discriminator beside student and teacher."""

    settings: DidiSettings
    graphs = 3  # two reverse steps of the student, and the discriminator's forward
    repeated = 2  # the two reverse steps, for the discriminator

    def __init__(
        self,
        teacher: nn.Module,
        vocabulary: Vocabulary,
        reference: GroupedReference,
        settings: DidiSettings,
        seed: int,
    ) -> None:
        super().__init__(teacher, vocabulary, reference, settings, seed)
        self.process = AbsorbingProcess(vocabulary.mask_id)
        self.times = Times(settings, self.process.schedule, seed)
        # The head's fresh weights must not depend on what ran before.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            discriminator = Discriminator(cast(Denoiser, teacher))
        discriminator.train_last_blocks(settings.discriminator_blocks)
        self.discriminator = self.train_beside(
            "discriminator", discriminator, settings.discriminator
        )

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Update the discriminator, then the student; return the metrics of the whole batch."""
        # The one pass of an undivided update leaves its rollout, with its graph, to the student.
        kept: list[Rollout] = []
        self.discriminator.module.output_layer.train()
        discriminate = partial(self._discriminate, step=step, kept=kept)
        figures = self.accumulate([self.discriminator], step, discriminate)
        self.discriminator.update(step, steps)
        # At first the discriminator may train alone: rewards of an untrained one are noise.
        if step >= phase_length(self.settings.discriminator_warmup, steps):
            learn = partial(self._learn, step=step, kept=kept)
            figures |= self.accumulate([self.student], step, learn)
            figures["gradient_norm"] = self.update_student(step, steps)
        return all_reduce_metrics(self.fabric, figures)

    def _discriminate(self, part: ReferenceBatch, step: int, kept: list[Rollout]) -> Pass:
        """Tell a pass's references and samples apart (step 4)."""
        kept.clear()
        # Of several passes each rolls out again for the student: their graphs would not fit.
        with torch.set_grad_enabled(part.num_passes == 1):
            rollout = self.rollout(part, step)
        if part.num_passes == 1:
            kept.append(rollout)
        real = self.mask_at(part.batch, rollout.time, part.rows, step, side=1)
        fake = rollout.fake
        del rollout  # all passes wait here at once: a law at every position of each would not fit
        whole = yield [int(real.masked.sum()), int(fake.masked.sum())]
        return self.discriminate(part.batch, real, fake, whole)

    def _learn(self, part: ReferenceBatch, step: int, kept: list[Rollout]) -> Pass:
        """Reward a pass's samples and follow them (steps 5 to 7)."""
        batch = part.batch
        (whole,) = yield [len(batch)]
        rollout = kept.pop() if kept and part.num_passes == 1 else self.rollout(part, step)
        judged = self.judge(batch, rollout.fake)
        loss, parts = self.student_loss(batch, rollout.reverse, judged.advantage, rollout.time)
        share = share_of_mean(self.fabric, len(batch), whole)  # the loss is a mean over rows
        parts["reward"] = float(judged.reward.mean())
        self.student.backward(share * loss)
        return {name: share * each for name, each in parts.items()}

    def rollout(self, part: ReferenceBatch, step: int) -> Rollout:
        """Draw the student's samples, and mask them at tau (steps 1 to 3)."""
        batch, rows = part.batch, part.rows
        tau = self.times.draw(step, rows)
        reverse = self.roll_out(batch, rows, tau, step)
        # Not coupled: masked anew at times of their own, shared by a group as tau is.
        coupled = self.settings.coupled_time
        time = tau if coupled else self.times.draw(step, rows, Stream.REDRAW)
        fake = self.mask_at(batch.with_tokens(reverse[-1].after), time, rows, step, side=0)
        return Rollout(reverse, time, fake)

    def roll_out(
        self, batch: TokenBatch, rows: Int[Tensor, "batch"], tau: Float[Tensor, "batch"], step: int
    ) -> list[ReverseStep]:
        """Go from all-mask to z_tau to x, or in one step without score decomposition (step 2)."""
        alpha_end = 1.0 - self.settings.end_time
        alpha_tau = self.process.schedule.alpha(tau)
        student = self.student_predictor()
        state = batch.with_tokens(all_masked(batch, self.vocabulary.mask_id))
        mask_id, key = self.vocabulary.mask_id, (self.seed, rows, step)
        # From alpha = 0 a position is revealed with probability (alpha_s - 0) / (1 - 0) = alpha_s.
        if not self.settings.score_decomposition:
            reveal = torch.full_like(tau, alpha_end)
            return [reverse_step(student, state, mask_id, reveal, *key, index=0, share=True)]
        first = reverse_step(student, state, mask_id, alpha_tau, *key, index=0, share=True)
        # From z_tau to the end: (alpha_s - alpha_t) / (1 - alpha_t); 0 where tau lies past the end.
        reveal = (alpha_end - alpha_tau).clamp_min(0) / (1.0 - alpha_tau)
        middle = batch.with_tokens(first.after)
        return [first, reverse_step(student, middle, mask_id, reveal, *key, index=1)]

    def mask_at(
        self, batch: TokenBatch, time: Float[Tensor, "batch"], rows: Tensor, step: int, side: int
    ) -> MaskedState:
        """Mask samples or references at their row's time (step 3).

        Args:
            side: 0 for samples, 1 for references: part of the key, so that they do not share masks.
        """
        position = torch.arange(batch.tokens.shape[1], device=rows.device)
        uniform = keyed_uniform(
            self.seed, Stream.CORRUPT, rows[:, None], position, step, side, device=rows.device
        )
        tokens = self.process.corrupt(batch.tokens, batch.maskable, time, uniform)
        return MaskedState(tokens, (tokens == self.vocabulary.mask_id) & batch.maskable)

    def discriminate(
        self, batch: TokenBatch, real: MaskedState, fake: MaskedState, whole: list[int]
    ) -> dict[str, float]:
        """Go backward from both sides (step 4); return the loss, and the share that it has right.

        Args:
            whole: masked positions of each side in the whole update.
        """
        # One forward over both sides, and of several passes the first alone: spectral norm advances
        # its power iteration once a step.
        at = [real.masked, fake.masked]
        lengths = torch.cat([batch.lengths, batch.lengths])
        tokens = torch.cat([real.tokens, fake.tokens])
        logits = self.discriminator.logits_at(tokens, lengths, torch.cat(at))
        self.discriminator.module.output_layer.eval()
        sizes = [int(each.sum()) for each in at]
        shares = (
            share_of_mean(self.fabric, sizes[0], whole[0]),
            share_of_mean(self.fabric, sizes[1], whole[1]),
        )
        sides = logits.split(sizes)
        smoothing = self.settings.label_smoothing
        loss = discriminator_loss(sides[0], sides[1], smoothing, shares)
        self.discriminator.backward(loss)
        # Right: positive logits at references, negative ones at samples; a half each.
        right = [mean_or_zero((sides[0] > 0).float()), mean_or_zero((sides[1] < 0).float())]
        return {
            "discriminator_loss": float(loss.detach()),
            "discriminator_right": float(shares[0] * right[0] + shares[1] * right[1]) / 2,
        }

    @torch.no_grad()
    def judge(self, batch: TokenBatch, fake: MaskedState) -> Judgement:
        """Return what the updated discriminator makes of the student's samples (step 5)."""
        discriminator = self.discriminator.module
        discriminator.eval()  # a judge's spectral norm must not move its power iteration
        with self.fabric.autocast():
            logits = discriminator.logits_at(fake.tokens, batch.lengths, fake.masked)
        discriminator.train()
        return judge(self.settings, logits, fake.masked)

    def student_loss(
        self,
        batch: TokenBatch,
        reverse: list[ReverseStep],
        advantage: Float[Tensor, "batch"],
        time: Float[Tensor, "batch"],
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """Return the loss and its parts as metrics; `time` is that of the states judged."""
        weight = self.times.weight(time)
        return student_loss(
            self.settings, batch, reverse, advantage, weight, self.teacher_log_probs
        )

    def extra_weights(self) -> dict[str, Callable[[Path], None]]:
        return {"discriminator": partial(save_discriminator, self.discriminator.whole())}


@dataclass(frozen=True)
class Times:
    """Draws when samples and references are masked, and says how much each time counts."""

    settings: DidiSettings
    schedule: LogLinearSchedule
    seed: int

    def draw(
        self, step: int, rows: Int[Tensor, "batch"], stream: Stream = Stream.TIME
    ) -> Float[Tensor, "batch"]:
        """Draw tau, one a group or one a row (step 1); keyed by step and group or row."""
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

    def weight(self, tau: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """Return omega(tau) / pi(tau), each where it is switched on (step 6).

        The objective is an integral over tau weighted by omega; tau is drawn from pi, so that the
        estimate divides by its density.
        """
        weight = torch.ones_like(tau)
        if self.settings.use_omega:
            weight = weight * self.schedule.weight(tau).clamp(*self.settings.omega_range)
        if self.settings.use_pi:
            weight = weight / beta_density(tau, *self.settings.tau_beta)
        return weight


def beta_density(tau: Float[Tensor, "n"], a: float, b: float) -> Float[Tensor, "n"]:
    """Return the density pi(tau) of Beta(a, b): tau^(a-1) (1-tau)^(b-1) / B(a, b)."""
    log_norm = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return ((a - 1) * tau.log() + (b - 1) * (1 - tau).log() - log_norm).exp()


def discriminator_loss(
    reference: Float[Tensor, "m"],
    student: Float[Tensor, "n"],
    label_smoothing: float,
    shares: tuple[float, float] = (1.0, 1.0),
) -> Float[Tensor, ""]:
    """Return binary cross-entropy with labels 1 - s (reference) and s (student) (step 4).

    The mean of the two sides, however many masked positions each has.

    Args:
        label_smoothing: s.
        shares: of this process in the mean of each side (`share_of_mean`).
    """

    def side(logits: Tensor, label: float) -> Tensor:
        if not len(logits):
            return logits.sum()  # 0 that hangs on the graph: the other processes wait for gradients
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    real, fake = side(reference, 1 - label_smoothing), side(student, label_smoothing)
    return 0.5 * (shares[0] * real + shares[1] * fake)


def row_reward(
    logits: Float[Tensor, "n"], row: Int[Tensor, "n"], num_rows: int, clip: float
) -> Float[Tensor, "rows"]:
    """Return log-odds clipped to +-clip, averaged over each row's masked positions (step 5)."""
    return segment_mean(logits.clamp(-clip, clip), row, num_rows)


def judge(
    settings: DidiSettings, logits: Float[Tensor, "n"], masked: Bool[Tensor, "batch width"]
) -> Judgement:
    """Return rewards and advantages of rows (step 5).

    Args:
        logits: of the discriminator at the masked positions, in row-major order.
    """
    row = masked.nonzero()[:, 0]
    reward = row_reward(logits, row, len(masked), settings.reward_clip)
    return Judgement(advantage(settings, reward, masked.any(-1)), reward)


def advantage(
    settings: DidiSettings, reward: Float[Tensor, "batch"], judged: Bool[Tensor, "batch"]
) -> Float[Tensor, "batch"]:
    """Return rewards normalised within groups, where that is on; else as they are."""
    if not settings.group_normalise:
        return reward
    return grouped_advantage(
        reward,
        settings.group_size,
        settings.advantage_clip,
        judged,
        fewer=int(settings.group_deviation == "sample"),
    )


def grouped_advantage(
    reward: Float[Tensor, "rows"],
    group_size: int,
    clip: float,
    judged: Bool[Tensor, "rows"],
    fewer: int = 0,
    eps: float = 1e-6,
) -> Float[Tensor, "rows"]:
    """Return each reward less its group's mean, over the group's deviation, clipped (step 5).

    A group of equal rewards gets zeros. A row that is not `judged`, because nothing of it was
    masked, gets zero and does not count in its group.

    Args:
        fewer: the variance is divided by so many fewer than the group has rows: 0 is the
            population's, 1 the sample's.
    """
    # Rows of one group are adjacent: one line of the matrix each. `counted` is 1 or 0.
    groups, counted = reward.view(-1, group_size), judged.view(-1, group_size).to(reward)
    number = counted.sum(-1, keepdim=True).clamp_min(1)
    # Centred by the mean of the judged; rows that are not judged are put to 0, and so drop out.
    centred = (groups - (groups * counted).sum(-1, keepdim=True) / number) * counted
    variance = centred.square().sum(-1, keepdim=True) / (number - fewer).clamp_min(1)
    return (centred / (variance.sqrt() + eps)).clamp(-clip, clip).flatten()


TeacherLogProbs = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(tokens, lengths, at) to the teacher's log-probabilities where `at` is True."""


def student_loss(
    settings: DidiSettings,
    batch: TokenBatch,
    reverse: list[ReverseStep],
    advantage: Float[Tensor, "batch"],
    weight: Float[Tensor, "batch"],
    teacher: TeacherLogProbs,
) -> tuple[Float[Tensor, ""], dict[str, float]]:
    """Return the loss of steps 5 to 7, and its parts as metrics.

    Args:
        reverse: the student's reverse steps, with gradient.
        advantage: of each row.
        weight: omega / pi of each row.
    """
    num_rows = len(batch)
    # log p(x) of a row: over both reverse steps the log-probabilities of the tokens drawn (step 2).
    scored = advantage * sum(segment_sum(s.drawn_log_prob(), s.row, num_rows) for s in reverse)
    if settings.reduce_log_prob == "mean":
        scored = scored / batch.maskable.sum(-1)
    # Score function: d E[A] = E[A d log p]; the advantage carries no gradient.
    policy = -(weight * scored).mean()
    strengths = (settings.kl_start, settings.kl_middle)
    divergence = [_divergence(settings, batch, step, teacher) for step in reverse]
    # The first step starts all-mask, the second at z_tau; where there is one, the second drops out.
    regulariser = sum(c * d for c, d in zip(strengths, divergence, strict=False))
    entropies = [_mean_of_rows(s, terms.entropy(s.log_probs)) for s in reverse]
    entropy = cast(Tensor, sum(entropies)) / len(entropies)
    loss = policy + regulariser - settings.entropy_bonus * entropy
    return loss, {
        "policy_loss": float(policy.detach()),
        "kl_to_teacher": float(sum(each.detach() for each in divergence)) / len(divergence),
        "entropy": float(entropy.detach()),
    }


def _divergence(
    settings: DidiSettings, batch: TokenBatch, step: ReverseStep, teacher: TeacherLogProbs
) -> Float[Tensor, ""]:
    """Return the divergence from the teacher: mean over rows of the mean over masks, in nats."""
    # The teacher, too, is called once on rows that are one input to the network.
    called = slice(None) if step.equal is None else step.equal.called
    expected = teacher(step.before[called], batch.lengths[called], step.masked[called])
    each = terms.divergence(step.log_probs, expected, settings.kl_kind, settings.kl_beta)
    return _mean_of_rows(step, each)


def _mean_of_rows(step: ReverseStep, entries: Float[Tensor, "entries"]) -> Float[Tensor, ""]:
    """Return the mean over rows of the mean over each row's masked positions."""
    return segment_mean(step.at_masked(entries), step.row, len(step.before)).mean()


ENTRY = MethodEntry(
    "didi",
    DidiSettings,
    DidiInstruct,
    summary="DiDi-Instruct: rewarded for what a discriminator takes for a reference",
)
