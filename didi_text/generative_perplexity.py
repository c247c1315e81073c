"""Generative perplexity of samples under a judge, always beside entropy and repetition.

Samples come from a file, or are made here at temperature 1, by the model's sampler, which of an
autoregressive baseline is token by token.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import bootstrap_ratio
from didi_core.sampling.sampler_options import SamplerOptions
from didi_text.corpora_documents import document_kind, read_documents, read_json_records
from didi_text.judges import Judged
from didi_text.text_measures import variety


@dataclass(frozen=True)
class Samples:
    """Generated texts."""

    texts: list[str]
    ids: list[list[int]] | None
    """Tokens of the model that made them; None where only text is known."""
    made: dict[str, Any]
    """How they were made, for the result file."""


def read_samples(path: Path) -> Samples:
    """Samples of a file: JSONL with `text` and perhaps `ids`, or a text file.

    Raises:
        UserError: no such file, or nothing in it.
    """
    if document_kind(path) == ".txt":
        texts = list(read_documents(path))
        ids = None
    else:
        records = list(read_json_records(path))
        texts = [record["text"] for record in records]
        known = all(isinstance(record.get("ids"), list) for record in records)
        ids = [record["ids"] for record in records] if known else None
    if not texts:
        raise UserError(f"--data {path}: there is no sample in it.")
    return Samples(texts, ids, {"file": str(path)})


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
    """Perplexity and entropy in a line, with intervals."""
    ppl, entropy = figures["perplexity"], figures["entropy"]
    return (
        f"generative perplexity {ppl['mean']:.2f} ({ppl['low']:.2f} to {ppl['high']:.2f}), "
        f"entropy {entropy['mean']:.3f} ({entropy['low']:.3f} to {entropy['high']:.3f}), "
        f"repetition {figures['repetition']['mean']:.3f}, {figures['num_samples']:,} samples"
    )


@dataclass(frozen=True)
class SampleRequest:
    """What is to be generated."""

    num: int
    length: int
    steps: int | None
    sampler: str | None
    """None: what the model's folder names."""
    seed: int
    batch_tokens: int
    draws: str = "float64"
    grid: str = "exact"
    top_p: float = 1.0
    sampler_options: SamplerOptions = field(default_factory=dict)
    """Settings of one sampler alone."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def check(self, max_tokens: int | None) -> None:
        """Refuse what cannot be meant.

        Raises:
            UserError: naming the flag.
        """
        if self.num < 1:
            raise UserError(f"--num {self.num} must be at least 1.")
        if self.length < 2:
            raise UserError(f"--length {self.length} must be at least 2 tokens.")
        if self.length > (max_tokens or math.inf):
            raise UserError(f"--length {self.length}: the model reads {max_tokens} tokens at most.")
