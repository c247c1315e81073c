"""A set of samples under one judge: the figures that every verb of samples reports alike."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from didi_core.commands.generating.files import generate_json_path
from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import Interval, bootstrap_mean, bootstrap_ratio
from didi_core.evaluation.entropy import Ids, unigram_entropy
from didi_core.evaluation.ratio import PooledKmerEntropy
from didi_core.sampling.batching import ALONE, Share
from didi_core.sampling.sampler_options import options_in_words, sampler_label
from didi_text.corpora.documents import document_kind, read_documents, read_json_records
from didi_text.models.judges import JUDGE_TOKENS, Judged, judge_texts
from didi_text.models.load import CausalLanguageModel


@dataclass(frozen=True)
class Samples:
    """Generated texts."""

    texts: list[str]
    ids: list[list[int]] | None
    """Tokens of the model that made them; None where only text is known."""
    made: dict[str, Any]
    """How they were made, for the result file."""


def measure_samples(
    samples: Samples,
    judge: CausalLanguageModel,
    *,
    judge_tokens: int | None = None,
    batch_tokens: int = 8_192,
    autocast: torch.dtype | None = None,
    seed: int = 0,
    show: Callable[[float], object] = float,
    share: Share = ALONE,
) -> dict[str, Any]:
    """Perplexity, entropy and repetition of `samples`; every sample counts.

    Args:
        judge_tokens: tokens of a sample that the judge reads; None for 1,024, or as many as it
            has positions for.
        batch_tokens: bound on rows times padded width of one forward pass of the judge.
        autocast: compute the judge in this type.
        seed: of the bootstrap.
        show: told how many samples are judged.
        share: the processes that judge together.

    Returns:
        `nats_per_token`, `perplexity`, `entropy` and `repetition` as `{mean, low, high}` (95%,
        samples resampled), `distinct_1` to `distinct_4`, `duplicates`, `per_sample_nats` (nats a
        token of each sample in input order, None where none is scored), `per_sample_tokens`
        (how many are), `per_sample_entropy` and counts; see docs/text-evaluation.md.

    Raises:
        UserError: the judge has positions for fewer than `judge_tokens`, or the samples hold too
            few tokens to measure.
    """
    judged = judge_texts(
        judge,
        samples.texts,
        max_tokens=judge_tokens or readable_tokens(judge),
        batch_tokens=batch_tokens,
        autocast=autocast,
        show=show,
        share=share,
    )
    return summarise(samples, judged, seed)


def readable_tokens(judge: CausalLanguageModel) -> int:
    """As many of a sample's first 1,024 tokens as the judge has positions for."""
    return min(JUDGE_TOKENS, judge.max_tokens or JUDGE_TOKENS)


# Generative perplexity of samples under a judge, always beside entropy and repetition.
#
# Samples come from a file, or are made here at temperature 1, by the model's sampler, which of an
# autoregressive baseline is token by token.

DRAWN = ("model", "sampler", "sampler_options", "steps", "seed")
"""What records of `generate` say of how they were drawn."""


PLAIN = {
    "reveal_exponent": 1.0,
    "temperature": 1.0,
    "top_p": 1.0,
    "draws": "float64",
    "grid": "exact",
}
"""Settings of sampling that are named where they are others."""


def read_samples(path: Path) -> Samples:
    """Samples of a file: JSONL with `text` and perhaps `ids`, or a text file.

    Raises:
        UserError: no such file, or nothing in it.
    """
    made = {"file": str(path), **_of_run(path)}
    if document_kind(path) == ".txt":
        texts = list(read_documents(path))
        ids = None
    else:
        records = list(read_json_records(path))
        texts = [record["text"] for record in records]
        known = all(isinstance(record.get("ids"), list) for record in records)
        ids = [record["ids"] for record in records] if known else None
        made |= _of_records(records)
    if not texts:
        raise UserError(f"--data {path}: there is no sample in it.")
    return Samples(texts, ids, made)


def _of_records(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the records of `generate` say of how they were drawn, different values apart."""
    found = {}
    for name in DRAWN:
        values = list(dict.fromkeys(str(each[name]) for each in records if name in each))
        if values:
            number = len(values) == 1 and values[0].isdecimal() and name in ("steps", "seed")
            found[name] = int(values[0]) if number else " and ".join(values)
    return found


def _of_run(path: Path) -> dict[str, Any]:
    """Return how a file was drawn by `NAME.generate.json` beside it, which knows all settings."""
    try:
        settings = json.loads(generate_json_path(path).read_text(encoding="utf-8"))["settings"]
        return {name: settings[name] for name in (*DRAWN, *PLAIN) if name in settings}
    except (OSError, ValueError, KeyError, TypeError):  # there is none, or it is another's
        return {}


def drawn_in_words(made: Mapping[str, Any]) -> str:
    """Say how samples were drawn: sampler, steps, and each setting that is not the plain one.

    >>> drawn_in_words({"sampler": "apart", "steps": 8, "reveal_exponent": 2.0, "top_p": 1.0})
    'apart, 8 steps, reveal exponent 2'
    >>> drawn_in_words({"file": "samples.txt"})
    'sampler and steps unknown (samples.txt does not say)'
    """
    if made.get("sampler") is None:
        return f"sampler and steps unknown ({made.get('file')} does not say)"
    options = made.get("sampler_options") or ""
    words = options if isinstance(options, str) else options_in_words(options)
    parts = [sampler_label(str(made["sampler"]), words)]
    if made.get("steps") is not None:
        parts.append(f"{made['steps']} step{'' if made['steps'] == 1 else 's'}")
    for name, plain in PLAIN.items():
        value = made.get(name)
        if value not in (None, plain):
            shown = f"{value:g}" if isinstance(value, int | float) else str(value)
            parts.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(parts)


def summarise(samples: Samples, judged: Judged, seed: int = 0) -> dict[str, Any]:
    """The figures of a set of samples.

    The perplexity weights every scored token alike, as published; its interval resamples samples.

    Raises:
        UserError: no sample has a token that is scored.
    """
    if not judged.counts.any():
        raise UserError("No sample has two tokens or more: there is nothing to judge.")
    mean = bootstrap_ratio(judged.nats, judged.counts, seed)
    ids: Sequence[Sequence[int]] = judged.ids if samples.ids is None else samples.ids
    try:
        spread = variety(ids, seed)
    except ValueError as error:
        raise UserError(f"The samples are too short to measure their variety: {error}.") from error
    return {
        "perplexity": mean.exp().as_dict(),
        "nats_per_token": mean.as_dict(),
        "entropy": spread.entropy.as_dict(),
        "entropy_tokens": "judge" if samples.ids is None else "model",
        **spread.distinct,
        "repetition": spread.repetition.as_dict(),
        "duplicates": spread.duplicates,
        "num_samples": len(samples.texts),
        "num_unscored": int((judged.counts == 0).sum()),
        "num_tokens": int(judged.counts.sum()),
        "samples": samples.made,
        "drawn": drawn_in_words(samples.made),
        "per_sample_nats": [
            round(nats / count, 6) if count else None
            for nats, count in zip(judged.nats.tolist(), judged.counts.tolist(), strict=True)
        ],
        "per_sample_tokens": judged.counts.tolist(),
        "per_sample_entropy": [
            None if each is None else round(each, 6) for each in spread.entropies
        ],
    }


def one_line(figures: dict[str, Any]) -> str:
    """Return perplexity and entropy in a line, with intervals and how the samples were drawn."""
    ppl, entropy = figures["perplexity"], figures["entropy"]
    return (
        f"generative perplexity {ppl['mean']:.2f} ({ppl['low']:.2f} to {ppl['high']:.2f}), "
        f"entropy {entropy['mean']:.3f} ({entropy['low']:.3f} to {entropy['high']:.3f}), "
        f"repetition {figures['repetition']['mean']:.3f}, {figures['num_samples']:,} samples: "
        f"{drawn_in_words(figures['samples'])}"
    )


# Variety of samples: unigram entropy of each, distinct n-grams of the set, repetition within.
#
# A generative perplexity means nothing without these: text that repeats itself is easy to predict.

REPETITION_N = 4


BIGRAMS = PooledKmerEntropy(2, 2**20)
"""Diversity of a set beside its unigram entropy; no tokenizer has as many tokens."""


@dataclass(frozen=True)
class Variety:
    """How varied a set of samples is."""

    entropy: Interval
    """Mean over samples of the entropy of a sample's tokens, in nats, as published for MDLM and
    later work; samples without a token are left out."""
    entropies: list[float | None]
    """Of each sample, in input order; None where it holds no token."""
    distinct: dict[str, float]
    """distinct_n: different n-grams over all n-grams, pooled over the set; it falls with the
    number of samples, so that only sets of one size compare."""
    repetition: Interval
    """Mean over samples of the share of 4-grams that stood in the same sample before, 0 to 1;
    samples with fewer than 4 tokens are left out."""
    duplicates: float
    """Share of samples that equal an earlier one."""


def variety(samples: Sequence[Ids], seed: int = 0) -> Variety:
    """Measure token ids of samples.

    Raises:
        ValueError: no sample is long enough for a measure.
    """
    arrays = [np.asarray(sample, dtype=np.int64) for sample in samples]
    entropies = [unigram_entropy(array) if len(array) else None for array in arrays]
    repeats = [repetition(array) for array in arrays if len(array) >= REPETITION_N]
    return Variety(
        entropy=bootstrap_mean([each for each in entropies if each is not None], seed),
        entropies=entropies,
        distinct={f"distinct_{n}": distinct(arrays, n) for n in (1, 2, 3, 4)},
        repetition=bootstrap_mean(repeats, seed),
        duplicates=1 - len({array.tobytes() for array in arrays}) / len(arrays),
    )


def distinct(samples: Sequence[NDArray[np.int64]], n: int) -> float:
    """Different n-grams of all samples over their number (Li et al., arXiv 1510.03055).

    >>> distinct([np.array([1, 2, 1, 2]), np.array([1, 2])], 2)
    0.5
    """
    grams = np.concatenate([ngrams(sample, n) for sample in samples])
    return len(np.unique(grams, axis=0)) / len(grams) if len(grams) else float("nan")


def repetition(sample: NDArray[np.int64], n: int = REPETITION_N) -> float:
    """Share of a sample's n-grams that stood in it before (Welleck et al., arXiv 1908.04319).

    >>> repetition(np.array([1, 2, 3, 1, 2]), n=2)
    0.25
    """
    grams = ngrams(sample, n)
    return 1 - len(np.unique(grams, axis=0)) / len(grams)


def ngrams(sample: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """All overlapping n-grams [length - n + 1, n]; none of a shorter sample."""
    if len(sample) < n:
        return np.empty((0, n), dtype=np.int64)
    return np.lib.stride_tricks.sliding_window_view(sample, n)
