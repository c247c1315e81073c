"""Text files, plain or gzipped: written whole and always with the same bytes, damage explained."""

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from didi_core.errors import UserError
from didi_core.files import atomic_path


@contextmanager
def packed_writer(path: str | os.PathLike[str], level: int = 6) -> Iterator[IO[bytes]]:
    """A stream to a file that appears whole; packed where its name ends in `.gz`.

    No time stamp and no name goes into the gzip header: the same content gives the same bytes.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as raw:
        packed = str(path).endswith(".gz")
        with gzip.GzipFile("", "wb", level, raw, mtime=0) if packed else raw as stream:
            yield cast(IO[bytes], stream)


@contextmanager
def text_writer(path: str | os.PathLike[str]) -> Iterator[IO[str]]:
    """The same for text, in UTF-8."""
    with packed_writer(path) as raw, io.TextIOWrapper(raw, "utf-8", newline="\n") as stream:
        yield stream


@contextmanager
def damage_explained(called: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the gzip reader says of a damaged file into a message for the user.

    Args:
        called: the file, as messages call it.
    """
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{called} is cut short or damaged ({error}): copy it again.") from error
