"""Where a training's metrics go: `metrics.jsonl` always, TensorBoard or W&B beside it when asked.

Only the first process writes. A resumed run goes on in the same TensorBoard folder, without what
lay past its checkpoint, and in the W&B run whose id the run folder keeps.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from didi_core.errors import UserError
from didi_core.io.files import write_text
from didi_core.training.run_folder import MetricsLog, read_run_record

NONE = "none"
LOGGERS = (NONE, "tensorboard", "wandb")
"""What `logger=` takes; each but `none` is the name of the package it needs."""
TENSORBOARD_FOLDER = "tensorboard"
WANDB_ID = "wandb_id.txt"
"""Of the run folder: what W&B calls the run."""
WANDB_PROJECT = "didi"
"""Unless the environment variable of that name says otherwise."""

WriteMetrics = Callable[[int, Mapping[str, float]], None]
"""Writes the metrics after a number of updates."""


class RunLogger(Protocol):
    """One of Lightning's loggers, as far as it is used."""

    def log_hyperparams(self, params: dict[str, Any]) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None: ...


def logger_errors(logger: str) -> list[str]:
    """Return what is wrong with the setting `logger`: an unknown name, or a missing package."""
    if logger not in LOGGERS:
        return [f"logger={logger} must be {', '.join(LOGGERS[:-1])} or {LOGGERS[-1]}"]
    if logger != NONE and find_spec(logger) is None:
        return [
            f"logger={logger} needs the package {logger}: pip install 'didi-protein[log]', or "
            "leave logger= out"
        ]
    return []


@contextmanager
def run_logs(
    logger: str, folder: Path, done: int, *, first: bool, offline: bool = False
) -> Iterator[WriteMetrics]:
    """Open the logs of a run, for as long as it trains.

    Args:
        logger: of `LOGGERS`.
        folder: of the run.
        done: updates of the checkpoint that it resumes from; what was logged past it is dropped.
        first: whether this is the first process; the others write nothing.
        offline: never use the network; W&B then keeps the run here, for `wandb sync`.

    Raises:
        UserError: W&B refuses the run, such as without an account.
    """
    if not first:
        yield _write_nothing
        return
    write_line = MetricsLog(folder, done or -1).write
    if logger == NONE:
        yield write_line
        return
    opened, close = _OPEN[logger](folder, done, offline)

    def write(step: int, metrics: Mapping[str, float]) -> None:
        write_line(step, metrics)
        opened.log_metrics(metrics, step)

    if (record := read_run_record(folder)) is not None:
        opened.log_hyperparams(record[1])
    try:
        yield write
    finally:
        close()


def _write_nothing(step: int, metrics: Mapping[str, float]) -> None:
    """Metrics of a process that is not the first."""


_Opened = tuple[RunLogger, Callable[[], object]]
"""A logger, and what ends it."""


def _open_tensorboard(folder: Path, done: int, offline: bool) -> _Opened:
    """Open the event files in `folder`; a run that begins anew removes those of an earlier one."""
    del offline  # TensorBoard writes files alone
    from lightning.fabric.loggers import TensorBoardLogger

    place = folder.resolve() / TENSORBOARD_FOLDER
    if not done:
        for stale in place.glob("events.out.tfevents.*"):
            stale.unlink()
    # What TensorBoard has read of later steps it forgets when it comes to the purge.
    logger = TensorBoardLogger(
        place, name="", version="", default_hp_metric=False, purge_step=done + 1
    )
    return logger, lambda: logger.finalize("")


def _open_wandb(folder: Path, done: int, offline: bool) -> _Opened:
    """Open the W&B run of `folder`: the one whose id it keeps, or a new one."""
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    kept = folder / WANDB_ID
    if not done or not kept.is_file():
        write_text(kept, f"{uuid.uuid4().hex[:8]}\n")
    logger = WandbLogger(
        name=folder.resolve().name,
        project=os.environ.get("WANDB_PROJECT", WANDB_PROJECT),
        save_dir=folder,
        id=kept.read_text(encoding="utf-8").strip(),
        offline=offline,
    )
    try:
        run = logger.experiment
    except wandb.errors.Error as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"logger=wandb: {reason} Log in (wandb login), or set WANDB_MODE=offline to keep the "
            "run here."
        ) from error
    return logger, run.finish


_OPEN: Mapping[str, Callable[[Path, int, bool], _Opened]] = {
    "tensorboard": _open_tensorboard,
    "wandb": _open_wandb,
}
