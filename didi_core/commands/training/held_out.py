"""What `pretrain` trains, and how held-out sequences are scored with it, while it trains and after.

Masked, uniform and score models are trained on their bound and scored by it; autoregressive ones by
their exact likelihood. Both give the nats of each sequence, so that models that only count can be
set beside them sequence by sequence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from didi_core.commands.training.model_card import STANDARD_ERROR
from didi_core.commands.training.run_folder import passes_of
from didi_core.commands.training.settings import PretrainSettings
from didi_core.data.corpus import Corpus, CorpusBatches
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.process import build_process
from didi_core.diffusion.schedules import LogLinearSchedule
from didi_core.evaluation.bounds import bound_samples
from didi_core.models.denoiser import Denoiser
from didi_core.models.recompute import checkpoint_activations
from didi_core.training.autoregressive_pretraining import AutoregressivePretraining
from didi_core.training.devices import resolve_device
from didi_core.training.diffusion_pretraining import DiffusionPretraining
from didi_core.training.pretraining import Pretraining

TRAINING_EPS = 1e-3
"""Least share of tokens kept in training, as published; likelihood and sampling use 0."""


VALIDATION_TOKENS = 16_384
"""Most tokens of a validation batch."""


VALIDATION_ITEMS = 512
"""Fewest sequences, each with a time and a noise of its own, that a bound is the mean of: a small
held-out set is gone through several times."""


LOGITS_AT_ONCE = 1 << 26
"""Most logits of a validation batch: with a large vocabulary its batches are smaller."""


@dataclass(frozen=True)
class HeldOutNats:
    """Held-out sequences under the averaged model."""

    figures: dict[str, float]
    """Of all together, in nats a token: the loss first."""
    nats: NDArray[np.float64]
    """[sequences]: of the whole sequence."""
    tokens: NDArray[np.int64]
    """[sequences]: tokens that were scored."""


class HeldOut(Protocol):
    """Scores held-out sequences with a network as it is; every process must make each call."""

    def __call__(self) -> dict[str, float]:
        """Return the figures of all together, in nats a token: the loss first."""
        ...

    def measure(self) -> HeldOutNats:
        """Return the same, and the nats of each sequence."""
        ...


@dataclass(frozen=True)
class HeldOutBound:
    """Likelihood bounds of a diffusion model."""

    method: DiffusionPretraining
    process: str
    vocabulary: Vocabulary
    sequences: list[list[int]]
    """Unframed ids."""

    def __call__(self) -> dict[str, float]:
        return self.measure().figures

    def measure(self) -> HeldOutNats:
        network = self.method.sampled()
        samples = bound_samples(
            network,
            self.vocabulary,
            self.sequences,
            process=self.process,
            draws=-(-VALIDATION_ITEMS // len(self.sequences)),
            tokens_per_batch=_validation_tokens(self.vocabulary),
            device=next(network.parameters()).device,
        )
        found = samples.estimate()
        figures = {
            "validation_bound": found.nats_per_token,
            f"validation_bound{STANDARD_ERROR}": found.standard_error,
        }
        return HeldOutNats(figures, samples.per_sequence(), samples.lengths)


@dataclass(frozen=True)
class HeldOutLikelihood:
    """Likelihoods of an autoregressive model."""

    method: AutoregressivePretraining
    data: CorpusBatches
    """Held-out sequences, random windows of long ones."""
    first: CorpusBatches
    """The same, of long ones the first window."""

    def __call__(self) -> dict[str, float]:
        return {"validation_nll": self.method.validation_loss(self.data)}

    def measure(self) -> HeldOutNats:
        return HeldOutNats(self(), *self.method.sequence_nats(self.first))


def autoregressive_method(
    settings: PretrainSettings,
    build: Callable[[], Any],
    data: CorpusBatches,
    held_out: Corpus | None,
) -> tuple[Pretraining, HeldOut | None]:
    """Next-token training of the causal network that `build` makes, and its held-out NLL."""
    torch.manual_seed(settings.seed)  # transformers draws its weights from the global state
    causal = build()
    if settings.checkpoint_activations:
        checkpoint_activations(causal)
    if resolve_device(settings.device).type == "cpu":
        # Written-out attention: the fused kernel is slow on a CPU in half precision.
        causal.set_attn_implementation("eager")
    method = AutoregressivePretraining(
        causal,
        data,
        settings.optimizer,
        settings.ema,
        settings.input_noise,
        settings.seed,
        passes_of(settings),
    )
    if held_out is None:
        return method, None
    tokens = _validation_tokens(data.vocabulary)
    windows, first = (
        CorpusBatches(each, data.vocabulary, tokens, data.max_length, seed=0)
        for each in (held_out, held_out.cropped(data.max_length))
    )
    return method, HeldOutLikelihood(method, windows, first)


def diffusion_method(
    settings: PretrainSettings,
    build: Callable[[], Denoiser],
    data: CorpusBatches,
    held_out: Corpus | None,
) -> tuple[Pretraining, HeldOut | None]:
    """Training of the denoiser that `build` makes on its bound, and the bound held out."""
    denoiser = build()
    if settings.checkpoint_activations:
        checkpoint_activations(denoiser)
    schedule = LogLinearSchedule(eps=TRAINING_EPS)
    method = DiffusionPretraining(
        denoiser,
        data,
        build_process(settings.process, data.vocabulary, schedule),
        settings.optimizer,
        settings.ema,
        settings.seed,
        settings.curriculum,
        settings.gaussian,
        passes_of(settings),
    )
    if held_out is None:
        return method, None
    sequences = [held_out.ids(i, data.max_length) for i in range(len(held_out))]
    return method, HeldOutBound(method, settings.process, data.vocabulary, sequences)


def _validation_tokens(vocabulary: Vocabulary) -> int:
    return max(1, min(VALIDATION_TOKENS, LOGITS_AT_ONCE // vocabulary.size))
