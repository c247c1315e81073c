"""Text files, plain or gzipped: written whole and always with the same bytes, damage explained."""

import codecs
import gzip
import io
import json
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from didi_core.errors import UserError, as_written
from didi_core.io.files import atomic_path


@contextmanager
def packed_writer(path: str | os.PathLike[str], level: int = 6) -> Iterator[IO[bytes]]:
    """Open a stream to a file that appears whole; packed where its name ends in `.gz`.

    No time stamp and no name goes into the gzip header: the same content gives the same bytes.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as raw:
        packed = str(path).endswith(".gz")
        with gzip.GzipFile("", "wb", level, raw, mtime=0) if packed else raw as stream:
            yield cast(IO[bytes], stream)


@contextmanager
def text_writer(path: str | os.PathLike[str]) -> Iterator[IO[str]]:
    """Open the same for text, in UTF-8."""
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


UTF_8 = "utf-8-sig"
"""How text of users is read: files saved on Windows may begin with a byte order mark."""


_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@contextmanager
def encoding_explained(called: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the failure to read bytes as UTF-8 into a message that names what they seem to be.

    Args:
        called: the file, as messages call it.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        refuse_other_text(bytes(error.object[:4096]), called)
        byte = error.object[error.start : error.start + 1]
        raise UserError(
            f"{called} is no text in UTF-8: it seems to be Latin-1 or Windows-1252 text (the byte "
            f"0x{byte.hex()} would be {byte.decode('latin-1')!r}). Save it as UTF-8, as with "
            "iconv -f WINDOWS-1252 -t UTF-8."
        ) from error


def refuse_other_text(head: bytes, called: str | os.PathLike[str]) -> None:
    """Refuse a file by its first bytes.

    Raises:
        UserError: it is UTF-16 text, no text, or a pointer of Git LFS.
    """
    refuse_pointer(head, called)
    if head.startswith(_UTF_16_MARKS) or _every_other_is_zero(head):
        raise UserError(
            f"{called} is no text in UTF-8 but in UTF-16. Save it as UTF-8, as with iconv -f "
            "UTF-16 -t UTF-8."
        )
    if b"\0" in head:
        raise UserError(f"{called} is a binary file, not text.")


def refuse_pointer(head: bytes, called: str | os.PathLike[str]) -> None:
    """Refuse what Git leaves in place of a large file.

    Raises:
        UserError: `head`, the start of a file, is that of a pointer.
    """
    if head.startswith(_LFS_POINTER):
        raise UserError(
            f"{called} is a Git LFS pointer, not the file itself: run git lfs pull in its folder."
        )


def _every_other_is_zero(head: bytes) -> bool:
    """Tell whether it looks like Latin letters in two bytes each, without a mark."""
    even, odd = head[: len(head) // 2 * 2 : 2], head[1::2]
    return len(head) > 3 and ({*even} == {0} != {*odd} or {*odd} == {0} != {*even})


def json_line(line: str, called: str) -> Any:
    """Return what a line of JSONL holds.

    Args:
        called: the file and the line, as messages call them.

    Raises:
        UserError: no JSON, or text that cannot be written: half of a surrogate pair.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{called}: no JSON ({error}).") from error
    try:
        if "\\u" in line:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise UserError(
            f"{called}: {half} is half of a surrogate pair, not a letter: take it out, or write "
            "both halves."
        ) from error
    return value


# Open a text file, plain or gzipped, or standard input, and say clearly what is wrong with it.

_GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def open_text(path: str | os.PathLike[str], name: str = "INPUT") -> Iterator[IO[str]]:
    """Open a text stream over `path` (`-`: standard input). Compression is seen from the content.

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
        called = as_written(name, path)
        with damage_explained(called):
            refuse_other_text(plain.peek(4096), called)
        with encoding_explained(called):
            yield io.TextIOWrapper(plain, encoding=UTF_8)


def read_any_text(path: str | os.PathLike[str], name: str = "INPUT") -> str:
    """Return the text of a file, plain or gzipped, in whatever encoding a spreadsheet writes.

    UTF-8 with or without a byte order mark, UTF-16 with one, else Windows-1252. Line breaks stay.

    Raises:
        UserError: the file is missing, unreadable, damaged, or no text.
    """
    called = as_written(name, path)
    with _open_binary(path, name) as raw, damage_explained(called):
        content = raw.read()
        if content[:2] == _GZIP_MAGIC:
            content = gzip.decompress(content)
    if content.startswith(_UTF_16_MARKS):
        return content.decode("utf-16", "replace")
    refuse_other_text(content[:4096], called)
    try:
        return content.decode(UTF_8)
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


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
        raise UserError(f"{as_written(name, path)}: cannot be read ({reason}).") from error
    with stream:
        yield stream
