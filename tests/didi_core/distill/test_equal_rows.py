"""Equal rows share one call: which they are, and that neither loss nor gradient notices."""

from dataclasses import replace

import pytest
import torch
from tiny_models import FRAMED, MASK, cpu_fabric, framed_batch, tiny_corpus, tiny_denoiser

from didi_core.data.batches import TokenBatch
from didi_core.distill.didi import DidiInstruct
from didi_core.distill.didi_settings import DidiSettings
from didi_core.distill.reference import GroupedReference
from didi_core.distill.rollout import ReverseStep, all_masked, deduplicate, reverse_step
from didi_core.models.noise import NoiseSettings, with_noise, without_noise
from didi_core.sampling.predictor import Predictor

SIZES = (3, 2, 3, 3, 2)


def test_rows_are_equal_in_tokens_length_and_chosen_positions() -> None:
    tokens = torch.tensor([[6, 6, 0], [6, 6, 0], [6, 6, 6], [6, 6, 0], [6, 6, 0]])
    lengths = torch.tensor([2, 2, 3, 3, 2])
    at = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 0], [0, 1, 0]], dtype=torch.bool)
    equal = deduplicate(tokens, lengths, at)
    assert sorted(equal.called.tolist()) == [0, 2, 3, 4], "the second row is the first again"
    # Whatever the order of the calls: an entry leads to the row and position it stands for.
    row, position = at[equal.called].nonzero(as_tuple=True)
    rows = equal.called[row][equal.entry].tolist()
    assert rows == [0, 0, 0, 0, 2, 2, 2, 3, 3, 4]
    assert torch.equal(position[equal.entry], at.nonzero()[:, 1])


def first_step(network: torch.nn.Module, share: bool) -> tuple[TokenBatch, ReverseStep]:
    batch = framed_batch(*([3] * size for size in SIZES))
    state = batch.with_tokens(all_masked(batch, MASK))
    reveal, rows = torch.full((len(SIZES),), 0.5), torch.arange(len(SIZES))
    student = Predictor(network, FRAMED, without_noise(network)[1])
    return batch, reverse_step(student, state, MASK, reveal, 0, rows, 7, index=0, share=share)


def test_a_shared_step_is_the_step() -> None:
    network = tiny_denoiser(dtype=torch.float64)
    (_, alone), (_, shared) = (first_step(network, share) for share in (False, True))
    assert len(shared.log_probs) == 5 < len(alone.log_probs) == 13
    assert torch.equal(shared.after, alone.after)
    assert torch.equal(shared.drawn, alone.drawn)
    torch.testing.assert_close(shared.drawn_log_prob(), alone.drawn_log_prob())
    torch.testing.assert_close(shared.at_masked(shared.log_probs), alone.log_probs)


def test_rows_with_noise_are_never_equal() -> None:
    network = with_noise(tiny_denoiser(), NoiseSettings(kind="position", scale=0.5), 0)
    assert first_step(network, share=True)[1].equal is None


@pytest.mark.parametrize("decomposed", [True, False])
def test_loss_and_gradient_do_not_notice(decomposed: bool) -> None:
    settings = replace(DidiSettings(), score_decomposition=decomposed, group_size=4)
    reference = GroupedReference(tiny_corpus(), FRAMED, 4, 512, 20, seed=0)
    results = []
    for share in (True, False):
        teacher = tiny_denoiser(dtype=torch.float64)
        method = DidiInstruct(teacher, FRAMED, reference, settings, seed=0)
        method.setup(cpu_fabric())
        drawn = method.reference.batch(0)
        tau = torch.full((len(drawn.rows),), 0.4, dtype=torch.float64)
        steps = method.roll_out(drawn.batch, drawn.rows, tau, step=0)
        assert len(steps[0].log_probs) < int(drawn.batch.maskable.sum()) / 3, "groups are shared"
        if not share:
            state = drawn.batch.with_tokens(steps[0].before)
            reveal = torch.full_like(tau, 0.6 if decomposed else 1.0 - settings.end_time)
            own = (method.student_predictor(), state, MASK, reveal, 0, drawn.rows, 0)
            steps[0] = reverse_step(*own, index=0)
            assert steps[0].equal is None
        # Another teacher than the student, so that the divergence has a gradient.
        method.teacher = tiny_denoiser(seed=3, dtype=torch.float64)
        advantage = torch.linspace(-1, 1, tau.numel())
        loss, figures = method.student_loss(drawn.batch, steps, advantage, tau)
        loss.backward()
        gradient = [each.grad for each in method.student.module.parameters()]
        results.append((loss.detach(), figures, gradient))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-12)
