"""Reference sequences for distillation, from data or from a pool of the teacher's own samples.

A batch is made of groups. The rows of one group share their length (and in DiDi-Instruct tau), so
that rewards compare like with like; the reference has the same lengths as the student's rows, or
the discriminator would learn lengths.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from lightning.fabric import Fabric
from torch import Tensor

from didi_core.data.batches import TokenBatch, bucket_width, pad_batch
from didi_core.data.corpus import Corpus, all_longer
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.draws import Stream, keyed_generator
from didi_core.distill.passes import Pass, Passes
from didi_core.distill.updates import Trained


@dataclass(frozen=True)
class ReferenceBatch:
    """Holds references of one step; row r belongs to group r // group_size."""

    batch: TokenBatch
    rows: Int[Tensor, "batch"]
    """Number of each row in the step's whole batch, over all processes: a key for randomness."""
    num_passes: int = 1
    """Passes of the update, of which this is one."""

    def to(self, device: torch.device) -> "ReferenceBatch":
        return ReferenceBatch(self.batch.to(device), self.rows.to(device), self.num_passes)


@dataclass(frozen=True)
class _Groups:
    """The groups of one step, over all processes."""

    anchors: Int[Tensor, "groups"]
    """A record of each group's length, by its place in the order of lengths."""
    picks: Float[Tensor, "groups size"]
    """Numbers in [0, 1) that choose records of that length."""
    width: int
    """Padded, of all of them."""


class GroupedReference:
    """Draws, for each step, groups of reference sequences of equal length.

    The group's length is that of a record drawn uniformly, so lengths follow the reference's own
    distribution; all groups of a step come from one width bucket, which keeps padding small.

    Args:
        corpus: unframed reference sequences.
        group_size: rows of a group.
        tokens_per_batch: budget for rows times padded width, over all processes.
        max_length: longer records are left out.
        passes: how an update is cut where memory does not suffice; by default not at all.
    """

    def __init__(
        self,
        corpus: Corpus,
        vocabulary: Vocabulary,
        group_size: int,
        tokens_per_batch: int,
        max_length: int,
        seed: int,
        passes: Passes | None = None,
    ) -> None:
        self.corpus = corpus
        self.vocabulary = vocabulary
        self.group_size = group_size
        self.tokens_per_batch = tokens_per_batch
        self.max_length = max_length
        self.seed = seed
        self.passes = passes or Passes()
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
        groups = self._draw(step, world_size)
        return self._batch(groups, range(rank, len(groups.anchors), world_size))

    def in_passes(self, step: int, rank: int, world_size: int) -> list[ReferenceBatch]:
        """Return the same cut into passes, of whole groups; as many on each process.

        Where processes have unequal numbers of groups, a pass may be a group larger than asked.
        """
        groups = self._draw(step, world_size)
        most, fewest = -(-len(groups.anchors) // world_size), len(groups.anchors) // world_size
        number = min(self.passes.number(most, self.group_size * groups.width), fewest)
        share = range(rank, len(groups.anchors), world_size)
        return [self._batch(groups, share[each::number], number) for each in range(number)]

    def accumulate(
        self,
        fabric: Fabric,
        networks: Sequence[Trained],
        step: int,
        learn: Callable[[ReferenceBatch], Pass],
    ) -> dict[str, float]:
        """Gather gradients in `networks` over the references of `step`: see `Passes.accumulate`."""

        def draw() -> list[ReferenceBatch]:
            parts = self.in_passes(step, fabric.global_rank, fabric.world_size)
            return [part.to(fabric.device) for part in parts]

        return self.passes.accumulate(fabric, networks, draw, learn)

    def _draw(self, step: int, world_size: int) -> _Groups:
        """Draw the groups of `step`, at least one for each process."""
        generator = keyed_generator(self.seed, Stream.ORDER, step)
        # One record decides the width bucket; the length of a group is that of a record within it.
        # All processes draw the same groups, and each pads its own.
        anchor = int(torch.randint(len(self._order), (), generator=generator))
        width = self._widths[anchor]
        low, high = np.searchsorted(self._widths, [width, width + 1])
        num_groups = max(world_size, self.tokens_per_batch // (int(width) * self.group_size))
        anchors = torch.randint(int(low), int(high), (num_groups,), generator=generator)
        picks = torch.rand(num_groups, self.group_size, generator=generator, dtype=torch.float64)
        return _Groups(anchors, picks, int(width))

    def _batch(self, groups: _Groups, mine: range, num_passes: int = 1) -> ReferenceBatch:
        """Return the groups of the numbers `mine`, padded for themselves."""
        anchors, picks = groups.anchors, groups.picks
        sequences = [row for g in mine for row in self._group(int(anchors[g]), picks[g])]
        rows = [g * self.group_size + i for g in mine for i in range(self.group_size)]
        batch = pad_batch(sequences, self.vocabulary)
        return ReferenceBatch(batch, torch.tensor(rows), num_passes)

    def _group(self, anchor: int, picks: Tensor) -> list[list[int]]:
        """Draw `group_size` framed records of the anchor's length, drawn with replacement."""
        length = self._sorted_lengths[anchor]
        low, high = np.searchsorted(self._sorted_lengths, [length, length + 1])
        chosen = low + (picks.numpy() * (high - low)).astype(int)
        return [
            self.vocabulary.frame(self.corpus.ids(int(self._order[i]), self.max_length))
            for i in chosen
        ]
