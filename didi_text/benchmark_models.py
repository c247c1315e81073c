"""The models behind a benchmark: opened on their device, with the length that all of them read."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from didi_core.commands.comparison_frontier import Natural
from didi_core.commands.study import label_of
from didi_core.errors import UserError
from didi_core.training.devices import TORCH_TYPES, resolve_device
from didi_text.benchmark import BenchmarkOptions
from didi_text.benchmark_study import Study
from didi_text.evaluate_models import (
    CausalLanguageModel,
    DiffusionLanguageModel,
    LanguageModel,
    open_causal,
    open_language_model,
)
from didi_text.judges import DEFAULT_JUDGE, bundled_judge, open_judge
from didi_text.reference_text import natural_text, reference_samples, stored_natural
from didi_text.tokenizer import TextTokenizer

DEFAULT_BASELINE = "gpt2"
DEFAULT_LENGTH = 1_024


@dataclass(frozen=True)
class Opened:
    """Models on their device, by label."""

    models: Mapping[str, LanguageModel]
    judge: CausalLanguageModel
    baseline: str | None
    """As it was named."""
    length: int
    device: torch.device
    natural: Natural | None = None
    """Natural text, to compare temperatures at its entropy."""


def open_study(study: Study, options: BenchmarkOptions) -> Opened:
    """Open every model, in the precision asked for; the judge is always float32.

    Raises:
        UserError: one cannot be opened, or does not read the length asked for.
    """
    device = resolve_device(options.device)
    dtype = TORCH_TYPES[options.precision]
    denoisers = {
        label_of(name): _open_denoiser(name, device, options) for name in dict(study.models)
    }
    default = bundled_judge(model.tokenizer for model in denoisers.values())
    judge = open_judge(options.judge or default or DEFAULT_JUDGE, device, offline=options.offline)
    models: dict[str, LanguageModel] = dict(denoisers)
    asked = options.baseline or default or DEFAULT_BASELINE
    baseline = None if asked == "none" else asked
    if baseline is not None and label_of(baseline) in models:
        raise UserError(
            f"--baseline {baseline}: a model of that name is measured; rename a folder."
        )
    if baseline is not None:
        models[label_of(baseline)] = open_causal(
            baseline, device, offline=options.offline, flag="--baseline"
        )
    for model in models.values():
        model.network.to(dtype)
    length, first = _length(options.length, models), next(iter(denoisers.values())).tokenizer
    natural = _natural(options, judge, first, length) if len(study.temperatures) > 1 else None
    return Opened(models, judge, baseline, length, device, natural)


def _natural(
    options: BenchmarkOptions, judge: CausalLanguageModel, tokenizer: TextTokenizer, length: int
) -> Natural | None:
    if options.reference is None:
        return stored_natural(judge, tokenizer, str(length))
    samples = reference_samples(
        options.reference,
        tokenizer,
        num=options.num,
        length=str(length),
        limit=length,
        seed=options.seed,
        offline=options.offline,
    )
    return natural_text(samples.ids or [])


def _open_denoiser(
    name: str, device: torch.device, options: BenchmarkOptions
) -> DiffusionLanguageModel:
    model = open_language_model(name, device, offline=options.offline, flag="--models")
    if isinstance(model, CausalLanguageModel):
        raise UserError(
            f"--models {name} is autoregressive and takes no steps: give it as --baseline."
        )
    return model


def _length(asked: int | None, models: Mapping[str, LanguageModel]) -> int:
    limits = {label: model.max_tokens for label, model in models.items() if model.max_tokens}
    least = min(limits, key=lambda label: limits[label]) if limits else None
    if least is None or (asked is not None and asked <= limits[least]):
        return asked or DEFAULT_LENGTH
    if asked is not None:
        raise UserError(f"--length {asked}: {least} reads {limits[least]} tokens at most.")
    return min(DEFAULT_LENGTH, limits[least])
