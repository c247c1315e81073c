"""Generative perplexity of samples under a judge, always beside entropy and repetition.

Samples come from a file, or are made here at temperature 1, by the model's sampler, which of an
autoregressive baseline is token by token.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from didi_core.commands.output_files import generate_json_path
from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import bootstrap_ratio
from didi_core.sampling.sampler_options import SamplerOptions, options_in_words, sampler_label
from didi_text.corpora_documents import document_kind, read_documents, read_json_records
from didi_text.judges import Judged
from didi_text.text_measures import variety

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
