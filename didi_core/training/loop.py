"""The loop that drives any method: devices, precision, checkpoints, resume, logs, progress.

All randomness of a step is keyed by (seed, step), so a run resumed from a checkpoint equals one
that was never interrupted, bit for bit on one machine; with a limit of time the clock decides where
rounds and decays of rates are, and with it the result.
"""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric

from didi_core.distill.method import Method
from didi_core.errors import Terminated, UserError
from didi_core.training.checkpoints import KEPT, Checkpoints
from didi_core.training.pace import planned_steps
from didi_core.training.patience import Patience
from didi_core.training.progress import TrainingProgress, training_progress
from didi_core.training.run_logs import NONE, run_logs

Validate = Callable[[], dict[str, float]]
"""Held-out figures; the first is the loss by which training is judged."""


@dataclass(frozen=True)
class LoopSettings:
    """How long and how often."""

    steps: int
    """Updates in all."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl."""
    validate_every: int = 0
    """Steps between validations; 0 for only at the end."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    checkpoints_kept: int = KEPT
    """The newest ones that stay, so that a damaged one can be passed over."""
    max_seconds: float = 0.0
    """Stop, finished, after this much time of training; 0 for no limit. Resumptions count from the
    first that had a limit."""
    logger: str = NONE
    """What takes the metrics beside metrics.jsonl: tensorboard, wandb or none."""
    offline: bool = False
    """Never use the network."""
    first_look: Validate | None = None
    """Held-out figures before the first update, of weights that others trained; None for none."""
    tokens_per_update: int | None = None
    """At most; for the estimate of the time that the run will take, which is left out with None."""


def train(
    method: Method,
    settings: LoopSettings,
    folder: Path,
    fabric: Fabric,
    validate: Validate | None,
    patience: Patience | None = None,
) -> int:
    """Run `method` to its last step, resuming from the newest checkpoint in `folder`.

    Args:
        patience: ends the run where validation stops improving; the method is then left with the
            weights that were best.

    Returns:
        The number of updates done, over all resumptions.

    Raises:
        UserError: a logged figure is not finite (the message names the step and the checkpoint),
            or the checkpoint is of another kind of run.
    """
    run = _Run(method, settings, folder, fabric, patience)
    first = fabric.is_global_zero
    # A run that is over has nothing left to log.
    logger = NONE if run.is_over else settings.logger
    logs = run_logs(logger, folder, run.done, first=first, offline=settings.offline)
    shown = training_progress(
        *(run.done, settings.steps),
        first=first,
        tokens_per_update=settings.tokens_per_update,
        look_every=settings.validate_every if validate else 0,
    )
    with logs as write_metrics, shown as progress, _deferred_signals() as arrived:
        if settings.first_look and run.done == 0:
            write_metrics(0, run.noted(settings.first_look()))
        while not run.is_over:
            planned = run.planned_steps()
            figures = run.step(planned)
            stopped = run.must_stop(bool(arrived))
            looks = validate is not None and run.is_due(settings.validate_every)
            if validate and looks:
                figures |= run.validated(validate, progress)
            if looks or run.is_due(settings.log_every):
                write_metrics(run.done, figures)
            progress.show(run.done, planned, figures)
            if stopped or run.is_due(settings.checkpoint_every):
                run.save()
            if stopped:
                raise arrived[0] if arrived else Terminated()
    if run.done < settings.steps and first:
        print(f"{run.ended_by} ended the training after {run.done:,} updates.", file=sys.stderr)
    if patience is not None:
        patience.restore()
    return run.done


class _Run:
    """How far a training is, on this process: updates done and saved, and the time they took."""

    def __init__(
        self,
        method: Method,
        settings: LoopSettings,
        folder: Path,
        fabric: Fabric,
        patience: Patience | None,
    ) -> None:
        self.method, self.settings, self.fabric = method, settings, fabric
        self.patience = patience
        self.checkpoints = Checkpoints(folder, settings.checkpoints_kept)
        fabric.barrier()  # the first process may still be clearing what is overwritten
        state = self.checkpoints.load_latest()
        method.setup(fabric)
        if state is not None:
            _restore(method, state["method"], self.checkpoints)
            if patience is not None and "patience" in state:
                patience.load_state_dict(state["patience"])
        self.done = self.saved = 0 if state is None else int(state["step"])
        if state is not None and fabric.is_global_zero:
            self.checkpoints.let_older_go(self.done)
        self.spent = 0.0 if state is None else float(state.get("seconds", 0.0))
        self.started = time.monotonic() - self.spent
        self.out_of_time = 0 < settings.max_seconds <= self.spent
        self.since: tuple[int, float] | None = None
        """Updates and seconds after the first update of this process."""

    @property
    def is_over(self) -> bool:
        return self.done >= self.settings.steps or self.out_of_time or self.out_of_patience

    @property
    def out_of_patience(self) -> bool:
        return self.patience is not None and self.patience.is_over

    @property
    def ended_by(self) -> str:
        """The setting that ended the run before its last step."""
        if self.patience is not None and self.patience.is_over:
            return f"patience={self.patience.limit}"
        return f"max_seconds={self.settings.max_seconds:g}"

    def is_due(self, every: int) -> bool:
        """Tell whether something is due after this step: at the end, and each `every` steps."""
        return self.is_over or (every > 0 and self.done % every == 0)

    def elapsed(self) -> float:
        """Return the seconds of training, over all resumptions."""
        return time.monotonic() - self.started

    def planned_steps(self) -> int:
        """Updates that the run will have, as far as the clock tells."""
        return planned_steps(
            self.done,
            self.settings.steps,
            self.elapsed(),
            self.settings.max_seconds,
            self.fabric,
            self.since or (0, 0.0),
        )

    def step(self, planned: int) -> dict[str, float]:
        """Do the next update of `planned`; its figures."""
        figures = self.method.step(self.done, planned)
        self.done += 1
        self.since = self.since or (self.done, self.elapsed())
        return self.checked(figures)

    def checked(self, figures: dict[str, float]) -> dict[str, float]:
        """Return the figures of the last update, if they are finite.

        Raises:
            UserError: one is not finite.
        """
        _check_finite(figures, self.done - 1, self.saved, self.checkpoints)
        return figures

    def validated(self, validate: Validate, progress: TrainingProgress) -> dict[str, float]:
        """Return the held-out figures now; see `noted`."""
        started = time.monotonic()
        found = validate()
        progress.looked(time.monotonic() - started)
        return self.noted(found)

    def noted(self, found: dict[str, float]) -> dict[str, float]:
        """Return held-out figures, if they are finite; patience takes note of them."""
        figures = self.checked(found)
        if self.patience is None:
            return figures
        self.patience.look(self.done, next(iter(figures.values())), self.fabric)
        return figures | {"best_step": self.patience.best_step}

    def must_stop(self, interrupted: bool) -> bool:
        """Return whether a signal has come to some process; looks at the clock, too."""
        late = 0 < self.settings.max_seconds < self.elapsed()
        self.out_of_time, stopped = _on_any_process(self.fabric, late, interrupted)
        return stopped

    def save(self) -> None:
        """Save a checkpoint of what is done, unless it has one."""
        if self.saved != self.done:
            # Of shards every process holds a part.
            state: dict[str, Any] = {"method": self.method.state_dict()}
            if self.settings.max_seconds or self.spent:  # runs without a limit end in equal bytes
                state["seconds"] = self.elapsed()
            if self.patience is not None and (kept := self.patience.state_dict()):
                state["patience"] = kept
            if self.fabric.is_global_zero:
                self.checkpoints.save(self.done, state)
        self.saved = self.done


def _restore(method: Method, state: dict[str, Any], checkpoints: Checkpoints) -> None:
    try:
        method.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"resume=true: the checkpoint in {checkpoints.folder} is of a run with another model "
            f"or method ({reason}). Give the same settings, or start again with overwrite=true."
        ) from error


@contextmanager
def _deferred_signals() -> Iterator[list[BaseException]]:
    """Let the step in hand finish before Ctrl-C or SIGTERM ends the run.

    A state saved between the updates of one step could not be resumed exactly. Yields a list that
    holds the exception to raise once a signal has arrived; a second Ctrl-C acts at once.
    """
    arrived: list[BaseException] = []
    if threading.current_thread() is not threading.main_thread():
        yield arrived
        return

    def on_signal(signum: int, frame: object) -> None:  # noqa: ARG001
        if arrived:
            raise arrived[0]
        arrived.append(KeyboardInterrupt() if signum == signal.SIGINT else Terminated())

    before = {s: signal.signal(s, on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield arrived
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _on_any_process(fabric: Fabric, *flags: bool) -> tuple[bool, ...]:
    """Tell whether each flag is up on some process: all must stop after the same step."""
    if fabric.world_size == 1:
        return flags
    raised = fabric.all_reduce(torch.tensor(flags, device=fabric.device).int(), reduce_op="sum")
    return tuple(bool(count) for count in raised)


def _check_finite(
    figures: dict[str, float], step: int, saved: int, checkpoints: Checkpoints
) -> None:
    wrong = {name: value for name, value in figures.items() if not math.isfinite(value)}
    if wrong:
        where = f"step {saved} in {checkpoints.folder}" if saved else "none yet"
        raise UserError(
            f"Training stopped at step {step}: {wrong} is not finite. The last good checkpoint: "
            f"{where}. Lower the learning rate, or use precision=float32, and continue with "
            "resume=true."
        )
