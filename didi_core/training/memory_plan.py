"""How much memory a training takes on each of its processes, before anything is allocated.

Weights, gradients and optimiser states are counted exactly, tensor by tensor; a network on torch's
meta device is counted as well as one in memory. Activations are an estimate: the tensors that a
block remembers for each token, by its layout (`block_bytes_per_token`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from didi_core.distill.method import Network
from didi_core.distill.optimizers import build_optimizer
from didi_core.models.denoiser import Denoiser
from didi_core.models.dit import DitDenoiser

GIB = 1 << 30
ENDS = 5
"""Streams that the final norm and the head remember."""
LOGIT_COPIES = 4
"""Float32 tensors of one network's logits that a loss holds at once."""


@dataclass(frozen=True)
class ParallelConfig:
    """How a training is spread, and how it remembers."""

    processes: int = 1
    strategy: str = "auto"
    precision: str = "float32"
    checkpoint_activations: bool = False
    tokens_per_pass: int | None = None
    """Of one process, at once; None for all it has."""

    @property
    def sharded(self) -> bool:
        return self.strategy == "fsdp" and self.processes > 1


@dataclass(frozen=True)
class NetworkBytes:
    """Bytes of one network on one process."""

    name: str
    weights: int
    gradients: int
    optimizer: int


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on one process."""

    sharing: ParallelConfig
    networks: list[NetworkBytes]
    gathered: int
    """Whole tensors of the blocks at work, where networks are in shards."""
    casts: int
    """Half-precision copies of the weights whose gradients are asked for."""
    activations: int
    """What forward passes remember, logits included: an estimate."""

    @property
    def states(self) -> int:
        """Weights, gradients and optimiser states of all networks."""
        return sum(each.weights + each.gradients + each.optimizer for each in self.networks)

    @property
    def total(self) -> int:
        return self.states + self.gathered + self.casts + self.activations


def plan_memory(
    networks: Iterable[Network], tokens_per_batch: int, graphs: int, sharing: ParallelConfig
) -> MemoryPlan:
    """Plan the memory of a method.

    Args:
        networks: all that the method holds; their optimisers are built here to be counted.
        tokens_per_batch: over all processes.
        graphs: forward passes that are remembered at the same time.
    """
    networks = list(networks)
    trained = [each.module for each in networks if each.optimizer is not None]
    tokens = -(-tokens_per_batch // sharing.processes)
    if sharing.tokens_per_pass is not None:
        tokens = min(tokens, sharing.tokens_per_pass)
    each = max(activation_bytes(module, tokens, sharing) for module in trained)
    half = sharing.precision == "bf16"
    return MemoryPlan(
        sharing=sharing,
        networks=[network_bytes(network, sharing) for network in networks],
        gathered=max(map(_gathered_bytes, trained)) if sharing.sharded else 0,
        casts=2 * max(map(_trained_elements, trained)) if half else 0,
        activations=graphs * each,
    )


def network_bytes(network: Network, sharing: ParallelConfig) -> NetworkBytes:
    """Count the bytes of weights (buffers included), gradients, and the optimisers' moments."""
    module, share = network.module, sharing.processes if sharing.sharded else 1
    weights = _bytes(module.parameters())
    buffers = _bytes(module.buffers())
    if network.optimizer is None:
        return NetworkBytes(network.name, -(-weights // share) + buffers, 0, 0)
    gradients = _bytes(p for p in module.parameters() if p.requires_grad)
    moments = 0
    # Fused kernels refuse networks on the meta device, and hold the same.
    for optimizer in build_optimizer(module, replace(network.optimizer, fused=False)):
        copies = 1 if type(optimizer).__name__ == "Muon" else 2
        held = [p for group in optimizer.param_groups for p in group["params"]]
        moments += copies * _bytes(held)
    parts = [-(-part // share) for part in (weights, gradients, moments)]
    return NetworkBytes(network.name, parts[0] + buffers, *parts[1:])


def activation_bytes(network: nn.Module, tokens: int, sharing: ParallelConfig) -> int:
    """Count what a forward pass over `tokens` positions remembers, at most half predicted."""
    trunk = trunk_of(network)
    if trunk is None:
        return 0  # a layout that is not ours: not estimated
    settings, block = trunk.settings, block_bytes_per_token(trunk, sharing.precision)
    stream = 4 * settings.hidden_size
    # With checkpoints: the input of every block, and one block at a time in full.
    blocks = settings.num_layers * (stream if sharing.checkpoint_activations else block)
    blocks += block if sharing.checkpoint_activations else 0
    predicted = settings.vocabulary_size * 4 * LOGIT_COPIES // 2
    return tokens * (blocks + ENDS * stream + predicted)


def block_bytes_per_token(trunk: Denoiser, precision: str) -> int:
    """Count the bytes a block remembers for a token, if attention keeps no matrix of weights.

    The stream before both norms; what goes into qkv, the output matrix and both feed-forward
    matrices; query, key and value. What tells the time keeps what comes out of both norms, and a
    DiT its gates' inputs.
    """
    width = trunk.settings.hidden_size
    block: Any = trunk.blocks[0]
    inner: int = block.mlp_in.out_features
    streams = 2 * width
    matrices = 6 * width + 2 * inner
    is_dit = isinstance(trunk, DitDenoiser)
    if is_dit or trunk.settings.time_conditioned:
        streams += 2 * width
    if is_dit:
        matrices += 2 * width
    return 4 * streams + (2 if precision == "bf16" else 4) * matrices


def trunk_of(network: nn.Module) -> Denoiser | None:
    """Find the denoiser's trunk in a network, where it is one of ours."""
    return next((m for m in network.modules() if isinstance(m, Denoiser)), None)


def alternatives(
    networks: Iterable[Network], tokens_per_batch: int, graphs: int, asked: ParallelConfig
) -> list[MemoryPlan]:
    """Plan the training that is asked for on 1, 2, 4 and 8 processes, shared in every way."""
    networks = list(networks)
    ways = [
        replace(asked, processes=number, strategy=strategy)
        for number in (1, 2, 4, 8)
        for strategy in ("ddp", "fsdp")
    ]
    ways = [way for way in ways if way.processes > 1 or way.strategy == "ddp"]
    both = [replace(way, checkpoint_activations=again) for way in ways for again in (False, True)]
    return [plan_memory(networks, tokens_per_batch, graphs, way) for way in both]


def _gathered_bytes(network: nn.Module) -> int:
    """Count root and two blocks whole (the next is fetched early), and the gradients of one."""
    lists = [each for each in network.modules() if isinstance(each, nn.ModuleList)]
    units = [_bytes(block.parameters()) for each in lists for block in each]
    root = _bytes(network.parameters()) - sum(units)
    return 2 * root + 3 * max(units, default=0)


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _trained_elements(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
