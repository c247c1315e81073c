"""What `generate` does in both programs: from a request to sequences in a file."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import torch

from didi_core.commands.generating.files import OutputFiles
from didi_core.commands.generating.options import GenerationResult, SamplingOptions
from didi_core.commands.generating.product import GenerationRecord, GenerationTask, MadeRecord
from didi_core.commands.generating.summary import (
    deciding_settings,
    provenance_of,
    result_of,
    summary_of,
)
from didi_core.commands.processes import Processes, join_processes
from didi_core.data.vocabulary import Vocabulary
from didi_core.errors import UserError
from didi_core.evaluation.timing import Write
from didi_core.io.shards import Shard, parse_shard
from didi_core.models.compiled import compiled_blocks
from didi_core.models.folder import LoadedModel
from didi_core.peak_memory import PeakMemory
from didi_core.sampling.autoregressive import keeps_after_free
from didi_core.sampling.filling import build_prior
from didi_core.sampling.folder_defaults import PLAIN_SAMPLER, choose_sampler, stored_reveal_exponent
from didi_core.sampling.registry import (
    SamplerSpec,
    build_predictor,
    build_sampler,
    check_settings,
    find_sampler,
)
from didi_core.sampling.rejection import SampledRecord
from didi_core.sampling.request import (
    Draws,
    DrawSettings,
    Grid,
    SampleSettings,
)
from didi_core.sampling.run_request import (
    Engine,
    Request,
    build_engine,
    resolve_duplicates,
    run_request,
)
from didi_core.sampling.sampler_options import parse_options, split_name

Asked = TypeVar("Asked", bound=SamplingOptions)


def run_generation(
    product: GenerationTask, model: LoadedModel | None = None
) -> GenerationResult | None:
    """Make the records of a request, and write the output and `NAME.generate.json` beside it.

    Returns:
        What was made; None in all processes of torchrun but the first, which writes it.

    Args:
        model: the model that `--model` names, where it is open already.

    Raises:
        UserError: an option without sense, an output that exists, a model that cannot be opened.
    """
    options, files, processes = product.options, product.files, join_processes()
    shard = parse_shard(options.shard)
    options = _with_sampler_options(options)
    if processes.is_first:
        files.check(resume=options.resume, overwrite=options.overwrite)
    product.check_request()
    model = model or product.open_model()
    options = with_stored_defaults(options, model)
    kind = find_sampler(options.sampler)
    records = product.records(model)
    if not kind.sees_both_sides:
        _check_kept(product, records, model)
    decided = deciding_settings(product, options, records, model)
    if options.resume and (done := files.finished_summary(decided)) is not None:
        return result_of(product, done) if processes.is_first else None
    request = _request(product, options, records, model.vocabulary, shard)
    with _compiled(model, options), PeakMemory(next(model.denoiser.parameters()).device) as peak:
        engine = _engine(model, kind, options)
        sampled = sample_share(request, engine, files, decided, options, processes)
    peaks = processes.collect(peak.bytes)
    if peaks is None:
        return None
    known = [each for each in peaks if each is not None]
    cost = {"seconds": sampled.seconds, "peak_memory": max(known, default=None)}
    summary = summary_of(product, records, sampled.rows, cost, decided, shard, model)
    made = _made(options, records, sampled.rows)
    files.write(lambda path: product.write(path, made, model), summary)
    return result_of(product, summary)


def _with_sampler_options(options: Asked) -> Asked:
    """With the sampler's options read; what is wrong without knowing the model is told at once.

    Raises:
        UserError: settings that the sampler does not take.
    """
    name, given = (None, {}) if options.sampler is None else split_name(options.sampler)
    given |= {**options.sampler_options, **parse_options(options.sampler_option or [])}
    options = replace(options, sampler=name, sampler_options=given)
    if options.sampler is not None or options.steps is not None:  # else the model's folder decides
        _check(options, find_sampler(options.sampler or PLAIN_SAMPLER))
    return options


def _request(
    product: GenerationTask,
    options: SamplingOptions,
    records: Sequence[GenerationRecord],
    vocabulary: Vocabulary,
    shard: Shard,
) -> Request:
    return Request(
        rows=[record.row for record in records],
        settings=sample_settings(options, product.log_bias(vocabulary)),
        batch_tokens=options.batch_tokens,
        shard=shard,
        rule=product.rule(vocabulary),
        unique=options.unique,
    )


def _compiled(model: LoadedModel, options: SamplingOptions) -> AbstractContextManager[None]:
    return compiled_blocks(model.denoiser, "--compile") if options.compile else nullcontext()


def _engine(model: LoadedModel, kind: SamplerSpec, options: SamplingOptions) -> Engine:
    return build_engine(
        build_predictor(model, with_noise=not options.without_noise),
        lambda predictor: build_sampler(kind, predictor, model, options.sampler_options),
    )


def _made(
    options: SamplingOptions, records: Sequence[GenerationRecord], finished: Sequence[SampledRecord]
) -> list[MadeRecord]:
    """What goes into the output: rows that failed do not."""
    return [
        MadeRecord(
            records[row.record].id, row.ids, provenance_of(options, records[row.record], row)
        )
        for row in finished
        if row.failure is None
    ]


def sample_settings(options: SamplingOptions, bias: torch.Tensor | None) -> SampleSettings:
    """The sampler's settings; an exponent that is not given counts as 1."""
    exponent = options.reveal_exponent
    return SampleSettings(
        steps=options.steps,
        seed=options.seed,
        grid=cast(Grid, options.grid),
        reveal_exponent=1.0 if exponent is None else exponent,
        draw=DrawSettings(options.temperature, options.top_p, bias, cast(Draws, options.draws)),
    )


def with_stored_defaults(options: Asked, model: LoadedModel) -> Asked:
    """With sampler, its steps and the grid's exponent: as asked, else as the model's folder says.

    Raises:
        UserError: settings that the sampler does not take.
    """
    kind, exponent = choose_sampler(options.sampler, options.grid, model), options.reveal_exponent
    if exponent is None:
        exponent = stored_reveal_exponent(options.grid, kind, model)
    return _check(replace(options, sampler=kind.name, reveal_exponent=exponent), kind)


def _check(options: Asked, kind: SamplerSpec) -> Asked:
    """The options with the sampler's own number of steps where none is given.

    Raises:
        UserError: settings that the sampler does not take.
    """
    if options.steps is None:
        options = replace(options, steps=kind.default_steps)
    check_settings(kind, sample_settings(options, None))
    return options


def _check_kept(
    product: GenerationTask, records: Sequence[GenerationRecord], model: LoadedModel
) -> None:
    """Raise UserError where something is kept that a model cannot see that writes from the left."""
    vocabulary = model.vocabulary
    for record in records:
        if keeps_after_free(record.row, vocabulary.mask_id, vocabulary.eos_id):
            raise UserError(
                f"{product.template_flag} {record.template}: --model {model.name} is "
                "autoregressive: it writes from left to right and can keep a beginning alone. Put "
                "what is kept first, or give a masked-diffusion model, which sees both sides."
            )


# The sampling of `generate`, by one process or by several that torchrun started.


@dataclass(frozen=True)
class Sampled:
    """What came of a request, or of a process's share of it."""

    rows: Sequence[SampledRecord]
    """In record order: all of the shard's on the first process, none on the others."""
    seconds: float
    """Wall-clock time of the longest part."""


def sample_share(
    request: Request,
    engine: Engine,
    files: OutputFiles,
    decided: Mapping[str, Any],
    options: SamplingOptions,
    processes: Processes,
) -> Sampled:
    """Finish this process's share of the batches, and gather all on the first process.

    Batches that any process finished before are not made again, so that a run may be continued by
    another number of processes.

    Raises:
        UserError: work in progress that was made with other settings.
    """
    if processes.is_first and not options.resume:
        files.forget_partials()
    processes.wait()
    others = files.read_others(decided, processes.rank)
    own = files.open_partial(decided, resume=options.resume, rank=processes.rank)
    processes.wait()  # all have read what there was before any adds to it
    # Who does not see all others cannot tell what is unique.
    apart = processes.count > 1 or bool(others)
    held = {row.record for part in others for row in part.rows}
    share = [batch for batch in processes.share(request.batches()) if batch[0] not in held]
    part = replace(request, unique=request.unique and not apart)
    quiet = options.quiet or not processes.is_first
    run_request(part, engine, own, batches=share, quiet=quiet)
    parts = processes.collect(own)
    if parts is None:
        return Sampled([], own.seconds)
    every = {each.path: each for each in (*others, *parts)}.values()
    rows = {row.record: row for each in every for row in each.rows}
    finished = [rows[record] for record in sorted(rows)]
    finished = resolve_duplicates(request, engine, finished) if apart else finished
    return Sampled(finished, max(each.seconds for each in every))


# What `generate` does with one batch, without files: for measuring how fast a model writes.


def batch_writer(options: SamplingOptions, model: LoadedModel, row: Sequence[int]) -> Write:
    """A function that writes the sequences of given records in one batch, to their ids.

    Seed, sampler, steps, draws and temperature are those of `options`; where `generate` halves a
    batch that memory does not hold, this raises.

    Args:
        row: framed ids that every record starts from, the mask where something is generated.

    Raises:
        UserError: settings the sampler does not take, or a model that lacks what it needs.
    """
    options = with_stored_defaults(options, model)
    kind, settings = find_sampler(str(options.sampler)), sample_settings(options, bias=None)
    predictor = build_predictor(model, with_noise=not options.without_noise)
    sampler = build_sampler(kind, predictor, model, options.sampler_options)

    def write(records: Sequence[int]) -> list[list[int]]:
        rows = [row] * len(records)
        prior = build_prior(rows, records, model.vocabulary, predictor.device)
        sampled = sampler.sample(prior, settings)
        return [ids[: len(row)] for ids in sampled.tokens.tolist()]

    return write
