"""Inputs that are not one token but a distribution over several."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class SoftTokens:
    """Distributions over the vocabulary in place of token ids, at some positions."""

    at: Bool[Tensor, "batch width"]
    probabilities: Float[Tensor, "chosen entries"]
    """One row for each True of `at`, in row-major order; an entry for every id of the vocabulary,
    or for those that `ids` names."""
    ids: Int[Tensor, "chosen entries"] | None = None
    """The ids of the entries, where they are not the whole vocabulary."""

    def expected(self, table: Float[Tensor, "vocabulary hidden"]) -> Float[Tensor, "chosen hidden"]:
        """Average the embeddings in `table` by each distribution."""
        weights = self.probabilities.to(table.dtype)
        if self.ids is None:
            return weights @ table
        return F.embedding_bag(self.ids, table, per_sample_weights=weights, mode="sum")
