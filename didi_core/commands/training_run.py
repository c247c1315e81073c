"""What `pretrain` and `distill` share: the run folder, the loop's settings, common checks."""

from pathlib import Path

from lightning.fabric import Fabric

from didi_core.commands.distill_settings import DistillSettings
from didi_core.commands.pretrain_settings import PretrainSettings
from didi_core.hydra_app import as_plain
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
