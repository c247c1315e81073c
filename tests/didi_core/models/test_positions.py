"""The head at chosen positions: the same as on all, in few shapes."""

import pytest
import torch
from torch import nn

from didi_core.models.positions import flat_positions, head_at, rounded_count
from didi_core.models.token_layout import PaddedTokens, TrunkStates


def padded(hidden: torch.Tensor) -> TrunkStates:
    return TrunkStates(hidden, PaddedTokens((hidden, hidden), None))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_values_and_gradients_are_those_of_the_chosen_alone(share: float) -> None:
    generator = torch.Generator().manual_seed(3)
    head = nn.Linear(5, 7).double()
    hidden = torch.randn(4, 9, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    at = torch.rand(4, 9, generator=generator) < share
    weight = torch.randn(int(at.sum()), 7, generator=generator, dtype=torch.float64)
    expected, found = head(hidden[at]), head_at(head, padded(hidden), flat_positions(at))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    inputs = (hidden, head.weight, head.bias)
    gradients = [torch.autograd.grad((o * weight).sum(), inputs) for o in (found, expected)]
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)


def test_counts_are_rounded_up_to_few_edges_with_little_waste() -> None:
    edges = [rounded_count(count) for count in range(1, 8193)]
    assert all(n <= edge <= max(n + 15, n * 9 / 8) for n, edge in enumerate(edges, start=1))
    assert len(set(edges)) <= 60


def test_head_sees_few_shapes() -> None:
    seen: set[int] = set()

    def head(rows: torch.Tensor) -> torch.Tensor:
        seen.add(len(rows))
        return rows

    hidden = torch.randn(10, 100, 2)
    for count in range(1, 1001, 7):
        at = (torch.arange(1000) < count).view(10, 100)
        assert torch.equal(head_at(head, padded(hidden), flat_positions(at)), hidden[at])
    assert len(seen) < 40
