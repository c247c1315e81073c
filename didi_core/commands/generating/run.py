"""What `generate` does in both programs: from a request to sequences in a file."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch

from didi_core.cli.command_options import command_line
from didi_core.commands.generating.best_grid import best_grid_of
from didi_core.commands.generating.domain import (
    GenerationDomain,
    GenerationRecord,
    GenerationTask,
    Options,
    Written,
    problems_of,
)
from didi_core.commands.generating.files import OutputFiles
from didi_core.commands.generating.options import GenerationResult, SamplingOptions
from didi_core.commands.generating.summary import (
    deciding_settings,
    provenance_of,
    result_of,
    summary_of,
)
from didi_core.commands.processes import Processes, join_processes
from didi_core.errors import UserError, refused_by
from didi_core.evaluation.timing import Write
from didi_core.io.shards import NOT_OF_THE_WHOLE, Shard, parse_shard
from didi_core.models.compiled import compiled_blocks
from didi_core.models.folder import LoadedModel
from didi_core.peak_memory import PeakMemory
from didi_core.progress import say_once
from didi_core.sampling.autoregressive import keeps_after_free
from didi_core.sampling.filling import Engine, build_engine, build_prior
from didi_core.sampling.folder_defaults import (
    PLAIN_SAMPLER,
    choose_sampler,
    folder_options,
    stored_reveal_exponent,
)
from didi_core.sampling.guidance import guided
from didi_core.sampling.predictor import AnyPredictor
from didi_core.sampling.registry import (
    SamplerSpec,
    build_predictor,
    build_sampler,
    check_settings,
    find_sampler,
)
from didi_core.sampling.request import (
    Draws,
    DrawSettings,
    Grid,
    SampledRecord,
    Sampler,
    SampleSettings,
)
from didi_core.sampling.run_request import (
    Request,
    SampledBatches,
    resolve_duplicates,
    run_request,
)
from didi_core.sampling.sampler_options import parse_options, split_name
from didi_core.sampling.step_draw import StepDraw
from didi_core.training.devices import resolve_device, settle_precision


def generate(
    options: Options, domain: GenerationDomain[Options, Written], model: LoadedModel | None = None
) -> GenerationResult | None:
    """Make the records of a request, and write the output and `NAME.generate.json` beside it.

    Args:
        model: the model that `--model` names, where it is open already.

    Returns:
        What was made; None in all processes of torchrun but the first, which writes it.

    Raises:
        UserError: an option without sense, an output that exists, a model that cannot be opened.
    """
    command = command_line(domain.program, "generate", options, NOT_OF_THE_WHOLE)
    files = OutputFiles(options.out, domain.suffixes, domain.example)
    processes = join_processes()
    options = _checked(options, domain, files if processes.is_first else None)
    shard = parse_shard(options.shard)
    model = model or domain.open_model(options)
    options = with_stored_defaults(options, model)
    task = _planned(options, domain, model)
    for warning in task.warnings if processes.is_first else ():
        say_once(warning)
    decided = deciding_settings(options, task, model)
    if options.resume and (done := files.finished_summary(decided)) is not None:
        return result_of(done, files, domain.noun) if processes.is_first else None
    request = _request(options, task, shard)
    with _compiled(model, options), PeakMemory(next(model.denoiser.parameters()).device) as peak:
        engine = _engine(model, options, task.draw)
        share = _open_share(request, files, decided, options, processes)
        quiet = options.quiet or not processes.is_first
        try:
            run_request(share.request, engine, share.own, batches=share.batches, quiet=quiet)
        except UserError:  # as of a guide: mended, the same command runs again
            share.own.forget_empty()
            raise
        parts = share.gather(processes)
        rows = _settled(request, share, parts, engine)
    peaks = processes.collect(peak.bytes)
    if peaks is None:
        return None
    peak_memory = max((each for each in peaks if each is not None), default=None)
    cost = {"seconds": max(each.seconds for each in parts), "peak_memory": peak_memory}
    summary = summary_of(domain, task, rows, cost, decided, shard, model, command)
    made = _written(options, task, rows)
    files.write(lambda path: domain.write(path, made), summary)
    return result_of(summary, files, domain.noun)


# Before the model is sampled: what was asked for is checked and completed.


def _checked(
    options: Options, domain: GenerationDomain[Options, Written], files: OutputFiles | None
) -> Options:
    """Return the options with precision and the sampler's settings read.

    Args:
        files: of the output; None of a process that writes none.

    Raises:
        UserError: all that makes no sense, as far as that needs no model.
    """
    wrong = [*problems_of(options), *domain.problems(options)]
    wrong += refused_by(
        lambda: _with_sampler_options(options),
        lambda: resolve_device(options.device),
        lambda: settle_precision(options),
        lambda: parse_shard(options.shard),
    )
    if files is not None:
        wrong += refused_by(
            partial(files.check, resume=options.resume, overwrite=options.overwrite)
        )
    if wrong:
        raise UserError("; ".join(dict.fromkeys(wrong)) + ".")
    return _with_sampler_options(settle_precision(options))


def _planned(
    options: Options, domain: GenerationDomain[Options, Written], model: LoadedModel
) -> GenerationTask[Written]:
    """Return what the program makes of the request for this model.

    Raises:
        UserError: the model cannot do it.
    """
    task = domain.plan(options, model)
    if not find_sampler(str(options.sampler)).sees_both_sides:
        _check_kept(task.records, model)
    return task


def _with_sampler_options(options: Options) -> Options:
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


def _request(options: SamplingOptions, task: GenerationTask[Written], shard: Shard) -> Request:
    return Request(
        rows=[record.row for record in task.records],
        settings=sample_settings(options, task.log_bias),
        batch_tokens=options.batch_tokens,
        shard=shard,
        rule=task.rule,
        unique=options.unique,
        forbidden=[record.forbidden for record in task.records],
    )


def _compiled(model: LoadedModel, options: SamplingOptions) -> AbstractContextManager[None]:
    return compiled_blocks(model.denoiser, "--compile") if options.compile else nullcontext()


def _predictor(model: LoadedModel, options: SamplingOptions) -> AnyPredictor:
    return build_predictor(
        model,
        with_noise=not options.without_noise,
        with_joint_head=not options.without_joint_head,
    )


def _engine(model: LoadedModel, options: SamplingOptions, draw: StepDraw | None) -> Engine:
    name = str(options.sampler)

    def build(predictor: AnyPredictor) -> Sampler:
        made = build_sampler(find_sampler(name), predictor, model, options.sampler_options)
        return guided(made, draw, model, name)

    return build_engine(_predictor(model, options), build)


def _written(
    options: SamplingOptions, task: GenerationTask[Written], rows: Sequence[SampledRecord]
) -> list[Written]:
    """Return what goes into the output: rows that failed do not."""
    made = [(task.records[row.record], row) for row in rows if row.failure is None]
    return [
        task.written(record.id, row.ids, provenance_of(options, record, row))
        for record, row in made
    ]


def sample_settings(options: SamplingOptions, bias: torch.Tensor | None) -> SampleSettings:
    """The sampler's settings; an exponent that is not given counts as 1."""
    exponent = options.reveal_exponent
    return SampleSettings(
        steps=options.steps,
        seed=options.seed,
        grid=cast(Grid, options.grid),
        reveal_exponent=1.0 if exponent is None else exponent,
        kept=options.kept,
        draw=DrawSettings(options.temperature, options.top_p, bias, cast(Draws, options.draws)),
    )


def with_stored_defaults(options: Options, model: LoadedModel) -> Options:
    """With sampler, its options and steps, and the grid: as asked, else as the folder says.

    Raises:
        UserError: settings that the sampler does not take, or no curve for `--grid best`.
    """
    kind, exponent = choose_sampler(options.sampler, options.grid, model), options.reveal_exponent
    if exponent is None:
        exponent = stored_reveal_exponent(options.grid, kind, model)
    if options.sampler is None:
        own = {**folder_options(kind, model), **options.sampler_options}
        options = replace(options, sampler_options=own)
    options = _check(replace(options, sampler=kind.name, reveal_exponent=exponent), kind)
    if options.grid == "best" and options.kept is None:
        options = replace(options, kept=best_grid_of(model, options.steps or 1))
    return options


def _check(options: Options, kind: SamplerSpec) -> Options:
    """The options with the sampler's own number of steps where none is given.

    Raises:
        UserError: settings that the sampler does not take.
    """
    if options.steps is None:
        options = replace(options, steps=kind.default_steps)
    check_settings(kind, sample_settings(options, None))
    if options.without_joint_head and not kind.reads_joint_head:
        raise UserError(
            f"--without-joint-head: --sampler {kind.name} draws every token for itself, with or "
            "without a joint head; leave the flag out."
        )
    return options


def _check_kept(records: Sequence[GenerationRecord], model: LoadedModel) -> None:
    """Raise UserError where something is kept that a model cannot see that writes from the left."""
    vocabulary = model.vocabulary
    for record in records:
        if keeps_after_free(record.row, vocabulary.mask_id, vocabulary.eos_id):
            raise UserError(
                f"{record.asked}: --model {model.name} is autoregressive: it writes from left to "
                "right and can keep a beginning alone. Put what is kept first, or give a "
                "masked-diffusion model, which sees both sides."
            )


# The work shared by processes that torchrun started, and by earlier ones of a continued run.


@dataclass(frozen=True)
class _Share:
    """One process's share of a request, and what others have finished."""

    request: Request
    """The request, as far as the process can fulfil it."""
    batches: Sequence[Sequence[int]]
    own: SampledBatches
    others: Sequence[SampledBatches]

    def gather(self, processes: Processes) -> list[SampledBatches]:
        """Return all parts on the first process, none on the others."""
        parts = processes.collect(self.own)
        return (
            []
            if parts is None
            else [*{each.path: each for each in (*self.others, *parts)}.values()]
        )


def _open_share(
    request: Request,
    files: OutputFiles,
    decided: Mapping[str, Any],
    options: SamplingOptions,
    processes: Processes,
) -> _Share:
    """Share out the batches that no process finished before.

    So a run may be continued by another number of processes.

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
    is_alone = processes.count == 1 and not others
    held = {row.record for part in others for row in part.rows}
    batches = [batch for batch in processes.share(request.batches()) if batch[0] not in held]
    return _Share(replace(request, unique=request.unique and is_alone), batches, own, others)


def _settled(
    request: Request, share: _Share, parts: Sequence[SampledBatches], engine: Engine
) -> list[SampledRecord]:
    """Return all records in their order, unique where they must be."""
    rows = {row.record: row for part in parts for row in part.rows}
    finished = [rows[record] for record in sorted(rows)]
    if finished and share.request.unique != request.unique:
        return resolve_duplicates(request, engine, finished)
    return finished


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
    predictor = _predictor(model, options)
    sampler = build_sampler(kind, predictor, model, options.sampler_options)

    def write(records: Sequence[int]) -> list[list[int]]:
        rows = [row] * len(records)
        prior = build_prior(rows, records, model.vocabulary, predictor.device)
        sampled = sampler.sample(prior, settings)
        return [ids[: len(row)] for ids in sampled.tokens.tolist()]

    return write
