"""Make the samples whose generative perplexity is asked for."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from didi_core.errors import UserError
from didi_core.progress import progress_bar
from didi_core.sampling import autoregressive
from didi_core.sampling.folder_defaults import choose_sampler, stored_reveal_exponent
from didi_core.sampling.partial_file import PartialFile, continue_partial, start_partial
from didi_core.sampling.registry import build_predictor, check_settings
from didi_core.sampling.request import DrawSettings, SampleSettings
from didi_core.sampling.run_request import Request, build_engine, run_request
from didi_text.evaluate_models import (
    CausalLanguageModel,
    LanguageModel,
    MaskedLanguageModel,
    describe_model,
)
from didi_text.generative_perplexity import SampleRequest, Samples


def make_samples(
    model: LanguageModel,
    request: SampleRequest,
    partial: Path,
    *,
    resume: bool = False,
    quiet: bool = False,
) -> Samples:
    """Generate unconditionally.

    Args:
        partial: where a masked model's finished batches are kept, so that a run continues.
        resume: go on with what `partial` holds.

    Raises:
        UserError: a length the model cannot read, settings the sampler does not take.
    """
    request.check(model.max_tokens)
    if isinstance(model, CausalLanguageModel):
        return _autoregressive_samples(model, request, quiet)
    return _masked_samples(model, request, partial, resume, quiet)


def _masked_samples(
    model: MaskedLanguageModel, request: SampleRequest, partial: Path, resume: bool, quiet: bool
) -> Samples:
    kind = choose_sampler(request.sampler, request.grid, model.loaded)
    request = replace(request, sampler=kind.name)
    steps = request.steps if request.steps is not None else kind.default_steps
    exponent = stored_reveal_exponent(request.grid, kind, model.loaded)
    settings = SampleSettings(
        steps=steps,
        seed=request.seed,
        grid=request.grid,
        reveal_exponent=exponent,
        draw=DrawSettings(top_p=request.top_p, precision=request.draws),
    )
    check_settings(kind, settings)
    vocabulary = model.loaded.vocabulary
    row = vocabulary.frame([vocabulary.mask_id] * request.length)
    engine = build_engine(
        build_predictor(model.loaded),
        lambda predictor: kind.build(predictor, model.loaded, request.sampler_options),
    )
    asked = {**request.as_json(), "reveal_exponent": exponent}
    decided = {**asked, "model": describe_model(model)}
    file = _open_partial(partial, decided, resume)
    run_request(
        Request([row] * request.num, settings, request.batch_tokens), engine, file, quiet=quiet
    )
    rows = sorted(file.rows, key=lambda each: each.record)
    if failed := [each for each in rows if each.failure is not None]:
        raise UserError(
            f"{len(failed)} of {len(rows)} samples could not be made, not even one at a time "
            f"({failed[0].failure}): give a shorter --length, a smaller model or another --device."
        )
    ids = [each.ids for each in rows]
    calls = sum(each.denoiser_calls for each in rows) / len(rows)
    made = {
        **asked,
        "steps": steps,
        "mean_calls": calls,
        "mean_discriminator_calls": sum(each.discriminator_calls for each in rows) / len(rows),
        "seconds": file.seconds,
    }
    return Samples([model.tokenizer.decode(each) for each in ids], ids, made)


def _open_partial(path: Path, decided: dict[str, Any], resume: bool) -> PartialFile:
    if resume and path.exists():
        return continue_partial(path, decided)
    return start_partial(path, decided)


def _autoregressive_samples(
    model: CausalLanguageModel, request: SampleRequest, quiet: bool
) -> Samples:
    if request.steps is not None:
        raise UserError(
            f"--steps {request.steps}: {model.name} writes one token a call; leave it out."
        )
    asked = (request.draws, request.grid, request.sampler, request.top_p)
    if asked != ("float64", "exact", None, 1.0) or request.sampler_options:
        raise UserError(
            "--sampler, --sampler-option, --top-p, --grid and --draws are a masked model's: "
            f"{model.name} writes token by token from its own distribution; leave them out."
        )
    started = time.perf_counter()
    rows = max(1, request.batch_tokens // request.length)
    ids: list[list[int]] = []
    with progress_bar("Generating", request.num * request.length) as show:
        for first in range(0, request.num, rows):
            records = torch.arange(first, min(request.num, first + rows))
            drawn = draw_autoregressive(model, records, request.length, request.seed)
            ids += drawn.tolist()
            if not quiet:
                show(len(ids) * request.length)
    made = {
        **request.as_json(),
        "sampler": "autoregressive",
        "temperature": 1.0,
        "mean_calls": request.length - 1,
        "seconds": time.perf_counter() - started,
    }
    return Samples([model.tokenizer.decode(each) for each in ids], ids, made)


def draw_autoregressive(
    model: CausalLanguageModel, records: torch.Tensor, length: int, seed: int
) -> torch.Tensor:
    """Samples [records, length] of a causal LM: the end of text, then token by token; see
    `didi_core.sampling.autoregressive`. Ids that the tokenizer lacks are never drawn."""
    tokenizer = model.tokenizer
    return autoregressive.draw_autoregressive(
        model.network, tokenizer.end_id, tokenizer.size, records, length, seed
    )
