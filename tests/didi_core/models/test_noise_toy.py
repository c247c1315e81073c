"""What one latent can do: a law of two equally likely modes, 00 and 11, written in ONE step.

Without noise a single step draws both tokens independently, p for one and q for the other: no p
and q come nearer to the law than a total variation of sqrt(2) - 1. With a latent that both tokens
see, D-MMD learns the law; the total variation below is exact over the tokens and averages over
keyed latents.
"""

import functools
import math

import pytest
import torch
from tiny_models import FRAMED, MASK, cpu_fabric, framed_batch, tiny_denoiser

from didi_core.data.batches import mean_or_zero
from didi_core.data.corpus import Corpus
from didi_core.distill.dmmd import DmmdSettings, MomentMatching
from didi_core.distill.optimizers import OptimizerSettings
from didi_core.distill.reference import GroupedReference
from didi_core.models.esm import EsmDenoiser
from didi_core.models.noise import NoiseKeys, NoiseSettings
from didi_core.sampling.predictor import Predictor

LAW = {(0, 0): 0.5, (1, 1): 0.5}
BEST_WITHOUT = math.sqrt(2) - 1


def variation(joint: torch.Tensor) -> float:
    """Total variation between the law and the probabilities [3, 3] of pairs of tokens."""
    law = torch.zeros(3, 3, dtype=torch.float64)
    for pair, chance in LAW.items():
        law[pair] = chance
    return float((joint - law).abs().sum() / 2)


@torch.no_grad()
def one_step_law(predictor: Predictor, count: int = 2000) -> torch.Tensor:
    """Probabilities of pairs when both tokens are drawn in one step from all-mask."""
    batch = framed_batch([MASK, MASK])
    tokens, lengths = batch.tokens.repeat(count, 1), batch.lengths.repeat(count)
    keys = NoiseKeys(seed=99, records=torch.arange(count), step=0)
    chances = predictor.log_probs(tokens, lengths, tokens == MASK, keys).double().exp()
    first, second = chances.view(count, 2, 3).unbind(1)
    return (first[:, :, None] * second[:, None, :]).mean(0)


@functools.cache
def teacher() -> EsmDenoiser:
    """A network that knows the law's conditionals, from training on all its states."""
    network = tiny_denoiser(width=16).requires_grad_(True)
    network.initialise(torch.Generator().manual_seed(0))
    batch = framed_batch([MASK, MASK], [3, MASK], [MASK, 3], [4, MASK], [MASK, 4])
    truth = framed_batch([3, 4], [3, 3], [3, 3], [4, 4], [4, 4]).tokens
    masked = batch.tokens == MASK
    # Both masked: either token is as likely. One masked: it is the other's.
    target = torch.zeros(int(masked.sum()), 3)
    target[0, :2] = target[1, :2] = 0.5
    target[2:] = torch.nn.functional.one_hot(truth[masked][2:] - 3, 3).float()
    target = 0.99 * target + 0.01 / 3
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(150):
        log_probs = Predictor(network, FRAMED).log_probs(batch.tokens, batch.lengths, masked)
        loss = mean_or_zero((target * (target.log() - log_probs)).sum(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.01
    return network


def distilled(kind: str) -> Predictor:
    sequences = [[3, 3], [4, 4]] * 20
    reference = GroupedReference(Corpus.from_ids(sequences), FRAMED, 1, 32 * 16, 20, seed=1)
    settings = DmmdSettings(
        student_steps=1,
        reveal_exponent=1.0,
        start_share=1.0,
        weight_range=(1.0, 1.0),
        noise=NoiseSettings(kind, 2, 0.5),
        student=OptimizerSettings(lr=3e-3, betas=(0.0, 0.99), warmup_steps=1, decay_fraction=0.3),
        auxiliary=OptimizerSettings(lr=1e-2, betas=(0.0, 0.99), warmup_steps=1),
        ema=0.95,
    )
    method = MomentMatching(teacher(), FRAMED, reference, settings, seed=0)
    method.setup(cpu_fabric())
    for step in range(100):
        method.step(step, 100)
    method.student.module.load_state_dict(method.result().state_dict())
    return method.student_predictor(training=False)


def test_no_factorised_law_comes_nearer_than_the_bound() -> None:
    grid = torch.linspace(0, 1, 201, dtype=torch.float64)
    p, q = grid[:, None], grid[None, :]
    off = p * (1 - q) + (1 - p) * q
    distance = (off + (p * q - 0.5).abs() + ((1 - p) * (1 - q) - 0.5).abs()) / 2
    assert float(distance.min()) == pytest.approx(BEST_WITHOUT, abs=2e-3)


def test_one_latent_for_the_sequence_writes_both_modes_in_one_step() -> None:
    joint = one_step_law(distilled("sequence"))
    assert variation(joint) < 0.1
    assert min(joint[0, 0], joint[1, 1]) > 0.4, "neither mode is lost"


def test_without_noise_it_cannot() -> None:
    joint = one_step_law(distilled("none"), count=1)
    assert variation(joint) >= BEST_WITHOUT - 1e-6
