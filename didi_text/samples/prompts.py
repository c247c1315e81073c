"""`--prefix` and `--infill`: text to keep, and blanks of tokens to fill.

A blank is three underscores or more: `The ___ sat on the mat.` It is as long as `--length` leaves
room for; `___{5}` is five tokens and `___{5-15}` between five and fifteen, drawn anew for each
sample. A space before a blank belongs to the blank, because byte-pair tokens begin with their
space. A file (`.jsonl` with the key `text`, or `.txt`) holds many.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from didi_core.commands.generating.domain import LengthWords
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.errors import UserError
from didi_text.corpora.documents import SUFFIXES, read_documents
from didi_text.tokenizers.tokenizer import TextTokenizer

_BLANK = re.compile(r" ?_{3,}(?:\{(\d+)(?:-(\d+))?\})?")

WORDS = LengthWords("token", "sample")
"""How messages about lengths call a position and a sequence."""


@dataclass(frozen=True)
class Blank:
    """Tokens to fill: between `low` and `high`, or what is left where None."""

    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Prompt:
    """One text with blanks."""

    text: str
    """As the user wrote it."""
    flag: str
    parts: tuple[tuple[int, ...] | Blank, ...]
    """Ids to keep, and blanks."""

    @property
    def needs_length(self) -> bool:
        return any(part == Blank() for part in self.parts)

    def row(
        self, seed: int, record: int, length: int | None, mask_id: int, end_id: int
    ) -> list[int]:
        """Ids of one sample: the end of text that every block begins with, then the parts.

        Args:
            length: of the row; None where every blank has a size of its own.

        Raises:
            UserError: the parts do not fit.
        """
        sizes = [
            0 if part.size is None else _drawn(part.size, seed, record, place)
            for place, part in enumerate(self.parts)
            if isinstance(part, Blank)
        ]
        if length is not None:
            kept = 1 + sum(len(part) for part in self.parts if not isinstance(part, Blank))
            sizes = self._share(length - kept - sum(sizes), sizes, kept)
        blanks = iter(sizes)
        row = [end_id]
        for part in self.parts:
            row += [mask_id] * next(blanks) if isinstance(part, Blank) else part
        return row

    def _share(self, rest: int, sizes: list[int], kept: int) -> list[int]:
        """Give the blanks without a size what is left, the first ones a token more."""
        open_blanks = [
            place
            for place, blank in enumerate(part for part in self.parts if isinstance(part, Blank))
            if blank.size is None
        ]
        if rest < len(open_blanks):
            needed = kept + sum(sizes) + len(open_blanks)
            raise UserError(
                f"--length: {self.flag} {_short(self.text)} needs {needed} tokens or more."
            )
        each, more = divmod(rest, len(open_blanks))
        for number, place in enumerate(open_blanks):
            sizes[place] = each + (number < more)
        return sizes


def read_prompts(flag: str, value: str, tokenizer: TextTokenizer) -> list[Prompt]:
    """The prompts of `--prefix` or `--infill`: a text, or a file of them.

    Raises:
        UserError: an empty file or text, or a template without a blank, or with a range that is
            upside down.
    """
    texts = list(read_documents(Path(value))) if _is_file(value) else [value]
    if not any(text.strip() for text in texts):
        raise UserError(f"{flag} {value!r} holds no text.")
    if flag == "--prefix":
        return [Prompt(text, flag, (tuple(tokenizer.encode(text)), Blank())) for text in texts]
    return [parse_infill(text, tokenizer) for text in texts]


def parse_infill(text: str, tokenizer: TextTokenizer) -> Prompt:
    """One template.

    Raises:
        UserError: it has no blank, or one of impossible size.
    """
    parts: list[tuple[int, ...] | Blank] = []
    start = 0
    for match in _BLANK.finditer(text):
        parts.append(tuple(tokenizer.encode(text[start : match.start()])))
        parts.append(_blank(match, text))
        start = match.end()
    parts.append(tuple(tokenizer.encode(text[start:])))
    if not start:
        raise UserError(f"--infill {_short(text)}: write ___ where something is to be filled in.")
    return Prompt(text, "--infill", tuple(part for part in parts if part != ()))


def _blank(match: re.Match[str], text: str) -> Blank:
    if match[1] is None:
        return Blank()
    low, high = int(match[1]), int(match[2] or match[1])
    if not 1 <= low <= high:
        raise UserError(
            f"--infill {_short(text)}: the size of {match[0].strip()} must be a number of tokens "
            "from 1 on, or a range of them, shortest first."
        )
    return Blank((low, high))


def _drawn(size: tuple[int, int], seed: int, record: int, place: int) -> int:
    uniform = float(keyed_uniform(seed, Stream.LENGTH, record, place))
    return size[0] + int(uniform * (size[1] - size[0] + 1))


def _is_file(value: str) -> bool:
    looks_so = value.removesuffix(".gz").endswith(SUFFIXES) and not re.search(r"\s", value)
    return looks_so or os.path.isfile(value)  # a text may be too long for a path


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def rows_of(prompts: Sequence[Prompt], copies: int) -> list[tuple[int, Prompt]]:
    """Record number and prompt of each sample: `copies` of every prompt, in order."""
    return list(enumerate(prompt for prompt in prompts for _ in range(copies)))
