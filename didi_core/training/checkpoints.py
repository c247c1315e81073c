"""Checkpoints of a run: `checkpoints/step_00001000.safetensors`, the last ones kept.

A file that cannot be read is passed over for the one before it, and the user is told.
"""

import sys
from pathlib import Path
from typing import Any

from didi_core.errors import UserError
from didi_core.io.files import Unwritable
from didi_core.training.state_files import load_state, save_state, tensors_of

KEPT = 2
"""Where nothing else is asked for."""


class Checkpoints:
    """Reads and writes the checkpoints of one run folder.

    Args:
        kept: how many stay, the newest.
    """

    def __init__(self, run_folder: Path, kept: int = KEPT) -> None:
        self.folder, self._kept = run_folder / "checkpoints", kept

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write the state after `step` updates, and let the oldest one go.

        Raises:
            UserError: a tensor is not finite, or the disk is full; earlier checkpoints stay.
        """
        path = self._path(step)
        if bad := [name for name, tensor in tensors_of(state) if not tensor.isfinite().all()]:
            more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
            raise UserError(
                f"Training stopped after step {step}: {', '.join(bad[:3])}{more} is not finite, "
                f"and was not saved. {self.last_good()} Lower the learning rate, or use "
                "precision=float32, and continue with resume=true."
            )
        try:
            save_state({"step": step, **state}, path)
        except Unwritable as error:
            raise UserError(
                f"Training stopped after step {step}: {error} {self.last_good()} Then continue "
                "with resume=true."
            ) from error
        # A later one could not be read, or the run would be past it: it counts for nothing.
        for later in (each for each in self._paths() if each > path):
            later.unlink()
        self.let_older_go(step)
        return path

    def let_older_go(self, step: int) -> None:
        """Remove all but the last of those up to `step`; a kill may have left one more."""
        paths = [each for each in self._paths() if each <= self._path(step)]
        for older in paths[: -self._kept]:
            older.unlink()

    def last_good(self) -> str:
        """Say, in a sentence, where a stopped run can be continued from."""
        paths = self._paths()
        return f"The last good checkpoint: {paths[-1] if paths else 'none yet'}."

    def load_latest(self) -> dict[str, Any] | None:
        """Load the newest readable checkpoint, or None when there is none.

        Raises:
            UserError: there are checkpoints and none can be read.
        """
        paths = self._paths()
        for path in reversed(paths):
            try:
                return read_checkpoint(path)
            except UserError as error:
                print(error, file=sys.stderr)
            if path != paths[0]:
                print("Falling back to the checkpoint before it.", file=sys.stderr)
        if paths:
            raise UserError(
                f"None of the checkpoints in {self.folder} can be read: start again with "
                "overwrite=true."
            )
        return None

    def _path(self, step: int) -> Path:
        return self.folder / f"step_{step:08d}.safetensors"

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step_*.safetensors"))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the state that one file holds.

    Raises:
        UserError: it cannot be read.
    """
    return _whole(load_state(path), path)


def _whole(state: Any, path: Path) -> dict[str, Any]:
    if not isinstance(state, dict) or type(state.get("step")) is not int:
        raise UserError(f"The checkpoint {path} cannot be read (it is of another kind).")
    return state
