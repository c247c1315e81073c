"""What a user wrote comes back as it was: ids, header pairs and cells through score, filter, merge.

DIDI_FUZZ_CASES (`make fuzz`) makes it 100,000 records; without it there are 1,000.
"""

import csv
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didi_protein.filter import filter_designs
from didi_protein.filtering.options import FilterOptions
from didi_protein.merge import MergeOptions, merge
from didi_protein.score import score
from didi_protein.scoring.options import ScoreOptions
from didi_protein.scoring.table import (
    build_table,
    plain_rows,
    read_scores,
    write_scores,
)
from didi_protein.sequences.fasta import (
    ProteinRecord,
    is_one_word,
    parse_header,
    unique_ids,
)
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.similarity import mmseqs

NUM_RECORDS = 100_000 if os.environ.get("DIDI_FUZZ_CASES") else 1_000
AT_ONCE = 2_500
SUFFIXES = (".csv", ".jsonl", ".parquet")
MANY = settings(max_examples=1_000, derandomize=True, database=None, deadline=None)
WORDS = (
    "007", "1E5", "2310009E13", "1e999", "-1e999", "NaN", "nan", "None", "null", "NA", "inf",
    "-inf", "1.10", "-0", "+5", "1_000", "0x10", "true", "False", "99999999999999999999",
    "9223372036854775808", "1234567890123456789", "a,b", '"x"', 'say"hi', '""', '"', "'", ";",
    "=1+1", "@x", "#2", "a#2", "100%", "a%20b", "%", "%zz", "*", "a=b", "2024-11-30", "1/2", ">e",
    "é", "½", "٣", "日本", "\ufeff", "\u200b", "8", "0", "🧬",
)  # fmt: skip
KEYS = (
    "lot", "well", "v", "clone", "name", "id", "status", "sequence", "error", "rank", "cluster",
    "length", "model", "sampler", "steps", "nfe", "seed", "header_lot", "x*", "*", "x**", "x#2",
    "100%", "a,b", '"', "é", "-", "mean_plddt",
)  # fmt: skip
BLANKS = (" ", "\t", "\n", "\r", "\r\n", "\u2028", "\xa0", "\x0b")
LETTERS = "ab01.eE+-_,;'\"%*#=é:/\\|<>&\u0301𝟙"
SIGNS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")


def test_pairs_of_a_header_are_read_as_they_were_written() -> None:
    texts = st.sampled_from(WORDS) | st.text(SIGNS | st.sampled_from(" \n%*="), max_size=12)
    keys = st.sampled_from(KEYS) | texts

    @MANY
    @given(pairs=st.dictionaries(keys, texts, max_size=5))
    def check(pairs: dict[str, str]) -> None:
        title = ProteinRecord("a", "MK", pairs).title
        assert len(title.splitlines()) == 1
        assert parse_header(title[1:]) == ("a", pairs)
        # Words that stand in a file are the same when they are written back.
        assert ProteinRecord("a", "MK", parse_header(title[1:])[1]).title == title

    check()


@MANY
@given(ids=st.lists(st.sampled_from((*WORDS, "a b", "a_b", " ", "")) | st.text(max_size=5)))
def test_ids_become_one_word_each_and_words_stay(ids: list[str]) -> None:
    made = unique_ids(ids)
    assert len(set(made)) == len(made) and all(map(is_one_word, made))
    for place, each in enumerate(ids):
        if is_one_word(each) and each not in ids[:place]:
            assert made[place] == each


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cells_are_read_as_they_were_written(tmp_path: Path, suffix: str) -> None:
    dice = random.Random(suffix)
    rows = [
        {"id": f"{number}", "status": "ok", "sequence": "MK", **_cells(dice), "judge_perplexity": x}
        for number, x in enumerate(dice.choices((0.1, 1e-7, 12345.6, 1e22, None), k=1_000))
    ]
    write_scores(tmp_path / f"a{suffix}", build_table(rows))
    table = read_scores(tmp_path / f"a{suffix}")
    read = [{k: v for k, v in row.items() if v is not None} for row in plain_rows(table)]
    assert read == [{k: v for k, v in row.items() if v not in (None, "")} for row in rows]
    write_scores(tmp_path / f"b{suffix}", table)
    assert (tmp_path / f"b{suffix}").read_bytes() == (tmp_path / f"a{suffix}").read_bytes()


def _cells(dice: random.Random) -> dict[str, str]:
    """Columns of a user, with anything that a cell can hold."""
    names = dice.sample(("mine", "my note", "header_lot", "header_my key", "error", "x,y"), 3)
    return {name: _text(dice) if dice.random() < 0.9 else "" for name in names}


def _text(dice: random.Random) -> str:
    signs = (*LETTERS, *BLANKS)
    return dice.choice(WORDS) if dice.random() < 0.5 else "".join(dice.choices(signs, k=6))


@dataclass(frozen=True)
class Written:
    """A record as a user wrote it."""

    id: str
    pairs: dict[str, str]
    sequence: str

    @property
    def header(self) -> list[str]:
        return [self.id, *(f"{key}={value}" for key, value in self.pairs.items())]


def _records(dice: random.Random, count: int) -> Iterator[Written]:
    sequences = product(CANONICAL_RESIDUES, repeat=5)
    ids: set[str] = set()
    keys = [*KEYS, *(_word(dice, KEYS).replace("=", "-") for _ in range(20))]
    while len(ids) < count:
        name = _word(dice) + _word(dice)
        if name not in ids:
            pairs = {key: _word(dice) for key in dice.choices(keys, k=dice.randrange(5))}
            ids.add(name)
            # A key that ends in * stands for another key where its value is encoded.
            pairs = {k: v for k, v in pairs.items() if not k.endswith("*") or "%" not in v}
            yield Written(name, pairs, "".join(next(sequences)))


def _word(dice: random.Random, common: tuple[str, ...] = WORDS) -> str:
    if dice.random() < 0.6:
        return dice.choice(common) + dice.choice(("", "", "", str(dice.randrange(1_000))))
    return "".join(dice.choices(LETTERS, k=dice.randrange(1, 8)))


@pytest.mark.parametrize("seed", range(-(-NUM_RECORDS // AT_ONCE)))
def test_through_score_filter_score_and_merge(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed:  # clusters, which take most of the time, are found in one run alone
        monkeypatch.setattr(mmseqs, "is_available", lambda: False)
    suffix = SUFFIXES[seed % len(SUFFIXES)]
    dice = random.Random(seed)
    records = list(_records(dice, min(AT_ONCE, NUM_RECORDS)))
    fasta = tmp_path / "a.fasta"
    fasta.write_text(
        "".join(f">{' '.join(each.header)}\n{each.sequence}\n" for each in records),
        encoding="utf-8",
        newline="\n",
    )
    table = _score(fasta, tmp_path / f"a{suffix}")
    _merge_is_the_whole(fasta, table)
    if suffix == ".csv":
        _add_notes(table, dice)
    best = tmp_path / "best.fasta"
    filter_designs(FilterOptions(table=table, out=best))
    rows = list(plain_rows(read_scores(table)))
    selected = list(plain_rows(read_scores(tmp_path / "best.selected.csv")))
    assert [{**row, "rank": number} for number, row in enumerate(rows, start=1)] == selected
    lines = best.read_text(encoding="utf-8").split("\n")
    for record, title, sequence in zip(records, lines[::2], lines[1::2], strict=False):
        words = title.removeprefix(">").split(" ")
        asked = [] if "length" in record.pairs else [f"length={len(record.sequence)}"]
        assert words[0] == record.id and sequence == record.sequence
        assert sorted(words[1:]) == sorted([*record.header[1:], *asked, *_notes(words)])
    again = list(plain_rows(read_scores(_score(best, tmp_path / "again.csv"))))
    assert [_said(row) for row in again] == [_said(row) for row in rows]


def _notes(words: list[str]) -> list[str]:
    return [word for word in words if word.startswith("my%20note*=")]


def _said(row: dict[str, object]) -> dict[str, object]:
    """What a row says of its record, and not of its scores."""
    names = ("id", "sequence", "model", "sampler", "steps", "nfe", "seed")
    return {
        name: value
        for name, value in row.items()
        if value is not None and (name in names or name.startswith("header_"))
    }


def _score(fasta: Path, out: Path, **more: object) -> Path:
    options = {"judge": "none", "pseudo": "none", "threads": 1, "device": "cpu", "quiet": True}
    score(ScoreOptions(inputs=[str(fasta)], out=out, **options, **more))
    return out


def _merge_is_the_whole(fasta: Path, whole: Path) -> None:
    parts = [
        _score(fasta, whole.with_name(f"part{index}{whole.suffix}"), shard=f"{index}/2")
        for index in (1, 2)
    ]
    merged = merge(MergeOptions(shards=parts, out=whole.with_name(f"merged{whole.suffix}")))
    assert merged.out.read_bytes() == whole.read_bytes()


def _add_notes(table: Path, dice: random.Random) -> None:
    """Fill columns of the user's own into the table, as a spreadsheet does."""
    with open(table, encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    with open(table, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerow([*header, "mine", "header_my note"])
        writer.writerows([*row, _text(dice), _text(dice)] for row in rows)
