"""Text to token ids and back: GPT-2's byte pairs, or any byte-level BPE `tokenizer.json`.

The mask is one id above the tokenizer's own (50,257 for GPT-2), so that no text encodes to it.
`<|endoftext|>` ends documents, and frames blocks where `didi_text.packing` says so; it is an
ordinary token to the model, which may generate it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from didi_core.errors import UserError
from didi_core.files import write_json, write_text
from didi_core.models.hub import fetch_part, may_be_hub_id
from didi_core.vocabulary import Vocabulary

END_OF_TEXT = "<|endoftext|>"
MASK = "<|mask|>"
"""How the vocabulary names the mask; text that reads so is ordinary text."""
TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"]


@dataclass(frozen=True)
class TextTokenizer:
    """A byte-level BPE with an end-of-text token."""

    backend: Tokenizer

    @property
    def size(self) -> int:
        """Ids that have text; the mask is not among them."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    @cached_property
    def end_id(self) -> int:
        return self.backend.token_to_id(END_OF_TEXT)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Every id but the mask may be generated. Padding takes the end's id, as with GPT-2:
        padded positions are known by the lengths, never by their id."""
        return Vocabulary(
            tokens=(*(self.backend.id_to_token(i) for i in range(self.size)), MASK),
            mask_id=self.size,
            pad_id=self.end_id,
            generable_ids=tuple(range(self.size)),
        )

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change when any text would be encoded otherwise."""
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()[:16]

    def encode(self, text: str) -> list[int]:
        """Ids of `text`; nothing is added. `<|endoftext|>` in it becomes the end's id."""
        return self.backend.encode(text, add_special_tokens=False).ids

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, computed on all processors (TOKENIZERS_PARALLELISM=false: on one)."""
        encodings = self.backend.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, the end of text included; masks have no text and are left out."""
        known = [int(index) for index in ids if index < self.size]
        return self.backend.decode(known, skip_special_tokens=False)

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, and what `transformers.AutoTokenizer` needs beside it."""
        write_text(folder / "tokenizer.json", self.backend.to_str(pretty=True))
        write_json(
            folder / "tokenizer_config.json",
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": END_OF_TEXT,
                "eos_token": END_OF_TEXT,
                "pad_token": END_OF_TEXT,
                "clean_up_tokenization_spaces": False,
            },
        )


def open_tokenizer(name: str | Path, *, offline: bool = False) -> TextTokenizer:
    """The tokenizer of a folder (`tokenizer.json`, or `vocab.json` and `merges.txt`) or hub id.

    Args:
        name: a folder, a model folder of ours, a `tokenizer.json`, or a hub id such as `gpt2`.
        offline: a hub id must be in the Hugging Face cache.

    Raises:
        UserError: there is none, or it is no byte-level BPE with `<|endoftext|>`.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return TextTokenizer(_checked(_read_json(path), path))
    if not path.is_dir():
        if not may_be_hub_id(str(name)):
            raise UserError(f"There is no tokenizer folder {name}: check the path.")
        path = fetch_part(str(name), TOKENIZER_FILES, offline=offline, program="didi-text")
    if not has_tokenizer(path):
        raise UserError(f"{path} has neither tokenizer.json nor vocab.json and merges.txt.")
    if (path / "tokenizer.json").is_file():
        return TextTokenizer(_checked(_read_json(path / "tokenizer.json"), path))
    return TextTokenizer(_checked(_from_merges(path), path))


def open_model_tokenizer(
    folder: Path, *, default: str = "gpt2", offline: bool = False
) -> TextTokenizer:
    """The tokenizer of a model folder, or `default` where the folder ships none (MDLM, Duo)."""
    return open_tokenizer(folder if has_tokenizer(folder) else default, offline=offline)


def has_tokenizer(folder: Path) -> bool:
    both = all((folder / name).is_file() for name in ("vocab.json", "merges.txt"))
    return both or (folder / "tokenizer.json").is_file()


def byte_level(model: models.BPE) -> Tokenizer:
    """A tokenizer that splits and spells text as GPT-2 does."""
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


def _checked(backend: Tokenizer, where: Path) -> Tokenizer:
    """A byte-level BPE that ends texts, and whose encoding neither cuts nor pads."""
    if backend.token_to_id(END_OF_TEXT) is None:
        raise UserError(f"{where}: the tokenizer has no {END_OF_TEXT} token.")
    if not isinstance(backend.model, models.BPE) or not isinstance(
        backend.decoder, decoders.ByteLevel
    ):
        raise UserError(f"{where}: the tokenizer is no byte-level BPE.")
    backend.no_truncation()
    backend.no_padding()
    return backend
