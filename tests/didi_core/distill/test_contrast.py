"""Contrast: both losses and the target by hand, the phases, resuming, and every switch."""

import copy
import math
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from exact_denoiser import ExactDenoiser, chi_square_p_value, k_step_law, random_law, toy_vocabulary
from safetensors.torch import load_file
from tiny_models import (
    FRAMED,
    MASK,
    check_every_setting_acts,
    cpu_fabric,
    framed_batch,
    randomise,
    same_weights,
    tiny_corpus,
    tiny_denoiser,
    weights_of,
    whole_of,
)

from didi_core.data.batches import TokenBatch
from didi_core.distill.contrast import (
    ContrastSettings,
    ContrastStudent,
    WeakTraining,
    build,
    masked_share,
    student_loss,
    weak_length,
    weak_loss,
)
from didi_core.distill.optimizers import OptimizerSettings, TimedSteps
from didi_core.distill.reference import GroupedReference, ReferenceBatch
from didi_core.distill.states import States
from didi_core.models.esm_names import from_published
from didi_core.models.noise import NoiseSettings
from didi_core.sampling.predictor import Predictor

RATE = OptimizerSettings(lr=1e-2, warmup_steps=1)
FAST = ContrastSettings(
    student=RATE, weak_optimizer=RATE, weak_steps=2, student_steps=3, weak_ema=0.5, ema=0.5
)


def method_with(
    settings: ContrastSettings = FAST, tokens: int = 256, dtype: torch.dtype = torch.float32
) -> ContrastStudent | WeakTraining:
    reference = GroupedReference(tiny_corpus(100, low=5, high=12), FRAMED, 1, tokens, 20, seed=1)
    method = build(tiny_denoiser(1, dtype), FRAMED, reference, settings, seed=3)
    assert isinstance(method, ContrastStudent | WeakTraining)
    method.setup(cpu_fabric())
    return method


def one(settings: ContrastSettings = FAST, **others: object) -> ContrastStudent:
    method = method_with(settings, **others)
    assert isinstance(method, ContrastStudent)
    return method


def two(**others: object) -> WeakTraining:
    method = method_with(replace(FAST, networks="two"), **others)
    assert isinstance(method, WeakTraining)
    return method


# The losses on a vocabulary of three tokens.


def test_the_weak_network_s_loss_and_gradient_by_hand() -> None:
    logits = torch.tensor([[0.3, -0.2, 0.9], [1.1, 0.0, -0.4]], dtype=torch.float64)
    logits.requires_grad_(True)
    clean, t = torch.tensor([2, 0]), torch.tensor([0.5, 0.01], dtype=torch.float64)
    found = weak_loss(logits.log_softmax(-1), clean, t)
    found.backward()
    weights = [1 / 0.5, 1 / 0.05]  # a time below 0.05 weighs as 0.05
    expected = 0.0
    for row, token, weight, gradient in zip(
        logits.tolist(), clean.tolist(), weights, logits.grad.tolist(), strict=True
    ):
        whole = sum(math.exp(each) for each in row)
        expected -= weight * math.log(math.exp(row[token]) / whole)
        # d/dlogit of -log softmax: the probability less one at the true token.
        by_hand = [weight * (math.exp(x) / whole - (i == token)) for i, x in enumerate(row)]
        assert gradient == pytest.approx(by_hand, rel=1e-9)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-9)


def test_the_student_s_loss_and_gradient_by_hand() -> None:
    target = torch.tensor([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]], dtype=torch.float64)
    logits = torch.tensor([[0.3, -0.2, 0.9], [1.1, 0.0, -0.4]], dtype=torch.float64)
    logits.requires_grad_(True)
    share = torch.tensor([0.8, 0.02], dtype=torch.float64)
    found = student_loss(logits.log_softmax(-1), target.log(), share)
    found.backward()
    expected = 0.0
    for p, row, weight, gradient in zip(
        target.tolist(), logits.tolist(), (1 / 0.8, 1 / 0.1), logits.grad.tolist(), strict=True
    ):
        whole = sum(math.exp(each) for each in row)
        q = [math.exp(each) / whole for each in row]
        expected += weight * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        assert gradient == pytest.approx([weight * (b - a) for a, b in zip(p, q, strict=True)])
    assert float(found.detach()) == pytest.approx(expected, rel=1e-9)
    same = target.log().requires_grad_(True)
    student_loss(same.log_softmax(-1), target.log(), share).backward()
    assert float(same.grad.abs().max()) < 1e-12


def test_the_masked_share_of_a_row_leaves_framing_and_padding_out() -> None:
    state = framed_batch([MASK, 3, MASK, 4], [MASK, 5, 3], [4, 4])
    found = masked_share((state.tokens == MASK) & state.maskable, state.maskable)
    assert found.tolist() == pytest.approx([0.5, 0.5, 1 / 3])


# The states that the networks are asked at.


@pytest.mark.parametrize("steps", [1, 2])
def test_draws_have_the_law_of_so_many_ancestral_steps(steps: int) -> None:
    law, vocabulary = random_law(2, 3, seed=4), toy_vocabulary(2)
    count = 20_000
    tokens = torch.zeros(count, 3, dtype=torch.long)
    batch = TokenBatch(tokens, torch.full((count,), 3), torch.ones(count, 3, dtype=torch.bool))
    source = Predictor(ExactDenoiser([law], 2), vocabulary)
    every, rows = torch.ones(count, dtype=torch.bool), torch.arange(count)
    states = States(vocabulary, seed=1, reveal_exponent=1.0)
    drawn = states.drawn(source, batch, rows, every, steps, key=5).tokens
    sequences, counts = drawn.unique(dim=0, return_counts=True)
    found = {tuple(s): n for s, n in zip(sequences.tolist(), counts.tolist(), strict=True)}
    counter = Counter(found)
    assert chi_square_p_value(counter, k_step_law(law, steps, 2)) > 1e-3
    assert chi_square_p_value(counter, k_step_law(law, 3 - steps, 2)) < 1e-6


def test_half_of_the_student_s_rows_are_references_and_half_its_own() -> None:
    method = one(tokens=8192)
    reference = method.reference.batch(0)
    batch, rows = reference.batch, reference.rows
    state = method.student_state(batch, rows, key=4)
    seen = batch.maskable & (state.tokens != MASK)
    changed = ((state.tokens != batch.tokens) & seen).any(-1)
    enough = seen.sum(-1) >= 4  # a few own tokens are those of the reference by chance
    assert float(changed[enough].double().mean()) == pytest.approx(0.5, abs=0.08)
    masked = (~seen & batch.maskable).sum() / batch.maskable.sum()
    assert float(masked) == pytest.approx(0.5, abs=0.04)
    assert torch.equal(state.tokens[~batch.maskable], batch.tokens[~batch.maskable])
    none = one(replace(FAST, own_share=0.0), tokens=8192).student_state(batch, rows, key=4)
    seen = batch.maskable & (none.tokens != MASK)
    assert torch.equal(none.tokens[seen], batch.tokens[seen])


def test_a_row_alone_and_with_more_padding_makes_the_same_states_and_losses() -> None:
    method = one(tokens=128, dtype=torch.float64)
    reference = method.reference.batch(0)
    batch, rows = reference.batch, reference.rows
    teacher = Predictor(tiny_denoiser(1, torch.float64), FRAMED)
    randomise(method.weak.module, seed=2)

    def total(part: TokenBatch, keys: torch.Tensor) -> float:
        one_pass = method.few_step_pass(ReferenceBatch(part, keys), method.weak, teacher, key=6)
        figures, _ = whole_of(one_pass)
        return figures.get("weak_loss", 0.0) * int(part.maskable.sum())

    states, losses = method.student_state(batch, rows, key=6), []
    extra = torch.full((1, 16), FRAMED.pad_id)
    for row in range(len(rows)):
        part, key = batch.rows(slice(row, row + 1)), rows[[row]]
        tokens = torch.cat([part.tokens, extra], -1)
        wide = TokenBatch(tokens, part.lengths, torch.cat([part.maskable, extra > 0], -1))
        width = part.tokens.shape[1]
        for alone in (part, wide):
            found = method.student_state(alone, key, key=6).tokens[0]
            assert torch.equal(found[:width], states.tokens[row])
        losses.append(total(part, key))
        assert total(wide, key) == pytest.approx(losses[-1], rel=1e-9)
    assert total(batch, rows) == pytest.approx(sum(losses), rel=1e-9)


# Phases.


def test_the_first_update_is_the_plain_masked_loss_on_the_teacher_s_draws() -> None:
    method = one()
    reference = method.reference.batch(0)
    batch, rows = reference.batch, reference.rows
    states, every = method.states, torch.ones_like(rows, dtype=torch.bool)
    teacher = Predictor(method.teacher, FRAMED)
    drawn = states.drawn(teacher, batch, rows, every, 2, key=0)
    state, t = states.masked(drawn, rows, key=0)
    masked = state.tokens == MASK
    log_probs = teacher.log_probs(state.tokens, batch.lengths, masked)
    expected = 0.0
    for place, (row, position) in enumerate(masked.nonzero().tolist()):
        rank = int(drawn.tokens[row, position]) - 3
        expected -= float(log_probs[place, rank].detach()) / max(float(t[row]), 0.05)
    figures = method.step(0, 10)
    assert figures["weak_loss"] == pytest.approx(expected / int(batch.maskable.sum()), rel=1e-5)
    assert same_weights(weights_of(method.student.module), weights_of(method.teacher))
    assert not same_weights(weights_of(method.weak.module), weights_of(method.teacher))


def test_the_target_is_the_guided_law_of_teacher_and_averaged_weak_network() -> None:
    method = one(replace(FAST, weight=1.5))
    for step in range(3):
        method.step(step, 10)
    reference = method.reference.batch(9)
    batch, rows = reference.batch, reference.rows
    state = method.student_state(batch, rows, key=1)
    masked = state.tokens == MASK
    strong, weak = (
        Predictor(each, FRAMED).log_probs(state.tokens, batch.lengths, masked)
        for each in (method.teacher, method.weak_average.module)
    )
    odds = (2.5 * strong - 1.5 * weak).exp()
    expected = odds / odds.sum(-1, keepdim=True)
    torch.testing.assert_close(method.target(state, masked).exp(), expected)


def test_a_weak_network_that_is_the_teacher_leaves_the_student_as_it_is() -> None:
    method = one(replace(FAST, weak_updates=0), dtype=torch.float64)
    figures = method.step(0, 10)
    assert figures["divergence"] == pytest.approx(0.0, abs=1e-12)
    assert figures["gradient_norm"] == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize("weak", ["fixed", "online"])
def test_phases_follow_each_other_and_runs_resume_across_them(weak: str) -> None:
    settings = replace(FAST, weak=weak, weak_updates=3)
    method = one(settings)
    seen, saved, steps = [], {}, 9
    for step in range(steps):
        saved[step] = copy.deepcopy(method.state_dict())
        figures = method.step(step, steps)
        seen.append(sorted(name for name in figures if "gradient" not in name))
        weakened = weights_of(method.weak_average.module)
        if step == 2:
            first = weakened
            assert same_weights(weights_of(method.result()), weights_of(method.teacher))
    later = ["divergence", "weak_loss"] if weak == "online" else ["divergence"]
    assert seen == [["weak_loss"]] * 3 + [later] * 6
    assert same_weights(first, weakened) is (weak == "fixed")
    for step in (2, 3, 5):
        again = one(settings)
        again.load_state_dict(saved[step])
        for number in range(step, steps):
            again.step(number, steps)
        assert same_weights(weights_of(again.result()), weights_of(method.result()))
        assert same_weights(weights_of(again.weak_average.module), weakened)


def test_a_phase_that_began_goes_on_although_the_clock_allows_more_updates() -> None:
    method = one()
    steps = [TimedSteps(each) for each in (5, 5, 5, 40, 40)]
    figures = [method.step(number, each) for number, each in enumerate(steps)]
    assert ["divergence" in each for each in figures] == [False, False, True, True, True]


@pytest.mark.parametrize("steps", [1, 2, 5, 60, 100, 650, 10_000])
def test_short_runs_keep_both_phases(steps: int) -> None:
    length = weak_length(250, steps)
    assert length <= 250 and length < steps
    assert length >= min(250, int(0.4 * steps), steps - 1)
    assert (length > 0) is (steps > 1)


def test_rates_rise_and_fall_within_their_phase() -> None:
    settings = ContrastSettings(weak_steps=1, student_steps=1)
    method = one(settings, tokens=32)
    rates = {"weak": [], "student": []}
    for step in range(100):
        figures = method.step(step, 100)
        name = "student" if method.first_of_student >= 0 else "weak"
        if figures:
            rates[name].append(getattr(method, name).optimizers[0].param_groups[0]["lr"])
    assert len(rates["weak"]) <= 40 < len(rates["student"]) <= 60
    for found in rates.values():
        assert max(found) == pytest.approx(5e-4)
        assert found[0] <= 5e-4 / 4 and found[-1] < 1e-4


ACTING = {
    "networks": "two",
    "weight": 3.0,
    "weak": "online",
    "weak_updates": 0,
    "weak_steps": 1,
    "weak_ema": 0.01,
    "own_share": 1.0,
    "student_steps": 1,
    "reveal_exponent": 3.0,
    "noise": NoiseSettings("position", 4, 0.5),
    "ema": 0.01,
    "student": OptimizerSettings(lr=1e-3, warmup_steps=1),
    "weak_optimizer": OptimizerSettings(lr=1e-3, warmup_steps=1),
}


def test_every_setting_changes_the_student() -> None:
    check_every_setting_acts(partial(method_with, tokens=128), FAST, ACTING, "sampler")


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="muon needs torch 2.9 or newer")
def test_both_networks_may_be_trained_by_muon() -> None:
    muon = OptimizerSettings("muon", lr=1e-2, warmup_steps=1)
    method = one(replace(FAST, student=muon, weak_optimizer=muon))
    for step in range(5):
        method.step(step, 5)
    for trained in (method.student, method.weak):
        assert len(trained.optimizers) == 2
        assert not same_weights(weights_of(trained.module), weights_of(method.teacher))


# Two networks.


def test_two_networks_are_the_teacher_as_it_is_and_the_weak_one(tmp_path: Path) -> None:
    method = two()
    before = weights_of(method.teacher)
    figures = [method.step(step, 6) for step in range(6)]
    assert all("weak_loss" in each for each in figures)
    assert same_weights(weights_of(method.result()), before)
    assert same_weights(weights_of(method.sampled()), before)
    (write,) = method.extra_weights().values()
    write(tmp_path / "weak.safetensors")
    stored = from_published(
        load_file(tmp_path / "weak.safetensors"), method.ema.module.settings, "weak"
    )
    assert same_weights(weights_of(stored), weights_of(method.ema.module))
    assert not same_weights(weights_of(stored), before)


def test_the_weak_network_is_the_first_phase_of_the_other_form() -> None:
    apart = two()
    whole = one(replace(FAST, weak_updates=4))
    for step in range(4):
        assert whole.step(step, 100) == pytest.approx(apart.step(step, 4))
    assert same_weights(weights_of(whole.weak_average.module), weights_of(apart.ema.module))


@pytest.mark.parametrize(
    ("networks", "sampler", "named"),
    [
        ("one", "apart", {}),
        ("two", None, {"contrast_positions": "random"}),
        ("two", "ancestral", {"contrast_positions": "random"}),
        ("two", "apart", {"contrast_positions": "apart"}),
    ],
)
def test_what_the_folder_is_to_say(networks: str, sampler: str | None, named: dict) -> None:
    settings = replace(FAST, networks=networks, sampler=sampler, weight=2.0)
    found = method_with(settings).folder_defaults()
    if networks == "two":
        named = {"sampler": "contrast", "contrast_weight": 2.0, **named}
    assert found == named
