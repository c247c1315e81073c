"""What `evaluate` does: check, open, measure part by part, write."""

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from didi_core.cli.run import check_output
from didi_core.errors import UserError
from didi_core.io.files import append_durably, write_json, write_text
from didi_core.progress import progress_bar
from didi_core.sampling.filling import build_engine
from didi_core.sampling.folder_defaults import choose_sampler, stored_reveal_exponent
from didi_core.sampling.journal import (
    PartialFile,
    continue_partial,
    require_same_settings,
    start_partial,
)
from didi_core.sampling.registry import build_predictor, build_sampler, check_settings
from didi_core.sampling.request import (
    Draws,
    DrawSettings,
    Grid,
    SampleSettings,
)
from didi_core.sampling.run_request import Request, run_request
from didi_core.sampling.sampler_options import parse_options
from didi_core.training.devices import resolve_device, settle_precision
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
from didi_text.samples.measures import (
    SampleRequest,
    Samples,
    measure_samples,
    read_samples,
    readable_tokens,
)

FORMAT = "didi-text evaluation 1"


_PASSING = ("out", "resume", "overwrite", "offline", "json_output", "quiet", "threads", "model")
"""Options that no figure depends on, or that stand in the result under a better name."""


def run_evaluate(
    options: EvaluateOptions,
    model: LanguageModel | None = None,
    judge: CausalLanguageModel | None = None,
) -> EvaluateResult:
    """See `didi_text.evaluate.evaluate`."""
    check_options(options)
    options = settle_precision(options)
    journal = PartsJournal(journal_file(options.out))
    for path in (options.out, journal.path, sample_file(options.out)):
        check_output(path, resume=options.resume, overwrite=options.overwrite)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    if model is None and options.model is not None:
        model = open_language_model(options.model, device, offline=options.offline)
    settings = _settings(options, model)
    if options.resume and (done := finished_result(options.out, settings)) is not None:
        return EvaluateResult(options.out, done)
    journal.start(settings, resume=options.resume)
    started = time.perf_counter()
    opened = Opened(options, model, judge, device, journal)
    try:
        figures = run_task(opened)
    except UserError:
        # What is refused before anything was measured leaves nothing that bars the mended command.
        if not journal.parts and not sample_file(options.out).exists():
            journal.remove()
        raise
    result = {
        "format": FORMAT,
        "task": options.task,
        **figures,
        "model": None if model is None else describe_model(model),
        "settings": settings["options"],
        "device": str(device),
        "seconds": round(time.perf_counter() - started, 3),
        "versions": package_versions(),
    }
    write_json(options.out, result)
    journal.remove()
    sample_file(options.out).unlink(missing_ok=True)
    return EvaluateResult(options.out, result)


def _settings(options: EvaluateOptions, model: LanguageModel | None) -> dict[str, Any]:
    """Everything that decides the figures; a run is continued only with the same."""
    shown = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name not in _PASSING
    }
    return {"options": shown, "model": None if model is None else describe_model(model)}


# The four tasks of `evaluate`: each turns what was opened into figures.

DEFAULT_LENGTH = 1_024


CHOICE_DRAWS = 32


HARNESS = "harness:"


@dataclass
class PartsJournal:
    """Figures of finished parts by name; the first line of the file holds the settings."""

    path: Path
    parts: dict[str, Any] = field(default_factory=dict)

    def start(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Begin, or read what an interrupted run left.

        Raises:
            UserError: it was made with other settings, or is no such file.
        """
        if resume and self.path.exists():
            self._read(settings)
        else:
            write_text(self.path, json.dumps({"settings": settings}) + "\n")

    def part(self, name: str, measure: Callable[[], Any]) -> Any:
        """The figures of a part: those stored, or measured now and stored."""
        if name not in self.parts:
            self.parts[name] = measure()
            line = json.dumps({"name": name, "figures": self.parts[name]}) + "\n"
            append_durably(self.path, line.encode())
        return self.parts[name]

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _read(self, settings: Mapping[str, Any]) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]  # a kill may have cut the last line short
        try:
            first, *lines = [json.loads(line) for line in whole.splitlines()]
            stored = first["settings"]
            self.parts = {line["name"]: line["figures"] for line in lines}
            known = _flat(stored)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"--resume: {self.path} is no unfinished run of this command ({error}); "
                "start again with --overwrite."
            ) from error
        require_same_settings(known, _flat(settings), self.path)
        os.truncate(self.path, len(whole))


@dataclass
class Opened:
    """Everything a task works with."""

    options: EvaluateOptions
    model: LanguageModel | None
    judge: CausalLanguageModel | None
    device: torch.device
    journal: PartsJournal

    @property
    def language_model(self) -> LanguageModel:
        assert self.model is not None  # checked with the options
        return self.model

    @property
    def autocast(self) -> torch.dtype | None:
        return torch.bfloat16 if self.options.precision == "bf16" else None

    def bar(
        self, description: str, total: float
    ) -> AbstractContextManager[Callable[[float], object]]:
        """A progress bar, or nothing where the caller wants quiet."""
        return nullcontext(float) if self.options.quiet else progress_bar(description, total)

    def length(self, asked: int | None, flag: str) -> int:
        """Tokens at once: as asked, else 1,024, but no more than the model reads."""
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
        )


def run_task(opened: Opened) -> dict[str, Any]:
    """The figures of the task that the options name."""
    tasks = {"genppl": _genppl, "zeroshot": _zero_shot, "bound": _bound, "choice": _choice}
    return tasks[opened.options.task](opened)


def _genppl(opened: Opened) -> dict[str, Any]:
    options = opened.options
    given = None if options.data is None else read_samples(Path(options.data))
    # Before samples are made: a judge that is not there must not cost the time they take.
    judge = opened.judge or open_judge(options.judge, opened.device, offline=options.offline)
    samples = _new_samples(opened) if given is None else given
    judge_tokens = options.judge_tokens or readable_tokens(judge)
    with opened.bar("judging", len(samples.texts)) as show:
        figures = measure_samples(
            samples,
            judge,
            judge_tokens=judge_tokens,
            batch_tokens=options.batch_tokens,
            autocast=opened.autocast,
            seed=options.seed,
            show=show,
        )
    if options.mauve is not None:
        from didi_text.evaluating.mauve import mauve_against

        figures["mauve"] = mauve_against(
            judge, samples.texts, options.mauve, judge_tokens, options.seed
        )
    return {"figures": figures, "judge": describe_model(judge), "judge_tokens": judge_tokens}


def _new_samples(opened: Opened) -> Samples:
    options = opened.options
    request = SampleRequest(
        num=options.num,
        length=opened.length(options.length, "--length"),
        steps=options.steps,
        sampler=options.sampler,
        seed=options.seed,
        batch_tokens=options.batch_tokens,
        draws=options.draws,
        grid=options.grid,
        top_p=options.top_p,
        sampler_options=parse_options(options.sampler_option or []),
    )
    with torch.autocast(opened.device.type, opened.autocast, enabled=opened.autocast is not None):
        return make_samples(
            opened.language_model,
            request,
            sample_file(options.out),
            resume=options.resume,
            quiet=options.quiet,
        )


def _zero_shot(opened: Opened) -> dict[str, Any]:
    sets = {}
    for each in choose_sets(opened.options.data):
        name = each.chosen.name
        sets[name] = opened.journal.part(name, partial(_one_set, opened, each))
    return {"sets": sets}


def _one_set(opened: Opened, chosen: ChosenSet) -> dict[str, Any]:
    """Wrapped to blocks, no end of text between sequences, as published."""
    options, tokenizer = opened.options, opened.language_model.tokenizer
    texts = texts_of(chosen, offline=options.offline)
    packing = Packing(
        block_length=opened.length(options.block_length, "--block-length"),
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
        **_likelihood(opened, [block.tolist() for block in blocks], known.title),
    }


def _bound(opened: Opened) -> dict[str, Any]:
    """Blocks packed as for training, an end of text after each document."""
    options = opened.options
    packing = Packing(
        block_length=opened.length(options.block_length, "--block-length"),
        remainder=cast(Remainder, options.remainder),
    )
    tokenizer = opened.language_model.tokenizer
    corpus = load_corpus(options.data or "", tokenizer, packing, offline=options.offline)
    count = len(corpus) if options.limit is None else min(options.limit, len(corpus))
    blocks = [corpus.ids(record, packing.block_length) for record in range(count)]
    return {"figures": _likelihood(opened, blocks, "bound", of=len(corpus))}


def _likelihood(
    opened: Opened, blocks: list[list[int]], title: str, of: int | None = None
) -> dict[str, Any]:
    limit, total = opened.options.limit, of or len(blocks)
    blocks = blocks[:limit]
    if not blocks:
        raise UserError(f"{title}: there is no block; --remainder keep, or a shorter block.")
    settings = opened.bound_settings(draws=1)
    with opened.bar(title, len(blocks) * settings.draws) as show:
        figures = likelihood(opened.language_model, blocks, settings, show)
    return {**figures, "num_blocks_of_set": total, "complete": len(blocks) == total}


def _choice(opened: Opened) -> dict[str, Any]:
    options = opened.options
    data = options.data or ""
    settings = opened.bound_settings(CHOICE_DRAWS, spread="draws")
    if data.startswith(HARNESS):
        from didi_text.evaluating.choice import run_harness

        tasks = data.removeprefix(HARNESS).split(",")
        return {"harness": run_harness(opened.language_model, settings, tasks, options.limit)}
    questions = read_questions(Path(data))
    chosen = questions[: options.limit]
    with opened.bar("choosing", 1.0) as show:
        figures = choose(opened.language_model, chosen, settings, show)
    figures["complete"] = len(chosen) == len(questions)
    return {"figures": figures}


# What `evaluate` has finished: its result, or JSON lines, one a part, of a run to be continued.


def journal_file(out: Path) -> Path:
    """Where the figures of finished parts are kept."""
    return out.with_name(out.name + ".partial")


def sample_file(out: Path) -> Path:
    """Where samples that are being made are kept."""
    return out.with_name(out.name + ".samples.partial")


def finished_result(out: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a finished run with these settings left; None where none is there.

    Raises:
        UserError: there is one with other settings, or a file of another origin.
    """
    if not out.exists() or journal_file(out).exists() or sample_file(out).exists():
        return None
    try:
        result = json.loads(out.read_text(encoding="utf-8"))
        stored = {**result["settings"], "model": result["model"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--resume: {out} is no result of this command; replace it with --overwrite, or "
            "choose another --out."
        ) from error
    require_same_settings(stored, _flat(settings), out)
    return result


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Options and model side by side, so that what differs is named by itself."""
    return {**settings["options"], "model": settings["model"]}


# Make the samples whose generative perplexity is asked for.


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
        lambda predictor: build_sampler(kind, predictor, loaded, request.sampler_options),
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
