"""What the engine knows of tokens: how many, which are special, which may be generated."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Vocabulary:
    """Token ids and their roles. Samplers and losses contain no token number of their own."""

    tokens: tuple[str, ...]
    """The text of each id."""
    mask_id: int
    pad_id: int
    generable_ids: tuple[int, ...]
    """The ids a sampler may write, in increasing order. K is their number."""
    bos_id: int | None = None
    """Put before every sequence; never masked."""
    eos_id: int | None = None
    """Put after every sequence; never masked."""

    @property
    def size(self) -> int:
        return len(self.tokens)

    @property
    def num_generable(self) -> int:
        return len(self.generable_ids)

    @property
    def num_special_per_sequence(self) -> int:
        """How many tokens (bos, eos) frame each sequence."""
        return (self.bos_id is not None) + (self.eos_id is not None)

    @cached_property
    def generable(self) -> Int[Tensor, "generable"]:
        return torch.tensor(self.generable_ids)

    @cached_property
    def rank_of_id(self) -> Int[Tensor, "vocabulary"]:
        """Place of each id among the generable ones; -1 for the rest."""
        ranks = torch.full((self.size,), -1)
        ranks[self.generable] = torch.arange(self.num_generable)
        return ranks

    @cached_property
    def id_of_token(self) -> dict[str, int]:
        return {token: index for index, token in enumerate(self.tokens)}

    def log_probs(self, logits: Float[Tensor, "*n vocabulary"]) -> Float[Tensor, "*n generable"]:
        """Return normalised log-probabilities over the generable ids alone, in float32 or better.

        This is the SUBS parameterisation's first half (MDLM, arXiv 2406.07524, section 3.2.3):
        the mask, and every other id that is never written, has probability zero.
        """
        return self.generable_logits(logits).log_softmax(-1)

    def generable_logits(
        self, logits: Float[Tensor, "*n vocabulary"]
    ) -> Float[Tensor, "*n generable"]:
        """Return the logits of the generable ids, in float32 or better."""
        first, last = self.generable_ids[0], self.generable_ids[-1]
        if last - first + 1 == self.num_generable:
            chosen = logits[..., first : last + 1]  # a view: with 50,000 tokens a copy is large
        else:
            chosen = logits.index_select(-1, self.generable.to(logits.device))
        return chosen if chosen.dtype == torch.float64 else chosen.float()

    def frame(self, ids: Iterable[int]) -> list[int]:
        """Put bos and eos around `ids`."""
        before = [] if self.bos_id is None else [self.bos_id]
        after = [] if self.eos_id is None else [self.eos_id]
        return [*before, *ids, *after]
