"""Text of the study: blocks of 128 tokens, the bundled tokenizer and judge, unigram entropy."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.side_by_side.corpus import (
    BOUND_SEQUENCES,
    DISTILL,
    PRETRAIN,
    Corpus,
    Verb,
    bound_of,
)
from didi_core.evaluation.frontier import FrontierPoint
from didi_text.comparing.cells import point_of
from didi_text.corpora.load import load_corpus
from didi_text.corpora.packing import Packing
from didi_text.distill import distill
from didi_text.generate import generate
from didi_text.models.judges import open_judge
from didi_text.models.load import CausalLanguageModel, tokenizer_of
from didi_text.models.writers import open_writer
from didi_text.pretrain import pretrain
from didi_text.samples.measures import Samples, measure_samples, read_samples
from didi_text.samples.options import GenerateOptions
from didi_text.samples.reference import shuffled as shuffle_tokens
from didi_text.settings import DistillSettings, PretrainSettings
from didi_text.tokenizers.tokenizer import TextTokenizer

BLOCK = 128


def lengths(held_out: Path, scratch: Path) -> str:
    """All alike."""
    del held_out, scratch
    return str(BLOCK)


@cache
def _judge() -> CausalLanguageModel:
    return open_judge("tiny-judge")


def judge(path: Path, temperature: float) -> FrontierPoint:
    """NLL, every token alike, and mean unigram entropy of a sample."""
    return point_of(temperature, measure_samples(read_samples(path), _judge()))


def bound(folder: Path, data: Path) -> dict[str, Any]:
    """The likelihood, or its bound, of a model on the first blocks of a file."""
    model = open_writer(str(folder))
    return bound_of(model, _blocks(data, tokenizer_of(model), BOUND_SEQUENCES))


def _blocks(data: Path, tokenizer: TextTokenizer, num: int) -> list[list[int]]:
    corpus = load_corpus(data, tokenizer, Packing(BLOCK))
    return [list(corpus.ids(i, BLOCK)) for i in range(min(num, len(corpus)))]


def write_natural(data: Path, out: Path, num: int, shuffled: bool) -> int:
    """The first blocks, the tokens of each in any order if asked."""
    tokenizer = _judge().tokenizer
    ids = _blocks(data, tokenizer, num)
    samples = Samples([tokenizer.decode(each) for each in ids], ids, {})
    if shuffled:
        samples = shuffle_tokens(samples, tokenizer)
    rows = zip(samples.texts, samples.ids or [], strict=True)
    lines = (json.dumps({"text": text, "ids": list(map(int, each))}) for text, each in rows)
    out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(ids)


TEXTS = Corpus(
    verbs={
        "pretrain": Verb("text_pretrain", PretrainSettings, pretrain),
        "distill": Verb("text_distill", DistillSettings, distill),
    },
    train="text/train.jsonl.gz",
    held_out="text/valid.jsonl.gz",
    suffix=".jsonl",
    told={
        "pretrain": (
            *PRETRAIN,
            "tokenizer=tiny",
            f"block_length={BLOCK}",
        ),
        "distill": (f"max_length={BLOCK}", *DISTILL),
    },
    lengths=lengths,
    generate=lambda **flags: generate(GenerateOptions(**flags)),
    judge=judge,
    bound=bound,
    write_natural=write_natural,
)
