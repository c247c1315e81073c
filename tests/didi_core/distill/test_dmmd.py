"""D-MMD: times, the student's step, what is compared where, and every switch."""

from dataclasses import replace

import pytest
import torch
from tiny_models import (
    FRAMED,
    MASK,
    check_every_setting_acts,
    cpu_fabric,
    framed_batch,
    same_weights,
    tiny_corpus,
    tiny_denoiser,
    weights_of,
)

from didi_core.distill.dmmd import DmmdSettings, MomentMatching, still_masked
from didi_core.distill.matching import auxiliary_loss
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.reference import GroupedReference
from didi_core.distill.rollout import on_policy_tokens
from didi_core.models.noise import NoiseSettings
from didi_core.sampling.predictor import Predictor

FAST = DmmdSettings(
    student=OptimizerSettings(lr=1e-2, warmup_steps=1),
    auxiliary=OptimizerSettings(lr=2e-2, warmup_steps=1),
    ema=0.5,
)


def method_with(settings: DmmdSettings = FAST, tokens: int = 1024) -> MomentMatching:
    reference = GroupedReference(tiny_corpus(200, low=3, high=12), FRAMED, 1, tokens, 20, seed=1)
    method = MomentMatching(tiny_denoiser(1), FRAMED, reference, settings, seed=3)
    method.setup(cpu_fabric())
    return method


@pytest.mark.parametrize(("steps", "exponent", "share"), [(8, 1.0, 0.0), (4, 2.0, 0.25)])
def test_times_go_back_by_at_most_one_step_of_the_student(
    steps: int, exponent: float, share: float
) -> None:
    settings = replace(FAST, student_steps=steps, reveal_exponent=exponent, start_share=share)
    t, s = method_with(settings).draw_times(0, torch.arange(4000))
    assert ((s <= t) & (s >= 0) & (t <= 1)).all()
    # Progress of the student's grid: alpha = progress ** exponent.
    before, after = ((1 - time.double()).clamp_min(0) ** (1 / exponent) for time in (t, s))
    back = after - before
    assert float(back.max()) <= 1 / steps + 1e-3
    whole = after < 1  # those the end of the grid did not cut short
    assert float(back[whole].mean()) == pytest.approx(0.5 / steps, rel=0.1)
    assert float((t == 1).double().mean()) == pytest.approx(share, abs=0.03)
    assert float(before[t < 1].mean()) == pytest.approx(0.5, abs=0.03)
    again = method_with(settings).draw_times(0, torch.tensor([17, 5]))
    assert torch.equal(again[0], t[[17, 5]]) and torch.equal(again[1], s[[17, 5]])


def test_the_student_s_step_starts_from_masked_references_and_ends_at_s() -> None:
    method = method_with(tokens=30_000)
    reference = method.reference.batch(0)
    batch, count = reference.batch, len(reference.rows)
    t, s = torch.full((count,), 0.8), torch.full((count,), 0.5)
    step = method.student_step(batch, reference.rows, t, s, key=0)
    masked = step.before == MASK
    assert torch.equal(step.before[~masked], batch.tokens[~masked])
    inside = int(batch.maskable.sum())
    assert int(masked.sum()) / inside == pytest.approx(0.8, abs=0.02)
    assert int((step.after == MASK).sum()) / inside == pytest.approx(0.5, abs=0.02)

    still = still_masked(step)
    assert torch.equal(still.at, step.after == MASK)
    # The student's probabilities of the state before, at the positions masked after.
    own = Predictor(method.student.module, FRAMED)
    expected = own.log_probs(step.before, batch.lengths, still.at)
    torch.testing.assert_close(step.log_probs[still.among], expected)


def test_with_the_auxiliary_at_the_teacher_nothing_moves() -> None:
    method = method_with()
    student, auxiliary = weights_of(method.student.module), weights_of(method.auxiliary.module)
    figures = method.step(0, 10)  # the auxiliary starts as a copy of the teacher
    assert figures["matching_loss"] == 0.0 and figures["gradient_norm"] == 0.0
    assert same_weights(student, weights_of(method.student.module))
    assert not same_weights(auxiliary, weights_of(method.auxiliary.module)), (
        "it learns from the first"
    )
    method.step(1, 10)
    assert not same_weights(student, weights_of(method.student.module))
    assert same_weights(student, weights_of(method.teacher)), "the teacher is frozen"


@pytest.mark.parametrize(("soft", "anchor"), [(True, 0.0), (False, 0.0), (True, 0.7)])
def test_the_auxiliary_s_loss_by_hand(soft: bool, anchor: float) -> None:
    p, a, q = ([0.2, 0.3, 0.5], [0.1, 0.6, 0.3], [0.4, 0.4, 0.2])
    student, auxiliary, teacher = (
        torch.tensor([x, [1 / 3] * 3], dtype=torch.float64).log() for x in (p, a, q)
    )
    drawn = None if soft else torch.tensor([1, 2])
    found = auxiliary_loss(auxiliary, student, teacher, drawn, anchor)
    logs = torch.tensor(a).double().log().tolist()
    third = torch.tensor(3.0).double().log().item()
    own = -sum(x * y for x, y in zip(p, logs, strict=True)) if soft else -logs[1]
    held = -sum(x * y for x, y in zip(q, logs, strict=True))
    expected = (own + third + anchor * (held + third)) / 2
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_weights_are_those_of_the_time_after_the_step_and_bounded() -> None:
    found = method_with().weight(torch.tensor([0.0, 0.05, 0.25, 1.0]))
    assert found.tolist() == pytest.approx([10.0, 10.0, 4.0, 1.0])
    narrow = method_with(replace(FAST, weight_range=(1.5, 3.0)))
    assert narrow.weight(torch.tensor([0.25, 1.0])).tolist() == [3.0, 1.5]


ACTING = {
    "student_steps": 2,
    "reveal_exponent": 1.0,
    "start_share": 0.9,
    "weight_range": (1.0, 1.0),
    "soft_target": False,
    "teacher_weight": 1.0,
    "auxiliary_updates": 2,
    "own_share": 1.0,
    "start_anchor": 3.0,
    "noise": NoiseSettings("position", 4, 0.5),
    "ema": 0.01,
    "student": OptimizerSettings(lr=1e-3, warmup_steps=1),
    "auxiliary": OptimizerSettings(lr=1e-3, warmup_steps=1),
}


def test_every_setting_changes_the_student() -> None:
    check_every_setting_acts(method_with, FAST, ACTING, "sampler")  # which the folder names


def test_a_step_that_leaves_no_mask_is_passed_over() -> None:
    # With one step of the student nearly every position is revealed in short sequences.
    method = method_with(replace(FAST, student_steps=1, start_share=0.0), tokens=16)
    before = weights_of(method.auxiliary.module)
    skipped = [not method.step(step, 100) for step in range(20)]
    assert any(skipped) and not all(skipped)
    assert not same_weights(before, weights_of(method.auxiliary.module))


def test_the_anchor_is_the_teacher_s_divergence_from_the_student_where_all_is_masked() -> None:
    method = method_with(tokens=512)
    for parameter in method.student.module.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    reference = method.reference.batch(0)
    batch, rows = reference.batch, reference.rows
    t = torch.where(rows % 3 == 0, 1.0, 0.4)
    step = method.student_step(batch, rows, t, t - 0.3, key=0)
    found = method.start_divergence(batch, t, step)
    assert found.requires_grad
    expected = 0.0
    for row in range(0, len(rows), 3):
        alone = batch.rows(slice(row, row + 1))
        masks = alone.tokens.masked_fill(alone.maskable, MASK)
        p, q = (
            Predictor(each, FRAMED)
            .log_probs(masks, alone.lengths, alone.maskable)
            .detach()
            .double()
            for each in (method.teacher, method.student.module)
        )
        expected += float((p.exp() * (p - q)).sum(-1).mean()) / len(rows)
    assert expected > 1e-3
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)
    none = method.start_divergence(batch, t.clamp_max(0.9), step)
    assert float(none) == 0.0


def test_own_states_keep_the_mask_and_hold_the_student_s_own_tokens() -> None:
    settings = replace(FAST, own_share=0.5, noise=NoiseSettings("sequence", 4, 1.0))
    method = method_with(settings, tokens=4096)
    reference = method.reference.batch(0)
    batch, rows = reference.batch, reference.rows
    t, s = torch.full((len(rows),), 0.4), torch.full((len(rows),), 0.3)
    step = method.student_step(batch, rows, t, s, key=7)
    plain = replace(settings, own_share=0.0)
    other = method_with(plain, tokens=4096).student_step(batch, rows, t, s, key=7)
    assert torch.equal(step.before == MASK, other.before == MASK)
    visible = (step.before != MASK) & batch.maskable
    own = ((step.before != batch.tokens) & visible).any(-1)
    assert float(own.float().mean()) == pytest.approx(0.5, abs=0.1)
    assert torch.equal(step.before[~own], other.before[~own])
    assert torch.equal(step.before[~batch.maskable], batch.tokens[~batch.maskable])
    assert not step.before.requires_grad and step.log_probs.requires_grad
    # A row alone makes the same state.
    row = int(own.nonzero()[0])
    alone = method.student_step(
        batch.rows(slice(row, row + 1)), rows[[row]], t[[row]], s[[row]], key=7
    )
    assert torch.equal(alone.before[0], step.before[row])


class Pairs(Predictor):
    """Position 1 is anything; every later one repeats what the row shows before it."""

    def log_probs(self, tokens, lengths, at, keys=None):  # noqa: ARG002
        self.calls.append((tokens.clone(), at.clone(), keys))
        chances = torch.full((int(at.sum()), 3), 1 / 3)
        for number, (row, position) in enumerate(at.nonzero().tolist()):
            before = tokens[row, position - 1]
            if 3 <= before <= 5:
                chances[number] = torch.nn.functional.one_hot(before - 3, 3).float()
        return chances.log()

    @property
    def calls(self) -> list:
        return self.__dict__.setdefault("seen", [])


def test_own_tokens_are_drawn_step_by_step_on_the_student_s_grid() -> None:
    student = Pairs(torch.nn.Identity(), FRAMED)
    state = framed_batch([4, 5, 3, MASK], [3, MASK, MASK, 3])
    progress = torch.tensor([[0, 0.1, 0.3, 0.99, 0, 0, 0, 0], [0, 0.6, 0.2, 0.2, 0.7, 0, 0, 0]])
    wide = torch.zeros(2, state.tokens.shape[1])
    wide[:, :8] = progress
    keys = (5, torch.tensor([11, 12]), 3)
    found = on_policy_tokens(student, state, wide, 4, keys)
    assert torch.equal(found == MASK, state.tokens == MASK)
    assert found[0, 1] == found[0, 2] == found[0, 3], "each step sees the one before"
    asked = [(at.nonzero().tolist(), noise.records.tolist()) for _, at, noise in student.calls]
    assert asked == [([[0, 1]], [11]), ([[0, 2]], [11]), ([[0, 1], [0, 4]], [12]), ([[0, 3]], [11])]
    assert [noise.step for *_, noise in student.calls] == [1, 2, 3, 4]
    assert all(noise.update == 3 and noise.seed == 5 for *_, noise in student.calls)
