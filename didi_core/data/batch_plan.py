"""Which records make up the batch of each training step: a function of (seed, step) alone.

Each epoch visits every record once, in batches of like lengths under a token budget. Because
nothing depends on what ran before, an interrupted run resumes with the very same batches.
"""

from collections.abc import Sequence

import numpy as np
import torch

from didi_core.data.batches import bucket_width
from didi_core.diffusion.draws import Stream, keyed_generator

POOL_BATCHES = 64
"""Records are sorted by length within pools of about this many batches: like lengths meet, yet
every epoch mixes them anew."""


class BatchPlan:
    """Batches of record numbers for steps 0, 1, 2, ...

    Args:
        lengths: tokens of each record, framing included.
        tokens_per_batch: budget for rows times padded width.
        seed: the run's seed.
    """

    def __init__(self, lengths: Sequence[int], tokens_per_batch: int, seed: int) -> None:
        self._widths = np.array([bucket_width(length) for length in lengths])
        self._budget = max(tokens_per_batch, int(self._widths.max()))
        self._seed = seed
        self._epoch = -1
        self._first_step = 0
        self._batches: list[np.ndarray] = []

    def batch(self, step: int) -> np.ndarray:
        """Return the record numbers of step `step`."""
        if step < self._first_step:
            self._epoch, self._first_step, self._batches = -1, 0, []
        while step >= self._first_step + len(self._batches):
            self._first_step += len(self._batches)
            self._epoch += 1
            self._batches = self._plan_epoch(self._epoch)
        return self._batches[step - self._first_step]

    def width(self, records: np.ndarray) -> int:
        """Return the width to which records are padded together."""
        return int(self._widths[records].max())

    def batches_per_epoch(self) -> int:
        """Count the batches of the first epoch; later ones may differ by a few."""
        return len(self._plan_epoch(0))

    def _plan_epoch(self, epoch: int) -> list[np.ndarray]:
        generator = keyed_generator(self._seed, Stream.DATA, epoch)
        order = torch.randperm(len(self._widths), generator=generator).numpy()
        pool = max(1, int(POOL_BATCHES * self._budget / self._widths.mean()))
        batches = [
            batch
            for start in range(0, len(order), pool)
            for batch in self._split(order[start : start + pool])
        ]
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    def _split(self, records: np.ndarray) -> list[np.ndarray]:
        """Sort by width and cut wherever one more row would pass the budget."""
        records = records[np.argsort(self._widths[records], kind="stable")]
        batches, start = [], 0
        for end in range(1, len(records) + 1):
            full = end < len(records) and (
                (end + 1 - start) * self._widths[records[end]] > self._budget
            )
            if full or end == len(records):
                batches.append(records[start:end])
                start = end
        return batches
