"""Text of users in any encoding: read as it is, or named for what it is; never repaired.

UTF-8 is read with and without a byte order mark, plain and packed; Latin-1 and UTF-16 are refused
by name, and half of a surrogate pair by file and line.
"""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing import CASES, write
from hypothesis import assume, given
from hypothesis import strategies as st

from didi_core.errors import UserError
from didi_core.io.tables import read_csv
from didi_protein.generating.residue_bias import read_bias
from didi_protein.generating.templates import read_templates
from didi_protein.scoring.table import read_scores
from didi_protein.sequences.fasta import read_records
from didi_text.corpora.documents import read_documents

WORDS = st.text(st.characters(categories=("L", "N"), max_codepoint=0xFF), min_size=1, max_size=8)
BOM = "\ufeff"
READERS: dict[str, Callable[[Path], object]] = {
    "a.fasta": lambda path: [(each.id, each.sequence) for each in read_records([path])],
    "a.csv": lambda path: [(each.name, each.parts) for each in read_templates(str(path), None)],
    "a.tsv": lambda path: read_csv(path, "INPUT", separator="\t"),
    "a.json": read_bias,
    "b.csv": read_bias,
    "a.txt": lambda path: list(read_documents(path)),
    "a.jsonl": lambda path: list(read_documents(path)),
}


def content(name: str, word: str) -> str:
    return {
        "a.fasta": f">{word}\nMKT\n",
        "a.csv": f"id,template\n{word},MK_\n",
        "a.tsv": f"id\tnote\n{word}\tx\n",
        "a.json": '{"A": 1.5}',
        "b.csv": f"residue,nats,note\nA,1.5,{word}\n",
        "a.txt": f"a {word} b\n",
        "a.jsonl": json.dumps({"text": word}, ensure_ascii=False) + "\n",
    }[name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encodings")


@pytest.mark.parametrize("name", READERS)
@CASES
@given(word=WORDS)
def test_a_byte_order_mark_changes_nothing(folder: Path, name: str, word: str) -> None:
    text = content(name, word)
    plain = READERS[name](write(folder, name, text))
    assert READERS[name](write(folder, name, BOM + text)) == plain
    if name != "a.json":
        assert "\ufeff" not in str(plain)


@pytest.mark.parametrize("name", ["a.fasta", "a.txt", "a.jsonl"])
@CASES
@given(word=WORDS)
def test_packed_text_is_read_alike(folder: Path, name: str, word: str) -> None:
    plain = READERS[name](write(folder, name, content(name, word)))
    packed = gzip.compress((BOM + content(name, word)).encode())
    assert READERS[name](write(folder, f"{name}.gz", packed)) == plain


@pytest.mark.parametrize("name", [name for name in READERS if name != "a.json"])
@CASES
@given(word=WORDS)
def test_latin_1_is_named(folder: Path, name: str, word: str) -> None:
    bytes_of_it = content(name, word).encode("latin-1")
    try:
        bytes_of_it.decode()
    except UnicodeDecodeError:
        with pytest.raises(UserError, match=r"(?s)a?b?\.\w+.*Latin-1"):
            READERS[name](write(folder, name, bytes_of_it))
    else:
        assume(False)  # letters of ASCII alone are the same in both


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(folder: Path, name: str, encoding: str) -> None:
    with pytest.raises(UserError, match="UTF-16"):
        READERS[name](write(folder, name, content(name, "word").encode(encoding)))


@CASES
@given(word=WORDS, half=st.integers(0xD800, 0xDFFF), before=st.integers(0, 3))
def test_half_a_surrogate_pair_names_file_and_line(
    folder: Path, word: str, half: int, before: int
) -> None:
    lines = [json.dumps({"text": word})] * before + [f'{{"text": "{word}\\u{half:04x}"}}']
    path = write(folder, "a.jsonl", "\n".join(lines))
    with pytest.raises(UserError, match=rf"a\.jsonl, line {before + 1}: \\u{half:04x}"):
        list(read_documents(path))


@CASES
@given(letter=st.characters(min_codepoint=0x10000))
def test_both_halves_are_a_letter(folder: Path, letter: str) -> None:
    path = write(folder, "a.jsonl", json.dumps({"text": letter}))
    assert list(read_documents(path)) == [letter] * bool(letter.strip())


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 593\n"


@pytest.mark.parametrize("name", ["a.fasta", "a.csv", "a.txt", "a.jsonl"])
def test_a_pointer_of_git_lfs_is_named(folder: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"{name} is a Git LFS pointer"):
        READERS[name](write(folder, name, POINTER))


@CASES
@given(half=st.integers(0xD800, 0xDFFF), before=st.integers(0, 2))
def test_half_a_pair_in_a_table_names_file_and_line(folder: Path, half: int, before: int) -> None:
    row = '{{"id": "a{}", "status": "ok", "sequence": "MKT"}}'
    lines = [row.format(number) for number in range(before)] + [row.format(f"\\u{half:04x}")]
    with pytest.raises(UserError, match=rf"b\.jsonl, line {before + 1}: \\u{half:04x}"):
        read_scores(write(folder, "b.jsonl", "\n".join(lines)))
