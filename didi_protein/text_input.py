"""Open a text file, plain or gzipped, or standard input, and say clearly what is wrong with it."""

import gzip
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pandas as pd

from didi_core.errors import UserError
from didi_core.text_files import UTF_8, damage_explained, encoding_explained, refuse_other_text

_PARSER_WORDS = (
    (r"Expected (\d+) fields in line (\d+), saw (\d+)", "line {1} has {2} fields, the header {0}"),
    (r"EOF inside string starting at row (\d+)", "a quote that opens in data row {0} never closes"),
    (r"No columns to parse", "as it is empty"),
)
"""What pandas says of a CSV file that it cannot read, and what we say."""
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


def read_csv(path: Path, called: str, **options: Any) -> pd.DataFrame:
    """Read a table of text with a header: see `pandas.read_csv` for the options.

    Args:
        called: the file, as messages call it.

    Raises:
        UserError: it is missing, in another encoding than UTF-8, empty, or rows have more fields
            than the header.
    """
    try:
        with damage_explained(called), encoding_explained(called):
            with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as raw:
                refuse_other_text(raw.read(4096), called)
            table = pd.read_csv(path, encoding=UTF_8, **options)
    except OSError as error:
        raise UserError(f"{called}: cannot be read ({error.strerror}).") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{called} cannot be read: it is no table, {_of_parser(error)}.") from error
    # Of rows that are all too long pandas would make an index of what stands first.
    if not isinstance(table.index, pd.RangeIndex):
        raise UserError(
            f"{called} cannot be read: it is no table, its rows have more fields than its header."
        )
    return table


def _of_parser(error: Exception) -> str:
    for pattern, said in _PARSER_WORDS:
        if match := re.search(pattern, str(error)):
            return said.format(*match.groups())
    return "as it is damaged"
