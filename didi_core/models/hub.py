"""Find a model folder: a path, or a Hugging Face hub id, from the cache or over the network.

A hub id may name a revision: `OWNER/NAME@REVISION` (`hub_names`).
"""

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from didi_core.errors import UserError, as_written
from didi_core.io.files import at_home
from didi_core.models.hub_names import may_be_hub_id, require_revision, split_revision

TRAINING_SKETCH = "training.sketch"
"""Of a model folder: what it learnt from, as signatures of its sequences; no sequences."""
HEADROOM = "headroom.json"
"""Of a model folder: the curve that `headroom` measured; `--grid best` places steps by it."""

_DESCRIPTION = [
    "config.json",
    "generation_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    TRAINING_SKETCH,
    HEADROOM,
]
_SAFE = ["*.safetensors", "*.safetensors.index.json"]
_PICKLED = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]


DOWNLOAD = "download"
"""The flag of names given to the verb `download`: messages do not send its users to itself."""


def find_folder(name: str, *, offline: bool, program: str, flag: str = "") -> Path:
    """Find the folder `name`, or the local copy of the hub repository of that name.

    Args:
        offline: do not touch the network; only what the cache (`HF_HOME`) holds.
        program: the command whose `download` fetches models, for messages.
        flag: what messages call the name: the flag or key it came from.

    Raises:
        UserError: neither a folder nor a hub id, or a hub id that cannot be had.
    """
    if not name:  # of a shell variable that is not set; as a path it would be the folder here
        raise UserError(f"{flag or 'The name of a model'} is empty: give a model folder or hub id.")
    path = Path(at_home(name))
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(
            f"{_display_name(flag, name)} is a file: give the model folder that holds it."
        )
    if not may_be_hub_id(name):
        raise UserError(
            f"{_display_name(flag, name)}: there is no such model folder; check the path."
        )
    return fetch_snapshot(name, offline=offline, program=program, flag=flag)


def is_cached(name: str) -> bool:
    """Return whether the Hugging Face cache (`HF_HOME`) holds a model of this hub id."""
    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def fetch_snapshot(name: str, *, offline: bool, program: str, flag: str = "") -> Path:
    """Fetch a hub repository; its safetensors if it has them, else pickled weights.

    Raises:
        UserError: it cannot be had, or there is no model in it.
    """
    asked = _Asked(name, offline, program, flag)
    folder = _snapshot(asked, _DESCRIPTION + _SAFE)
    if not any(folder.glob("*.safetensors")):
        folder = _snapshot(asked, _DESCRIPTION + _PICKLED)
    if not folder.is_dir() or not any(folder.iterdir()):
        raise UserError(
            f"{asked.display_name} holds no model on the Hugging Face hub: {asked.hint}."
        )
    return folder


def fetch_part(
    name: str,
    patterns: list[str],
    *,
    offline: bool,
    program: str,
    flag: str = "",
    repo_type: str = "model",
    revision: str | None = None,
    called: str = "",
) -> Path:
    """Fetch those files of a hub repository that match `patterns`, and return the local copy.

    Args:
        repo_type: "model" or "dataset".
        revision: a commit, so that the files never change; where None, what `name` says, else
            the newest.
        called: what `download` calls them, for messages, where that is another name.
    """
    asked = _Asked(name, offline, program, flag, called)
    return _snapshot(asked, patterns, repo_type=repo_type, revision=revision)


# The base of the hub client's errors is that of its HTTP library, which changes with its version.
HTTP_ERROR: Any = HfHubHTTPError.__bases__[0]
_DISK_PROBLEMS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class _Asked:
    """What was asked for, and how: for messages."""

    name: str
    offline: bool
    program: str
    flag: str
    called: str = ""

    @property
    def display_name(self) -> str:
        name = _display_name(self.flag, self.name)
        return f"{self.called} ({name})" if self.called else name

    @property
    def hint(self) -> str:
        """What to do where the repository is there and its files are none of a model's."""
        repository, revision = split_revision(self.name)
        if revision is not None:
            return f"check the name after @ on huggingface.co/{repository}"
        return (
            "where its models are revisions, as those of jdeschena/sdtt are, name one: "
            f"{repository}@REVISION"
        )

    @property
    def fix(self) -> str:
        """What to do where it cannot be had now."""
        if self.flag == DOWNLOAD:
            return (
                "check the name, and run this where huggingface.co can be reached; that cache "
                "(HF_HOME) then serves here"
            )
        command = f"`{self.program} download {self.called or self.name}`"
        if not self.offline:
            return f"on a machine with network run {command}, and set HF_HOME to that cache here"
        switch = "offline=false" if self.flag.endswith("=") else "no --offline"
        return (
            f"run {command} where there is network and set HF_HOME to that cache, or give {switch}"
        )


def _display_name(flag: str, name: str) -> str:
    return as_written(flag, name) if flag else name


def _snapshot(asked: _Asked, patterns: list[str], **where: Any) -> Path:
    repository, revision = split_revision(asked.name)
    if revision is not None:
        require_revision(revision, asked.display_name)
        where = {**where, "revision": revision}
    try:
        return Path(
            snapshot_download(
                repository, allow_patterns=patterns, local_files_only=asked.offline, **where
            )
        )
    except RevisionNotFoundError as error:
        raise UserError(
            f"{asked.display_name}: {repository} has no branch, tag or commit of that name "
            f"on the Hugging Face hub: {asked.hint}."
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{asked.display_name} is neither a folder here nor a model on the Hugging Face hub "
            "that may be read: check the name (for a private or gated model, log in with "
            "`hf auth login`)."
        ) from error
    except HFValidationError as error:
        raise UserError(
            f"{asked.display_name}: there is no such folder, and it cannot be a hub id: {error}"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HTTP_ERROR, OSError) as error:
        if isinstance(error, OSError) and error.errno in _DISK_PROBLEMS:
            raise
        when = "may not be fetched" if asked.offline else "cannot be fetched now"
        raise UserError(
            f"{asked.display_name} is not a folder here, not in the Hugging Face cache, "
            f"and {when}: {asked.fix}."
        ) from error
