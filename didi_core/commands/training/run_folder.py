"""What `pretrain` and `distill` share: the run folder, the loop's settings, common checks."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from lightning.fabric import Fabric

from didi_core.cli.hydra_app import as_plain
from didi_core.cli.run import check_output
from didi_core.commands.training.settings import DistillSettings, PretrainSettings
from didi_core.distill.passes import Passes
from didi_core.distill.updates import mesh_of
from didi_core.errors import UserError
from didi_core.io.files import write_text
from didi_core.io.journal import require_same_settings
from didi_core.models.hub import HEADROOM, TRAINING_SKETCH
from didi_core.models.weight_files import EXTRA_FILES
from didi_core.number_checks import percentage, positive_int_errors
from didi_core.training.devices import STRATEGIES, build_fabric
from didi_core.training.loop import LoopSettings
from didi_core.training.run_folder import (
    SPLIT,
    add_run_entry,
    read_run_entry,
    read_run_record,
    write_run_record,
)
from didi_core.training.run_logs import logger_errors

TrainingSettings = PretrainSettings | DistillSettings

FREE_TO_CHANGE = frozenset(
    (
        *("out", "steps", "max_seconds", "tokens_per_batch", "tokens_per_pass", "precision"),
        *("device", "devices", "strategy", "checkpoint_activations", "offline"),
        *(
            "log_every",
            "logger",
            "validate_every",
            "checkpoint_every",
            "checkpoints_kept",
            "resume",
            "overwrite",
            "plan",
        ),
        *("valid", "valid_blocks", "patience", "family", "verdict"),
    )
)
"""What a run may be continued with otherwise: how long, how and where it is computed."""
FREE_OF_OPTIMIZERS = frozenset(
    ("lr", "muon_lr", "warmup_steps", "decay_fraction", "decay_shape", "clip_norm", "fused")
)
"""The same of each optimiser: a run that diverged goes on with a lower rate."""
_PLACES = ("data", "init", "teacher", "tokenizer")
"""Settings that may name a file or folder."""
REPLACING = "replacing"
"""A file that is there from the start of a run with overwrite=true until it has cleared the folder:
what lies there belongs to the earlier run."""


PASSES = "passes"
"""Key in `run.json` of the passes that a lack of memory made smaller than the settings say."""

_MADE = ("config.json", "run.json", "checkpoints")
"""What shows a folder to hold a model, or a run that began to train."""
_OURS = (*_MADE, "pool", REPLACING)
"""The same, or what comes before."""


def _holds_ours(folder: Path) -> bool:
    return any((folder / name).exists() for name in _OURS)


def check_run_folder(folder: Path, verb: str, settings: TrainingSettings) -> None:
    """Refuse a folder that exists, unless it is to be replaced or continued as it was begun.

    Raises:
        UserError: see `check_output`; or `resume=true` with other settings than in `run.json`, or
            of a run that was to replace another and had not come to it.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"out={folder} is a file: choose another name.")
    check_output(folder, resume=settings.resume, overwrite=settings.overwrite, flag="out=")
    foreign = folder.exists() and any(folder.iterdir()) and not _holds_ours(folder)
    if settings.overwrite and foreign:
        raise UserError(f"overwrite=true: {folder} holds no run or model; choose another out=.")
    if settings.resume and (folder / REPLACING).is_file():
        raise UserError(
            f"resume=true: {folder} still holds the model that overwrite=true was to replace: "
            "start with overwrite=true again (samples of the teacher made so far are kept)."
        )
    begun = read_run_record(folder) if settings.resume else None
    if begun is None:
        return
    stored = {"verb": begun[0], **_deciding(begun[1])}
    asked = {"verb": verb, **_deciding(as_plain(settings))}
    # A setting that only one of them has came with another method or version, and has its default.
    both = stored.keys() & asked.keys()
    require_same_settings(
        {name: value for name, value in stored.items() if name in both},
        {name: value for name, value in asked.items() if name in both},
        folder,
        ("resume=true", "overwrite=true"),
    )


def _deciding(settings: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """Settings that decide the result, each by its full name, as in method.student.name.

    What is a file or folder here is named by its whole path, however it was written.
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _deciding(value, f"{group}{name}.")
        elif name not in (FREE_OF_OPTIMIZERS if group else FREE_TO_CHANGE):
            here = name in _PLACES and isinstance(value, str) and Path(value).exists()
            found[f"{group}{name}"] = str(Path(value).resolve()) if here else value
    if not group:  # what a share holds out is not trained on
        held_out = settings.get("valid")
        found["valid"] = held_out if percentage(held_out) is not None else None
    return found


@contextmanager
def prepared_run(
    folder: Path,
    verb: str,
    settings: TrainingSettings,
    fabric: Fabric,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[None]:
    """Around all that comes before training: the run is recorded, or replaces an earlier one.

    With `overwrite=true` the earlier model and run are cleared at the end of the block, the last
    thing before training: nothing is lost to what cannot be read, or to settings that are refused.

    Args:
        more: what `run.json` records beside the settings.
    """
    if settings.resume and (passes := read_run_entry(folder, PASSES)):
        more = {**more, PASSES: passes}
    earlier = any((folder / name).exists() for name in _MADE)
    replaces = settings.overwrite and earlier
    first = fabric.is_global_zero
    new = not folder.exists()
    if first:
        folder.mkdir(parents=True, exist_ok=True)
    if first and replaces:
        write_text(folder / REPLACING, f"{verb} with overwrite=true has not trained yet\n")
    elif first:
        write_run_record(folder, verb, as_plain(settings), settings.seed, more)
    try:
        yield
    except UserError:
        if first:
            (folder / REPLACING).unlink(missing_ok=True)
            if not earlier:  # the mended command finds the folder as this one did
                (folder / "run.json").unlink(missing_ok=True)
            if new and not any(folder.iterdir()):
                folder.rmdir()
        raise
    if first and replaces:
        _clear(folder)
        write_run_record(folder, verb, as_plain(settings), settings.seed, more)
        (folder / REPLACING).unlink()


def _clear(folder: Path) -> None:
    """Remove a model and its checkpoints.

    Without its config the model is not finished, and run.json is the old one while its checkpoints
    are there: a kill leaves no mixture that could be used or continued.
    """
    for name in ("config.json", "model.safetensors", *EXTRA_FILES, TRAINING_SKETCH, HEADROOM):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / SPLIT, ignore_errors=True)
    for stale in (folder / "checkpoints").glob("step_*.safetensors"):
        stale.unlink()


def training_fabric(settings: TrainingSettings) -> Fabric:
    """The launched Fabric that the settings ask for."""
    return build_fabric(settings.device, settings.precision, settings.devices, settings.strategy)


def opening_device(fabric: Fabric) -> torch.device:
    """Where a network is opened: one that will be in shards need not fit into a GPU whole."""
    return fabric.device if mesh_of(fabric) is None else torch.device("cpu")


def run_problems(settings: TrainingSettings) -> list[str]:
    """What is wrong with how the run is to be logged, and shared by processes."""
    wrong = logger_errors(settings.logger)
    if settings.tokens_per_pass is not None:
        wrong += positive_int_errors(settings, "tokens_per_pass")
    if settings.strategy not in STRATEGIES:
        wrong.append(f"strategy={settings.strategy} must be {', '.join(STRATEGIES)}")
    return wrong


def passes_of(settings: TrainingSettings) -> Passes:
    """How updates are cut: as set; else as an earlier lack of memory in the run made them."""
    folder = Path(settings.out)
    earlier = read_run_entry(folder, PASSES) if settings.resume else None
    return Passes(
        settings.tokens_per_pass or (earlier or {}).get("tokens"),
        lambda tokens: add_run_entry(folder, PASSES, {"tokens": tokens}),
    )


def loop_settings(settings: TrainingSettings, validate_every: int = 0) -> LoopSettings:
    """The loop's part of the settings."""
    return LoopSettings(
        steps=settings.steps,
        log_every=settings.log_every,
        validate_every=validate_every,
        checkpoint_every=settings.checkpoint_every,
        checkpoints_kept=settings.checkpoints_kept,
        max_seconds=settings.max_seconds,
        logger=settings.logger,
        offline=getattr(settings, "offline", False),
        tokens_per_update=settings.tokens_per_batch,
    )
