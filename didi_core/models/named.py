"""The folder of a model that was named: bundled, a path or a hub id; the wrong kind is refused."""

import json
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from didi_core.errors import UserError, as_written
from didi_core.models.bundled import BundledModels
from didi_core.models.hub import find_folder

_CAUSAL_NAMES = ("ForCausalLM", "LMHeadModel")


def find_model(bundled: BundledModels, name: str, *, offline: bool, flag: str = "--model") -> Path:
    """Find the folder of a bundled name, a path or a hub id.

    Args:
        flag: what messages call the name: the flag or key it came from.

    Raises:
        UserError: there is none, and a bundled name that is much alike is named, alone where the
            name has no owner as those of the hub have; or it is the folder of a run that did not
            finish.
    """
    program = bundled.package.replace("_", "-")
    path = bundled.path_of(name)
    try:
        folder = find_folder(path, offline=offline, program=program, flag=flag)
    except UserError as error:
        near = None if Path(name).exists() else nearest_name(name, _present(bundled, bundled.names))
        if near is None:
            raise
        otherwise = f" {error}" if "/" in name else ""
        raise UserError(
            f"{as_written(flag, name)}: did you mean the bundled {near}?{otherwise}"
        ) from error
    if (verb := unfinished_run(folder)) is not None:
        raise UserError(
            f"{as_written(flag, name)} is a run that is not finished (it has no config.json yet): "
            f"let it end, or go on with it by `{program} {verb} ... out={name} resume=true` and "
            "the settings it began with (run.json holds them)."
        )
    return folder


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was perhaps meant; None where none is much alike."""
    return next(iter(get_close_matches(name, list(known), 1, cutoff=0.75)), None)


def unfinished_run(folder: Path) -> str | None:
    """Name the verb whose run has not written its model yet; None of any other folder."""
    record = folder / "run.json"
    if (folder / "config.json").exists() or not record.is_file():
        return None
    try:
        verb = json.loads(record.read_text(encoding="utf-8"))["verb"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return verb if isinstance(verb, str) else None


def find_denoiser(
    bundled: BundledModels, name: str, *, offline: bool, flag: str = "--model"
) -> Path:
    """Find a model, as `find_model`, that reverses a noise process.

    Args:
        flag: what messages call the name: the flag or key it came from.

    Raises:
        UserError: see `find_model`, or the model is autoregressive.
    """
    folder = find_model(bundled, name, offline=offline, flag=flag)
    if is_causal(folder):
        raise UserError(
            f"{as_written(flag, name)} is autoregressive, a judge or a baseline: it fills in no "
            "blanks and cannot be distilled. Give a masked-diffusion model"
            f"{_such_as(bundled, bundled.denoisers)}; to have it as a baseline, give it to "
            "`compare --students` or `generate --model`."
        )
    return folder


def find_judge(
    bundled: BundledModels, name: str, *, offline: bool, otherwise: str | None = None
) -> Path:
    """Find a model, as `find_model`, that judges sequences: the value of `--judge`.

    Args:
        otherwise: a judge of the hub, to name where none ships.

    Raises:
        UserError: see `find_model`, or `config.json` names another kind of model.
    """
    folder = find_model(bundled, name, offline=offline, flag="--judge")
    if _config(folder) and not is_causal(folder):
        kind = "a masked-diffusion model" if name in bundled.denoisers else "no causal model"
        fitting = _such_as(bundled, [bundled.judge]) or (otherwise and f", such as {otherwise}")
        raise UserError(
            f"--judge {name} is {kind}, which cannot judge: give an autoregressive one"
            f"{fitting or ''}."
        )
    return folder


def is_causal(folder: Path) -> bool:
    """Return whether `config.json` names an autoregressive architecture."""
    named = _config(folder).get("architectures")
    return isinstance(named, list) and any(str(each).endswith(_CAUSAL_NAMES) for each in named)


def _config(folder: Path) -> dict[str, Any]:
    """Read `config.json`; empty where missing or damaged: opening the model says what is wrong."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _present(bundled: BundledModels, names: Sequence[str]) -> list[str]:
    return [name for name in names if bundled.ships(name)]


def _such_as(bundled: BundledModels, names: Sequence[str]) -> str:
    present = _present(bundled, names)
    return f", such as the bundled {' or '.join(present)}" if present else ""
