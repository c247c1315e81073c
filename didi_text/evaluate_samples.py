"""Make the samples whose generative perplexity is asked for."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from didi_core.errors import UserError
from didi_core.sampling.folder_defaults import choose_sampler, stored_reveal_exponent
from didi_core.sampling.partial_file import PartialFile, continue_partial, start_partial
from didi_core.sampling.registry import build_predictor, check_settings
from didi_core.sampling.request import Draws, DrawSettings, Grid, SampleSettings
from didi_core.sampling.run_request import Request, build_engine, run_request
from didi_text.evaluate_models import LanguageModel, describe_model
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
        partial: where finished batches are kept, so that a run continues.
        resume: go on with what `partial` holds.

    Raises:
        UserError: a length the model cannot read, settings the sampler does not take.
    """
    request.check(model.max_tokens)
    loaded = model.loaded
    kind = choose_sampler(request.sampler, request.grid, loaded)
    request = replace(request, sampler=kind.name)
    steps = request.steps if request.steps is not None else kind.default_steps
    exponent = stored_reveal_exponent(request.grid, kind, loaded)
    settings = SampleSettings(
        steps=steps,
        seed=request.seed,
        grid=cast(Grid, request.grid),
        reveal_exponent=exponent,
        draw=DrawSettings(top_p=request.top_p, precision=cast(Draws, request.draws)),
    )
    check_settings(kind, settings)
    vocabulary = loaded.vocabulary
    row = vocabulary.frame([vocabulary.mask_id] * request.length)
    engine = build_engine(
        build_predictor(loaded),
        lambda predictor: kind.build(predictor, loaded, request.sampler_options),
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
