"""Encoded sequences to train on, kept flat in memory (or memory-mapped), cropped when too long."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from didi_core.data.batch_plan import BatchPlan
from didi_core.data.batches import TokenBatch, pad_batch
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.errors import UserError


@dataclass(frozen=True)
class Corpus:
    """Unframed token ids of many sequences, end to end."""

    flat: np.ndarray
    """uint8 or wider: all sequences, one after the other; may be a memory map."""
    starts: np.ndarray
    """Where each sequence begins; one more entry than there are sequences."""

    @classmethod
    def from_ids(cls, sequences: Sequence[Sequence[int] | np.ndarray]) -> "Corpus":
        lengths = [len(sequence) for sequence in sequences]
        flat = np.concatenate([np.asarray(s, dtype=np.int32) for s in sequences])
        return cls(flat, np.concatenate([[0], np.cumsum(lengths)]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)

    def no_longer_than(self, max_length: int, called: str = "sequence") -> "Corpus":
        """Keep the sequences of at most `max_length` ids.

        Args:
            called: what messages call one of them.

        Raises:
            UserError: there are none.
        """
        kept = np.flatnonzero(self.lengths <= max_length)
        if not len(kept):
            raise all_longer(self.lengths, max_length, called)
        return Corpus.from_ids([self.flat[self.starts[i] : self.starts[i + 1]] for i in kept])

    def cropped(self, longest: int) -> "Corpus":
        """Return the corpus with the first `longest` ids of each sequence that is longer."""
        if len(self) == 0 or int(self.lengths.max()) <= longest:
            return self
        return Corpus.from_ids([self.ids(record, longest) for record in range(len(self))])

    def ids(self, record: int, crop: int, uniform: float = 0.0) -> list[int]:
        """Return a record's ids; of a longer one, the window of `crop` ids that `uniform` sets."""
        start, end = int(self.starts[record]), int(self.starts[record + 1])
        start += int(uniform * (max(0, end - start - crop) + 1))
        return self.flat[start : min(end, start + crop)].tolist()


def all_longer(lengths: np.ndarray, max_length: int, called: str) -> UserError:
    """Return the error where no sequence is short enough."""
    return UserError(
        f"max_length={max_length}: every {called} is longer; the shortest has "
        f"{min(lengths, default=0)} tokens. Give a larger max_length or other data."
    )


def share_of_batch(num_records: int, rank: int, world_size: int) -> tuple[np.ndarray, int]:
    """Choose the places in the batch of process `rank`'s records, and the weight of their loss: 1.

    A process for which none is left computes the first record with weight 0, because every
    process must take part in every update.
    """
    mine = np.arange(rank, num_records, world_size)
    return (mine, 1) if len(mine) else (np.array([0]), 0)


class CorpusBatches:
    """The batch of each training step, and the share of it that belongs to one process.

    Args:
        tokens_per_batch: rows times padded width, over all processes.
        max_length: longer sequences are cropped at random to this many ids.
    """

    def __init__(
        self,
        corpus: Corpus,
        vocabulary: Vocabulary,
        tokens_per_batch: int,
        max_length: int,
        seed: int,
    ) -> None:
        self.corpus = corpus
        self.vocabulary = vocabulary
        self.max_length = max_length
        self.seed = seed
        framed = np.minimum(corpus.lengths, max_length) + vocabulary.num_special_per_sequence
        self.plan = BatchPlan(framed.tolist(), tokens_per_batch, seed)

    def records(self, step: int) -> np.ndarray:
        return self.plan.batch(step)

    def width(self, records: np.ndarray) -> int:
        """Return the padded width of a batch of `records`."""
        return self.plan.width(records)

    def batch(self, records: np.ndarray, step: int) -> TokenBatch:
        """Frame and pad the sequences of `records`; crops are keyed by (seed, record, step)."""
        crop_at = keyed_uniform(self.seed, Stream.DATA, torch.as_tensor(records), step)
        rows = [
            self.vocabulary.frame(self.corpus.ids(int(record), self.max_length, float(where)))
            for record, where in zip(records, crop_at, strict=True)
        ]
        return pad_batch(rows, self.vocabulary)
