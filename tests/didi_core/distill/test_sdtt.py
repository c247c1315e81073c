"""SDTT: the two steps of the teacher, rounds, resuming, and every switch."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from tiny_models import (
    FRAMED,
    MASK,
    check_every_setting_acts,
    cpu_fabric,
    same_weights,
    tiny_corpus,
    tiny_denoiser,
    weights_of,
)

from didi_core.data.batches import mean_or_zero
from didi_core.distill import terms
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.reference import GroupedReference
from didi_core.distill.sdtt import SdttSettings, SelfDistillation
from didi_core.models.noise import NoiseKeys, NoiseSettings, without_noise
from didi_core.sampling.predictor import Predictor

FAST = SdttSettings(student=OptimizerSettings(lr=1e-2, warmup_steps=1), student_steps=2, ema=0.5)


def method_with(settings: SdttSettings = FAST, tokens: int = 512) -> SelfDistillation:
    reference = GroupedReference(tiny_corpus(100, low=6, high=12), FRAMED, 1, tokens, 20, seed=1)
    method = SelfDistillation(tiny_denoiser(1), FRAMED, reference, settings, seed=3)
    method.setup(cpu_fabric())
    return method


@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_steps_double_from_round_to_round(exponent: float) -> None:
    method = method_with(replace(FAST, rounds=3, reveal_exponent=exponent))
    for number, student_steps in enumerate((8, 4, 2)):
        method.round = number
        t, middle = method.draw_times(0, torch.arange(2000))
        before, between = ((1 - x.double()).clamp_min(0) ** (1 / exponent) for x in (t, middle))
        grid = torch.arange(student_steps).double() / student_steps
        assert (before[:, None] - grid).abs().min(1).values.max() < 1e-3
        assert len((before * student_steps).round().unique()) == student_steps
        torch.testing.assert_close(
            between - before, torch.full_like(before, 0.5 / student_steps), rtol=0, atol=1e-3
        )


def test_the_target_is_the_step_that_revealed_a_position_or_the_last() -> None:
    method = method_with(tokens=4096)
    reference = method.reference.batch(0)
    batch, rows = reference.batch, reference.rows
    t, middle = torch.full((len(rows),), 0.8), torch.full((len(rows),), 0.4)
    state = batch.with_tokens(method._mask(batch, t, rows, 0))
    masked = state.tokens == MASK
    found = method.targets(state, masked, t, middle, rows, 0)
    teacher = Predictor(method.teacher, FRAMED)
    early = teacher.log_probs(state.tokens, batch.lengths, masked)
    first = (found - early).abs().amax(-1) < 1e-5
    assert float(first.float().mean()) == pytest.approx(0.5, abs=0.05), "half are revealed"
    # The others see what the first step revealed: all of that, and nothing else.
    row, position = masked.nonzero(as_tuple=True)
    for place in (~first).nonzero()[:8, 0].tolist():
        r, i = int(row[place]), int(position[place])
        length = int(batch.lengths[r])
        still = [int(p) for p in position[(row == r) & ~first]]
        revealed = [int(p) for p in position[(row == r) & first]]
        best = torch.inf
        for tokens in torch.cartesian_prod(*[torch.tensor([3, 4, 5])] * max(1, len(revealed))):
            guess = state.tokens[r : r + 1, :length].clone()
            guess[0, revealed] = tokens.view(-1)[: len(revealed)]
            assert set(still) == set((guess[0] == MASK).nonzero()[:, 0].tolist())
            at = torch.zeros_like(guess, dtype=torch.bool)
            at[0, i] = True
            late = teacher.log_probs(guess, torch.tensor([length]), at)
            best = min(best, float((late - found[place]).abs().max()))
        assert best < 1e-4


def test_the_loss_is_the_divergence_from_the_targets() -> None:
    for kind in ("forward", "backward"):
        method = method_with(replace(FAST, kl_kind=kind))
        reference = method.reference.batch(0)
        batch, rows = reference.batch, reference.rows
        t, middle = method.draw_times(0, rows)
        state = batch.with_tokens(method._mask(batch, t, rows, 0))
        masked = state.tokens == MASK
        expected = method.targets(state, masked, t, middle, rows, 0)
        student = Predictor(method.teacher, FRAMED).log_probs(state.tokens, batch.lengths, masked)
        loss = mean_or_zero(terms.divergence(student, expected, kind, 0.5))
        assert method.step(0, 9)["divergence"] == pytest.approx(float(loss), rel=1e-5)


def test_each_round_s_teacher_is_the_average_before_it_and_runs_resume() -> None:
    method = method_with(replace(FAST, rounds=3))
    teacher = weights_of(method.teacher)
    targets, averages, saved = [], [], None
    for step in range(6):
        averages.append(weights_of(method.result()))
        figures = method.step(step, 6)
        targets.append(weights_of(method.target))
        assert figures["round"] == step // 2
        if step == 3:
            saved = copy.deepcopy(method.state_dict())
    assert same_weights(targets[0], teacher) and same_weights(targets[1], teacher)
    assert same_weights(targets[2], averages[2]) and same_weights(targets[3], averages[2])
    assert same_weights(targets[5], averages[4]) and not same_weights(targets[5], targets[3])
    assert same_weights(weights_of(method.teacher), teacher), "the first teacher is kept"
    again = method_with(replace(FAST, rounds=3))
    again.load_state_dict(saved)
    for step in (4, 5):
        again.step(step, 6)
    assert same_weights(weights_of(again.result()), weights_of(method.result()))


ACTING = {
    "student_steps": 5,
    "rounds": 1,
    "reveal_exponent": 2.0,
    "kl_kind": "forward",
    "teacher_update": "student",
    "ema": 0.01,
    "noise": NoiseSettings("position", 4, 0.5),
    "student": OptimizerSettings(lr=1e-3, warmup_steps=1),
}


def test_every_setting_changes_the_student() -> None:
    check_every_setting_acts(partial(method_with, tokens=128), FAST, ACTING)


@pytest.mark.parametrize("kind", ["position", "sequence"])
def test_a_target_with_noise_shares_the_noise_of_the_student_s_call(kind: str) -> None:
    method = method_with(replace(FAST, noise=NoiseSettings(kind, 4, 0.5)))
    method.round = 1  # from the second round on the target has a noise input
    reference = method.reference.batch(0)
    batch, rows = reference.batch, reference.rows
    t, middle = torch.ones(len(rows)), torch.full((len(rows),), 0.01)
    state = batch.with_tokens(method._mask(batch, t, rows, 0))
    masked = state.tokens == MASK
    # Nearly all positions are revealed in the first step, from the state the student sees.
    expected = method.targets(state, masked, t, middle, rows, 0)
    keys = NoiseKeys(method.seed, rows, 0, update=0)
    student = method.student_predictor().log_probs(state.tokens, batch.lengths, masked, keys)
    alike = (student - expected).abs().amax(-1) < 1e-6
    assert float(alike.float().mean()) > 0.95, "student and target begin alike, noise included"
    other = replace(keys, update=1)
    student = method.student_predictor().log_probs(state.tokens, batch.lengths, masked, other)
    assert float((student - expected).detach().abs().amax(-1).median()) > 1e-3
    method.target = without_noise(method.target)[0]
    plain = method.targets(state, masked, t, middle, rows, 0)
    assert not torch.allclose(plain, expected, atol=1e-3)


def test_the_first_target_is_the_teacher_however_strong_the_noise_starts() -> None:
    noise = NoiseSettings(kind="sequence", scale=0.5)
    plain, noisy = method_with(), method_with(replace(FAST, noise=noise))
    found = []
    for method in (plain, noisy):
        reference = method.reference.batch(0)
        batch, rows = reference.batch, reference.rows
        t, middle = torch.full((len(rows),), 0.8), torch.full((len(rows),), 0.4)
        state = batch.with_tokens(method._mask(batch, t, rows, 0))
        found.append(method.targets(state, state.tokens == MASK, t, middle, rows, 0))
    torch.testing.assert_close(found[1], found[0])
    noisy.round = 1
    later = noisy.targets(state, state.tokens == MASK, t, middle, rows, 0)
    assert (later - found[0]).abs().max() > 1e-3
