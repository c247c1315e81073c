"""Token likelihood of rows under a causal model: by hand, and blind to batch and padding."""

import math

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from didi_core.evaluation.causal import position_limit, token_nll


def tiny_gpt2(vocabulary: int = 11, positions: int = 40) -> GPT2LMHeadModel:
    config = GPT2Config(vocab_size=vocabulary, n_positions=positions, n_embd=8, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


ROWS = [[1, 2, 3], [4], [], [5, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2], [0, 10]]


def test_each_token_given_those_before_it() -> None:
    model = tiny_gpt2()
    found = token_nll(model, ROWS)
    for row, nats in zip(ROWS, found, strict=True):
        assert len(nats) == max(0, len(row) - 1)
        for place, value in enumerate(nats, 1):
            logits = model(torch.tensor([row[:place]])).logits[0, -1].double()
            assert value == pytest.approx(-float(logits.log_softmax(-1)[row[place]]), rel=1e-5)


def test_neither_batch_nor_padding_matters() -> None:
    model = tiny_gpt2()
    together, alone = token_nll(model, ROWS), token_nll(model, ROWS, batch_tokens=1)
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_rows_may_fill_every_position() -> None:
    model = tiny_gpt2(positions=18)
    assert position_limit(model) == 18
    assert np.isfinite(token_nll(model, [[1] * 18])[0]).all()


def test_autocast_acts_and_stays_close() -> None:
    model = tiny_gpt2()
    exact, rounded = (token_nll(model, ROWS, autocast=each)[3] for each in (None, torch.bfloat16))
    assert not np.array_equal(exact, rounded)
    assert rounded == pytest.approx(exact, rel=0.1)


def test_progress_counts_every_row() -> None:
    seen: list[float] = []
    token_nll(tiny_gpt2(), ROWS, batch_tokens=1, show=seen.append)
    assert seen[-1] == len(ROWS) and math.isclose(seen[0], 3)
