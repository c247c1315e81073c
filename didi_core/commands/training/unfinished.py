"""The model of a run that has not ended, or of an earlier checkpoint: for `generate --model`.

A checkpoint holds weights and optimisers, and `run.json` the settings that they belong to. So the
run is built as it would be to go on, the checkpoint is loaded into it, and what it would save now
is written to a folder that lasts as long as the process.
"""

import atexit
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from didi_core.cli.hydra_app import settings_from
from didi_core.commands.training.domain import TrainingDomain
from didi_core.errors import UserError
from didi_core.models.named import unfinished_run
from didi_core.training.checkpoints import Checkpoints, read_checkpoint
from didi_core.training.devices import build_fabric
from didi_core.training.run_folder import read_run_record


def model_of_run(name: str, domain: Callable[[], TrainingDomain[Any, Any]]) -> Path | None:
    """Return a folder with the model of a checkpoint or of an unfinished run that `name` names.

    Args:
        name: `RUN/checkpoints/step_00001000.safetensors`, or RUN for its newest.
        domain: imports the program's domain; called only where there is such a run.

    Returns:
        None where `name` is neither, or the run has no checkpoint yet.

    Raises:
        UserError: the checkpoint or the settings of its run cannot be read.
    """
    path = Path(name).expanduser()
    is_checkpoint = path.match("checkpoints/step_*.safetensors") and path.is_file()
    run = path.parent.parent if is_checkpoint else path
    if not is_checkpoint and not (path.is_dir() and unfinished_run(path)):
        return None
    state = read_checkpoint(path) if is_checkpoint else Checkpoints(run).load_latest()
    if state is None:
        return None
    record = read_run_record(run, "--model ")
    if record is None:
        raise UserError(f"--model {name}: {run} has no run.json, which says what was trained.")
    verb, stored = record
    from didi_core.commands.training import distill, pretrain  # slow to import, seldom needed

    trained_in = domain()
    is_pretrain = verb == "pretrain"
    settings_class = trained_in.pretrain_settings if is_pretrain else trained_in.distill_settings
    without_data = pretrain.without_data if is_pretrain else distill.without_data
    known = {each.name for each in fields(settings_class)}
    chosen = OmegaConf.create({key: value for key, value in stored.items() if key in known})
    method, save = without_data(settings_from(chosen, settings_class), trained_in)
    method.setup(build_fabric("cpu", "float32", 1, "auto"))
    try:
        method.load_state_dict(state["method"])
    except (KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"--model {name}: the checkpoint is not of run.json's model.") from error
    folder = Path(tempfile.mkdtemp(prefix="didi-checkpoint-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    save(folder, state["step"])
    asked = f" of at most {stored['steps']:,}" if isinstance(stored.get("steps"), int) else ""
    print(f"{name}: the model after {state['step']:,} updates{asked}.", file=sys.stderr)
    return folder
