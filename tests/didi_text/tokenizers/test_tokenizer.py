"""The tokenizer: every text comes back, GPT-2's files are read as transformers reads them."""

import json
from pathlib import Path

import pytest
from text_fixtures import DOCUMENTS, tiny_tokenizer
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, GPT2TokenizerFast

from didi_core.errors import UserError
from didi_text.models.load import open_named_tokenizer
from didi_text.tokenizers.tokenizer import (
    END_OF_TEXT,
    has_tokenizer,
    open_model_tokenizer,
    open_tokenizer,
)
from didi_text.tokenizers.train import train_tokenizer

STRANGE = [
    *DOCUMENTS,
    "",
    "  two  spaces\n\n\tand tabs ",
    "emoji 🧬, 中文, \x00 and \u2028",
    "don't",
]


@pytest.mark.parametrize("text", STRANGE)
def test_every_text_decodes_to_itself(text: str) -> None:
    tokenizer = tiny_tokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_vocabulary_has_one_mask_that_no_text_encodes_to() -> None:
    tokenizer = tiny_tokenizer()
    vocabulary = tokenizer.vocabulary
    assert vocabulary.size == tokenizer.size + 1 == 301
    assert vocabulary.mask_id == tokenizer.size
    assert vocabulary.generable_ids == tuple(range(tokenizer.size))
    assert vocabulary.num_special_per_sequence == 0
    assert vocabulary.mask_id not in tokenizer.encode(vocabulary.tokens[vocabulary.mask_id])
    assert tokenizer.decode([vocabulary.mask_id, *tokenizer.encode("cat")]) == "cat"


def test_end_of_text_is_one_token_and_is_decoded() -> None:
    tokenizer = tiny_tokenizer()
    assert tokenizer.encode(END_OF_TEXT) == [tokenizer.end_id] == [tokenizer.size - 1]
    assert tokenizer.decode([tokenizer.end_id]) == END_OF_TEXT


def test_many_at_once_equal_one_at_a_time() -> None:
    tokenizer = tiny_tokenizer()
    assert tokenizer.encode_many(STRANGE) == [tokenizer.encode(text) for text in STRANGE]


def test_saved_tokenizer_is_the_same_here_and_in_transformers(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.save(tmp_path)
    again = open_tokenizer(tmp_path)
    assert again.digest == tokenizer.digest
    assert open_tokenizer(tmp_path / "tokenizer.json").digest == tokenizer.digest
    assert open_model_tokenizer(tmp_path).digest == tokenizer.digest
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.eos_token_id == tokenizer.end_id
    for text in STRANGE:
        assert theirs(text)["input_ids"] == tokenizer.encode(text)


def gpt2_files(folder: Path) -> Path:
    """The tiny tokenizer in GPT-2's two files."""
    model = json.loads(tiny_tokenizer().backend.to_str())["model"]
    ids = {**model["vocab"], END_OF_TEXT: len(model["vocab"])}
    (folder / "vocab.json").write_text(json.dumps(ids))
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(pairs) + "\n")
    return folder


def test_gpt2_files_are_read_as_transformers_reads_them(tmp_path: Path) -> None:
    ours = open_tokenizer(gpt2_files(tmp_path))
    theirs = GPT2TokenizerFast.from_pretrained(tmp_path)
    for text in [*STRANGE, f"one{END_OF_TEXT}two {END_OF_TEXT} three"]:
        assert ours.encode(text) == theirs(text)["input_ids"]
    assert ours.size == 300 and ours.end_id == theirs.eos_token_id


def test_a_model_folder_without_a_tokenizer_takes_the_default(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "gpt2").mkdir()
    gpt2_files(tmp_path / "gpt2")
    assert not has_tokenizer(tmp_path / "model")
    found = open_model_tokenizer(tmp_path / "model", default=str(tmp_path / "gpt2"))
    assert found.encode("cat") == tiny_tokenizer().encode("cat")


def test_unknown_and_unfit_tokenizers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such tokenizer folder"):
        open_tokenizer(tmp_path / "a" / "b" / "c")
    with pytest.raises(UserError, match=r"neither tokenizer\.json nor"):
        open_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"no tokenizer\.json that can be read"):
        open_tokenizer(tmp_path)
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match=r"has no <\|endoftext\|>"):
        open_tokenizer(tmp_path)
    words = Tokenizer(models.WordLevel({"a": 0, END_OF_TEXT: 1}, unk_token="a"))
    words.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="no byte-level BPE"):
        open_tokenizer(tmp_path)


def test_a_hub_id_offline_names_the_command_that_fetches_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="didi-text download"):
        open_tokenizer("nobody/nothing-here", offline=True)
    with pytest.raises(UserError, match="--tokenizer nobody/nothing-here is not"):
        open_named_tokenizer("nobody/nothing-here", offline=True)


def test_training_keeps_within_the_size_and_needs_the_bytes() -> None:
    assert train_tokenizer(DOCUMENTS, 270).size == 270
    with pytest.raises(UserError, match="at least 257"):
        train_tokenizer(DOCUMENTS, 256)
    assert train_tokenizer(DOCUMENTS, 290).digest == train_tokenizer(DOCUMENTS, 290).digest
