"""A denoiser as samplers and methods see it: log-probabilities at chosen positions."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from didi_core.vocabulary import Vocabulary


@dataclass(frozen=True)
class Predictor:
    """p(x | z_t) over the generable ids; masked, time-free networks ignore the time."""

    denoiser: nn.Module
    vocabulary: Vocabulary

    def log_probs(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Bool[Tensor, "batch width"],
    ) -> Float[Tensor, "chosen generable"]:
        """Normalised log-probabilities where `at` is True, in row-major order."""
        return self.vocabulary.log_probs(self.denoiser.logits_at(tokens, lengths, at))

    @property
    def device(self):
        return next(self.denoiser.parameters()).device
