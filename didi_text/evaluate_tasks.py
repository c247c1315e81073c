"""The four tasks of `evaluate`: each turns what was opened into figures."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from didi_core.errors import UserError
from didi_core.progress import progress_bar
from didi_core.sampling.sampler_options import parse_options
from didi_text.corpora import load_corpus
from didi_text.evaluate import EvaluateOptions
from didi_text.evaluate_choice import choose, read_questions
from didi_text.evaluate_journal import PartsJournal, sample_file
from didi_text.evaluate_likelihood import BoundSettings, likelihood
from didi_text.evaluate_models import CausalLanguageModel, LanguageModel, describe_model
from didi_text.evaluate_samples import make_samples
from didi_text.generative_perplexity import SampleRequest, Samples, read_samples
from didi_text.judges import open_judge
from didi_text.packing import Packing, Remainder, pack
from didi_text.sample_measures import measure_samples, readable_tokens
from didi_text.zero_shot import ChosenSet, choose_sets, texts_of

DEFAULT_LENGTH = 1_024
CHOICE_DRAWS = 32
HARNESS = "harness:"


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
        from didi_text.evaluate_mauve import mauve_against

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
        from didi_text.evaluate_harness import run_harness

        tasks = data.removeprefix(HARNESS).split(",")
        return {"harness": run_harness(opened.language_model, settings, tasks, options.limit)}
    questions = read_questions(Path(data))
    chosen = questions[: options.limit]
    with opened.bar("choosing", 1.0) as show:
        figures = choose(opened.language_model, chosen, settings, show)
    figures["complete"] = len(chosen) == len(questions)
    return {"figures": figures}
