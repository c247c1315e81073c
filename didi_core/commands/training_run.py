"""What `pretrain` and `distill` share: the run folder, the loop's settings, common checks."""

from pathlib import Path

import torch
from lightning.fabric import Fabric

from didi_core.commands.distill_settings import DistillSettings
from didi_core.commands.pretrain_settings import PretrainSettings
from didi_core.distill.updates import mesh_of
from didi_core.hydra_app import as_plain
from didi_core.training.devices import STRATEGIES, build_fabric
from didi_core.training.loop import LoopSettings
from didi_core.training.run_folder import write_run_record

TrainingSettings = PretrainSettings | DistillSettings


def start_run(folder: Path, verb: str, settings: TrainingSettings, fabric: Fabric) -> None:
    """Clear what is to be overwritten and record the configuration."""
    if not fabric.is_global_zero:
        return
    if settings.overwrite:
        for stale in (folder / "checkpoints").glob("step_*.safetensors"):
            stale.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    write_run_record(folder, verb, as_plain(settings), settings.seed)


def training_fabric(settings: TrainingSettings) -> Fabric:
    """The launched Fabric that the settings ask for."""
    return build_fabric(settings.device, settings.precision, settings.devices, settings.strategy)


def opening_device(fabric: Fabric) -> torch.device:
    """Where a network is opened: one that will be in shards need not fit into a GPU whole."""
    return fabric.device if mesh_of(fabric) is None else torch.device("cpu")


def sharing_problems(settings: TrainingSettings) -> list[str]:
    """What is wrong with how processes are to share the run."""
    if settings.strategy in STRATEGIES:
        return []
    return [f"strategy={settings.strategy} must be {', '.join(STRATEGIES)}"]


def loop_settings(settings: TrainingSettings, validate_every: int = 0) -> LoopSettings:
    """The loop's part of the settings."""
    return LoopSettings(
        steps=settings.steps,
        log_every=settings.log_every,
        validate_every=validate_every,
        checkpoint_every=settings.checkpoint_every,
        max_seconds=settings.max_seconds,
    )


def below_one(settings: object, *names: str) -> list[str]:
    """A complaint for each of these settings that is not at least 1."""
    found = [(name, getattr(settings, name)) for name in names]
    return [f"{name}={value} must be at least 1" for name, value in found if value < 1]
