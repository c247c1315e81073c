"""How long a request will take, said before it starts."""

import sys
import time
from collections.abc import Sequence

import torch

from didi_core.data.batches import bucket_width
from didi_core.peak_memory import is_out_of_memory
from didi_core.progress import counted, readable_time
from didi_core.sampling.filling import build_prior
from didi_core.sampling.predictor import AnyPredictor

Rows = Sequence[Sequence[int]]
"""Framed ids of each record of a batch."""


def print_estimate(predictor: AnyPredictor, batches: Sequence[Rows], calls: Sequence[int]) -> None:
    """Say on standard error how long the batches will take, from one call of the first one.

    Args:
        calls: that the rows of each batch need together.
    """
    seconds = estimate_seconds(predictor, batches, calls)
    records = sum(len(rows) for rows in batches)
    print(
        f"About {readable_time(seconds)} for {counted(records, 'sequence')} in "
        f"{counted(len(batches), 'batch', 'es')}, "
        f"{sum(calls) / records:.1f} calls each, on {predictor.device}.",
        file=sys.stderr,
    )


def estimate_seconds(
    predictor: AnyPredictor, batches: Sequence[Rows], calls: Sequence[int]
) -> float:
    """Return the seconds of the planned calls: a warm call of the first batch, scaled by tokens.

    A call of the discriminator is not in it, nor are redraws.
    """
    first = batches[0]
    steps = calls[0] // len(first)
    _time_call(predictor, first[:1], steps)  # the first call of all pays for set-up
    seconds_per_token = _time_call(predictor, first, steps)
    return seconds_per_token * sum(
        each * width_of(predictor, rows) for each, rows in zip(calls, batches, strict=True)
    )


def width_of(predictor: AnyPredictor, rows: Rows) -> int:
    """Return how many tokens of each row of a batch a call computes, padding included."""
    return predictor.call_width(bucket_width(len(rows[0])))


@torch.no_grad()
def _time_call(predictor: AnyPredictor, rows: Rows, steps: int) -> float:
    """Return the seconds a token of one call on `rows`, or on as many of them as memory allows.

    Logits are computed at one of `steps` positions, as many as a call reveals: with a large
    vocabulary those of all positions would not fit into memory, and would take most of the time.
    """
    vocabulary, device = predictor.vocabulary, predictor.device
    started = time.perf_counter()
    try:
        batch = build_prior(rows, range(len(rows)), vocabulary, device).batch
        every = torch.arange(batch.tokens.shape[1], device=device) % max(1, steps) == 0
        # Any tokens will do, and a uniform-state network need not know the mask.
        tokens = batch.tokens.masked_fill(batch.maskable, vocabulary.generable_ids[0])
        predictor.probe(batch.with_tokens(tokens), batch.maskable & every)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        computed = len(rows) * predictor.call_width(batch.tokens.shape[1])
        return (time.perf_counter() - started) / computed
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        if len(rows) == 1:
            return 0.0  # the run itself reports such a record as failed
    return _time_call(predictor, rows[: len(rows) // 2], steps)
