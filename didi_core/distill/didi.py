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

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from didi_core.data.batches import TokenBatch, mean_or_zero
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.distill.didi_loss import Judgement, Times, discriminator_loss, judge, student_loss
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.distributed_mean import all_reduce_metrics, share_of_mean
from didi_core.distill.method import MethodEntry
from didi_core.distill.optimizers import phase_length
from didi_core.distill.passes import Pass
from didi_core.distill.reference import GroupedReference, ReferenceBatch
from didi_core.distill.rollout import ReverseStep, all_masked, reverse_step
from didi_core.distill.student import DistilledStudent
from didi_core.models.denoiser import Denoiser
from didi_core.models.discriminator import Discriminator, save_discriminator


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


class DidiInstruct(DistilledStudent):
    """Owns the discriminator beside student and teacher."""

    settings: DidiSettings
    graphs = 3  # two reverse steps of the student, and the discriminator's forward

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


ENTRY = MethodEntry(
    "didi",
    DidiSettings,
    DidiInstruct,
    summary="DiDi-Instruct: rewarded for what a discriminator takes for a reference",
)
