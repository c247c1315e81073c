"""Which tokens of a tokenizer have a role: GPT-2's layout and BERT's."""

from dataclasses import astuple, dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models

from didi_core.errors import UserError

END_OF_TEXT = "<|endoftext|>"
"""How every text of ours writes an end of text, whatever token a layout has for it."""
MASK = "<|mask|>"
"""How the vocabulary names a mask that is not the tokenizer's; text that reads so is ordinary."""


@dataclass(frozen=True)
class Layout:
    """Which tokens of a tokenizer have a role."""

    end: str
    """Ends a document, and frames a block."""
    mask: str | None = None
    """None where the tokenizer has none: the mask is one id above its own."""
    pad: str | None = None
    """None: padding takes the end's id, and positions are known by the lengths, never by it."""


BYTE_PAIRS = Layout(END_OF_TEXT)
"""GPT-2's."""
WORD_PIECES = Layout("[CLS]", "[MASK]", "[PAD]")
"""BERT's. The published code of the LM1B runs takes the first id of an encoded [SEP] for the end of
text, and BERT's tokenizer puts a [CLS] before it: so [CLS] both ends documents and frames blocks.
"""


def layout_of(backend: Tokenizer, where: Path) -> Layout:
    """The layout of a tokenizer, which is made to read special tokens as this project does.

    Raises:
        UserError: it is neither a byte-level BPE with `<|endoftext|>`, nor a WordPiece with
            BERT's special tokens that splits a text at brackets.
    """
    words = isinstance(backend.model, models.WordPiece)
    return _word_pieces(backend, where) if words else _byte_pairs(backend, where)


def _byte_pairs(backend: Tokenizer, where: Path) -> Layout:
    if backend.token_to_id(END_OF_TEXT) is None:
        raise UserError(f"{where}: the tokenizer has no {END_OF_TEXT} token.")
    if not isinstance(backend.model, models.BPE) or not isinstance(
        backend.decoder, decoders.ByteLevel
    ):
        raise UserError(f"{where}: the tokenizer is no byte-level BPE, and no WordPiece.")
    return BYTE_PAIRS


def _word_pieces(backend: Tokenizer, where: Path) -> Layout:
    """BERT's layout, with special tokens in a text read as the ordinary text they are there."""
    special = [each for each in astuple(WORD_PIECES) if each is not None]
    if missing := [token for token in special if backend.token_to_id(token) is None]:
        raise UserError(f"{where}: the WordPiece tokenizer has no {', '.join(missing)} token.")
    backend.encode_special_tokens = True
    for token in special:
        if backend.token_to_id(token) in backend.encode(token, add_special_tokens=False).ids:
            raise UserError(
                f"{where}: a text that reads {token} encodes to that token; give the tokenizer "
                "BERT's pre-tokenizer, which splits at brackets."
            )
    return WORD_PIECES
