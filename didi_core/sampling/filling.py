"""Fill one batch of sequences with a sampler, in halves where the device's memory is too small.

Random numbers are keyed by record, so that a halved batch draws from the same keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from didi_core.data.batches import pad_batch
from didi_core.data.vocabulary import Vocabulary
from didi_core.peak_memory import is_out_of_memory, release_cached_memory
from didi_core.sampling.request import (
    Prior,
    Sampled,
    Sampler,
    SampleSettings,
)


@dataclass(frozen=True)
class Filled:
    """Holds one sequence that a sampler finished."""

    ids: list[int]
    """Framed, without padding."""
    denoiser_calls: int
    discriminator_calls: int


def build_prior(
    rows: Sequence[Sequence[int]],
    keys: Sequence[int],
    vocabulary: Vocabulary,
    device: torch.device | str,
) -> Prior:
    """Build the batch to fill: mask tokens are free, everything else is kept.

    Args:
        rows: framed ids; `vocabulary.mask_id` where something is to be generated.
        keys: key of each row's random numbers.
    """
    batch = pad_batch(rows, vocabulary)
    free = batch.maskable & (batch.tokens == vocabulary.mask_id)
    batch = replace(batch, maskable=free).to(device)
    return Prior(batch, torch.tensor(list(keys), dtype=torch.int64, device=device))


@dataclass(frozen=True)
class Filler:
    """Fills rows with a sampler and everything it needs."""

    sampler: Sampler
    settings: SampleSettings
    vocabulary: Vocabulary
    device: torch.device

    def fill(self, rows: Sequence[Sequence[int]], keys: Sequence[int]) -> list[Filled | None]:
        """Finished sequences, as `rows` are ordered; None where memory does not hold even one."""
        try:
            prior = build_prior(rows, keys, self.vocabulary, self.device)
            return list(_unpack(self.sampler.sample(prior, self.settings), rows))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Here no handler is left whose traceback keeps the batch's tensors alive.
        release_cached_memory()
        if len(rows) == 1:
            return [None]
        half = len(rows) // 2
        return self.fill(rows[:half], keys[:half]) + self.fill(rows[half:], keys[half:])


def _unpack(sampled: Sampled, rows: Sequence[Sequence[int]]) -> list[Filled]:
    columns = (sampled.tokens, sampled.denoiser_calls, sampled.discriminator_calls)
    tokens, calls, discriminator_calls = (column.tolist() for column in columns)
    return [
        Filled(tokens[i][: len(row)], calls[i], discriminator_calls[i])
        for i, row in enumerate(rows)
    ]
