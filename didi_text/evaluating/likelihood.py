"""Likelihood of blocks of text: a masked model's bound, or an autoregressive model's own."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from didi_core.evaluation.bounds import (
    BoundSamples,
    Form,
    Spread,
    bound_samples,
    default_form,
)
from didi_core.evaluation.causal import token_nll
from didi_core.sampling.batching import ALONE, Share
from didi_text.models.load import CausalLanguageModel, DiffusionLanguageModel, LanguageModel

Show = Callable[[float], object]


@dataclass(frozen=True)
class BoundSettings:
    """How a masked model's bound is estimated."""

    form: str | None = None
    """time or order; None: that of `default_form`."""
    draws: int = 1
    spread: str = "sequences"
    seed: int = 0
    batch_tokens: int = 8_192
    autocast: torch.dtype | None = None
    share: Share = ALONE
    """The processes that compute it together."""


def likelihood(
    model: LanguageModel, blocks: Sequence[Sequence[int]], settings: BoundSettings, show: Show
) -> dict[str, Any]:
    """Nats a token and perplexity of blocks, with the standard error of a bound.

    A masked model's bound covers every token of a block. An autoregressive model takes a block's
    first token (the end of text) as given and scores the rest; its figure is exact.
    """
    if isinstance(model, CausalLanguageModel):
        nll = _token_nll(model, blocks, settings, show)
        tokens = sum(len(each) for each in nll)
        return _figures(float(sum(each.sum() for each in nll)) / tokens, 0.0, tokens, len(blocks))
    estimate = sample_bounds(model, blocks, settings, show).estimate()
    error = None if math.isnan(estimate.standard_error) else estimate.standard_error
    return {
        **_figures(estimate.nats_per_token, error, estimate.num_tokens, len(blocks)),
        "form": settings.form or default_form(model.network, model.loaded.process),
        "mask_draws": estimate.draws,
    }


def sample_bounds(
    model: DiffusionLanguageModel,
    blocks: Sequence[Sequence[int]],
    settings: BoundSettings,
    show: Show = float,
    scored_from: Sequence[int] | None = None,
) -> BoundSamples:
    """One-sample estimates of each block's bound; see `didi_core.evaluation.bounds`."""
    return bound_samples(
        model.network,
        model.loaded.vocabulary,
        blocks,
        process=model.loaded.process,
        scored_from=scored_from,
        form=cast(Form, settings.form),
        draws=settings.draws,
        spread=cast(Spread, settings.spread),
        seed=settings.seed,
        tokens_per_batch=settings.batch_tokens,
        autocast=settings.autocast,
        show=show,
        share=settings.share,
    )


def _token_nll(
    model: CausalLanguageModel,
    rows: Sequence[Sequence[int]],
    settings: BoundSettings,
    show: Show,
) -> list[NDArray[np.float64]]:
    size, autocast = settings.batch_tokens, settings.autocast
    return token_nll(model.network, rows, size, autocast, show, settings.share)


def continuation_nats(
    model: LanguageModel,
    rows: Sequence[Sequence[int]],
    scored_from: Sequence[int],
    settings: BoundSettings,
    show: Show = float,
) -> NDArray[np.float64]:
    """-log p(rest | the first `scored_from` tokens) of each row in nats, or its bound.

    Args:
        scored_from: at least 1: a row's first token is always given.
    """
    if isinstance(model, CausalLanguageModel):
        nll = _token_nll(model, rows, settings, show)
        return np.array(
            [values[first - 1 :].sum() for values, first in zip(nll, scored_from, strict=True)]
        )
    return sample_bounds(model, rows, settings, show, scored_from).per_sequence()


def _figures(nats: float, error: float | None, tokens: int, blocks: int) -> dict[str, Any]:
    perplexity = math.exp(nats)
    return {
        "nats_per_token": nats,
        "standard_error": error,
        "perplexity": perplexity,
        # To first order: the exponential stretches an error by the perplexity itself.
        "perplexity_standard_error": None if error is None else perplexity * error,
        "num_tokens": tokens,
        "num_blocks": blocks,
    }
