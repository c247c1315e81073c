"""DCD: two states of one path, its loss by hand, rounds, resuming, and what it refuses."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import (
    FRAMED,
    as_teacher,
    check_every_setting_acts,
    cpu_fabric,
    timed_esm,
    tiny_corpus,
)

from didi_core.distill.dcd import ConsistencyDistillation, DcdSettings
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.pool import teacher_pool
from didi_core.distill.reference import GroupedReference
from didi_core.distill.registry import method_settings
from didi_core.errors import UserError
from didi_core.sampling.predictor import Predictor

FAST = DcdSettings(
    rounds=2, first_step=0.25, student=OptimizerSettings(lr=1e-2, warmup_steps=1), ema=0.5
)


def method_with(settings: DcdSettings = FAST) -> ConsistencyDistillation:
    reference = GroupedReference(tiny_corpus(100, low=6, high=12), FRAMED, 1, 512, 20, seed=1)
    method = ConsistencyDistillation(timed_esm(1), FRAMED, reference, settings, seed=3)
    method.setup(cpu_fabric())
    return method


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()]).clone()


def test_the_two_states_lie_on_one_path_at_their_times() -> None:
    method = method_with()
    reference = method.reference.batch(0)
    batch = reference.batch
    for number, delta in enumerate((0.25, 0.5)):
        method.round = number
        t, s = method.draw_times(0, torch.arange(3000))
        torch.testing.assert_close(t - s, torch.full_like(t, delta))
        assert float(s.min()) >= 0 and float(t.max()) <= 1 and float(t.max() - t.min()) > 0.4
    noise = method.draw_noise(0, reference)
    ones = torch.ones(len(batch))
    early, late = (method.state(reference, noise, x * ones) for x in (1.0, 0.0))
    at = batch.maskable
    assert torch.equal(early[~at], batch.tokens[~at]) and torch.equal(late[~at], batch.tokens[~at])
    right = (early == batch.tokens)[at], (late == batch.tokens)[at]
    assert bool((right[1] >= right[0]).all()), "a token that is right stays right"
    # T = 0.0062 and 0.9987 at the ends, and a third of the noise falls on the token itself.
    assert float(right[0].double().mean()) == pytest.approx(1 / 3, abs=0.1)
    assert float(right[1].double().mean()) > 0.98


@pytest.mark.parametrize("kind", ["backward", "forward", "jeffreys"])
def test_the_loss_by_hand(kind: str) -> None:
    method = method_with(replace(FAST, kl_kind=kind))
    reference = method.reference.batch(0)
    t, s = method.draw_times(0, reference.rows)
    noise, at = method.draw_noise(0, reference), reference.batch.maskable
    predictor = Predictor(copy.deepcopy(method.teacher), FRAMED)
    log_probs = []
    with torch.no_grad():
        for x in (t, s):
            tokens, alpha = method.state(reference, noise, x), method.schedule.alpha(x)
            log_probs.append(predictor.log_probs(tokens, reference.batch.lengths, at, alpha=alpha))
    student, teacher = log_probs
    back = (student.exp() * (student - teacher)).sum(-1)
    forth = (teacher.exp() * (teacher - student)).sum(-1)
    expected = {"backward": back, "forward": forth, "jeffreys": (back + forth) / 2}[kind]
    figures = method.step(0, 4)
    assert figures["divergence"] == pytest.approx(float(expected.mean()), rel=1e-5)
    assert figures["divergence"] > 1e-3 and figures["round"] == 0


def test_each_round_begins_with_the_student_as_teacher_and_runs_resume() -> None:
    whole, parts = method_with(), method_with()
    start = weights(whole.target)
    figures = [whole.step(step, 4) for step in range(2)]
    assert torch.equal(weights(whole.target), start)
    student = weights(whole.student.module)
    for step in range(2):
        parts.step(step, 4)
    resumed = method_with()
    resumed.load_state_dict(copy.deepcopy(parts.state_dict()))
    for method in (whole, resumed):
        figures.append(method.step(2, 4))
        assert torch.equal(weights(method.target), student)
    assert figures[-1] == figures[-2] and figures[-1]["round"] == 1
    assert torch.equal(weights(whole.result()), weights(resumed.result()))
    assert not torch.equal(weights(whole.result()), start)


def test_the_next_teacher_may_be_the_average() -> None:
    method = method_with(replace(FAST, teacher_update="average"))
    for step in range(2):
        method.step(step, 4)
    average = weights(method.result())
    assert not torch.equal(average, weights(method.student.module))
    method.step(2, 4)
    assert torch.equal(weights(method.target), average)


ACTING = {
    "rounds": 1,
    "first_step": 0.125,
    "teacher_update": "average",
    "kl_kind": "jeffreys",
    "ema": 0.01,
    "student": OptimizerSettings(lr=1e-3, warmup_steps=1),
}


def test_every_setting_changes_the_student() -> None:
    check_every_setting_acts(method_with, FAST, ACTING, "noise")


def test_wrong_settings_are_named() -> None:
    for wrong, message in (
        ({"rounds": 0}, r"method\.rounds=0"),
        ({"rounds": "two"}, r"^method\.rounds=two must be a whole number\.$"),
        ({"teacher_update": "ema"}, r"method\.teacher_update=ema must be student or average"),
        ({"rounds": 12}, r"method\.first_step=0.0019.* doubled 11 times"),
        ({"kl_kind": "both"}, r"method\.kl_kind=both"),
        ({"noise": {"kind": "position"}}, r"method\.noise\.kind=position is for masked models"),
    ):
        with pytest.raises(UserError, match=message):
            method_settings({"name": "dcd", **wrong})


def test_a_pool_of_a_uniform_teacher_needs_steps(tmp_path: Path) -> None:
    teacher = as_teacher(timed_esm(2), "uniform")
    with pytest.raises(UserError, match=r"as in pool_steps=256\."):
        teacher_pool(teacher, [5, 7], None, 0, 512, tmp_path)
    pool = teacher_pool(teacher, [5, 7], 4, 0, 512, tmp_path)
    assert pool.lengths.tolist() == [5, 7]
    assert set(pool.flat.tolist()) <= set(FRAMED.generable_ids)
