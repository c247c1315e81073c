"""`plan=true` of `pretrain` and `distill`: what memory and time a run would take."""

import sys

import torch
from lightning.fabric import Fabric
from rich.table import Table

from didi_core.cli.run import console
from didi_core.commands.training.settings import DistillSettings, PretrainSettings
from didi_core.distill.method import Method, Network
from didi_core.progress import counted, readable_time
from didi_core.training.devices import describe_device, resolve_device, started_processes
from didi_core.training.memory_plan import (
    GIB,
    MemoryPlan,
    ParallelConfig,
    alternatives,
    plan_memory,
)
from didi_core.training.time_plan import UTILISATION, TimePlan, matrix_rate, update_operations

TrainingSettings = PretrainSettings | DistillSettings


def print_plan(
    networks: list[Network], graphs: int, settings: TrainingSettings, length: int
) -> None:
    """Print the plan of the settings, network by network, those of other ways to share it, and the
    time it takes.

    Args:
        length: most tokens of a sequence.
    """
    asked = (networks, settings.tokens_per_batch, graphs)
    out = console()
    out.print(_networks(plan_memory(*asked, _sharing(settings))))
    out.print(_ways(alternatives(*asked, _sharing(settings))))
    out.print("Activations are estimated; weights, gradients and optimiser states are exact.")
    out.print(_time_line(networks, graphs, settings, length))


def _time_line(
    networks: list[Network], graphs: int, settings: TrainingSettings, length: int
) -> str:
    device = resolve_device(settings.device, "device=")
    again, processes = settings.checkpoint_activations, _sharing(settings).processes
    operations = update_operations(networks, settings.tokens_per_batch, length, graphs, again)
    plan = TimePlan(operations, settings.steps, matrix_rate(device, settings.precision), processes)
    shared = counted(processes, "process", "es")
    return (
        f"About {operations:.1e} operations an update, {readable_time(plan.seconds)} for "
        f"{settings.steps:,} updates: {shared} at {UTILISATION:.0%} of the "
        f"{plan.rate / 1e12:.2g} TFLOP/s of matrix products in {settings.precision} here "
        f"({describe_device(device)})."
    )


def say_memory(method: Method, settings: TrainingSettings, fabric: Fabric) -> None:
    """One line on standard error about each GPU, before the run fills it."""
    if fabric.is_global_zero and fabric.device.type == "cuda":
        plan = plan_memory(
            method.networks(), settings.tokens_per_batch, method.graphs, _sharing(settings)
        )
        held = torch.cuda.get_device_properties(fabric.device).total_memory
        print(memory_line(plan, held), file=sys.stderr)


def memory_line(plan: MemoryPlan, held: int) -> str:
    """What a plan takes of the `held` bytes of a GPU, and the mends where that is too little."""
    line = f"About {_gib(plan.total)} GiB on each GPU of {_gib(held)} (plan=true says of what)."
    if plan.total < held:
        return line
    return (
        f"{line} That is too much: try strategy=fsdp with more GPUs, precision=bf16, "
        "checkpoint_activations=true or a smaller tokens_per_pass."
    )


def _sharing(settings: TrainingSettings) -> ParallelConfig:
    processes = max(started_processes(), settings.devices)
    return ParallelConfig(
        processes,
        settings.strategy,
        settings.precision,
        settings.checkpoint_activations,
        settings.tokens_per_pass,
    )


def _networks(plan: MemoryPlan) -> Table:
    way = plan.sharing
    title = f"GiB on each of {way.processes} processes, {way.precision}, strategy={way.strategy}"
    table = Table("", "weights", "gradients", "optimiser", title=title)
    for each in plan.networks:
        parts = (each.weights, each.gradients, each.optimizer)
        table.add_row(each.name, *(_gib(part) for part in parts))
    table.add_section()
    for name in ("gathered", "casts", "activations", "total"):
        table.add_row(name, _gib(getattr(plan, name)))
    return table


def _ways(plans: list[MemoryPlan]) -> Table:
    table = Table("processes", "strategy", "plain", "checkpointed", title="total, shared otherwise")
    for plain, again in zip(plans[::2], plans[1::2], strict=True):
        way = plain.sharing
        table.add_row(str(way.processes), way.strategy, _gib(plain.total), _gib(again.total))
    return table


def _gib(size: int) -> str:
    return f"{size / GIB:.2f}"
