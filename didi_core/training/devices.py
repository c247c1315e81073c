"""Where and how precisely to compute: the Fabric behind every verb's --device and --precision."""

import atexit
import os
import platform
import re
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch

from didi_core.errors import UserError, as_written

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from torch import nn
    from torch.distributed.device_mesh import DeviceMesh

Asked = TypeVar("Asked", bound=Any)
"""Options or settings, a dataclass with the fields `precision` and `device`."""

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {
    "float32": "32-true",
    "bf16": "bf16-mixed",
}
TORCH_TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
"""Type of a network that only generates or scores."""
_BF16_FLAGS = frozenset(("avx512_bf16", "amx_bf16"))
STRATEGIES = ("auto", "ddp", "fsdp")
"""How processes share a training; auto is ddp."""
_DEVICE = re.compile("cpu|cuda(?::(0|[1-9][0-9]*))?")
"""torch knows more, on which nothing here was tried, and takes cuda:300 for cuda:44."""
PATIENCE = timedelta(days=30)
"""How long one process waits for another: torchrun and srun end all of them when one fails."""


def resolve_device(device: str, name: str = "--device") -> torch.device:
    """Return the torch device for a value of --device; `auto` takes a GPU where there is one.

    Args:
        name: the flag, or the key of a setting, that messages call.

    Raises:
        UserError: the name is unknown, or a CUDA device is asked for that is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if (known := _DEVICE.fullmatch(device)) is None:
        raise UserError(f"{as_written(name, device)} is no device: use auto, cpu, cuda or cuda:N.")
    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"{as_written(name, device)}: this torch sees no CUDA device; use cpu.")
    if device != "cpu" and int(known[1] or 0) >= (count := torch.cuda.device_count()):
        raise UserError(
            f"{as_written(name, device)}: the last CUDA device here is cuda:{count - 1}."
        )
    return torch.device(device)


def is_elsewhere(device: str) -> bool:
    """Return whether `device` names a GPU, and this machine has none."""
    known = _DEVICE.fullmatch(device)
    return known is not None and device != "cpu" and not torch.cuda.is_available()


def describe_device(device: torch.device) -> str:
    """Name the machine part that computes: `cpu, 2 threads`, or the GPU's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def check_precision(precision: str, name: str = "--precision") -> str:
    """Return `precision` itself, if it is float32, bf16 or auto."""
    if precision not in (*PRECISIONS, "auto"):
        known = ", ".join(PRECISIONS)
        raise UserError(f"{as_written(name, precision)} is unknown: use {known} or auto.")
    return precision


def resolve_precision(precision: str, device: torch.device, name: str = "--precision") -> str:
    """Return float32 or bf16 for a value of --precision; `auto` is bf16 where that is native.

    Says in a line on standard error that bf16, asked for by name, is emulated here.

    Raises:
        UserError: the value is unknown.
    """
    check_precision(precision, name)
    if precision == "auto":
        return "bf16" if computes_bf16(device) else "float32"
    if precision == "bf16" and not computes_bf16(device):
        _say_emulated(as_written(name, precision), device)
    return precision


@cache
def _say_emulated(asked: str, device: torch.device) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(
            f"{asked}: {describe_device(device)} does not compute in bf16 but emulates it, which "
            "is slower than float32: auto would take float32 here.",
            file=sys.stderr,
        )


def computes_bf16(device: torch.device) -> bool:
    """Return whether a device multiplies bf16 matrices in hardware."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if platform.machine().lower() in ("arm64", "aarch64"):
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    # On x86 that operator counts processors of plain AVX-512 in, on which oneDNN emulates.
    return not _BF16_FLAGS.isdisjoint(_processor_flags())


def _processor_flags() -> set[str]:
    """Return what the processor can do, by the names of Linux; nothing where it does not say."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as stream:
        return next(({*line.split()} for line in stream if line.startswith("flags")), set())
    return set()


def settle_precision(options: Asked, flag: str = "--") -> Asked:
    """Return options of a verb with `precision=auto` replaced by what it comes to on their device.

    Args:
        flag: "--", or "" of settings that are key=value.

    Raises:
        UserError: an unknown precision, or an unknown or absent device for one other than float32.
    """
    names = ("--precision", "--device") if flag else ("precision=", "device=")
    if check_precision(options.precision, names[0]) == "float32":
        return options
    device = resolve_device(options.device, names[1])
    return replace(options, precision=resolve_precision(options.precision, device, names[0]))


def build_fabric(device: str, precision: str, devices: int = 1, strategy: str = "auto") -> "Fabric":
    """Launch a Fabric for the settings `device=`, `precision=`, `devices=` and `strategy=`.

    Under torchrun or SLURM it takes the processes those started. With ddp each process has all
    networks whole; with fsdp their tensors are spread over the processes. Alone, both are plain.

    Raises:
        UserError: a value that is unknown, CUDA where there is none, or one GPU for several
            processes.
    """
    # Imported here: it takes twice as long as torch, and the verbs that do not train need none.
    from lightning.fabric import Fabric

    chosen = resolve_device(device, "device=")
    precision = resolve_precision(precision, chosen, "precision=")
    # Subnormal numbers (vanishing gradients, old moments) slow a CPU down many times over.
    torch.set_flush_denormal(True)
    processes, nodes = launched_processes() or (devices, 1)
    fabric = Fabric(
        accelerator=chosen.type,
        # Left to itself Fabric takes one process a node for a run of its own.
        strategy=_sharing(strategy, processes * nodes) if processes * nodes > 1 else "auto",
        devices=_places(chosen, device, processes, nodes),
        num_nodes=nodes,
        precision=PRECISIONS[precision],
    )
    fabric.launch()
    leave_group_at_exit()
    return fabric


def _places(chosen: torch.device, device: str, processes: int, nodes: int) -> int | list[int]:
    """Return what Fabric takes as its devices: how many, or the one GPU that was named."""
    if chosen.type != "cuda" or chosen.index is None:
        return processes
    if processes * nodes > 1:
        raise UserError(
            f"device={device} is one GPU for {processes * nodes} processes: give device=cuda, "
            "where each takes its own, and name some of a machine's GPUs in CUDA_VISIBLE_DEVICES."
        )
    return [chosen.index]


def leave_group_at_exit() -> None:
    """Close this process's connections before Python ends, where it has any.

    See `didi_core.cli.run`, which programs end by; this serves those of others.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        atexit.register(_leave_group)


def _leave_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _sharing(strategy: str, processes: int) -> Any:
    """Choose Fabric's strategy for several processes."""
    from lightning.fabric.strategies import DDPStrategy, ModelParallelStrategy

    from didi_core.models.sharding import shard_network

    if strategy != "fsdp":
        # Without views each process would hold its gradients twice.
        return DDPStrategy(timeout=PATIENCE, gradient_as_bucket_view=True)

    def parallelise(network: "nn.Module", mesh: "DeviceMesh") -> "nn.Module":
        shard_network(network, mesh["data_parallel"])
        return network

    # Fabric's older FSDPStrategy knows neither CPUs nor networks called by other names.
    return ModelParallelStrategy(
        parallelise, data_parallel_size=processes, tensor_parallel_size=1, timeout=PATIENCE
    )


def started_by_torchrun() -> bool:
    """Return whether this process is one that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def started_processes() -> int:
    """Count the processes of this run, on all nodes: 1 without torchrun and srun."""
    here, nodes = launched_processes() or (1, 1)
    return here * nodes


def launched_processes() -> tuple[int, int] | None:
    """Count the processes a node, and nodes, that torchrun or srun started; None if neither."""
    from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    if TorchElasticEnvironment.detect():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        return here, int(os.environ["WORLD_SIZE"]) // here
    if SLURMEnvironment.detect():
        nodes = int(os.environ.get("SLURM_NNODES", 1))
        return int(os.environ["SLURM_NTASKS"]) // nodes, nodes
    return None
