"""A set of samples under one judge: the figures that every verb of samples reports alike."""

from collections.abc import Callable
from typing import Any

import torch

from didi_text.evaluate_models import CausalLanguageModel
from didi_text.generative_perplexity import Samples, summarise
from didi_text.judges import JUDGE_TOKENS, judge_texts


def measure_samples(
    samples: Samples,
    judge: CausalLanguageModel,
    *,
    judge_tokens: int | None = None,
    batch_tokens: int = 8_192,
    autocast: torch.dtype | None = None,
    seed: int = 0,
    show: Callable[[float], object] = float,
) -> dict[str, Any]:
    """Perplexity, entropy and repetition of `samples`; every sample counts.

    Args:
        judge_tokens: tokens of a sample that the judge reads; None for 1,024, or as many as it
            has positions for.
        batch_tokens: bound on rows times padded width of one forward pass of the judge.
        autocast: compute the judge in this type.
        seed: of the bootstrap.
        show: told how many samples are judged.

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
    )
    return summarise(samples, judged, seed)


def readable_tokens(judge: CausalLanguageModel) -> int:
    """As many of a sample's first 1,024 tokens as the judge has positions for."""
    return min(JUDGE_TOKENS, judge.max_tokens or JUDGE_TOKENS)
