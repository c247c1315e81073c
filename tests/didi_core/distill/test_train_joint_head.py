"""Training a joint head: its likelihood by hand, what it learns, what stays, and resuming."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from exact_denoiser import ExactDenoiser, conditional, random_law, toy_vocabulary
from tiny_models import (
    FRAMED,
    MASK,
    check_every_setting_acts,
    cpu_fabric,
    framed_batch,
    framed_dit,
    same_weights,
    tiny_corpus,
    tiny_denoiser,
    weights_of,
)
from torch import Tensor

from didi_core.data.batches import TokenBatch
from didi_core.data.corpus import Corpus
from didi_core.distill.dmmd import DmmdSettings, MomentMatching
from didi_core.distill.joint_head import (
    HeadTrainer,
    JointHeadSettings,
    MaskedState,
    WithJointHead,
    joint_nll,
    train_head,
)
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.reference import GroupedReference
from didi_core.models.noise import NoiseKeys, NoiseSettings
from didi_core.sampling.predictor import Prediction

FAST = JointHeadSettings(OptimizerSettings(lr=1e-2, warmup_steps=1), ema=0.5)


def method_with(settings: JointHeadSettings = FAST, corpus: Corpus | None = None) -> WithJointHead:
    reference = GroupedReference(corpus or tiny_corpus(), FRAMED, 1, 512, 20, seed=1)
    method = train_head(tiny_denoiser(1), FRAMED, reference, settings, seed=3)
    method.setup(cpu_fabric())
    return method


def test_the_likelihood_is_that_of_the_order_by_hand() -> None:
    """Three positions of an enumerated law; a head that knows it gives the joint likelihood."""
    law, vocabulary = random_law(3, 3, seed=1), toy_vocabulary(3)
    clean, order = torch.tensor([[2, 0, 1]]), torch.tensor([[0.5, 0.9, 0.1]])
    lengths = torch.tensor([3])
    at = torch.tensor([[True, True, True]])
    state = TokenBatch(torch.full((1, 3), vocabulary.mask_id), lengths, at)
    logits = ExactDenoiser([law], 3).logits_at(state.tokens, lengths, at)
    log_probs = vocabulary.log_probs(logits)

    def head(hidden: Tensor, rank: Tensor, position: Tensor) -> Tensor:
        assert position.tolist() == [[2, 0, 1]] and rank.tolist() == [[1, 2, 0]]
        assert hidden[0, :, 0].tolist() == [2.0, 0.0, 1.0], "in the order of drawing"
        seen = (({}, 2), ({2: 1}, 0), ({2: 1, 0: 2}, 1))
        told = [conditional(law, known, place, 3) for known, place in seen]
        return torch.tensor(told, dtype=torch.float64).log()[None] - log_probs[position[0]][None]

    hidden = torch.arange(3.0)[:, None]
    masked = MaskedState(state, at, order, torch.zeros(1))
    found = joint_nll(head, Prediction(log_probs, hidden), masked, clean[0])
    assert float(-found.sum()) == pytest.approx(math.log(law[(2, 0, 1)]), abs=1e-6)


def test_a_new_head_has_the_likelihood_of_the_network_and_the_teacher_stays() -> None:
    method = method_with()
    before = weights_of(method.sampled())
    first = method.step(0, 10)
    assert first["head_nll"] == pytest.approx(first["factorised_nll"], rel=1e-6)
    later = [method.step(step, 10) for step in range(1, 10)]
    assert same_weights(before, weights_of(method.result())), "the teacher is left as it is"
    assert later[-1]["head_nll"] != pytest.approx(later[-1]["factorised_nll"], rel=1e-6)
    assert set(method.extra_weights()) == {"joint_head"}


def test_it_learns_what_positions_tell_of_each_other() -> None:
    """Words of one letter: after the first, nothing is left to draw. The network knows nothing."""
    words = Corpus.from_ids([[letter] * 4 for letter in FRAMED.generable_ids for _ in range(8)])
    settings = JointHeadSettings(OptimizerSettings(lr=2e-2, warmup_steps=5), ema=0.9)
    method = method_with(settings, words)
    found = [method.step(step, 150) for step in range(150)][-1]
    # Of four masked positions on average 2.5 the first costs ln 3, the others next to nothing.
    assert found["head_nll"] < 0.6 * found["factorised_nll"]


def test_every_row_has_a_mask_and_the_time_decides_how_many() -> None:
    method = method_with()
    batch = framed_batch(*[[3, 4, 5] * 6] * 400)
    masked = method.trainer.mask(batch, torch.arange(400), 0)
    assert (masked.state.tokens[masked.at] == MASK).all()
    assert torch.equal(masked.state.tokens[~masked.at], batch.tokens[~masked.at])
    share = masked.at.sum(-1) / 18
    assert share.min() > 0 and float(share.mean()) == pytest.approx(0.5, abs=0.05)
    assert float((share + masked.alpha).mean()) == pytest.approx(1.0, abs=0.02)


def test_padding_and_neighbours_do_not_matter() -> None:
    trainer, teacher = method_with().trainer, tiny_denoiser(1)
    for parameter in trainer.trained.module.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    narrow, wide = framed_batch([3, 4, 5, 3]), framed_batch([3, 4, 5, 3], [4] * 20)

    def nll(batch: TokenBatch, rows: Tensor) -> Tensor:
        masked = trainer.mask(batch, rows, 5)
        prediction = trainer._ask(teacher, masked, NoiseKeys(0, rows, 0))
        clean = FRAMED.rank_of_id[batch.tokens[masked.at]]
        return joint_nll(trainer.trained.module, prediction, masked, clean)

    alone, together = nll(narrow, torch.tensor([7])), nll(wide, torch.tensor([7, 2]))
    torch.testing.assert_close(together[: len(alone)], alone, rtol=0, atol=1e-5)


def test_a_run_resumed_is_the_run_unbroken() -> None:
    whole, first, second = method_with(), method_with(), method_with()
    for step in range(4):
        whole.step(step, 4)
    for step in range(2):
        first.step(step, 4)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for step in range(2, 4):
        second.step(step, 4)
    assert same_weights(weights_of(whole.head()), weights_of(second.head()))


def test_beside_a_method_the_student_is_what_it_would_be_without() -> None:
    settings = DmmdSettings(noise=NoiseSettings("position", 4, 0.5))

    def matching() -> MomentMatching:
        reference = GroupedReference(tiny_corpus(), FRAMED, 1, 512, 20, seed=1)
        return MomentMatching(tiny_denoiser(1), FRAMED, reference, settings, seed=3)

    alone, both = matching(), WithJointHead(matching(), FRAMED, FAST, seed=3)
    alone.setup(cpu_fabric())
    both.setup(cpu_fabric())
    for step in range(3):
        expected = alone.step(step, 3)
        found = both.step(step, 3)
        assert {name: found[name] for name in expected} == expected
    assert same_weights(weights_of(alone.result()), weights_of(both.result()))
    assert both.head().out.weight.any(), "the head was trained, too"
    names = [network.name for network in both.networks()]
    assert names[-2:] == ["joint_head", "joint_head average"]


def test_networks_that_are_told_the_time_are() -> None:
    network = framed_dit(time_conditioned=True)
    trainer = HeadTrainer(network, FRAMED, FAST, seed=0)
    trainer.setup(cpu_fabric())
    found = trainer.step(network, GroupedReference(tiny_corpus(), FRAMED, 1, 64, 20, 0), 0, 4)
    assert found["head_nll"] == pytest.approx(found["factorised_nll"], rel=1e-6)


def test_settings_act_and_wrong_ones_are_named() -> None:
    def head_of(settings: JointHeadSettings) -> WithJointHead:
        method = method_with(settings)
        method.result = method.head  # what this method trains
        return method

    changes = {"student": OptimizerSettings(lr=3e-3, warmup_steps=1), "ema": 0.1}
    check_every_setting_acts(head_of, FAST, changes, "noise")
    wrong = replace(FAST, noise=NoiseSettings("position")).problems()
    assert len(wrong) == 1 and "noise.kind=position" in wrong[0]
    assert FAST.problems() == []
