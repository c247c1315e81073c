"""Atomic writing: a killed process leaves the last good file, never half of one.

A file is written in a hidden folder beside its place, which it takes when it is whole and on the
disk. What a killed process left in such a folder is removed by the next one that writes there.
"""

import errno
import importlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from didi_core.errors import UserError

try:
    fcntl: Any = importlib.import_module("fcntl")
except ImportError:  # Windows: what a kill leaves stays there
    fcntl = None

_MARK = ".didi-"
"""In the name of a folder that holds a file which is not whole yet."""
_FIXES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room within your quota",
    errno.EFBIG: "let files grow larger (ulimit -f)",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that can be written",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another place",
    errno.EEXIST: "a file stands where a folder is needed; choose another place",
    errno.EISDIR: "a folder stands where the file is needed; choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "let more files be open (ulimit -n 4096)",
    errno.ENFILE: "close other programs, or let the system open more files",
    errno.EIO: "the disk fails; choose another one",
}
_swept: set[Path] = set()
"""Folders in which this process has removed what killed ones left."""


def at_home(name: str | os.PathLike[str]) -> str:
    """Return a name with a leading `~/` as the home directory; nothing else is read in it."""
    name = os.fspath(name)
    return str(Path.home() / name[2:].lstrip("/")) if name.startswith("~/") else name


def shown(paths: Iterable[Path]) -> list[Path]:
    """Return the paths sorted, without hidden ones: systems leave such files beside a user's."""
    return sorted(path for path in paths if not path.name.startswith("."))


class Unwritable(UserError):
    """A file cannot be written; what stood under its name is as it was."""


def unwritable(path: str | os.PathLike[str], error: Exception) -> Unwritable | None:
    """Say what to tell the user of a failed write; None where it was no matter of the disk."""
    number = _errno_of(error)
    if number not in _FIXES:
        return None
    return Unwritable(f"{path} cannot be written ({os.strerror(number)}): {_FIXES[number]}.")


def _errno_of(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    # What safetensors writes in Rust fails with an exception of its own.
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else None


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or (failure := unwritable(path, error)) is None:
            raise
        raise failure from error


def check_writable(path: str | os.PathLike[str], flag: str = "--out") -> None:
    """Try whether a file can be put at `path`, before hours of work are spent on it.

    The folder is made; nothing else is left.

    Raises:
        Unwritable: it cannot.
    """
    target = Path(path)
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, place = _new_place(target)
        try:
            (place / target.name).touch()
        finally:
            shutil.rmtree(place, ignore_errors=True)
            if handle is not None:
                os.close(handle)
    except OSError as error:
        fix = _FIXES.get(error.errno or 0, "choose another place")
        raise Unwritable(f"{flag} {path}: cannot be written ({error.strerror}): {fix}.") from error


def path_from(folder: Path, path: Path) -> str:
    """Return a path as seen from a folder, with slashes; where links lead is looked up before.

    Without that `..` would leave the folder behind a link, and not the link.
    """
    real = path.parent.resolve() / path.name
    return Path(os.path.relpath(real, folder.resolve())).as_posix()


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on error it goes.

    Raises:
        Unwritable: the disk is full, or the place cannot be written.
        UserError: `path` is a device or a pipe, which must not be replaced.
    """
    target = Path(path)
    with _explained(target):
        if target.exists() and not (target.is_file() or target.is_dir()):
            raise UserError(f"{target} is a device or a pipe, not a file: give the name of a file.")
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        handle, place = _new_place(target)
        try:
            # The suffix stays at the end: writers such as pandas and safetensors choose by it.
            temporary = place / f".half{target.suffix}"
            temporary.touch()
            yield temporary
            _flush_to_disk(temporary)
            temporary.chmod(0o666 & ~_umask())
            os.replace(temporary, target)
        finally:
            shutil.rmtree(place, ignore_errors=True)
            if handle is not None:
                os.close(handle)


def _new_place(target: Path) -> tuple[int | None, Path]:
    """Make an empty folder, locked as long as this process lives and keeps it open.

    A folder and not the file: some writers (safetensors 0.8) write another file, which a lock of
    ours would not be on, and which a kill would leave under a name of theirs.
    """
    while True:
        place = tempfile.mkdtemp(prefix=f".{target.stem}{_MARK}", dir=target.parent)
        if fcntl is None:
            return None, Path(place)
        # Another process may sweep it before it is locked.
        with suppress(FileNotFoundError):
            handle = os.open(place, os.O_RDONLY)
            with suppress(OSError):  # some network file systems have no locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            if os.path.exists(place):
                return handle, Path(place)
            os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove what processes that are no more left unfinished in `folder`."""
    if fcntl is None or folder in _swept:
        return
    _swept.add(folder)
    for left in folder.glob(f".*{_MARK}*"):
        with suppress(OSError):
            _remove_unless_in_use(left)


def _remove_unless_in_use(left: Path) -> None:
    handle = os.open(left, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if left.is_dir():
            shutil.rmtree(left)
        else:  # earlier versions locked the file itself
            left.unlink()
    finally:
        os.close(handle)


@contextmanager
def atomic_open(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open for writing; the file appears whole under its name when the block ends."""
    with atomic_path(path) as temporary:
        encoding = None if "b" in mode else "utf-8"
        with open(temporary, mode, encoding=encoding) as stream:
            yield stream


def write_text(path: str | os.PathLike[str], text: str) -> None:
    with atomic_open(path) as stream:
        stream.write(text)


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Write `value` as indented JSON. NaN and infinity are refused: JSON has no such numbers."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def append_durably(path: Path, content: bytes) -> None:
    """Add to a file of finished work; it is on the disk when this returns.

    A kill or a full disk may leave the start of `content` there: who reads the file cuts it off.

    Raises:
        Unwritable: the disk is full, or the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        if (failure := unwritable(path, error)) is None:
            raise
        raise Unwritable(
            f"{str(failure)[:-1]}, then continue with --resume; what was finished before is saved."
        ) from error


def _flush_to_disk(path: Path) -> None:
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
