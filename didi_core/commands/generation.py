"""What `generate` does in both programs: from a request to sequences in a file."""

from contextlib import nullcontext
from dataclasses import replace

import torch

from didi_core.commands.generation_share import sample_share
from didi_core.commands.generation_summary import (
    deciding_settings,
    provenance_of,
    result_of,
    summary_of,
)
from didi_core.commands.processes import join_processes
from didi_core.commands.product import MadeRecord, Product
from didi_core.commands.sampling_options import GenerationResult, SamplingOptions
from didi_core.models.compiled import compiled_blocks
from didi_core.models.folder import LoadedModel
from didi_core.peak_memory import PeakMemory
from didi_core.sampling.registry import (
    SamplerKind,
    build_predictor,
    check_settings,
    find_sampler,
)
from didi_core.sampling.request import DrawSettings, SampleSettings
from didi_core.sampling.run_request import Request, build_engine
from didi_core.sampling.sampler_options import parse_options
from didi_core.shards import parse_shard


def run_generation(product: Product, model: LoadedModel | None = None) -> GenerationResult | None:
    """Make the records of a request, and write the output and `NAME.generate.json` beside it.

    Returns:
        What was made; None in all processes of torchrun but the first, which writes it.

    Args:
        model: the model that `--model` names, where it is open already.

    Raises:
        UserError: an option without sense, an output that exists, a model that cannot be opened.
    """
    options, files, processes = product.options, product.files, join_processes()
    kind, shard = find_sampler(options.sampler), parse_shard(options.shard)
    if options.steps is None:
        options = replace(options, steps=kind.default_steps)
    given = {**options.sampler_options, **parse_options(options.sampler_option or [])}
    options = replace(options, sampler_options=given)
    check_settings(kind, sample_settings(options, None))
    if processes.is_first:
        files.check(resume=options.resume, overwrite=options.overwrite)
    product.check_request()
    model = model or product.open_model()
    options = replace(options, reveal_exponent=reveal_exponent_of(options, kind, model))
    records = product.records(model)
    decided = deciding_settings(product, options, records, model)
    if options.resume and (done := files.finished_summary(decided)) is not None:
        return result_of(product, done) if processes.is_first else None
    request = Request(
        rows=[record.row for record in records],
        settings=sample_settings(options, product.log_bias(model.vocabulary)),
        batch_tokens=options.batch_tokens,
        shard=shard,
        rule=product.rule(model.vocabulary),
        unique=options.unique,
    )
    compiled = compiled_blocks(model.denoiser, "--compile") if options.compile else nullcontext()
    with compiled, PeakMemory(next(model.denoiser.parameters()).device) as peak:
        engine = build_engine(
            build_predictor(model, with_noise=not options.without_noise),
            lambda predictor: kind.build(predictor, model, options.sampler_options),
        )
        sampled = sample_share(request, engine, files, decided, options, processes)
    peaks = processes.collect(peak.bytes)
    if peaks is None:
        return None
    finished = sampled.rows
    known = [each for each in peaks if each is not None]
    cost = {"seconds": sampled.seconds, "peak_memory": max(known, default=None)}
    summary = summary_of(product, records, finished, cost, decided, shard, model)
    made = [
        MadeRecord(
            records[row.record].id, row.ids, provenance_of(options, records[row.record], row)
        )
        for row in finished
        if row.failure is None
    ]
    files.write(lambda path: product.write(path, made, model), summary)
    return result_of(product, summary)


def sample_settings(options: SamplingOptions, bias: torch.Tensor | None) -> SampleSettings:
    """The sampler's settings; an exponent that is not given counts as 1."""
    exponent = options.reveal_exponent
    return SampleSettings(
        steps=options.steps,
        seed=options.seed,
        grid=options.grid,
        reveal_exponent=1.0 if exponent is None else exponent,
        draw=DrawSettings(options.temperature, options.top_p, bias, options.draws),
    )


def reveal_exponent_of(options: SamplingOptions, kind: SamplerKind, model: LoadedModel) -> float:
    """The grid's exponent: as asked, else as the model was distilled for, else even (1)."""
    if options.reveal_exponent is not None:
        return options.reveal_exponent
    return stored_reveal_exponent(options.grid, kind, model)


def stored_reveal_exponent(grid: str, kind: SamplerKind, model: LoadedModel) -> float:
    """The exponent that the model was distilled for; 1 where it has none, or the grid is fixed."""
    if grid == "published" or not kind.reveals_on_grid:
        return 1.0
    return float(model.config.get("didi", {}).get("reveal_exponent", 1.0))
