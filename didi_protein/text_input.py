"""Open a text file, plain or gzipped, or standard input, and say clearly what is wrong with it."""

import gzip
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from didi_core.errors import UserError
from didi_core.text_files import damage_explained

_GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def open_text(path: str | os.PathLike[str], name: str = "INPUT") -> Iterator[IO[str]]:
    """A text stream over `path` (`-`: standard input). Compression is seen from the content.

    Args:
        name: how messages call the file: the flag or argument it came from.

    Raises:
        UserError: the file is missing, unreadable, a folder, or binary.
    """
    with _open_binary(path, name) as raw:
        packed = io.BufferedReader(cast(Any, raw))
        is_gzip = packed.peek(2)[:2] == _GZIP_MAGIC
        plain = io.BufferedReader(cast(Any, gzip.GzipFile(fileobj=packed))) if is_gzip else packed
        _refuse_binary(plain, path, name)
        # utf-8-sig: files saved on Windows may begin with a byte order mark.
        yield io.TextIOWrapper(plain, encoding="utf-8-sig", errors="replace")


@contextmanager
def _open_binary(path: str | os.PathLike[str], name: str) -> Iterator[IO[bytes]]:
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = open(path, "rb")  # noqa: SIM115 (closed below, outside the try)
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"{name} {path}: cannot be read ({reason}).") from error
    with stream:
        yield stream


def _refuse_binary(stream: io.BufferedReader, path: str | os.PathLike[str], name: str) -> None:
    with damage_explained(f"{name} {path}"):
        head = stream.peek(4096)
    if b"\x00" in head:
        raise UserError(f"{name} {path} is a binary file, not text.")
