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
from didi_core.training.checkpoints import Checkpoints
from didi_core.training.pace import planned_steps
from didi_core.training.progress import training_progress
from didi_core.training.run_folder import MetricsLog

Validate = Callable[[], dict[str, float]]


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
    max_seconds: float = 0.0
    """Stop, finished, after this much time of training; 0 for no limit. Resumptions count from the
    first that had a limit."""


def train(
    method: Method, settings: LoopSettings, folder: Path, fabric: Fabric, validate: Validate | None
) -> int:
    """Run `method` to its last step, resuming from the newest checkpoint in `folder`.

    Returns:
        The number of updates done, over all resumptions.

    Raises:
        UserError: a logged figure is not finite (the message names the step and the checkpoint),
            or the checkpoint is of another kind of run.
    """
    checkpoints = Checkpoints(folder)
    fabric.barrier()  # the first process may still be clearing what is overwritten
    state = checkpoints.load_latest()
    done = 0 if state is None else int(state["step"])
    method.setup(fabric)
    if state is not None:
        _restore(method, state["method"], checkpoints)
    log = MetricsLog(folder, done) if fabric.is_global_zero else None
    saved = done
    spent = 0.0 if state is None else float(state.get("seconds", 0.0))
    started = time.monotonic() - spent
    out_of_time = 0 < settings.max_seconds <= spent

    def save() -> None:
        nonlocal saved
        if saved != done:
            state = {"method": method.state_dict()}  # of shards every process holds a part
            if settings.max_seconds or spent:  # runs without a limit end in the same bytes
                state["seconds"] = time.monotonic() - started
            if fabric.is_global_zero:
                checkpoints.save(done, state)
        saved = done

    shown = training_progress(done, settings.steps, first=fabric.is_global_zero)
    with shown as progress, _deferred_signals() as arrived:
        while done < settings.steps and not out_of_time:
            elapsed = time.monotonic() - started
            planned = planned_steps(done, settings.steps, elapsed, settings.max_seconds, fabric)
            figures = method.step(done, planned)
            _check_finite(figures, done, saved, checkpoints)
            done += 1
            out_of_time = 0 < settings.max_seconds < time.monotonic() - started
            out_of_time, stopped = _on_any_process(fabric, out_of_time, bool(arrived))
            last = done == settings.steps or out_of_time
            if validate and (last or _due(done, settings.validate_every)):
                figures |= validate()
                _check_finite(figures, done - 1, saved, checkpoints)
            if log and (last or _due(done, settings.log_every)):
                log.write(done, figures)
            progress.show(done, planned, figures)
            if last or stopped or _due(done, settings.checkpoint_every):
                save()
            if stopped:
                raise arrived[0] if arrived else Terminated()
    if out_of_time and done < settings.steps and fabric.is_global_zero:
        took = f"max_seconds={settings.max_seconds:g} ended the training"
        print(f"{took} after {done:,} updates.", file=sys.stderr)
    return done


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
    """Whether each flag is up on some process: all must stop after the same step."""
    if fabric.world_size == 1:
        return flags
    raised = fabric.all_reduce(torch.tensor(flags, device=fabric.device).int(), reduce_op="sum")
    return tuple(bool(count) for count in raised)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


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
