"""Reference sequences for distillation, from data or from a pool of the teacher's own samples.

A batch is made of groups. The rows of one group share their length (and in DiDi-Instruct tau), so
that rewards compare like with like; the reference has the same lengths as the student's rows, or
the discriminator would learn lengths.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from didi_core.data.batches import TokenBatch, bucket_width, pad_batch
from didi_core.data.corpus import Corpus, all_longer
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.draws import Stream, keyed_generator


@dataclass(frozen=True)
class ReferenceBatch:
    """Holds the references of one step; row r belongs to group r // group_size."""

    batch: TokenBatch
    rows: Int[Tensor, "batch"]
    """Number of each row in the step's whole batch, over all processes: a key for randomness."""


class GroupedReference:
    """Draws, for each step, groups of reference sequences of equal length.

    The group's length is that of a record drawn uniformly, so lengths follow the reference's own
    distribution; all groups of a step come from one width bucket, which keeps padding small.

    Args:
        corpus: unframed reference sequences.
        group_size: rows of a group.
        tokens_per_batch: budget for rows times padded width, over all processes.
        max_length: longer records are left out.
    """

    def __init__(
        self,
        corpus: Corpus,
        vocabulary: Vocabulary,
        group_size: int,
        tokens_per_batch: int,
        max_length: int,
        seed: int,
    ) -> None:
        self.corpus = corpus
        self.vocabulary = vocabulary
        self.group_size = group_size
        self.tokens_per_batch = tokens_per_batch
        self.max_length = max_length
        self.seed = seed
        self._index(corpus.lengths)

    def _index(self, lengths: np.ndarray) -> None:
        """Order records by length and by width bucket."""
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] <= self.max_length]
        if not len(order):
            raise all_longer(lengths, self.max_length, "reference sequence")
        framing = self.vocabulary.num_special_per_sequence
        self._order = order
        self._sorted_lengths = lengths[order]
        self._widths = np.array([bucket_width(int(n) + framing) for n in self._sorted_lengths])

    @property
    def fewest_groups(self) -> int:
        """Return the groups that the budget holds where sequences are longest."""
        return self.tokens_per_batch // (int(self._widths.max()) * self.group_size)

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> ReferenceBatch:
        """Return the groups of `step` that belong to process `rank`."""
        generator = keyed_generator(self.seed, Stream.ORDER, step)
        # One record decides the width bucket; the length of a group is that of a record within it.
        # All processes draw the same groups, and each pads its own.
        anchor = int(torch.randint(len(self._order), (), generator=generator))
        width = self._widths[anchor]
        low, high = np.searchsorted(self._widths, [width, width + 1])
        num_groups = max(world_size, self.tokens_per_batch // (int(width) * self.group_size))
        anchors = torch.randint(int(low), int(high), (num_groups,), generator=generator)
        picks = torch.rand(num_groups, self.group_size, generator=generator, dtype=torch.float64)
        mine = range(rank, num_groups, world_size)
        sequences = [row for g in mine for row in self._group(int(anchors[g]), picks[g])]
        rows = [g * self.group_size + i for g in mine for i in range(self.group_size)]
        return ReferenceBatch(pad_batch(sequences, self.vocabulary), torch.tensor(rows))

    def _group(self, anchor: int, picks: Tensor) -> list[list[int]]:
        """Draw `group_size` framed records of the anchor's length, drawn with replacement."""
        length = self._sorted_lengths[anchor]
        low, high = np.searchsorted(self._sorted_lengths, [length, length + 1])
        chosen = low + (picks.numpy() * (high - low)).astype(int)
        return [
            self.vocabulary.frame(self.corpus.ids(int(self._order[i]), self.max_length))
            for i in chosen
        ]
