"""`plan=true` of `pretrain` and `distill`: what memory and time a run would take."""

import sys
from dataclasses import replace
from typing import TypeVar

import torch
from lightning.fabric import Fabric
from rich.table import Table

from didi_core.cli.run import console
from didi_core.commands.training.settings import DistillSettings, PretrainSettings
from didi_core.distill.method import Method, Network
from didi_core.progress import counted, readable_time
from didi_core.training.devices import (
    check_precision,
    describe_device,
    is_elsewhere,
    resolve_device,
    settle_precision,
    started_processes,
)
from didi_core.training.memory_plan import (
    GIB,
    MemoryPlan,
    ParallelConfig,
    alternatives,
    plan_memory,
)
from didi_core.training.time_plan import UTILISATION, TimePlan, matrix_rate, update_operations

TrainingSettings = PretrainSettings | DistillSettings
Settings = TypeVar("Settings", bound=TrainingSettings)


def print_plan(
    networks: list[Network],
    graphs: int,
    settings: TrainingSettings,
    length: int,
    repeated: int = 0,
) -> None:
    """Print the plan of the settings, network by network, those of other ways to share it, and the
    time it takes.

    Args:
        length: most tokens of a sequence.
        repeated: forward passes that an update of several passes makes once more.
    """
    asked = (networks, settings.tokens_per_batch, graphs)
    out = console()
    out.print(_networks(plan_memory(*asked, _sharing(settings))))
    out.print(_ways(alternatives(*asked, _sharing(settings))))
    out.print("Activations are estimated; weights, gradients and optimiser states are exact.")
    again, tokens = settings.checkpoint_activations, settings.tokens_per_batch
    at_once = (settings.tokens_per_pass or tokens) * _sharing(settings).processes
    more = repeated if at_once < tokens else 0
    operations = update_operations(networks, tokens, length, graphs, again, more)
    out.print(_time_line(operations, settings))


def settled(settings: Settings) -> Settings:
    """Return settings whose precision is settled; a plan may be of a GPU that is not here.

    Raises:
        UserError: see `settle_precision`.
    """
    if not (settings.plan and is_elsewhere(settings.device)):
        return settle_precision(settings, "")
    asked = check_precision(settings.precision, "precision=")
    return replace(settings, precision="bf16" if asked == "auto" else asked)


def _time_line(operations: float, settings: TrainingSettings) -> str:
    if is_elsewhere(settings.device):
        return (
            f"About {operations:.1e} operations an update, {settings.steps:,} updates: how long "
            f"they take is said where there is a device={settings.device}, and by device=cpu here."
        )
    device, processes = resolve_device(settings.device, "device="), _sharing(settings).processes
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
