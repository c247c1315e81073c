"""The judge of generated text: `gpt2-large`, or any causal LM folder, and its own tokenizer.

A sample is decoded by the model that made it and encoded again by the judge, of which the first
1,024 tokens count. As in the published code the first token is context alone, and of ends of text
only the first is scored: what a model writes after it has ended is not charged twice.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from didi_core.errors import UserError
from didi_core.evaluation.causal import token_nll
from didi_core.models.named import find_judge
from didi_core.sampling.batching import ALONE, Share
from didi_text.models.load import BUNDLED_MODELS, CausalLanguageModel, open_causal
from didi_text.tokenizers.tokenizer import TextTokenizer, open_tokenizer

DEFAULT_JUDGE = "gpt2-large"
JUDGE_TOKENS = 1_024


def open_judge(
    name: str, device: torch.device | str = "cpu", *, offline: bool = False
) -> CausalLanguageModel:
    """Open a judge by folder, hub id or bundled name.

    Raises:
        UserError: there is none of that name, or it is no causal LM.
    """
    find_judge(BUNDLED_MODELS, name, offline=offline, otherwise=DEFAULT_JUDGE)
    return open_causal(name, device, offline=offline)


def bundled_judge(tokenizers: Iterable[TextTokenizer]) -> str | None:
    """Find the judge that ships, where it reads the very tokens that these write; else None."""
    name = BUNDLED_MODELS.judge
    if not BUNDLED_MODELS.ships(name):
        return None
    digest = open_tokenizer(BUNDLED_MODELS.folder(name)).digest
    return name if all(each.digest == digest for each in tokenizers) else None


@dataclass(frozen=True)
class Judged:
    """What a judge finds of samples, in input order."""

    nats: NDArray[np.float64]
    """[samples]: summed over scored tokens."""
    counts: NDArray[np.int64]
    """[samples]: scored tokens; 0 for a sample of fewer than two tokens."""
    ids: list[list[int]]
    """The judge's tokens of each sample."""


def judge_texts(
    judge: CausalLanguageModel,
    texts: Sequence[str],
    *,
    max_tokens: int = JUDGE_TOKENS,
    batch_tokens: int = 8_192,
    autocast: torch.dtype | None = None,
    show: Callable[[float], object] = float,
    share: Share = ALONE,
) -> Judged:
    """Encode and judge every text; none is left out, whatever the batch size.

    Args:
        share: the processes that judge together; each returns all of it.

    Raises:
        UserError: the judge has positions for fewer than `max_tokens`.
    """
    if judge.max_tokens is not None and max_tokens > judge.max_tokens:
        raise UserError(
            f"--judge-tokens {max_tokens}: --judge {judge.name} reads {judge.max_tokens} at most."
        )
    ids = [each[:max_tokens] for each in judge.tokenizer.encode_many(texts)]
    nll = token_nll(judge.network, ids, batch_tokens, autocast, show, share)
    scored = [scored_tokens(each, judge.tokenizer.end_id)[1:] for each in ids]
    nats = [float(values[mask].sum()) for values, mask in zip(nll, scored, strict=True)]
    return Judged(np.array(nats), np.array([int(mask.sum()) for mask in scored]), ids)


def scored_tokens(ids: Sequence[int], end_id: int) -> NDArray[np.bool_]:
    """Mark every token but the ends of text after the first.

    >>> scored_tokens([5, 9, 6, 9, 9], end_id=9).tolist()
    [True, True, True, False, False]
    """
    is_end = np.asarray(ids, dtype=np.int64) == end_id
    return ~is_end | (is_end.cumsum() == 1)
