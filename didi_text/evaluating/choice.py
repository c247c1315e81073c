"""Multiple choice: the continuation that a model finds likeliest after the context.

Questions are JSONL: `{"context": "...", "choices": ["...", "..."], "answer": 0}`. A masked model
sees the context and bounds -log p of the choice's tokens, with the same spread of masks for every
choice. The accuracy by plain likelihood and that by likelihood a character both stand in the
result, as in lm-evaluation-harness (acc, acc_norm).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from didi_core.errors import UserError, missing_extra
from didi_core.evaluation.bootstrap import bootstrap_mean
from didi_text.corpora.documents import read_json_records
from didi_text.evaluating.likelihood import BoundSettings, continuation_nats
from didi_text.models.load import CausalLanguageModel, LanguageModel
from didi_text.tokenizers.tokenizer import TextTokenizer


@dataclass(frozen=True)
class Question:
    """One context and its continuations."""

    context: str
    choices: tuple[str, ...]
    answer: int


def read_questions(path: Path) -> list[Question]:
    """Questions of a JSONL file.

    Raises:
        UserError: no such file, or a record without context, choices or a fitting answer.
    """
    questions = []
    for number, record in enumerate(read_json_records(path, needs="context"), 1):
        choices: Any = record.get("choices")
        answer: Any = record.get("answer")
        texts = isinstance(choices, list) and all(isinstance(c, str) and c for c in choices)
        if not texts or len(choices) < 2 or answer not in range(len(choices)):
            raise UserError(
                f"--data {path}, question {number}: it needs `choices`, two texts or more, and "
                "`answer`, the place of the right one (from 0)."
            )
        questions.append(Question(record["context"], tuple(choices), int(answer)))
    if not questions:
        raise UserError(f"--data {path}: there is no question in it.")
    return questions


def choose(
    model: LanguageModel,
    questions: Sequence[Question],
    settings: BoundSettings,
    show: Callable[[float], object] = float,
) -> dict[str, Any]:
    """Score every choice of every question.

    Raises:
        UserError: a choice is longer than the model reads.
    """
    pairs = [(q.context, join(q.context, choice)) for q in questions for choice in q.choices]
    rows, scored_from = encode_for(model, pairs)
    total = len(rows) * settings.draws
    nats = continuation_nats(model, rows, scored_from, settings, lambda done: show(done / total))
    characters = np.array([len(choice) for q in questions for choice in q.choices])
    right, right_per_character, chosen = [], [], []
    start = 0
    for question in questions:
        part = slice(start, start + len(question.choices))
        start = part.stop
        best = int(nats[part].argmin())
        chosen.append(best)
        right.append(best == question.answer)
        right_per_character.append(int((nats[part] / characters[part]).argmin()) == question.answer)
    return {
        "accuracy": bootstrap_mean(right, settings.seed).as_dict(),
        "accuracy_per_character": bootstrap_mean(right_per_character, settings.seed).as_dict(),
        "chance": float(np.mean([1 / len(question.choices) for question in questions])),
        "num_questions": len(questions),
        "mask_draws": None if isinstance(model, CausalLanguageModel) else settings.draws,
        "chosen": chosen,
    }


def join(context: str, choice: str) -> str:
    """The choice as it continues the context: with a space, unless one stands there already.

    >>> join("The sky is", "blue"), join("", "blue"), join("It is ", "blue"), join("x", " y")
    (' blue', 'blue', 'blue', ' y')
    """
    parted = not context or context[-1].isspace() or choice[0].isspace()
    return choice if parted else " " + choice


def encode_for(
    model: LanguageModel, pairs: Sequence[tuple[str, str]]
) -> tuple[list[list[int]], list[int]]:
    """Encode pairs as `model` reads them: see `encode_pairs`.

    A masked model's row begins with the end of text, as the blocks it was trained on. An
    autoregressive one's begins as in lm-evaluation-harness: with the context itself, and with an
    end of text where there is none; its last token is never an input and takes no position.
    """
    causal = isinstance(model, CausalLanguageModel)
    limit = model.max_tokens
    limit = limit + 1 if causal and limit is not None else limit
    return encode_pairs(model.tokenizer, pairs, limit, framed=not causal)


def encode_pairs(
    tokenizer: TextTokenizer,
    pairs: Sequence[tuple[str, str]],
    max_tokens: int | None,
    *,
    framed: bool = True,
) -> tuple[list[list[int]], list[int]]:
    """Return rows of ids (end of text, context, continuation) and where each continuation begins.

    Context and continuation are encoded as one text. White space that ends a context belongs to the
    continuation: a byte-level token begins with it. A continuation begins with the first token
    that is not the context's own, for all continuations of one context at the same place: where
    one of them shares a token with the context, all are scored from that token on. Contexts lose
    their beginning where a row is too long.

    Args:
        max_tokens: of a row; None for no limit.
        framed: begin every row with an end of text; without it only rows that have no context.

    Raises:
        UserError: a continuation leaves no room for a context token, or has no token.
    """
    parted = [part_at_word(context, continuation) for context, continuation in pairs]
    whole = tokenizer.encode_many([context + continuation for context, continuation in parted])
    alone = tokenizer.encode_many([context for context, _ in parted])
    shared: dict[str, int] = {}
    for ids, before, (text, _) in zip(whole, alone, parted, strict=True):
        shared[text] = min(shared.get(text, len(before)), _common(ids, before))
    rows, firsts = [], []
    for ids, (context, continuation) in zip(whole, parted, strict=True):
        first = shared[context]
        given = [tokenizer.end_id] if framed or not first else []
        row, first = [*given, *ids], len(given) + first
        size = len(row) - first
        if size < 1 or (max_tokens is not None and size >= max_tokens):
            raise UserError(
                f"--data: the choice {continuation[:60]!r} has {size} tokens of its own; beside a "
                f"token of context the model has room for {(max_tokens or 0) - 1}."
            )
        cut = max(0, len(row) - max_tokens) if max_tokens is not None else 0
        rows.append(row[cut:])
        firsts.append(first - cut)
    return rows, firsts


def part_at_word(context: str, continuation: str) -> tuple[str, str]:
    """Move the white space that ends a context to its continuation.

    >>> part_at_word("The sky is ", "blue"), part_at_word("x", " y"), part_at_word("\\n", "y")
    (('The sky is', ' blue'), ('x', ' y'), ('', '\\ny'))
    """
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many ids two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


# Tasks of lm-evaluation-harness [1]_ for masked models and autoregressive ones alike.
#
# The harness asks for log p(continuation | context). A masked model answers with its bound; it has
# no greedy continuation, so that figures which need one (an exact match) mean nothing for it.
#
# .. [1] https://github.com/EleutherAI/lm-evaluation-harness


def run_harness(
    model: LanguageModel,
    settings: BoundSettings,
    tasks: Sequence[str],
    limit: int | None = None,
    task_manager: Any = None,
) -> dict[str, dict[str, float]]:
    """Figures of each task, by name.

    Args:
        tasks: names of multiple-choice tasks, as `arc_easy`.
        limit: only the first so many questions of each.
        task_manager: the harness's own, with tasks of yours.

    Raises:
        UserError: the package is missing, or it has no such task.
    """
    try:
        import lm_eval
    except ImportError as error:
        raise missing_extra("lm-eval", "harness") from error
    try:
        result = lm_eval.simple_evaluate(
            model=harness_model(model, settings),
            tasks=list(tasks),
            limit=limit,
            task_manager=task_manager,
            random_seed=settings.seed,
            numpy_random_seed=settings.seed,
            torch_random_seed=settings.seed,
            fewshot_random_seed=settings.seed,
        )
    except (KeyError, ValueError) as error:
        raise UserError(f"--data harness:{','.join(tasks)}: {error}") from error
    return {task: _numbers(figures) for task, figures in result["results"].items()}


def harness_model(model: LanguageModel, settings: BoundSettings) -> Any:
    """`model` as the harness's `LM`."""
    from lm_eval.api.model import LM

    class HarnessModel(LM):
        """Answers questions of likelihood, and no others."""

        def loglikelihood(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
            pairs = [request.args for request in requests]
            rows, firsts = encode_for(model, pairs)
            nats = continuation_nats(model, rows, firsts, settings)
            return [(-float(value), False) for value in nats]

        def loglikelihood_rolling(self, *_: Any, **__: Any) -> list[float]:
            raise UserError("This task scores whole texts: use --task bound or zeroshot.")

        def generate_until(self, *_: Any, **__: Any) -> list[str]:
            raise UserError("This task needs generated answers: only multiple choice is done.")

    return HarnessModel()


def _numbers(figures: dict[str, Any]) -> dict[str, float]:
    return {
        name.removesuffix(",none"): float(value)
        for name, value in figures.items()
        if isinstance(value, int | float)
    }
