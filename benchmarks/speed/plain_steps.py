"""Whole training steps in the plain form, on the networks and optimisers of a method of ours."""

import torch

from benchmarks.speed.plain_distill import (
    LogProbs,
    didi_advantage,
    didi_discriminator_loss,
    didi_loss,
    dmmd_losses,
    full_log_probs,
    plain_reverse,
)
from didi_core.data.batches import TokenBatch
from didi_core.distill.didi import DidiInstruct
from didi_core.distill.dmmd import MomentMatching
from didi_core.distill.rollout import all_masked
from didi_core.distill.updates import Trained


def plain_didi_step(method: DidiInstruct, step: int, steps: int) -> None:
    """METHODS 2, steps 1 to 8, with one tau a group."""
    reference = method.reference.batch(step)
    batch, rows = reference.batch.to(method.fabric.device), reference.rows.to(method.fabric.device)
    mask_id, maskable = method.vocabulary.mask_id, batch.maskable
    tau = method.times.draw(step, rows)
    with method.fabric.autocast():
        student, teacher = _pair(method, batch)
        first = plain_reverse(student, all_masked(batch, mask_id), maskable, mask_id, 1 - tau)
        rest = 1 - method.settings.end_time / tau
        second = plain_reverse(student, first.after, maskable, mask_id, rest)
        real, fake = (
            tokens.masked_fill(
                (torch.rand_like(tau[:, None].expand(tokens.shape)) < tau[:, None]) & maskable,
                mask_id,
            )
            for tokens in (batch.tokens, second.after)
        )
        masked = ((real == mask_id) & maskable, (fake == mask_id) & maskable)
        judge = method.discriminator.module
        loss = didi_discriminator_loss(
            _judged(judge, real, batch),
            _judged(judge, fake, batch),
            masked,
            method.settings.label_smoothing,
        )
    _update(method.discriminator, loss, step, steps)
    with method.fabric.autocast():
        with torch.no_grad():
            advantage = didi_advantage(_judged(judge, fake, batch), masked[1], method.settings)
        weight = method.times.weight(tau)
        networks = (student, teacher)
        loss = didi_loss(
            method.settings, batch, [first, second], advantage, weight, networks, mask_id
        )
    _update(method.student, loss, step, steps)
    method.ema.update(method.student.module)


def plain_dmmd_step(method: MomentMatching, step: int, steps: int) -> None:
    """METHODS 2b: a reverse step, the auxiliary's update, then the student's."""
    reference = method.reference.batch(step)
    batch, rows = reference.batch.to(method.fabric.device), reference.rows.to(method.fabric.device)
    mask_id = method.vocabulary.mask_id
    t, s = method.draw_times(step, rows)
    noise = torch.rand(batch.tokens.shape, device=t.device) < t[:, None]
    noised = batch.tokens.masked_fill(noise & batch.maskable, mask_id)
    with method.fabric.autocast():
        student, teacher = _pair(method, batch)
        auxiliary = full_log_probs(method.auxiliary.module, batch.lengths, method.vocabulary)
        reverse = plain_reverse(student, noised, batch.maskable, mask_id, 1 - s / t)
        still = (reverse.after == mask_id) & batch.maskable
        own = student(noised)
        with torch.no_grad():
            expected, before = teacher(reverse.after), auxiliary(reverse.after)
        after = auxiliary(reverse.after)
        loss, _ = dmmd_losses(own, after, expected, still, method.weight(s))
        _, matching = dmmd_losses(own, before, expected, still, method.weight(s))
    _update(method.auxiliary, loss, step, steps)
    _update(method.student, matching, step, steps)
    method.ema.update(method.student.module)


def _update(network: Trained, loss: torch.Tensor, step: int, steps: int) -> None:
    network.clear()
    network.backward(loss)
    network.update(step, steps)


def _pair(method: DidiInstruct | MomentMatching, batch: TokenBatch) -> tuple[LogProbs, LogProbs]:
    """Student and teacher as they see the whole batch."""
    networks = (method.student.module, method.teacher)
    student, teacher = (full_log_probs(n, batch.lengths, method.vocabulary) for n in networks)
    return student, teacher


def _judged(judge: torch.nn.Module, tokens: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """The discriminator's logits at all positions."""
    return judge.output_layer(judge.trunk.trunk(tokens, batch.lengths)).float()
