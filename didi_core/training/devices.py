"""Where and how precisely to compute: the Fabric behind every verb's --device and --precision."""

import os
from typing import TYPE_CHECKING

import torch

from didi_core.errors import UserError, as_written

if TYPE_CHECKING:
    from lightning.fabric import Fabric

PRECISIONS = {"float32": "32-true", "bf16": "bf16-mixed"}
TORCH_TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
"""Type of a network that only generates or scores."""


def resolve_device(device: str, name: str = "--device") -> torch.device:
    """The torch device for a value of --device; `auto` takes a GPU where there is one.

    Args:
        name: the flag, or the key of a setting, that messages call.

    Raises:
        UserError: the name is unknown, or CUDA is asked for where there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UserError(
            f"{as_written(name, device)} is no device: use auto, cpu, cuda or cuda:N."
        ) from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{as_written(name, device)}: this torch sees no CUDA device; use cpu.")
    return chosen


def describe_device(device: torch.device) -> str:
    """The machine part that computes: `cpu, 2 threads`, or the GPU's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def check_precision(precision: str, name: str = "--precision") -> str:
    """`precision` itself, if it is one of float32 and bf16."""
    if precision not in PRECISIONS:
        raise UserError(f"{as_written(name, precision)} is unknown: use {' or '.join(PRECISIONS)}.")
    return precision


def build_fabric(device: str, precision: str, devices: int = 1) -> "Fabric":
    """A launched Fabric for the settings `device=` and `precision=`.

    Under torchrun or SLURM it takes the processes those started.
    """
    # Imported here: it takes twice as long as torch, and the verbs that do not train need none.
    from lightning.fabric import Fabric

    check_precision(precision, "precision=")
    # Subnormal numbers (vanishing gradients, old moments) slow a CPU down many times over.
    torch.set_flush_denormal(True)
    processes, nodes = launched_processes() or (devices, 1)
    fabric = Fabric(
        accelerator=resolve_device(device, "device=").type,
        # Left to itself Fabric takes one process a node for a run of its own.
        strategy="ddp" if processes * nodes > 1 else "auto",
        devices=processes,
        num_nodes=nodes,
        precision=PRECISIONS[precision],
    )
    fabric.launch()
    return fabric


def launched_processes() -> tuple[int, int] | None:
    """Processes a node, and nodes, that torchrun or srun started; None where neither did."""
    from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    if TorchElasticEnvironment.detect():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        return here, int(os.environ["WORLD_SIZE"]) // here
    if SLURMEnvironment.detect():
        nodes = int(os.environ.get("SLURM_NNODES", 1))
        return int(os.environ["SLURM_NTASKS"]) // nodes, nodes
    return None
