"""Packing: the order of ends of text is MDLM's, checked by hand; nothing is lost by default."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didi_core.errors import UserError
from didi_text.corpora.packing import Packing, pack

END = 99


def blocks(documents, **settings) -> list[list[int]]:
    return [block.tolist() for block in pack(documents, Packing(**settings), END)]


def test_blocks_by_hand() -> None:
    """Two documents, 5 and 4 tokens; blocks of 6 hold 4 of the stream 1 2 3 4 5 E 6 7 8 9 E."""
    found = blocks([[1, 2, 3, 4, 5], [6, 7, 8, 9]], block_length=6)
    assert found == [[END, 1, 2, 3, 4, END], [END, 5, END, 6, 7, END], [END, 8, 9, END, END]]


def test_without_end_between_documents() -> None:
    found = blocks([[1, 2, 3], [4, 5]], block_length=6, end_after_document=False)
    assert found == [[END, 1, 2, 3, 4, END], [END, 5, END]]


def test_unframed_blocks_are_the_stream() -> None:
    assert blocks([[1, 2, 3], [4]], block_length=2, framed=False) == [[1, 2], [3, END], [4, END]]


def test_dropped_remainder() -> None:
    assert blocks([[1, 2, 3]], block_length=3, framed=False, remainder="drop") == [[1, 2, 3]]


def test_published_remainder_is_dropped_every_thousand_documents() -> None:
    documents = [[n] for n in range(1_003)]
    found = blocks(
        documents,
        block_length=7,
        framed=False,
        end_after_document=False,
        remainder="published",
    )
    # 1,000 tokens are 142 blocks and 6 tokens dropped; the last 3 fill no block.
    assert len(found) == 142 and found[-1] == list(range(987, 994))


@settings(max_examples=20, deadline=None)
@given(
    documents=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=12), min_size=1),
    length=st.integers(3, 9),
)
def test_the_stream_comes_back_and_blocks_are_full(documents, length) -> None:
    found = blocks(documents, block_length=length)
    assert all(len(block) == length for block in found[:-1])
    assert all(block[0] == block[-1] == END for block in found)
    stream = [token for block in found for token in block[1:-1]]
    assert stream == [token for document in documents for token in [*document, END]]


def test_settings_without_sense_are_refused() -> None:
    with pytest.raises(UserError, match="block_length=2"):
        Packing(block_length=2)
    with pytest.raises(UserError, match="remainder=all"):
        Packing(remainder="all")
