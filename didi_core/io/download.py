"""Fetch one file over HTTP: resumed where it stopped, checked, and in place only when whole.

What has arrived stands beside the target as `NAME.part`; a later call goes on from its end with a
Range request, also after Ctrl-C or a lost machine. A server that ignores Range starts anew.
"""

import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from didi_core.errors import UserError
from didi_core.progress import progress_bar

BLOCK_BYTES = 1 << 20
ATTEMPTS = 5
"""Tries in a row without a byte received, before giving up."""
_FINAL_STATUSES = (400, 401, 403, 404, 405, 410, 451)
"""Answers that trying again will not change."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of the network that never changes."""

    url: str
    md5: str | None = None
    """As its publisher states it; None where none is stated, and only the size is checked."""

    @property
    def name(self) -> str:
        return self.url.partition("?")[0].rpartition("/")[2]


def fetch_file(remote: RemoteFile, target: Path, *, pause_seconds: float = 2.0) -> Path:
    """Bring `remote` to `target`; nothing is done when it is there already and whole.

    Args:
        pause_seconds: wait after the first failure; it doubles with each further one.

    Raises:
        UserError: no connection, an answer other than the file, too little disk space, or a wrong
            checksum (the file is then removed).
    """
    part = target.with_name(target.name + ".part")
    if target.is_file():
        part.unlink(missing_ok=True)
        return _checked(remote, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with progress_bar(f"fetching {remote.name}", 1.0) as show:
        _receive_all(remote, part, pause_seconds, show)
    _checked(remote, part)
    part.replace(target)
    return target


def _receive_all(
    remote: RemoteFile, part: Path, pause_seconds: float, show: Callable[[float], None]
) -> None:
    """Ask again, from where the last answer ended, until the file is whole."""
    failures = 0
    while True:
        before = _size(part)
        try:
            if _receive(remote.url, part, show):
                return
            problem: Exception | str = "the connection closed early"
        except urllib.error.HTTPError as error:
            if error.code in _FINAL_STATUSES:
                raise UserError(f"{remote.url}: {error.code} {error.reason}.") from error
            problem = error
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            ConnectionError,
            TimeoutError,
        ) as e:
            problem = e
        failures = failures + 1 if _size(part) <= before else 1
        if failures >= ATTEMPTS:
            reason = getattr(problem, "reason", problem)
            raise UserError(
                f"Cannot fetch {remote.url} ({reason}). What has arrived is kept in {part}: run "
                "the same command again when there is a network, and it goes on from there."
            )
        time.sleep(pause_seconds * 2 ** (failures - 1))


def _receive(url: str, part: Path, show: Callable[[float], None]) -> bool:
    """Make one request, and return whether the file is whole."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        # Nothing lies beyond the end of a part that is whole already (or too long: see below).
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return _whole_or_anew(error.headers.get("Content-Range"), part)
        raise
    with response:
        have = have if response.status == http.client.PARTIAL_CONTENT else 0
        left = response.headers.get("Content-Length")
        total = None if left is None else have + int(left)
        if total is not None:
            _require_space(part.parent, total - have)
        with part.open("ab" if have else "wb") as stream:
            while block := response.read(BLOCK_BYTES):
                stream.write(block)
                show(stream.tell() / total if total else 0.0)
    return total is None or _size(part) == total


def _whole_or_anew(content_range: str | None, part: Path) -> bool:
    """Compare the part with `bytes */TOTAL`, the answer to a range past its end; delete others."""
    total = (content_range or "").rpartition("/")[2]
    if total == str(_size(part)):
        return True
    part.unlink()
    return False


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are to come: make "
            "room, or choose another place."
        )


def _checked(remote: RemoteFile, path: Path) -> Path:
    if remote.md5 is None:
        return path
    digest = file_md5(path)
    if digest != remote.md5:
        path.unlink()
        raise UserError(
            f"{remote.url} has the MD5 checksum {digest}, not {remote.md5}: the file is damaged or "
            "another one, and was removed. Run the same command again."
        )
    return path


def file_md5(path: Path) -> str:
    """Return a file's MD5: what archives publish; it guards against damage, not malice."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
