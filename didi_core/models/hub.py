"""Find a model folder: a path, or a Hugging Face hub id, from the cache or over the network."""

import errno
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from didi_core.errors import UserError

_DESCRIPTION = [
    "config.json",
    "generation_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
]
_SAFE = ["*.safetensors", "*.safetensors.index.json"]
_PICKLED = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]


def find_folder(name: str, *, offline: bool, program: str) -> Path:
    """The folder `name`, or the local copy of the hub repository of that name.

    Args:
        offline: do not touch the network; only what the cache (`HF_HOME`) holds.
        program: the command whose `download` fetches models, for messages.

    Raises:
        UserError: neither a folder nor a hub id, or a hub id that cannot be had.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(f"{name} is a file: give the model folder that holds it.")
    if not may_be_hub_id(name):
        raise UserError(f"There is no model folder {name}: check the path.")
    return fetch_snapshot(name, offline=offline, program=program)


def fetch_snapshot(name: str, *, offline: bool, program: str) -> Path:
    """The local copy of a hub repository; safetensors if it has them, else pickled weights."""
    folder = _snapshot(name, _DESCRIPTION + _SAFE, offline, program)
    if not any(folder.glob("*.safetensors")):
        folder = _snapshot(name, _DESCRIPTION + _PICKLED, offline, program)
    return folder


def fetch_part(
    name: str,
    patterns: list[str],
    *,
    offline: bool,
    program: str,
    repo_type: str = "model",
    revision: str | None = None,
) -> Path:
    """The local copy of those files of a hub repository that match `patterns`.

    Args:
        repo_type: "model" or "dataset".
        revision: a commit, so that the files never change; the newest where None.
    """
    return _snapshot(name, patterns, offline, program, repo_type=repo_type, revision=revision)


def may_be_hub_id(name: str) -> bool:
    """Whether `name` has the form OWNER/NAME or NAME."""
    parts = name.split("/")
    return len(parts) <= 2 and all(parts) and not name.startswith((".", "~"))


# The base of the hub client's errors is that of its HTTP library, which changes with its version.
_HttpError = HfHubHTTPError.__bases__[0]
_DISK_PROBLEMS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


def _snapshot(
    name: str, patterns: list[str], offline: bool, program: str, **where: str | None
) -> Path:
    try:
        return Path(
            snapshot_download(name, allow_patterns=patterns, local_files_only=offline, **where)
        )
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{name} is neither a folder here nor a model on the Hugging Face hub that may be "
            "read: check the name (for a private or gated model, log in with `hf auth login`)."
        ) from error
    except HFValidationError as error:
        raise UserError(f"There is no folder {name}, and it cannot be a hub id: {error}") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, _HttpError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _DISK_PROBLEMS:
            raise
        raise UserError(
            f"{name} is not a folder here, not in the Hugging Face cache, and cannot be fetched "
            f"now: on a machine with network run `{program} download {name}`, and set HF_HOME to "
            "that cache here."
        ) from error
