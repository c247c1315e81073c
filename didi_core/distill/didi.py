"""DiDi-Instruct (arXiv 2509.25035): distillation by a discriminator's log density ratio.

One step: draw tau; let the student take its reverse steps; mask its samples and the references at
tau; update the discriminator; reward the samples with its logits; update the student by the score
function, weighted by omega / pi, with a divergence from the teacher and an entropy bonus.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from didi_core.data.batches import TokenBatch, mean_or_zero
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.distill import terms
from didi_core.distill.didi_credit import Judgement, MaskedState, judge
from didi_core.distill.didi_loss import student_loss
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.didi_times import Times
from didi_core.distill.distributed_mean import all_reduce_metrics, share_of_mean
from didi_core.distill.method import MethodEntry
from didi_core.distill.optimizers import phase_length
from didi_core.distill.reference import GroupedReference
from didi_core.distill.rollout import ReverseStep, all_masked, reverse_step
from didi_core.distill.student import DistilledStudent
from didi_core.models.denoiser import Denoiser
from didi_core.models.discriminator import Discriminator, save_discriminator


class DidiInstruct(DistilledStudent):
    """Beside student and teacher it owns the discriminator."""

    settings: DidiSettings
    graphs = 3  # two reverse steps of the student, and the discriminator's

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
        fabric = self.fabric
        reference = self.reference.batch(step, fabric.global_rank, fabric.world_size)
        batch, rows = reference.batch.to(fabric.device), reference.rows.to(fabric.device)
        tau = self.times.draw(step, rows)
        reverse = self.roll_out(batch, rows, tau, step)
        # Not coupled: masked anew at times of their own, shared by a group as tau is.
        coupled = self.settings.coupled_time
        time = tau if coupled else self.times.draw(step, rows, Stream.REDRAW)
        fake = self.mask_at(batch.with_tokens(reverse[-1].after), time, rows, step, side=0)
        real = self.mask_at(batch, time, rows, step, side=1)
        figures = self._update_discriminator(batch, real, fake, step, steps)
        if step >= phase_length(self.settings.discriminator_warmup, steps):
            judged = self.judge(batch, fake)
            loss, parts = self.student_loss(batch, reverse, judged.advantage, time)
            share = share_of_mean(fabric, len(batch))
            parts["reward"] = float(judged.reward.mean())
            figures |= {name: share * each for name, each in parts.items()}
            figures["gradient_norm"] = self.update_student(share * loss, step, steps)
        return all_reduce_metrics(fabric, figures)

    def roll_out(
        self, batch: TokenBatch, rows: Int[Tensor, "batch"], tau: Float[Tensor, "batch"], step: int
    ) -> list[ReverseStep]:
        """All-mask to z_tau to x, or in one step where score decomposition is off (step 2)."""
        alpha_end = 1.0 - self.settings.end_time
        alpha_tau = self.process.schedule.alpha(tau)
        student = self.student_predictor()
        state = batch.with_tokens(all_masked(batch, self.vocabulary.mask_id))
        mask_id, key = self.vocabulary.mask_id, (self.seed, rows, step)
        if not self.settings.score_decomposition:
            reveal = torch.full_like(tau, alpha_end)
            return [reverse_step(student, state, mask_id, reveal, *key, index=0, share=True)]
        first = reverse_step(student, state, mask_id, alpha_tau, *key, index=0, share=True)
        reveal = (alpha_end - alpha_tau).clamp_min(0) / (1.0 - alpha_tau)
        middle = batch.with_tokens(first.after)
        return [first, reverse_step(student, middle, mask_id, reveal, *key, index=1)]

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
        at = [real.masked, fake.masked]
        lengths = torch.cat([batch.lengths, batch.lengths])
        tokens = torch.cat([real.tokens, fake.tokens])
        logits = self.discriminator.logits_at(tokens, lengths, torch.cat(at))
        sizes = [int(each.sum()) for each in at]
        shares = (share_of_mean(self.fabric, sizes[0]), share_of_mean(self.fabric, sizes[1]))
        sides = logits.split(sizes)
        smoothing = self.settings.label_smoothing
        loss = terms.discriminator_loss(sides[0], sides[1], smoothing, shares)
        self.discriminator.update(loss, step, steps)
        right = [mean_or_zero((sides[0] > 0).float()), mean_or_zero((sides[1] < 0).float())]
        return {
            "discriminator_loss": float(loss.detach()),
            "discriminator_right": float(shares[0] * right[0] + shares[1] * right[1]) / 2,
        }

    @torch.no_grad()
    def judge(self, batch: TokenBatch, fake: MaskedState) -> Judgement:
        """What the updated discriminator makes of the student's samples (step 5)."""
        discriminator = self.discriminator.module
        discriminator.eval()
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
        """See `didi_loss.student_loss`; `time` is that of the states that were judged."""
        weight = self.times.weight(time)
        return student_loss(
            self.settings, batch, reverse, advantage, weight, self.teacher_log_probs
        )

    def extra_weights(self) -> dict[str, Callable[[Path], None]]:
        return {"discriminator": partial(save_discriminator, self.discriminator.whole())}


ENTRY = MethodEntry("didi", DidiSettings, DidiInstruct)
