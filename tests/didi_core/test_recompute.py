"""Activation checkpointing changes what is remembered, and no number."""

import pytest
import torch
from dit_fixtures import tiny_dit
from tiny_models import randomise, timed_esm, tiny_denoiser
from torch import Tensor, nn

from didi_core.models.denoiser import time_input
from didi_core.models.recompute import checkpoint_activations


def remembered_and_gradients(network: nn.Module, tokens: Tensor) -> tuple[int, list[Tensor]]:
    """Bytes that the forward pass keeps beside the parameters, and every gradient."""
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    lengths = torch.tensor([tokens.shape[1], tokens.shape[1] - 2])
    at = torch.arange(tokens.shape[1]) < lengths[:, None]
    network.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        told = time_input(network, torch.tensor([0.3, 0.8]))
        loss = network.logits_at(tokens, lengths, at, **told).square().mean()
    loss.backward()
    return sum(kept.values()), [p.grad.clone() for p in network.parameters() if p.grad is not None]


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
