"""BERT's WordPiece as a tokenizer: its roles, what text becomes, and what is refused."""

import json
from pathlib import Path

import pytest
from text_fixtures import DOCUMENTS, SPECIAL, tiny_word_pieces, word_piece_backend
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, BertTokenizer

from didi_core.errors import UserError
from didi_text.corpora.packing import Packing, pack
from didi_text.tokenizers.tokenizer import END_OF_TEXT, open_model_tokenizer, open_tokenizer

PAD, UNUSED, UNK, CLS, SEP, MASK = range(6)


def test_the_roles_are_those_of_its_special_tokens() -> None:
    tokenizer = tiny_word_pieces()
    vocabulary = tokenizer.vocabulary
    assert vocabulary.size == tokenizer.size, "it has a mask of its own"
    assert vocabulary.tokens[:6] == tuple(SPECIAL)
    assert (vocabulary.mask_id, vocabulary.pad_id, tokenizer.end_id) == (MASK, PAD, CLS)
    assert set(range(tokenizer.size)) - set(vocabulary.generable_ids) == {PAD, MASK}
    assert vocabulary.num_special_per_sequence == 0, "the frame is generated like any token"


@pytest.mark.parametrize("token", SPECIAL)
def test_a_text_that_names_a_special_token_is_ordinary(token: str) -> None:
    ids = tiny_word_pieces().encode(f"cat {token} cat")
    assert not {PAD, CLS, SEP, MASK} & set(ids)


def test_text_comes_back_in_small_letters_with_its_ends() -> None:
    tokenizer = tiny_word_pieces()
    text = f"The cat sat on the mat.{END_OF_TEXT}{END_OF_TEXT}Dogs bark"
    ids = tokenizer.encode(text)
    assert ids.count(CLS) == 2
    back = tokenizer.decode([CLS, *ids, MASK, CLS])
    assert back == f"{END_OF_TEXT}{text.lower()}{END_OF_TEXT}"
    assert tokenizer.encode_many([text, "cat", ""]) == [ids, tokenizer.encode("cat"), []]


def test_a_saved_tokenizer_is_the_same_here_and_in_transformers(tmp_path: Path) -> None:
    tokenizer = tiny_word_pieces()
    tokenizer.save(tmp_path)
    for again in (open_tokenizer(tmp_path), open_model_tokenizer(tmp_path)):
        assert again.digest == tokenizer.digest and again.vocabulary == tokenizer.vocabulary
        assert again.encode("[MASK] cat") == tokenizer.encode("[MASK] cat")
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert (theirs.mask_token_id, theirs.pad_token_id) == (MASK, PAD)
    for text in DOCUMENTS:
        assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text)


def test_blocks_are_framed_as_the_published_code_frames_them(tmp_path: Path) -> None:
    """Its end of text is the first id of an encoded [SEP], before which BERT puts a [CLS]."""
    tokenizer = tiny_word_pieces()
    ids = tokenizer.backend.get_vocab()
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(ids, key=lambda token: ids[token])))
    theirs = BertTokenizer(str(tmp_path / "vocab.txt"))
    begin, end = theirs.encode("[CLS]")[0], theirs.encode("[SEP]")[0]
    stream = [
        each
        for text in DOCUMENTS
        for each in [*theirs(text, add_special_tokens=False)["input_ids"], end]
    ]
    expected = [[begin, *stream[at : at + 14], end] for at in range(0, len(stream) - 13, 14)]
    packing = Packing(16, remainder="published")
    blocks = [*pack(tokenizer.encode_many(DOCUMENTS), packing, tokenizer.end_id)]
    assert [block.tolist() for block in blocks][: len(expected)] == expected


def test_what_is_no_bert_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    word_piece_backend([token for token in SPECIAL if token != "[MASK]"]).save(str(path))
    with pytest.raises(UserError, match=r"has no \[MASK\] token"):
        open_tokenizer(path)
    words = word_piece_backend()
    words.normalizer, words.pre_tokenizer = None, pre_tokenizers.WhitespaceSplit()
    words.save(str(path))
    with pytest.raises(UserError, match=r"a text that reads \[CLS\] encodes to that token"):
        open_tokenizer(path)


def test_long_texts_are_neither_cut_nor_padded(tmp_path: Path) -> None:
    stored = word_piece_backend()
    stored.enable_truncation(4)
    stored.enable_padding(length=64)
    stored.save(str(tmp_path / "tokenizer.json"))
    assert json.loads((tmp_path / "tokenizer.json").read_text())["truncation"]
    opened = open_tokenizer(tmp_path)
    assert opened.encode(DOCUMENTS[3]) == tiny_word_pieces().encode(DOCUMENTS[3])
