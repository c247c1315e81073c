"""D-MMD of uniform-state models: its laws against enumeration, its gradient, and every switch."""

from dataclasses import replace

import pytest
import torch
from tiny_models import FRAMED, check_every_setting_acts, cpu_fabric, timed_esm, tiny_corpus

from didi_core.diffusion.uniform import UniformProcess
from didi_core.distill.dmmd_uniform import DmmdUniformSettings, UniformMomentMatching
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.reference import GroupedReference
from didi_core.distill.registry import method_settings
from didi_core.errors import UserError
from didi_core.sampling.predictor import Predictor

FAST = DmmdUniformSettings(
    student=OptimizerSettings(lr=1e-2, warmup_steps=1),
    auxiliary=OptimizerSettings(lr=2e-2, warmup_steps=1),
    ema=0.5,
)
TIMES = [(1.0, 0.7), (0.9, 0.1), (0.5, 0.45), (0.2, 0.0)]


def method_with(
    settings: DmmdUniformSettings = FAST, tokens: int = 512, seed: int = 3
) -> UniformMomentMatching:
    reference = GroupedReference(tiny_corpus(100, low=6, high=12), FRAMED, 1, tokens, 20, seed=1)
    method = UniformMomentMatching(timed_esm(1), FRAMED, reference, settings, seed)
    method.setup(cpu_fabric())
    return method


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()]).clone()


def reached(process: UniformProcess, probs: torch.Tensor, t: float, s: float) -> torch.Tensor:
    """[z_t, x, z_s]: p(x | z_t) q(z_s | z_t, x), each part from the process's own definition."""
    size = process.num_tokens
    every = torch.arange(size)
    forward = process.forward(torch.eye(size, dtype=torch.float64), 1 - t)  # [x, z_t]
    clean = probs * forward.T
    clean = clean / clean.sum(-1, keepdim=True)
    step = torch.stack(
        [
            process.reverse_posterior(one.expand(size, -1), every, 1 - t, 1 - s)
            for one in torch.eye(size, dtype=torch.float64)
        ],
        dim=1,
    )
    return clean[:, :, None] * step


@pytest.mark.parametrize(("t", "s"), TIMES)
@pytest.mark.parametrize("size", [3, 4, 5])
def test_the_law_after_a_step_is_bayes_s(size: int, t: float, s: float) -> None:
    process = UniformProcess(tuple(range(size)))
    log_probs = torch.randn(size, dtype=torch.float64).log_softmax(-1)
    joint = reached(process, log_probs.exp(), t, s)
    for z_t in range(size):
        at = torch.tensor([z_t])
        before = process.denoised(log_probs[None], at, torch.tensor([t], dtype=torch.float64))
        torch.testing.assert_close(before[0].exp(), joint[z_t].sum(-1), rtol=0, atol=1e-12)
        for z_s in range(size):
            chance = joint[z_t, :, z_s]
            if chance.sum() < 1e-12:
                continue
            after = process.denoised(
                log_probs[None], torch.tensor([z_s]), torch.tensor([s], dtype=torch.float64)
            )
            torch.testing.assert_close(after[0].exp(), chance / chance.sum(), rtol=0, atol=1e-12)


def test_the_law_at_the_true_token_is_the_denoising_term() -> None:
    process = UniformProcess(tuple(range(7)))
    log_probs = torch.randn(50, 7, dtype=torch.float64).log_softmax(-1)
    clean, noised = torch.randint(7, (2, 50))
    t = torch.rand(50, dtype=torch.float64)
    law = process.denoised(log_probs, noised, t)
    assert law.exp().sum(-1).tolist() == pytest.approx([1.0] * 50)
    expected = -law.gather(-1, clean[:, None])[:, 0]
    torch.testing.assert_close(process.denoising_terms(log_probs, clean, noised, t), expected)


@pytest.mark.parametrize(("t", "s"), TIMES)
def test_the_gradient_of_a_position_is_unbiased_over_the_draw_of_its_state(
    t: float, s: float
) -> None:
    """Over z_s: mean of sum_x p(x | z_t, z_s) grad log p(x | z_t) f = grad of the mean of f."""
    size = 4
    process = UniformProcess(tuple(range(size)))
    logits = torch.randn(size, dtype=torch.float64, requires_grad=True)
    difference = torch.randn(size, size, dtype=torch.float64)  # f[x, z_s]
    for z_t in range(size):
        log_probs, at = logits.log_softmax(-1)[None], torch.tensor([z_t])
        now = process.denoised(log_probs, at, torch.tensor([t], dtype=torch.float64))[0]
        joint = reached(process, logits.detach().softmax(-1), t, s)[z_t]  # [x, z_s]
        step = joint / joint.sum(-1, keepdim=True)  # q(z_s | z_t, x)
        (expected,) = torch.autograd.grad(
            (now.exp()[:, None] * step * difference).sum(), logits, retain_graph=True
        )
        gradient_carrier, times = torch.zeros(()), torch.tensor([s], dtype=torch.float64)
        for z_s in range(size):
            law = process.denoised(log_probs.detach(), torch.tensor([z_s]), times)[0]
            gradient_carrier = (
                gradient_carrier
                + joint[:, z_s].sum() * (law.exp() * now * difference[:, z_s]).sum()
            )
        (found,) = torch.autograd.grad(gradient_carrier, logits)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_where_student_auxiliary_and_teacher_meet() -> None:
    method = method_with(tokens=20_000)
    reference = method.reference.batch(0)
    batch, rows = reference.batch, reference.rows
    t, s = torch.full((len(rows),), 0.8), torch.full((len(rows),), 0.3)
    matched = method.student_transition(batch, rows, t, s, key=0)
    at, state = batch.maskable, matched.state.tokens
    assert torch.equal(matched.at, at), "every position counts"
    assert torch.equal(state[~at], batch.tokens[~at])
    assert matched.alpha is not None and torch.allclose(matched.alpha, 1 - s)
    # The step's law: a chance of alpha_s - alpha_t and more to be the student's own token.
    noised = method.process.corrupt(batch.tokens, at, t, method.corruption(batch, rows, 0))
    student = Predictor(method.student.module, FRAMED).log_probs(
        noised, batch.lengths, at, alpha=1 - t
    )
    rank = FRAMED.rank_of_id
    law = method.process.reverse_posterior(student.detach().exp(), rank[noised[at]], 0.2, 0.7)
    drawn = torch.zeros_like(law).scatter(-1, rank[state[at]][:, None], 1.0)
    # Counts of each token against the sum of the laws they were drawn from.
    off = (drawn - law).sum(0) / (law * (1 - law)).sum(0).sqrt()
    assert float(off.abs().max()) < 4.0
    row = at.nonzero()[:, 0]
    expected = method.process.denoised(student.detach(), rank[state[at]], s[row])
    torch.testing.assert_close(matched.law, expected)
    assert not matched.law.requires_grad
    # Another network's prediction at z_s becomes a law of the clean token in the same way.
    other = torch.randn_like(expected).log_softmax(-1)
    found = method.clean_law(other, matched, s)
    torch.testing.assert_close(found, method.process.denoised(other, rank[state[at]], s[row]))


def test_what_moves_the_student_is_its_law_before_the_step_weighted_by_that_after_it() -> None:
    method = method_with(tokens=256)
    reference = method.reference.batch(0)
    batch, rows = reference.batch, reference.rows
    t, s = torch.full((len(rows),), 0.8), torch.full((len(rows),), 0.3)
    matched, at = method.student_transition(batch, rows, t, s, key=0), batch.maskable
    noised = method.process.corrupt(batch.tokens, at, t, method.corruption(batch, rows, 0))
    student = Predictor(method.student.module, FRAMED).log_probs(
        noised, batch.lengths, at, alpha=1 - t
    )
    row = at.nonzero()[:, 0]
    now = method.process.denoised(student, FRAMED.rank_of_id[noised[at]], t[row])
    expected, weighting = matched.law.exp() * now, torch.randn_like(matched.law)
    torch.testing.assert_close(matched.gradient_carrier(), expected)
    parameters = list(method.student.module.parameters())
    gradients = [
        torch.autograd.grad((each * weighting).sum(), parameters, allow_unused=True)
        for each in (matched.gradient_carrier(), expected)
    ]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_hard_targets_are_drawn_from_the_law_after_the_step() -> None:
    method = method_with(replace(FAST, soft_target=False), tokens=20_000)
    reference = method.reference.batch(0)
    rows = reference.rows
    t, s = torch.full((len(rows),), 0.9), torch.full((len(rows),), 0.6)
    matched = method.student_transition(reference.batch, rows, t, s, key=0)
    assert matched.drawn is not None
    law = matched.law.exp()
    drawn = torch.zeros_like(law).scatter(-1, matched.drawn[:, None], 1.0)
    off = (drawn - law).sum(0) / (law * (1 - law)).sum(0).sqrt()
    assert float(off.abs().max()) < 4.0
    # Most are what the position holds at s, and that is in the law.
    state = FRAMED.rank_of_id[matched.state.tokens[matched.at]]
    agree = law.gather(-1, state[:, None])[:, 0]
    off = ((matched.drawn == state).float() - agree).sum() / (agree * (1 - agree)).sum().sqrt()
    assert abs(float(off)) < 4.0


def test_a_student_that_went_astray_comes_back_to_its_teacher() -> None:
    """One position: there the teacher's own law is the only one at which nothing moves."""
    reference = GroupedReference(tiny_corpus(100, low=1, high=1), FRAMED, 1, 512, 20, seed=1)
    settings = replace(FAST, student_steps=2, auxiliary_updates=2, start_share=0.5)
    method = UniformMomentMatching(timed_esm(1), FRAMED, reference, settings, 3)
    method.setup(cpu_fabric())
    for network in (method.student.module, method.auxiliary.module):
        network.load_state_dict(timed_esm(7).state_dict())
    batch = reference.batch(0).batch

    @torch.no_grad()
    def apart() -> float:
        teacher, student = (
            Predictor(each, FRAMED).log_probs(
                batch.tokens, batch.lengths, batch.maskable, alpha=0.0
            )
            for each in (method.teacher, method.student.module)
        )
        return float((teacher.exp() * (teacher - student)).sum(-1).mean())

    before = apart()
    for step in range(60):
        method.step(step, 60)
    assert before > 0.02 and apart() < before / 4, (before, apart())


def test_with_the_auxiliary_at_the_teacher_nothing_moves() -> None:
    method = method_with()
    student, auxiliary = weights(method.student.module), weights(method.auxiliary.module)
    figures = method.step(0, 10)  # the auxiliary starts as a copy of the teacher
    assert figures["matching_loss"] == 0.0 and figures["gradient_norm"] == 0.0
    assert torch.equal(student, weights(method.student.module))
    assert not torch.equal(auxiliary, weights(method.auxiliary.module)), "it learns from the first"
    method.step(1, 10)
    assert not torch.equal(student, weights(method.student.module))
    assert torch.equal(student, weights(method.teacher)), "the teacher is frozen"


ACTING = {
    "student_steps": 2,
    "reveal_exponent": 2.0,
    "start_share": 0.9,
    "weight_range": (1.0, 1.0),
    "soft_target": False,
    "teacher_weight": 1.0,
    "auxiliary_updates": 2,
    "ema": 0.01,
    "student": OptimizerSettings(lr=1e-3, warmup_steps=1),
    "auxiliary": OptimizerSettings(lr=1e-3, warmup_steps=1),
}


def test_every_setting_changes_the_student() -> None:
    check_every_setting_acts(method_with, FAST, ACTING, "noise")


def test_a_noise_input_is_for_masked_models() -> None:
    asked = {"name": "dmmd-uniform", "noise": {"kind": "position"}}
    with pytest.raises(UserError, match=r"method\.noise\.kind=position is for masked models"):
        method_settings(asked)
