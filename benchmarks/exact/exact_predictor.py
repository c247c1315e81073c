"""The exact conditionals of a process as a predictor: what a perfect network would say.

With it any sampler of the package runs as with a trained model; at K steps it shows what drawing
independently costs by itself, without the error of a network.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from benchmarks.exact.process import UNKNOWN, ExactProcess
from didi_core.data.vocabulary import Vocabulary
from didi_core.sampling.predictor import Prediction


@dataclass(frozen=True)
class ExactPredictor:
    """log p(token | length, known tokens) in place of a network's."""

    process: ExactProcess
    vocabulary: Vocabulary

    @property
    def denoiser(self) -> None:
        """Return nothing: there is no network."""

    @property
    def joint_head(self) -> None:
        """Return nothing: what a call reveals is drawn independently."""

    @property
    def passes(self) -> int:
        return 1

    def predict(self, tokens: Tensor, lengths: Tensor, at: Tensor, *more: object) -> Prediction:
        """Return `log_probs`, as samplers ask for it."""
        return Prediction(self.log_probs(tokens, lengths, at, *more))

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def log_probs(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Bool[Tensor, "batch width"],
        *keys: object,
    ) -> Float[Tensor, "chosen generable"]:
        """Where `at` is True, in row-major order; float64.

        Args:
            keys: of a network's noise input, which the exact law has not.
        """
        del keys
        ranks = self.vocabulary.rank_of_id[tokens].numpy()  # -1, which is UNKNOWN, for the mask
        first = int(self.vocabulary.bos_id is not None)
        sizes = lengths.numpy() - self.vocabulary.num_special_per_sequence
        shape = (*tokens.shape, self.process.num_tokens)
        result = np.full(shape, 1.0 / self.process.num_tokens)
        for size in np.unique(sizes):
            rows = np.flatnonzero(sizes == size)
            states = ranks[rows, first : first + size]
            assert states.min() >= UNKNOWN
            result[rows, first : first + size] = self.process.conditionals(states)
        return torch.from_numpy(result)[at].log()
