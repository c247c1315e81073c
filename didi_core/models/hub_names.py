"""Names of models on the Hugging Face hub: `NAME`, `OWNER/NAME`, and either with `@REVISION`.

Some publish each model as a revision of one repository (`jdeschena/sdtt@teacher_1M_sm`); what
follows the `@` is a branch, a tag or a commit. No hub client is imported here, so that labels of
models cost nothing.
"""

import re
from pathlib import Path

from didi_core.errors import UserError

_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def split_revision(name: str) -> tuple[str, str | None]:
    """Split a name into repository and revision; None where no revision is named.

    >>> split_revision("jdeschena/sdtt@baselines_kld_step_70000")
    ('jdeschena/sdtt', 'baselines_kld_step_70000')
    >>> split_revision("gpt2")
    ('gpt2', None)
    """
    repository, at, revision = name.partition("@")
    return repository, revision if at else None


def require_revision(revision: str, display_name: str) -> None:
    """Refuse a revision that git could not name.

    Args:
        display_name: the flag and the whole name, for the message.

    Raises:
        UserError: it is empty, or no branch, tag or commit can be called so.
    """
    fix = "give a branch, a tag or a commit, as OWNER/NAME@main, or leave the @ out"
    if not revision:
        raise UserError(f"{display_name}: the revision after @ is empty: {fix}.")
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise UserError(f"{display_name}: {revision!r} after @ cannot be a revision: {fix}.")


def may_be_hub_id(name: str) -> bool:
    """Return whether `name` has the form OWNER/NAME or NAME, with a revision or without.

    >>> [may_be_hub_id(name) for name in ("a/b", "a/b@refs/pr/1", "a/b/c", "./a@b")]
    [True, True, False, False]
    """
    parts = split_revision(name)[0].split("/")
    return len(parts) <= 2 and all(parts) and not name.startswith((".", "~"))


def last_name(model: str) -> str:
    """Return the last part of a path or of a hub id, which keeps its revision.

    >>> last_name("runs/student"), last_name("owner/model@refs/pr/1")
    ('student', 'model@refs/pr/1')
    """
    path = Path(model)
    repository, revision = split_revision(model)
    if revision and may_be_hub_id(model) and not path.exists():
        return f"{Path(repository).name}@{revision}"
    return path.name or path.resolve().name
