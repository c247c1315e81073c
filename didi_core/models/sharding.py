"""Networks whose tensors are spread over processes: torch's FSDP2, one unit for each block.

Zhao et al., "PyTorch FSDP" (arXiv 2304.11277). Each process keeps 1/n of every tensor; a block's
tensors are gathered when it computes and let go after it. Every process must therefore make the
same calls of a sharded network in the same order. What leaves the run (checkpoints, the model
folder) holds whole tensors, so that it says nothing of the processes that made it.
"""

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, distribute_tensor

from didi_core.models.noise import NoisyDenoiser


def shard_network(network: nn.Module, mesh: DeviceMesh) -> None:
    """Spread the tensors of `network` over the processes of `mesh`, in place.

    What it is called by is `forward` or `logits_at`; its elements of module lists (the blocks) are
    units of their own.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    # Ours are never changed in place, which is what it warns of.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    lists = [each for each in network.modules() if isinstance(each, nn.ModuleList)]
    units = [block for each in lists for block in each]
    if isinstance(network, NoisyDenoiser):
        units.append(network.denoiser)  # also called alone, without its noise
    for unit in (*units, network):
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)
        for asked in ("logits_at", "states_at"):
            if hasattr(unit, asked):
                register_fsdp_forward_method(unit, asked)


def is_sharded(network: nn.Module) -> bool:
    """Return whether the tensors of `network` are spread over processes."""
    return any(isinstance(parameter, DTensor) for parameter in network.parameters())


def skeleton_of(network: nn.Module) -> nn.Module:
    """Copy a network that is not sharded yet, with parameters that take no memory."""
    hollow = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=p.requires_grad)
        for p in network.parameters()
    }
    return copy.deepcopy(network, hollow)


def whole_network(network: nn.Module, skeleton: nn.Module | None) -> nn.Module:
    """Return `network`, or where sharded a whole copy on the CPU; every process must call this.

    Args:
        skeleton: of the network before it was sharded; filled by this. On all processes but the
            first it stays hollow.
    """
    if skeleton is None:
        return network
    state = gathered(network.state_dict())
    if _is_first():
        skeleton.load_state_dict(state, assign=True)
    return skeleton


def gathered(state: Any) -> Any:
    """Gather nested `state`: whole tensors on the CPU in place of those that are spread.

    Every process must call this; all but the first get an empty tensor for each.
    """
    if isinstance(state, DTensor):
        whole = state.full_tensor().detach()
        return whole.cpu() if _is_first() else whole.new_empty(0)
    if isinstance(state, dict):
        return {key: gathered(value) for key, value in state.items()}
    if isinstance(state, list):
        return [gathered(value) for value in state]
    return state


def spread_like(value: Tensor, target: Tensor) -> Tensor:
    """Spread `value` as `target` is if that has its shape; every process must call this."""
    if not isinstance(target, DTensor) or value.shape != target.shape:
        return value
    return distribute_tensor(value.to(target.device), target.device_mesh, target.placements)


def spread_state(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Turn whole tensors into what `load_state_dict` takes of a network that may be sharded."""
    now = network.state_dict()
    return {
        name: spread_like(value, now[name]) if name in now else value
        for name, value in state.items()
    }


def _is_first() -> bool:
    return torch.distributed.get_rank() == 0
