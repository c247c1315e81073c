"""Autoregressive sampling: the cache changes nothing, and samples follow the network's own law."""

import itertools

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from didi_core.diffusion.draws import Stream, draw_categorical, keyed_uniform
from didi_core.sampling.autoregressive import draw_autoregressive

START, SIZE, SPARE = 2, 4, 3


@pytest.fixture(scope="module")
def network() -> GPT2LMHeadModel:
    """A GPT-2 in which every tensor is random, with more outputs than there are ids."""
    config = GPT2Config(vocab_size=SIZE + SPARE, n_positions=16, n_embd=8, n_layer=2, n_head=2)
    model = GPT2LMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model.double()


def log_probs(network: GPT2LMHeadModel, ids: torch.Tensor) -> torch.Tensor:
    """Of the next id after `ids` [rows, length], computed from the whole row, without a cache."""
    with torch.no_grad():
        logits = network(input_ids=ids, use_cache=False).logits[:, -1, :SIZE]
    return logits.double().log_softmax(-1)


def test_the_same_tokens_are_drawn_with_the_cache_and_without(network: GPT2LMHeadModel) -> None:
    records, length, seed = torch.tensor([0, 5, 9, 11, 700]), 16, 3
    drawn = draw_autoregressive(network, START, SIZE, records, length, seed)
    direct = torch.full((len(records), 1), START)
    for position in range(1, length):
        uniform = keyed_uniform(seed, Stream.TOKEN, records, position)
        following = draw_categorical(log_probs(network, direct), uniform)
        direct = torch.cat([direct, following[:, None]], dim=1)
    assert torch.equal(drawn, direct)
    assert len(drawn.unique(dim=0)) == len(records)


def test_samples_follow_the_enumerated_law(network: GPT2LMHeadModel) -> None:
    num, length = 40_000, 4
    drawn = draw_autoregressive(network, START, SIZE, torch.arange(num), length, seed=1)
    every = torch.tensor([(START, *rest) for rest in itertools.product(range(SIZE), repeat=3)])
    law = sum(
        log_probs(network, every[:, :place])[torch.arange(len(every)), every[:, place]]
        for place in range(1, length)
    ).exp()
    assert float(law.sum()) == pytest.approx(1, abs=1e-12)
    powers = SIZE ** torch.arange(length - 2, -1, -1)
    counts = np.bincount((drawn[:, 1:] * powers).sum(1), minlength=len(every))
    expected = num * law.numpy()
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert expected.min() > 5
    assert chi_square < 103.4  # 0.999 quantile at 63 degrees of freedom


def test_a_sample_does_not_depend_on_its_batch(network: GPT2LMHeadModel) -> None:
    together = draw_autoregressive(network, START, SIZE, torch.arange(9), 10, seed=4)
    alone = draw_autoregressive(network, START, SIZE, torch.tensor([7]), 10, seed=4)
    assert torch.equal(together[7:8], alone)
    other = draw_autoregressive(network, START, SIZE, torch.arange(9), 10, seed=5)
    assert not torch.equal(together, other)
