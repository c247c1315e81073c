"""Documents to blocks of equal length, as MDLM packs OpenWebText.

Each document's ids are followed by the end of text; all are joined into one stream, which is cut
into pieces of `block_length - 2`; and each piece is framed by an end of text on both sides (with
GPT-2 the beginning and the end of text are one token). The frame is no different from other
tokens: it is corrupted, predicted and generated like them. The zero-shot sets are packed the same
way, without an end of text between their sequences.

The published code works on groups of 1,000 documents and drops what is left of each group, and it
pays no heed to where a document ends; by default nothing is dropped here, and the last block is
shorter.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from didi_core.errors import UserError

PUBLISHED_GROUP = 1_000
"""Documents that the published code (a batch of `datasets.map`) joins before it cuts."""

Remainder = Literal["keep", "drop", "published"]


@dataclass(frozen=True)
class Packing:
    """How documents become blocks."""

    block_length: int = 1024
    """Tokens of a block, its frame included."""
    end_after_document: bool = True
    """An end of text after each document; the zero-shot sets have none."""
    framed: bool = True
    """An end of text at both ends of each block."""
    remainder: Remainder = "keep"
    """The end that fills no block: a shorter block, dropped, or dropped every 1,000 documents."""

    def __post_init__(self) -> None:
        if self.content_length < 1:
            raise UserError(f"block_length={self.block_length} leaves no room for text.")
        if self.remainder not in ("keep", "drop", "published"):
            raise UserError(f"remainder={self.remainder}: use keep, drop or published.")

    @property
    def content_length(self) -> int:
        """Tokens of a block that come from documents."""
        return self.block_length - 2 * self.framed


def pack(
    documents: Iterable[ArrayLike], packing: Packing, end_id: int
) -> Iterator[NDArray[np.int64]]:
    """Yield the blocks of `documents`, each a sequence of ids, in order.

    Memory holds one document and one block.
    """
    waiting: list[NDArray[np.int64]] = []
    count = 0
    for number, document in enumerate(documents, 1):
        ids = np.asarray(document, dtype=np.int64)
        if packing.end_after_document:
            ids = np.append(ids, end_id)
        waiting.append(ids)
        count += len(ids)
        if count >= packing.content_length:
            stream = np.concatenate(waiting)
            whole = count - count % packing.content_length
            for start in range(0, whole, packing.content_length):
                yield _block(stream[start : start + packing.content_length], packing, end_id)
            waiting, count = [stream[whole:]], count - whole
        if packing.remainder == "published" and number % PUBLISHED_GROUP == 0:
            waiting, count = [], 0
    if count and packing.remainder == "keep":
        yield _block(np.concatenate(waiting), packing, end_id)


def _block(content: NDArray[np.int64], packing: Packing, end_id: int) -> NDArray[np.int64]:
    if not packing.framed:
        return content
    return np.concatenate([[end_id], content, [end_id]])
