"""Samples of an autoregressive model, token by token with its key-value cache: the baseline.

Each token is drawn from the model's law given those before it, among the ids that its vocabulary
may write: where the end of a sequence is not one of them (proteins), a sequence cannot end before
its length is reached. Token by token that is the law given that the sequence goes on; it is not
the law of the sequences that are exactly so long, which would ask of every token whether the model
would end in time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from didi_core.models.causal import AUTOREGRESSIVE
from didi_core.sampling.drawing import draw_tokens
from didi_core.sampling.predictor import NextTokenPredictor
from didi_core.sampling.request import Prior, Sampled, SampleSettings
from didi_core.sampling.sampler_spec import SamplerSpec, without_settings

STEP = 0
"""Of the keys of the random numbers: a position is drawn once, whatever comes before it."""


@dataclass(frozen=True)
class AutoregressiveSampler:
    """Draws from left to right, one call a token; what is kept at the beginning is read first.

    The first token is never drawn: where nothing is given, it is the network's start.
    """

    predictor: NextTokenPredictor

    @torch.no_grad()
    def sample(self, prior: Prior, settings: SampleSettings) -> Sampled:
        """Fill the free positions of the prior; count the calls of each row."""
        tokens, free = self._started(prior)
        calls = free.sum(-1)
        assert (_span(free) == calls).all(), "see `keeps_after_free`"
        drawn = free.any(0).nonzero()[:, 0].tolist()  # the only wait for the device
        generable = self.predictor.vocabulary.generable.to(tokens.device)
        # The cache holds what was read; the first call reads all that stands before the first draw.
        cache, read = None, 0
        for place in range(drawn[0], drawn[-1] + 1) if drawn else ():
            log_probs, cache = self.predictor.next_log_probs(tokens[:, read:place], cache)
            position = torch.full_like(prior.records, place)
            rank = draw_tokens(
                log_probs, settings.draw, settings.seed, prior.records, position, STEP
            )
            # Rows that are shorter, or of which more is given, keep what stands there.
            tokens[:, place] = torch.where(free[:, place], generable[rank], tokens[:, place])
            read = place
        return Sampled(tokens, calls, torch.zeros_like(calls))

    def _started(
        self, prior: Prior
    ) -> tuple[Int[Tensor, "batch width"], Bool[Tensor, "batch width"]]:
        """Return tokens, and which are to be drawn, with the start where the first one is free."""
        tokens, free = prior.batch.tokens.clone(), prior.batch.maskable.clone()
        tokens[:, 0] = tokens[:, 0].masked_fill(free[:, 0], self.predictor.denoiser.start_id)
        free[:, 0] = False
        return tokens, free

    def num_steps(self, num_free: int, settings: SampleSettings) -> int:
        """Return the most calls that a row with so many free positions needs."""
        del settings
        return num_free


def keeps_after_free(row: Sequence[int], mask_id: int, eos_id: int | None) -> bool:
    """Tell whether something is kept after a place to fill, which drawing from the left cannot see.

    Args:
        row: framed ids; the end that frames them does not count.

    >>> keeps_after_free([7, 3, 9, 9], 9, None), keeps_after_free([7, 9, 3, 9], 9, None)
    (False, True)
    """
    inner = list(row[: len(row) - (eos_id is not None)])
    return mask_id in inner and any(each != mask_id for each in inner[inner.index(mask_id) :])


def _span(free: Bool[Tensor, "batch width"]) -> Int[Tensor, "batch"]:
    """Count the places from the first free one of each row to the last."""
    places = torch.arange(1, free.shape[1] + 1, device=free.device)
    # A row without free places: last 0, first beyond the width, clamped to no span.
    last = torch.where(free, places, 0).amax(-1)
    first = torch.where(free, places, free.shape[1] + 1).amin(-1)
    return (last - first + 1).clamp_min(0)


ENTRY = SamplerSpec(
    "autoregressive",
    without_settings(AutoregressiveSampler),
    summary="from left to right, one call a token: autoregressive models, which have no other",
    calls="one a drawn token, each a token wide",
    exact="yes, given that the sequence goes on",
    takes_steps=False,
    has_published_grid=False,
    reveals_on_grid=False,
    processes=(AUTOREGRESSIVE,),
    sees_both_sides=False,
)
