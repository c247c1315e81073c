"""Text to token ids and back: GPT-2's byte pairs or any byte-level BPE, or BERT's WordPiece.

`<|endoftext|>` ends documents, and frames blocks where `corpora.packing` says so; it is an
ordinary token to the model, which may generate it. A layout says which token that is, and where
the mask is: one id above a byte-level BPE's own (50,257 for GPT-2), or a WordPiece's [MASK]. No
text encodes to the mask.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError, as_written
from didi_core.io.files import at_home, write_json, write_text
from didi_core.models.hub import fetch_part, may_be_hub_id

TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"]


@dataclass(frozen=True)
class Layout:
    """Which tokens of a tokenizer have a role."""

    end: str
    """Ends a document, and frames a block."""
    mask: str | None = None
    """None where the tokenizer has none: the mask is one id above its own."""
    pad: str | None = None
    """None: padding takes the end's id, and positions are known by the lengths, never by it."""


END_OF_TEXT = "<|endoftext|>"
"""How every text of ours writes an end of text, whatever token a layout has for it."""


BYTE_PAIRS = Layout(END_OF_TEXT)
"""GPT-2's."""


@dataclass(frozen=True)
class TextTokenizer:
    """A byte-level BPE or a WordPiece, with an end-of-text token."""

    backend: Tokenizer
    layout: Layout = BYTE_PAIRS

    @property
    def size(self) -> int:
        """Ids of the tokenizer itself; a mask above them is not counted."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    @cached_property
    def end_id(self) -> int:
        return self._id_of(self.layout.end)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Every id may be generated but the mask and a padding token, which no text holds."""
        layout, size = self.layout, self.size
        mask_id = size if layout.mask is None else self._id_of(layout.mask)
        pad_id = self._id_of(layout.pad or layout.end)
        never = {mask_id} if layout.pad is None else {mask_id, pad_id}
        own = [self.backend.id_to_token(index) or "" for index in range(size)]
        return Vocabulary(
            tokens=(*own, MASK) if layout.mask is None else tuple(own),
            mask_id=mask_id,
            pad_id=pad_id,
            generable_ids=tuple(index for index in range(size) if index not in never),
        )

    def _id_of(self, token: str) -> int:
        token_id = self.backend.token_to_id(token)
        assert token_id is not None, f"{token}: `layout_of` refuses a tokenizer without it"
        return token_id

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change when any text would be encoded otherwise."""
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()[:16]

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`; nothing is added. `<|endoftext|>` in it is the end's id."""
        return self.encode_many([text])[0]

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode each text, on all processors (TOKENIZERS_PARALLELISM=false: on one)."""
        parts = [self._between_ends(text) for text in texts]
        flat = [part for each in parts for part in each]
        encoded = iter(self.backend.encode_batch(flat, add_special_tokens=False))
        return [_joined([next(encoded).ids for _ in each], self.end_id) for each in parts]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, ends of text included; masks have no text and are left out."""
        mask_id = self.vocabulary.mask_id
        known = [int(index) for index in ids if index < self.size and index != mask_id]
        if self._has_end_of_text:
            return self.backend.decode(known, skip_special_tokens=False)
        runs = _split(known, self.end_id)
        return END_OF_TEXT.join(self.backend.decode(run, skip_special_tokens=False) for run in runs)

    @property
    def _has_end_of_text(self) -> bool:
        """Whether the tokenizer itself reads and writes `<|endoftext|>`."""
        return self.layout.end == END_OF_TEXT

    def _between_ends(self, text: str) -> list[str]:
        return [text] if self._has_end_of_text else text.split(END_OF_TEXT)

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, and what `transformers.AutoTokenizer` needs beside it."""
        layout = self.layout
        mask = {} if layout.mask is None else {"mask_token": layout.mask}
        write_text(folder / "tokenizer.json", self.backend.to_str(pretty=True))
        write_json(
            folder / "tokenizer_config.json",
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": layout.end,
                "eos_token": layout.end,
                "pad_token": layout.pad or layout.end,
                **mask,
                "clean_up_tokenization_spaces": False,
            },
        )


def open_tokenizer(name: str | Path, *, offline: bool = False, flag: str = "") -> TextTokenizer:
    """Open the tokenizer of a folder (`tokenizer.json`, or `vocab.json`, `merges.txt`) or hub id.

    Args:
        name: a folder, a model folder of ours, a `tokenizer.json`, or a hub id such as `gpt2` or
            `bert-base-uncased`.
        offline: a hub id must be in the Hugging Face cache.
        flag: what messages put before the name: the setting it came from.

    Raises:
        UserError: there is none, or it is neither a byte-level BPE with `<|endoftext|>` nor a
            WordPiece with BERT's special tokens.
    """
    path = Path(at_home(name))
    if path.is_file():
        return _checked(_read_json(path), path)
    if not path.is_dir():
        if not may_be_hub_id(str(name)):
            asked = as_written(flag, name) if flag else name
            raise UserError(f"{asked}: there is no such tokenizer folder; check the path.")
        path = fetch_part(
            str(name), TOKENIZER_FILES, offline=offline, program="didi-text", flag=flag
        )
    if not has_tokenizer(path):
        raise UserError(f"{path} has neither tokenizer.json nor vocab.json and merges.txt.")
    if (path / "tokenizer.json").is_file():
        return _checked(_read_json(path / "tokenizer.json"), path)
    return _checked(_from_merges(path), path)


def open_model_tokenizer(
    folder: Path, *, default: str = "gpt2", offline: bool = False
) -> TextTokenizer:
    """Open a model folder's tokenizer, or `default` where the folder ships none (MDLM, Duo)."""
    return open_tokenizer(folder if has_tokenizer(folder) else default, offline=offline)


def has_tokenizer(folder: Path) -> bool:
    both = all((folder / name).is_file() for name in ("vocab.json", "merges.txt"))
    return both or (folder / "tokenizer.json").is_file()


def byte_level(model: models.BPE) -> Tokenizer:
    """Make a tokenizer that splits and spells text as GPT-2 does."""
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def _read_json(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for whatever it cannot read
        raise UserError(f"{path} is no tokenizer.json that can be read: {error}.") from error


def _from_merges(folder: Path) -> Tokenizer:
    try:
        model = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    except Exception as error:  # see above
        raise UserError(f"{folder}: vocab.json and merges.txt do not fit: {error}.") from error
    backend = byte_level(model)
    backend.add_special_tokens([END_OF_TEXT])
    return backend


def _checked(backend: Tokenizer, where: Path) -> TextTokenizer:
    """Return a tokenizer whose encoding neither cuts nor pads."""
    backend.no_truncation()
    backend.no_padding()
    return TextTokenizer(backend, layout_of(backend, where))


def _joined(parts: Sequence[list[int]], end_id: int) -> list[int]:
    """Join the ids of texts with an end of text between each two.

    >>> _joined([[5], [], [6, 7]], end_id=9)
    [5, 9, 9, 6, 7]
    """
    ids = list(parts[0])
    for part in parts[1:]:
        ids += [end_id, *part]
    return ids


def _split(ids: Sequence[int], end_id: int) -> list[list[int]]:
    """Split ids as `_joined` joined them.

    >>> _split([5, 9, 9, 6, 7], end_id=9)
    [[5], [], [6, 7]]
    """
    parts: list[list[int]] = [[]]
    for index in ids:
        if index == end_id:
            parts.append([])
        else:
            parts[-1].append(index)
    return parts


# Which tokens of a tokenizer have a role: GPT-2's layout and BERT's.


MASK = "<|mask|>"
"""How the vocabulary names a mask that is not the tokenizer's; text that reads so is ordinary."""


WORD_PIECES = Layout("[CLS]", "[MASK]", "[PAD]")
"""BERT's. The published code of the LM1B runs takes the first id of an encoded [SEP] for the end of
text, and BERT's tokenizer puts a [CLS] before it: so [CLS] both ends documents and frames blocks.
"""


def layout_of(backend: Tokenizer, where: Path) -> Layout:
    """Find the layout of a tokenizer, which is made to read special tokens as this project does.

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
    """Lay out BERT's tokenizer, with special tokens in a text read as ordinary text."""
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
