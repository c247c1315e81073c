"""k-mer distance and the gradient moment: by hand, their bias, and what they must notice."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from didi_core.evaluation.distances import kmer_distance, kmer_jensen_shannon
from didi_core.evaluation.gradient_moment import causal_token_loss, gradient_moment
from didi_core.evaluation.judge import causal_nll, row_nll


def draws(law: list[float], count: int, seed: int, length: int = 12) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return generator.choice(len(law), (count, length), p=law).tolist()


def test_jensen_shannon_by_hand():
    # Unigrams (3/4, 1/4) and (1/4, 3/4): the middle is even.
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    found = kmer_jensen_shannon([[0, 0, 0, 1]], [[1, 1, 1, 0]], k=1, vocabulary_size=2)
    assert found.mean == pytest.approx(expected)
    assert kmer_jensen_shannon([[0, 1]], [[0, 1]], 2, 2).mean == 0.0
    assert kmer_jensen_shannon([[0, 0]], [[1, 1]], 1, 2).mean == pytest.approx(math.log(2))
    # Sequences too short for a k-mer count for nothing.
    assert kmer_jensen_shannon([[0, 0], [1]], [[1, 1]], 2, 2).mean == pytest.approx(math.log(2))
    with pytest.raises(ValueError, match="3 tokens long"):
        kmer_jensen_shannon([[0, 1]], [[0, 1, 1]], 3, 2)


def test_the_floor_shrinks_with_size_and_a_difference_stands_out():
    same, other = [0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]
    bias = []
    for size in (50, 800):
        found = [
            kmer_distance(
                draws(same, size, 3 * i),
                draws(same, size, 3 * i + 1),
                draws(same, 900, 3 * i + 2),
                2,
                4,
            )
            for i in range(5)
        ]
        assert found[0].num_sequences == size
        bias.append(np.mean([each.natural_versus_natural.mean for each in found]))
        # Two samples of one law over 16 kinds: (16 - 1) / 8 times the sum of one over each count.
        assert bias[-1] == pytest.approx(15 / 8 * 2 / (size * 11), rel=0.5)
    assert bias[1] < bias[0] / 8
    far = kmer_distance(draws(other, 800, 0), draws(same, 800, 1), draws(same, 800, 2), 2, 4)
    assert far.distance.low > 10 * far.natural_versus_natural.high
    assert far.as_dict()["n"] == 800


def test_the_interval_is_about_as_wide_as_fresh_sets_spread():
    law, other = [0.5, 0.3, 0.2], [0.3, 0.3, 0.4]
    fresh = [
        kmer_jensen_shannon(draws(law, 100, 2 * i), draws(other, 100, 2 * i + 1), 1, 3).mean
        for i in range(60)
    ]
    interval = kmer_jensen_shannon(draws(law, 100, 0), draws(other, 100, 1), 1, 3)
    assert interval.low < interval.mean < interval.high
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.std(fresh), rel=0.4)


class UnigramJudge(nn.Module):
    """A causal model that ignores its context: its gradient is known in closed form."""

    def __init__(self, law: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(law, dtype=torch.float64).log())

    def forward(self, input_ids: torch.Tensor):
        class Output:
            logits = self.logits.expand(*input_ids.shape, -1)

        return Output


def test_gradient_moment_of_a_unigram_judge_by_hand():
    """d NLL / d logits = law - frequencies: the difference of two sets is that of frequencies."""
    model = UnigramJudge([0.4, 0.4, 0.2])
    samples, data = [[0, 0, 1], [0, 1, 1]] * 2, [[2, 2, 1], [2, 2, 2]] * 2
    moment = gradient_moment(model, causal_token_loss(0), samples, data, data, num_groups=2)
    expected = (0.5) ** 2 + (0.5 - 1 / 6) ** 2 + (5 / 6) ** 2
    assert moment.plain == pytest.approx(expected, rel=1e-6)
    assert moment.natural_versus_natural == 0.0
    assert moment.num_sequences == 4


def test_gradient_moment_is_unbiased_where_the_plain_one_is_not():
    law, other = [0.5, 0.3, 0.2], [0.4, 0.3, 0.3]
    model, loss = UnigramJudge([0.4, 0.4, 0.2]), causal_token_loss(0)
    same = [
        gradient_moment(
            model, loss, draws(law, 48, 3 * i), draws(law, 48, 3 * i + 1), draws(law, 48, 3 * i + 2)
        )
        for i in range(12)
    ]
    noise = 2 * sum(p * (1 - p) for p in law) / (48 * 12)  # of two means over 48 x 12 tokens
    assert np.mean([m.plain for m in same]) == pytest.approx(noise, rel=0.6)
    unbiased = [m.unbiased for m in same]
    assert abs(np.mean(unbiased)) < 3.5 * np.std(unbiased) / math.sqrt(len(same))
    far = gradient_moment(model, loss, draws(other, 480, 0), draws(law, 480, 1), draws(law, 480, 2))
    truth = sum((p - q) ** 2 for p, q in zip(law, other, strict=True))
    assert far.unbiased == pytest.approx(truth, abs=4 * far.standard_error)
    assert far.standard_error < truth


def test_gradient_moment_ignores_batches_and_leaves_the_model_alone():
    torch.manual_seed(0)
    model = UnigramJudge([0.4, 0.4, 0.2])
    before = model.logits.detach().clone()
    sets = [draws([0.5, 0.3, 0.2], 20, i, length=5 + 7 * i) for i in range(3)]
    together = gradient_moment(model, causal_token_loss(0), *sets, num_groups=4)
    alone = gradient_moment(model, causal_token_loss(0), *sets, num_groups=4, batch_tokens=1)
    assert together.plain == pytest.approx(alone.plain, rel=1e-9)
    assert torch.equal(model.logits, before) and model.logits.grad is None
    with pytest.raises(ValueError, match="groups"):
        gradient_moment(model, causal_token_loss(0), *sets, num_groups=21)


def test_row_nll_is_the_judge_s_and_carries_a_gradient():
    model, rows = UnigramJudge([0.4, 0.4, 0.2]), [[0, 1, 2], [2]]
    nll = row_nll(model, rows, bos_id=0)
    assert nll.detach().numpy() / [3, 1] == pytest.approx(causal_nll(model, rows, bos_id=0))
    nll.sum().backward()
    assert model.logits.grad is not None
