"""Checkpoints of a run: `checkpoints/step_00001000.safetensors`, the last two kept.

A file that cannot be read is passed over for the one before it, and the user is told.
"""

import sys
from pathlib import Path
from typing import Any

from didi_core.errors import UserError
from didi_core.training.state_files import load_state, save_state

KEPT = 2


class Checkpoints:
    """Reads and writes the checkpoints of one run folder."""

    def __init__(self, run_folder: Path) -> None:
        self.folder = run_folder / "checkpoints"

    def save(self, step: int, state: dict[str, Any]) -> Path:
        path = self.folder / f"step_{step:08d}.safetensors"
        save_state({"step": step, **state}, path)
        for old in self._paths()[:-KEPT]:
            old.unlink()
        return path

    def load_latest(self) -> dict[str, Any] | None:
        """The newest readable checkpoint, or None when there is none.

        Raises:
            UserError: there are checkpoints and none can be read.
        """
        paths = self._paths()
        for path in reversed(paths):
            try:
                return load_state(path)
            except UserError as error:
                print(f"{error} Falling back to the checkpoint before it.", file=sys.stderr)
        if paths:
            raise UserError(
                f"None of the checkpoints in {self.folder} can be read: start again with "
                "overwrite=true."
            )
        return None

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step_*.safetensors"))
