"""What `evaluate` does: check, open, measure part by part, write."""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from didi_core.cli.run import check_output
from didi_core.commands.generating.options import GenerationResult
from didi_core.commands.generating.run import generate
from didi_core.commands.processes import Processes, join_processes
from didi_core.errors import UserError
from didi_core.io.files import write_json
from didi_core.io.journal import Journal, partial_path, require_same_settings
from didi_core.models.folder import LoadedModel
from didi_core.progress import progress_bar
from didi_core.training.devices import TORCH_TYPES, settle_precision
from didi_core.training.run_folder import package_versions
from didi_text.corpora.load import load_corpus
from didi_text.corpora.packing import Packing, Remainder, pack
from didi_text.evaluating.choice import choose, read_questions
from didi_text.evaluating.likelihood import BoundSettings, likelihood
from didi_text.evaluating.options import EvaluateOptions, EvaluateResult, check_options
from didi_text.evaluating.zero_shot import ChosenSet, choose_sets, texts_of
from didi_text.models.judges import open_judge
from didi_text.models.load import CausalLanguageModel, LanguageModel, describe_model
from didi_text.models.writers import open_language_model
from didi_text.samples.measures import Samples, measure_samples, read_samples, readable_tokens
from didi_text.samples.options import GenerateOptions
from didi_text.samples.samples import SAMPLES, plan_samples

FORMAT = "didi-text evaluation 1"
DEFAULT_LENGTH = 1_024
CHOICE_DRAWS = 32
HARNESS = "harness:"
_PASSING = (
    *("out", "resume", "overwrite", "offline", "json_output", "quiet", "threads"),
    *("model", "tokenizer"),
)
"""Options that no figure depends on, or that stand in the result under a better name."""

Figures = dict[str, Any]
"""A part of the result, as its JSON has it."""


@dataclass(frozen=True)
class Part:
    """What one line of the journal holds."""

    name: str
    figures: Figures

    @classmethod
    def from_json(cls, line: Any) -> "Part":
        return cls(line["name"], line["figures"])


@dataclass(frozen=True)
class EvaluationContext:
    """Everything a task works with."""

    options: EvaluateOptions
    model: LanguageModel | None
    judge: CausalLanguageModel | None
    device: torch.device
    journal: Journal[Part]
    processes: Processes = field(default_factory=Processes)
    """Those of torchrun, which share the batches; each finds all figures, the first writes them."""

    @property
    def language_model(self) -> LanguageModel:
        assert self.model is not None  # checked with the options
        return self.model

    @property
    def autocast(self) -> torch.dtype | None:
        """What likelihoods are computed in, as in `score`; their logarithms are in float32."""
        return torch.bfloat16 if self.options.precision == "bf16" else None

    def part(self, name: str, measure: Callable[[], Figures]) -> Figures:
        """Return the figures of a part: those stored, or measured now and stored."""
        known = {part.name: part.figures for part in self.journal.entries}
        if name not in known:
            known[name] = measure()
            if self.processes.is_first:
                self.journal.append(Part(name, known[name]))
        return known[name]

    def bar(
        self, description: str, total: float
    ) -> AbstractContextManager[Callable[[float], object]]:
        """Return a progress bar, or nothing where the caller wants quiet."""
        quiet = self.options.quiet or not self.processes.is_first
        return nullcontext(float) if quiet else progress_bar(description, total)

    def length(self, asked: int | None, flag: str) -> int:
        """Return the tokens at once: as asked, else 1,024, but no more than the model reads.

        Raises:
            UserError: more are asked for.
        """
        limit = self.language_model.max_tokens or DEFAULT_LENGTH
        if asked is not None and asked > (self.language_model.max_tokens or asked):
            raise UserError(f"{flag} {asked}: the model reads {limit} tokens at most.")
        return asked if asked is not None else min(DEFAULT_LENGTH, limit)

    def bound_settings(self, draws: int, spread: str = "sequences") -> BoundSettings:
        options = self.options
        return BoundSettings(
            form=options.form,
            draws=draws if options.mask_draws is None else options.mask_draws,
            spread=spread,
            seed=options.seed,
            batch_tokens=options.batch_tokens,
            autocast=self.autocast,
            share=self.processes,
        )


def run_evaluate(
    options: EvaluateOptions,
    model: LanguageModel | None = None,
    judge: CausalLanguageModel | None = None,
) -> EvaluateResult:
    """See `didi_text.evaluate.evaluate`."""
    processes = join_processes()
    check_options(options)
    options = settle_precision(options)
    for path in (options.out, partial_path(options.out), sample_folder(options.out)):
        if processes.is_first:
            check_output(path, resume=options.resume, overwrite=options.overwrite)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = processes.device(options.device)
    if model is None and options.model is not None:
        model = open_language_model(
            options.model, device, offline=options.offline, tokenizer=options.tokenizer
        )
    journal = evaluation_journal(options.out, _deciding_settings(options, model))
    if options.resume and (done := finished_result(options.out, journal.settings)) is not None:
        return EvaluateResult(options.out, done)
    context = EvaluationContext(options, model, judge, device, journal, processes)
    started = time.perf_counter()
    figures = _measure(context)
    result = _result(context, figures, time.perf_counter() - started)
    if processes.is_first:
        write_json(options.out, result)
        journal.remove()
        _remove(sample_folder(options.out))
    return EvaluateResult(options.out, result)


def _deciding_settings(options: EvaluateOptions, model: LanguageModel | None) -> dict[str, Any]:
    """Return all that decides the figures; a run is continued only with the same."""
    shown = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name not in _PASSING
    }
    return {**shown, "model": None if model is None else describe_model(model)}


def _result(context: EvaluationContext, figures: Figures, seconds: float) -> dict[str, Any]:
    """Return the contents of the file."""
    settings = dict(context.journal.settings)
    return {
        "format": FORMAT,
        "task": context.options.task,
        **figures,
        "model": settings.pop("model"),
        "settings": settings,
        "device": str(context.device),
        "seconds": round(seconds, 3),
        "versions": package_versions(),
    }


def finished_result(out: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a finished run with these settings left; None where none is there.

    Raises:
        UserError: there is one with other settings, or a file of another origin.
    """
    if not out.exists() or partial_path(out).exists() or sample_folder(out).exists():
        return None
    try:
        result = json.loads(out.read_text(encoding="utf-8"))
        stored = {**result["settings"], "model": result["model"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--resume: {out} is no result of this command; replace it with --overwrite, or "
            "choose another --out."
        ) from error
    require_same_settings(stored, settings, out)
    return result


# The work in progress: the figures of finished parts in a journal, and samples in a folder.


def evaluation_journal(out: Path, settings: Mapping[str, Any]) -> Journal[Part]:
    """Return the journal of an evaluation; nothing is read or written yet."""
    return Journal(partial_path(out), "evaluate", settings, Part.from_json)


def sample_folder(out: Path) -> Path:
    """Return where `generate` keeps the samples that are being made or judged."""
    return out.with_name(out.name + ".samples.partial")


def _remove(path: Path) -> None:
    """Remove the folder of samples, which of earlier versions was a file."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _measure(context: EvaluationContext) -> Figures:
    """Return the figures of the task, with what was finished before taken over."""
    options, journal, processes = context.options, context.journal, context.processes
    samples = sample_folder(options.out)
    if not options.resume and processes.is_first:
        _remove(samples)
    if options.resume and journal.path.exists():
        journal.resume() if processes.is_first else journal.load()
    processes.wait()  # all have read what there was before the first adds to it
    if processes.is_first and not journal.entries:
        journal.begin()
    try:
        return run_task(context)
    except UserError:
        # What is refused before anything was measured leaves nothing that bars the mended command.
        if not journal.entries and not samples.exists() and processes.is_first:
            journal.remove()
        raise


def run_task(context: EvaluationContext) -> Figures:
    """Return the figures of the task that the options name."""
    tasks = {"genppl": _genppl, "zeroshot": _zero_shot, "bound": _bound, "choice": _choice}
    return tasks[context.options.task](context)


# genppl: samples, of a file or made as `generate` makes them, under a judge.


def _genppl(context: EvaluationContext) -> Figures:
    options = context.options
    given = None if options.data is None else read_samples(Path(options.data))
    # Before samples are made: a judge that is not there must not cost the time they take.
    judge = context.judge or open_judge(options.judge, context.device, offline=options.offline)
    samples = make_samples(context) if given is None else given
    judge_tokens = options.judge_tokens or readable_tokens(judge)
    with context.bar("judging", len(samples.texts)) as show:
        figures = measure_samples(
            samples,
            judge,
            judge_tokens=judge_tokens,
            batch_tokens=options.batch_tokens,
            autocast=context.autocast,
            seed=options.seed,
            show=show,
            share=context.processes,
        )
    if options.mauve is not None:
        from didi_text.evaluating.mauve import mauve_against

        figures["mauve"] = mauve_against(
            judge, samples.texts, options.mauve, judge_tokens, options.seed
        )
    return {"figures": figures, "judge": describe_model(judge), "judge_tokens": judge_tokens}


def make_samples(context: EvaluationContext) -> Samples:
    """Make the samples of a model, those that `generate` makes with the same flags.

    Raises:
        UserError: a length the model cannot read, settings the sampler does not take, or samples
            that memory does not hold.
    """
    options, model = context.options, context.language_model
    length = context.length(options.length, "--length")
    request = _generation(context, length)
    domain = replace(SAMPLES, plan=partial(plan_samples, tokenizer=model.tokenizer))
    result = generate(request, domain, _in_precision(model.loaded, options.precision))
    made = None if result is None else _made(context, length, result)
    return context.processes.from_first(made)


def _made(context: EvaluationContext, length: int, result: GenerationResult) -> Samples:
    options = context.options
    if failed := result.failed:
        raise UserError(
            f"{len(failed)} of {options.num} samples could not be made, not even one at a time "
            f"({failed[0].reason}): give a shorter --length, a smaller model or another --device."
        )
    settings = json.loads(result.summary.read_text(encoding="utf-8"))["settings"]
    made = {
        "num": options.num,
        "length": length,
        "steps": settings["steps"],
        "sampler": settings["sampler"],
        "seed": options.seed,
        "batch_tokens": options.batch_tokens,
        "draws": options.draws,
        "grid": options.grid,
        "top_p": options.top_p,
        "sampler_options": settings["sampler_options"],
        "reveal_exponent": settings["reveal_exponent"],
        "mean_calls": result.mean_nfe,
        "mean_discriminator_calls": result.discriminator_calls / result.num_made,
        "seconds": result.seconds,
    }
    return replace(read_samples(result.out), made=made)


def _generation(context: EvaluationContext, length: int) -> GenerateOptions:
    """Return what `generate` is asked for; its files lie in the folder of samples."""
    options = context.options
    return GenerateOptions(
        model=str(options.model),
        num=options.num,
        length=str(length),
        steps=options.steps,
        sampler=options.sampler,
        sampler_option=options.sampler_option,
        top_p=options.top_p,
        draws=options.draws,
        grid=options.grid,
        out=sample_folder(options.out) / "samples.jsonl",
        seed=options.seed,
        batch_tokens=options.batch_tokens,
        device=str(context.device),
        precision=options.precision,
        offline=options.offline,
        resume=options.resume,
        quiet=options.quiet,
    )


def _in_precision(model: LoadedModel, precision: str) -> LoadedModel:
    """Return a model in the type that `generate` opens it in; the one given stays as it is."""
    if precision == "float32":
        return model
    return replace(model, denoiser=deepcopy(model.denoiser).to(TORCH_TYPES[precision]))


# zeroshot and bound: the likelihood of blocks of text.


def _zero_shot(context: EvaluationContext) -> Figures:
    sets = {}
    for each in choose_sets(context.options.data):
        name = each.chosen.name
        sets[name] = context.part(name, partial(_one_set, context, each))
    return {"sets": sets}


def _one_set(context: EvaluationContext, chosen: ChosenSet) -> Figures:
    """Wrapped to blocks, no end of text between sequences, as published."""
    options, tokenizer = context.options, context.language_model.tokenizer
    texts = texts_of(chosen, offline=options.offline)
    packing = Packing(
        block_length=context.length(options.block_length, "--block-length"),
        end_after_document=False,
        remainder=cast(Remainder, options.remainder),
    )
    blocks = pack(tokenizer.encode_many(texts), packing, tokenizer.end_id)
    known = chosen.chosen
    return {
        "title": known.title,
        "split": known.split,
        "published_split": known.published,
        "file": None if chosen.file is None else str(chosen.file),
        **_likelihood(context, [block.tolist() for block in blocks], known.title),
    }


def _bound(context: EvaluationContext) -> Figures:
    """Blocks packed as for training, an end of text after each document."""
    options = context.options
    packing = Packing(
        block_length=context.length(options.block_length, "--block-length"),
        remainder=cast(Remainder, options.remainder),
    )
    tokenizer = context.language_model.tokenizer
    corpus = load_corpus(options.data or "", tokenizer, packing, offline=options.offline)
    count = len(corpus) if options.limit is None else min(options.limit, len(corpus))
    blocks = [corpus.ids(record, packing.block_length) for record in range(count)]
    return {"figures": _likelihood(context, blocks, "bound", of=len(corpus))}


def _likelihood(
    context: EvaluationContext, blocks: list[list[int]], title: str, of: int | None = None
) -> Figures:
    limit, total = context.options.limit, of or len(blocks)
    blocks = blocks[:limit]
    if not blocks:
        raise UserError(f"{title}: there is no block; --remainder keep, or a shorter block.")
    settings = context.bound_settings(draws=1)
    with context.bar(title, len(blocks) * settings.draws) as show:
        figures = likelihood(context.language_model, blocks, settings, show)
    return {**figures, "num_blocks_of_set": total, "complete": len(blocks) == total}


# choice: the likeliest of several.


def _choice(context: EvaluationContext) -> Figures:
    options = context.options
    data = options.data or ""
    settings = context.bound_settings(CHOICE_DRAWS, spread="draws")
    if data.startswith(HARNESS):
        from didi_text.evaluating.choice import run_harness

        tasks = data.removeprefix(HARNESS).split(",")
        return {"harness": run_harness(context.language_model, settings, tasks, options.limit)}
    questions = read_questions(Path(data))
    chosen = questions[: options.limit]
    with context.bar("choosing", 1.0) as show:
        figures = choose(context.language_model, chosen, settings, show)
    figures["complete"] = len(chosen) == len(questions)
    return {"figures": figures}
