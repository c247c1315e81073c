"""Open a text file, plain or gzipped, or standard input, and say clearly what is wrong with it."""

import gzip
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from didi_core.errors import UserError
from didi_core.text_files import UTF_8, damage_explained, encoding_explained, refuse_other_text

_GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def open_text(path: str | os.PathLike[str], name: str = "INPUT") -> Iterator[IO[str]]:
    """A text stream over `path` (`-`: standard input). Compression is seen from the content.

    Args:
        name: how messages call the file: the flag or argument it came from.

    Raises:
        UserError: the file is missing, unreadable, a folder, binary, or text in another encoding
            than UTF-8, from the body too; or standard input was read already.
    """
    with _open_binary(path, name) as raw:
        packed = io.BufferedReader(cast(Any, raw))
        is_gzip = packed.peek(2)[:2] == _GZIP_MAGIC
        plain = io.BufferedReader(cast(Any, gzip.GzipFile(fileobj=packed))) if is_gzip else packed
        called = f"{name} {path}"
        with damage_explained(called):
            refuse_other_text(plain.peek(4096), called)
        with encoding_explained(called):
            yield io.TextIOWrapper(plain, encoding=UTF_8)


@contextmanager
def _open_binary(path: str | os.PathLike[str], name: str) -> Iterator[IO[bytes]]:
    if str(path) == "-":
        if sys.stdin.buffer.closed:
            raise UserError(f"{name} -: standard input was read already; give - once.")
        yield sys.stdin.buffer
        return
    try:
        stream = open(path, "rb")  # noqa: SIM115 (closed below, outside the try)
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"{name} {path}: cannot be read ({reason}).") from error
    with stream:
        yield stream
