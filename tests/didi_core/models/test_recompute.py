"""Activation checkpointing changes what is remembered, and no number."""

import pytest
import torch
from dit_fixtures import tiny_dit
from tiny_models import randomise, remembered_and_gradients, timed_esm, tiny_denoiser

from didi_core.models.recompute import checkpoint_activations


@pytest.mark.parametrize(
    "build", [lambda: tiny_denoiser(num_layers=3), lambda: timed_esm(num_layers=3), tiny_dit]
)
def test_gradients_are_those_of_the_plain_network(build) -> None:
    network = build()
    randomise(network, seed=4)
    tokens = torch.randint(3, 6, (2, 24), generator=torch.Generator().manual_seed(0))
    plain, expected = remembered_and_gradients(network, tokens)
    checkpoint_activations(network)
    again, found = remembered_and_gradients(network, tokens)
    assert len(found) == len(expected) > 10
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert again < plain / 2
