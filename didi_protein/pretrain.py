"""`didi-protein pretrain`: a teacher (or an autoregressive judge) from protein sequences.

didi-protein pretrain data=sequences.fasta.gz valid=held_out.fasta out=runs/teacher steps=5000
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import nn

from didi_core.cli import check_output
from didi_core.corpus import Corpus, CorpusBatches
from didi_core.diffusion.absorbing import AbsorbingProcess
from didi_core.diffusion.draws import Stream, keyed_generator
from didi_core.diffusion.schedules import LogLinearSchedule
from didi_core.distill.method import Method
from didi_core.errors import UserError
from didi_core.evaluation.likelihood import masked_bound, ngram_baselines
from didi_core.hydra_app import as_plain
from didi_core.models.esm import EsmDenoiser, EsmSettings
from didi_core.models.folder import save_model_folder
from didi_core.training.autoregressive_pretraining import AutoregressivePretraining
from didi_core.training.devices import build_fabric, resolve_device
from didi_core.training.loop import LoopSettings, train
from didi_core.training.masked_pretraining import MaskedPretraining
from didi_core.training.run_folder import write_run_record
from didi_protein.alphabet import PROTEIN
from didi_protein.causal import build_causal_model, save_causal_folder
from didi_protein.model_card import pretrained_card
from didi_protein.pretrain_settings import ModelSettings, PretrainSettings
from didi_protein.training_data import load_corpus

TRAINING_EPS = 1e-3
"""Least masking rate seen in training, as published; likelihood and sampling use 0."""


def pretrain(settings: PretrainSettings) -> Path:
    """Train a model from sequences and save it as a model folder in `settings.out`.

    Returns:
        The folder.

    Raises:
        UserError: an output that exists, unreadable data, or a setting without sense.
    """
    check_settings(settings)
    folder = Path(settings.out)
    check_output(folder, resume=settings.resume, overwrite=settings.overwrite, flag="out=")
    corpus = load_corpus(settings.data)
    held_out = load_corpus(settings.valid) if settings.valid else None
    if settings.too_long == "drop":
        corpus = corpus.no_longer_than(settings.max_length)
        held_out = held_out and held_out.no_longer_than(settings.max_length)
    fabric = build_fabric(settings.device, settings.precision, settings.devices)
    start_run(folder, "pretrain", settings, fabric)
    data = CorpusBatches(
        corpus, PROTEIN, settings.tokens_per_batch, settings.max_length, settings.seed
    )
    method, validate = build_method(settings, data, held_out)
    loop = LoopSettings(
        steps=settings.steps,
        log_every=settings.log_every,
        validate_every=settings.validate_every if held_out else 0,
        checkpoint_every=settings.checkpoint_every,
        max_seconds=settings.max_seconds,
    )
    done = train(method, loop, folder, fabric, validate)
    if fabric.is_global_zero:
        scores = validate() if validate else {}
        _finish(folder, settings, method.result(), done, len(corpus), scores, corpus, held_out)
    return folder


def check_settings(settings: PretrainSettings) -> None:
    """Collect everything wrong with the settings and show it together."""
    wrong = []
    for name in ("steps", "tokens_per_batch", "max_length", "devices", "log_every"):
        if getattr(settings, name) < 1:
            wrong.append(f"{name}={getattr(settings, name)} must be at least 1")
    if settings.model.kind not in ("masked", "autoregressive"):
        wrong.append(f"model.kind={settings.model.kind} must be masked or autoregressive")
    if settings.model.hidden_size % (2 * settings.model.num_heads):
        wrong.append("model.hidden_size must be an even multiple of model.num_heads")
    if settings.too_long not in ("crop", "drop"):
        wrong.append(f"too_long={settings.too_long} must be crop or drop")
    if settings.max_length > settings.model.max_residues:
        wrong.append(f"max_length={settings.max_length} is past model.max_residues")
    if not 0 <= settings.ema < 1:
        wrong.append(f"ema={settings.ema} must be in [0, 1)")
    if not 0 <= settings.input_noise < 1:
        wrong.append(f"input_noise={settings.input_noise} must be in [0, 1)")
    if settings.optimizer.name not in ("adamw", "muon"):
        wrong.append(f"optimizer.name={settings.optimizer.name} must be adamw or muon")
    if wrong:
        raise UserError("; ".join(wrong) + ".")


def start_run(folder: Path, verb: str, settings: object, fabric: Fabric) -> None:
    """Clear what is to be overwritten and record the configuration."""
    if not fabric.is_global_zero:
        return
    if settings.overwrite:
        for stale in (folder / "checkpoints").glob("step_*.safetensors"):
            stale.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    write_run_record(folder, verb, as_plain(settings), settings.seed)


def build_method(
    settings: PretrainSettings, data: CorpusBatches, held_out: Corpus | None
) -> tuple[Method, Callable[[], dict[str, float]] | None]:
    """The training method for `model.kind`, and its validation."""
    if settings.model.kind == "autoregressive":
        torch.manual_seed(settings.seed)  # transformers draws its weights from the global state
        causal = build_causal_model(settings.model, PROTEIN)
        if resolve_device(settings.device).type == "cpu":
            # Written-out attention: the fused kernel is slow on a CPU in half precision.
            causal.set_attn_implementation("eager")
        method = AutoregressivePretraining(
            causal, data, settings.optimizer, settings.ema, settings.input_noise, settings.seed
        )
        if held_out is None:
            return method, None
        valid = CorpusBatches(held_out, PROTEIN, 16_384, settings.max_length, seed=0)
        return method, lambda: {"validation_nll": method.validation_loss(valid)}
    denoiser = build_denoiser(settings.model, settings.seed)
    process = AbsorbingProcess(PROTEIN.mask_id, LogLinearSchedule(eps=TRAINING_EPS))
    masked = MaskedPretraining(
        denoiser,
        data,
        process,
        settings.optimizer,
        settings.ema,
        settings.seed,
        settings.curriculum,
    )
    if held_out is None:
        return masked, None
    sequences = [held_out.ids(i, settings.max_length) for i in range(len(held_out))]

    def validate() -> dict[str, float]:
        device = next(masked.result().parameters()).device
        return {
            "validation_bound": masked_bound(masked.result(), PROTEIN, sequences, device=device)
        }

    return masked, validate


def build_denoiser(model: ModelSettings, seed: int) -> EsmDenoiser:
    """A freshly initialised network in the ESM layout."""
    denoiser = EsmDenoiser(
        EsmSettings(
            vocabulary_size=PROTEIN.size,
            num_layers=model.num_layers,
            hidden_size=model.hidden_size,
            num_heads=model.num_heads,
            intermediate_size=model.intermediate_size,
            mask_id=PROTEIN.mask_id,
            max_tokens=model.max_residues + PROTEIN.num_special_per_sequence,
        )
    )
    denoiser.initialise(keyed_generator(seed, Stream.DATA, -1))
    return denoiser


def _finish(
    folder: Path,
    settings: PretrainSettings,
    model: nn.Module,
    steps: int,
    num_sequences: int,
    scores: dict[str, float],
    corpus: Corpus,
    held_out: Corpus | None,
) -> None:
    """Save the model folder, and print the bound beside the baselines."""
    if held_out is not None:
        scores = {**scores, **_baselines(corpus, held_out)}
        for name, nats in scores.items():
            figures = f"{nats:.4f} nats a residue, perplexity {math.exp(nats):.2f}"
            print(f"{name:18s} {figures}", file=sys.stderr)
    card = pretrained_card(settings, steps, num_sequences, scores)
    if settings.model.kind == "autoregressive":
        save_causal_folder(folder, model, PROTEIN, card=card)
    else:
        save_model_folder(folder, model, PROTEIN, card=card, run=None, dtype=torch.float32)


def _baselines(corpus: Corpus, held_out: Corpus) -> dict[str, float]:
    ranks = PROTEIN.rank_of_id.numpy()
    split = [
        np.split(ranks[np.asarray(part.flat)], np.asarray(part.starts)[1:-1])
        for part in (corpus, held_out)
    ]
    return ngram_baselines(*split, PROTEIN.num_generable)
