"""Tokens that single positions of single records may not get.

They are looked up by the keys of a draw, record and position, so that whatever draws by such keys
obeys: a sampler neither knows of them nor passes them on.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from didi_core.data.vocabulary import Vocabulary

ForbiddenIds = Mapping[int, Collection[int]]
"""Of one record: ids that a position of its framed row may not get."""


@dataclass(frozen=True)
class Forbidden:
    """What is forbidden in the rows of one batch."""

    records: Int[Tensor, "rows"]
    """Key of each row's random numbers, increasing."""
    tokens: Bool[Tensor, "rows width generable"]
    """Whether a position may not get a token, by the token's place among the generable ids."""

    @classmethod
    def of(
        cls,
        forbidden: Sequence[ForbiddenIds],
        keys: Sequence[int],
        width: int,
        vocabulary: Vocabulary,
        device: torch.device | str,
    ) -> "Forbidden":
        """Build the table of a batch whose rows hold at most `width` tokens."""
        order = sorted(range(len(keys)), key=lambda row: keys[row])
        tokens = torch.zeros(len(keys), width, vocabulary.num_generable, dtype=torch.bool)
        entries = [
            (place, position, int(vocabulary.rank_of_id[each]))
            for place, row in enumerate(order)
            for position, ids in forbidden[row].items()
            for each in ids
        ]
        if entries:
            tokens[tuple(torch.tensor(entries).T)] = True
        records = torch.tensor([keys[row] for row in order], dtype=torch.int64)
        return cls(records.to(device), tokens.to(device))

    def at(
        self, record: Int[Tensor, "n"], position: Int[Tensor, "n"]
    ) -> Bool[Tensor, "n generable"]:
        """Return what is forbidden at positions of records, all of which are in the batch."""
        return self.tokens[torch.searchsorted(self.records, record), position]
