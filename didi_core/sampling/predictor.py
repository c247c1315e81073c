"""A model as samplers and methods see it: log-probabilities at chosen positions, or of the next."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from didi_core.data.batches import TokenBatch
from didi_core.data.vocabulary import Vocabulary
from didi_core.models.causal import CausalNetwork
from didi_core.models.denoiser import time_input
from didi_core.models.joint_head import JointHead
from didi_core.models.noise import MaskNoise, NoiseKeys, draw_latents
from didi_core.models.positions import Places

if TYPE_CHECKING:
    from transformers import Cache

OnCall = Callable[[int], None]
"""Hears how many rows each call sent through the network."""


@dataclass(frozen=True)
class Prediction:
    """What the network says at the chosen positions, in row-major order."""

    log_probs: Float[Tensor, "chosen generable"]
    hidden: Float[Tensor, "chosen hidden"] | None = None
    """The trunk's output there; None where the model has no joint head."""


@runtime_checkable
class StatePredictor(Protocol):
    """Offers planned samplers the law of the tokens at chosen positions of a state."""

    @property
    def denoiser(self) -> Any:
        """Return the network whose attention may choose the positions."""
        ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def joint_head(self) -> JointHead | None:
        """Return what draws the tokens of a call together, where the model has it."""
        ...

    @property
    def passes(self) -> int:
        """Return how many passes of a whole trunk one call makes for each row."""
        ...

    def predict(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Places,
        keys: NoiseKeys | None = None,
        alpha: float | Float[Tensor, "batch"] | None = None,
    ) -> Prediction:
        """Return what the model says where `at` is True, in row-major order."""
        ...


@dataclass(frozen=True)
class Predictor:
    """The network's x_theta(z_t) over the generable ids."""

    denoiser: Any
    """A network that offers `logits_at`, bare or as it is trained."""
    vocabulary: Vocabulary
    noise: MaskNoise | None = None
    """The noise input of `denoiser`, where it has one that is to be used: says what to draw."""
    on_call: OnCall | None = None
    joint_head: JointHead | None = None
    """What draws the tokens of a call together, where the model has it."""

    def predict(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Places,
        keys: NoiseKeys | None = None,
        alpha: float | Float[Tensor, "batch"] | None = None,
    ) -> Prediction:
        """Return `log_probs`, with what the joint head needs beside them; arguments as there."""
        if self.joint_head is None:
            return Prediction(self.log_probs(tokens, lengths, at, keys, alpha))
        inputs = self._inputs(tokens, keys, alpha)
        hidden, logits = self.denoiser.states_at(tokens, lengths, at, **inputs)
        return Prediction(self._generable(logits, len(tokens)).log_softmax(-1), hidden)

    @property
    def passes(self) -> int:
        """Return 1: a call is one pass of one trunk."""
        return 1

    def log_probs(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Places,
        keys: NoiseKeys | None = None,
        alpha: float | Float[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "chosen generable"]:
        """Return normalised log-probabilities where `at` is True, in row-major order.

        Arguments and errors as of `logits`.
        """
        found = self.denoiser.logits_at(tokens, lengths, at, **self._inputs(tokens, keys, alpha))
        return self._generable(found, len(tokens)).log_softmax(-1)

    def logits(
        self,
        tokens: Int[Tensor, "batch width"],
        lengths: Int[Tensor, "batch"],
        at: Places,
        keys: NoiseKeys | None = None,
        alpha: float | Float[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "chosen generable"]:
        """Return what the network says of the generable ids where `at` is True, in row-major order.

        Args:
            at: a function is asked after the network's blocks were called, before its head is.
            keys: of the noise, which every sampler gives; without them there is none.
            alpha: share of tokens kept, of each row or of all; networks that are not conditioned
                on time are not told.

        Raises:
            UserError: the network is conditioned on time and `alpha` is None.
        """
        found = self.denoiser.logits_at(tokens, lengths, at, **self._inputs(tokens, keys, alpha))
        return self._generable(found, len(tokens))

    def _inputs(
        self,
        tokens: Int[Tensor, "batch width"],
        keys: NoiseKeys | None,
        alpha: float | Float[Tensor, "batch"] | None,
    ) -> dict[str, Any]:
        """Return what the network takes beside the tokens: the time, or noise."""
        if self.noise is None or keys is None:
            if isinstance(alpha, float):
                alpha = torch.full((len(tokens),), alpha, device=tokens.device)
            return time_input(self.denoiser, alpha)
        masked = tokens == self.vocabulary.mask_id
        return {"latents": draw_latents(self.noise.kind, self.noise.size, keys, masked)}

    def _generable(
        self, logits: Float[Tensor, "chosen vocabulary"], rows: int
    ) -> Float[Tensor, "chosen generable"]:
        """Return the logits of ids that may be written, after a call with so many rows."""
        if self.on_call is not None:
            self.on_call(rows)
        return self.vocabulary.generable_logits(logits)

    def probe(self, batch: TokenBatch, at: Bool[Tensor, "batch width"]) -> None:
        """One call as a step makes it that reveals the positions `at`: to be timed."""
        self.log_probs(batch.tokens, batch.lengths, at, alpha=0.5)

    def call_width(self, width: int) -> int:
        """Tokens of a row of this padded width that one call computes."""
        return width

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device


@dataclass(frozen=True)
class NextTokenPredictor:
    """An autoregressive network's p(x_i | what stands before) over the generable ids."""

    denoiser: CausalNetwork
    vocabulary: Vocabulary
    on_call: OnCall | None = None

    def next_log_probs(
        self, tokens: Int[Tensor, "batch new"], cache: "Cache | None"
    ) -> tuple[Float[Tensor, "batch generable"], "Cache"]:
        """Normalised log-probabilities of the token after `tokens`; see `CausalNetwork`."""
        logits, cache = self.denoiser.next_logits(tokens, cache)
        if self.on_call is not None:
            self.on_call(len(tokens))
        return self.vocabulary.log_probs(logits), cache

    def probe(self, batch: TokenBatch, at: Bool[Tensor, "batch width"]) -> None:
        """One call, a token wide: to be timed."""
        del at  # it reveals one position of each row
        self.next_log_probs(batch.tokens[:, :1], None)

    def call_width(self, width: int) -> int:
        """Tokens of a row that one call computes: the cache holds the others."""
        del width
        return 1

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device


AnyPredictor = Predictor | NextTokenPredictor
