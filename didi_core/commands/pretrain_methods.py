"""The training method that `pretrain` asks for, and how it is validated on held-out data."""

from collections.abc import Callable
from typing import Any

import torch

from didi_core.commands.model_card import STANDARD_ERROR
from didi_core.commands.pretrain_settings import PretrainSettings
from didi_core.corpus import Corpus, CorpusBatches
from didi_core.diffusion.draws import Stream, keyed_generator
from didi_core.diffusion.process import build_process
from didi_core.diffusion.schedules import LogLinearSchedule
from didi_core.distill.method import Method
from didi_core.evaluation.bounds import bound_samples
from didi_core.models.denoiser import Denoiser
from didi_core.models.recompute import checkpoint_activations
from didi_core.training.autoregressive_pretraining import AutoregressivePretraining
from didi_core.training.devices import resolve_device
from didi_core.training.diffusion_pretraining import DiffusionPretraining
from didi_core.training.loop import Validate
from didi_core.vocabulary import Vocabulary

TRAINING_EPS = 1e-3
"""Least share of tokens kept in training, as published; likelihood and sampling use 0."""
VALIDATION_TOKENS = 16_384
"""Most tokens of a validation batch."""
VALIDATION_ITEMS = 512
"""Fewest sequences, each with a time and a noise of its own, that a bound is the mean of: a small
held-out set is gone through several times."""
LOGITS_AT_ONCE = 1 << 26
"""Most logits of a validation batch: with a large vocabulary its batches are smaller."""


def autoregressive_method(
    settings: PretrainSettings,
    build: Callable[[], Any],
    data: CorpusBatches,
    held_out: Corpus | None,
) -> tuple[Method, Validate | None]:
    """Next-token training of the causal network that `build` makes, and its held-out NLL."""
    torch.manual_seed(settings.seed)  # transformers draws its weights from the global state
    causal = build()
    if settings.checkpoint_activations:
        checkpoint_activations(causal)
    if resolve_device(settings.device).type == "cpu":
        # Written-out attention: the fused kernel is slow on a CPU in half precision.
        causal.set_attn_implementation("eager")
    method = AutoregressivePretraining(
        causal, data, settings.optimizer, settings.ema, settings.input_noise, settings.seed
    )
    if held_out is None:
        return method, None
    tokens = _validation_tokens(data.vocabulary)
    valid = CorpusBatches(held_out, data.vocabulary, tokens, data.max_length, seed=0)
    return method, lambda: {"validation_nll": method.validation_loss(valid)}


def diffusion_method(
    settings: PretrainSettings,
    build: Callable[[], Denoiser],
    data: CorpusBatches,
    held_out: Corpus | None,
) -> tuple[Method, Validate | None]:
    """Training of the denoiser that `build` makes on its bound, and the bound held out."""
    denoiser = build()
    if settings.checkpoint_activations:
        checkpoint_activations(denoiser)
    denoiser.initialise(keyed_generator(settings.seed, Stream.DATA, -1))
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
    )
    if held_out is None:
        return method, None
    return method, _bound_of(method, settings.process, data, held_out)


def _bound_of(
    method: DiffusionPretraining, process: str, data: CorpusBatches, held_out: Corpus
) -> Validate:
    sequences = [held_out.ids(i, data.max_length) for i in range(len(held_out))]
    tokens = _validation_tokens(data.vocabulary)

    def validate() -> dict[str, float]:
        network = method.sampled()
        device = next(network.parameters()).device
        found = bound_samples(
            network,
            data.vocabulary,
            sequences,
            process=process,
            draws=-(-VALIDATION_ITEMS // len(sequences)),
            tokens_per_batch=tokens,
            device=device,
        ).estimate()
        return {
            "validation_bound": found.nats_per_token,
            f"validation_bound{STANDARD_ERROR}": found.standard_error,
        }

    return validate


def _validation_tokens(vocabulary: Vocabulary) -> int:
    return max(1, min(VALIDATION_TOKENS, LOGITS_AT_ONCE // vocabulary.size))
