"""A denoiser as samplers and methods see it: log-probabilities at chosen positions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from didi_core.models.denoiser import time_input
from didi_core.models.noise import MaskNoise, NoiseKeys, draw_latents
from didi_core.models.positions import Places
from didi_core.vocabulary import Vocabulary


@dataclass(frozen=True)
class Predictor:
    """The network's x_theta(z_t) over the generable ids."""

    denoiser: nn.Module
    vocabulary: Vocabulary
    noise: MaskNoise | None = None
    """The noise input of `denoiser`, where it has one that is to be used: says what to draw."""

    def log_probs(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Places,
        keys: NoiseKeys | None = None,
        alpha: float | Float[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "chosen generable"]:
        """Normalised log-probabilities where `at` is True, in row-major order.

        Arguments and errors as of `logits`.
        """
        return self.logits(tokens, lengths, at, keys, alpha).log_softmax(-1)

    def logits(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Places,
        keys: NoiseKeys | None = None,
        alpha: float | Float[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "chosen generable"]:
        """What the network says of the generable ids where `at` is True, in row-major order.

        Args:
            at: a function is asked after the network's blocks were called, before its head is.
            keys: of the noise, which every sampler gives; without them there is none.
            alpha: share of tokens kept, of each row or of all; networks that are not conditioned
                on time are not told.

        Raises:
            UserError: the network is conditioned on time and `alpha` is None.
        """
        if self.noise is None or keys is None:
            if isinstance(alpha, float):
                alpha = torch.full((len(tokens),), alpha, device=tokens.device)
            told = time_input(self.denoiser, alpha)
            logits = self.denoiser.logits_at(tokens, lengths, at, **told)
            return self.vocabulary.generable_logits(logits)
        masked = tokens == self.vocabulary.mask_id
        latents = draw_latents(self.noise.kind, self.noise.size, keys, masked)
        logits = self.denoiser.logits_at(tokens, lengths, at, latents=latents)
        return self.vocabulary.generable_logits(logits)

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device
