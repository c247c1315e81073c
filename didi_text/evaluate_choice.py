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

from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import bootstrap_mean
from didi_text.corpora_documents import read_json_records
from didi_text.evaluate_likelihood import BoundSettings, continuation_nats
from didi_text.evaluate_models import CausalLanguageModel, LanguageModel
from didi_text.tokenizer import TextTokenizer


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
    rows, scored_from = encode_pairs(model.tokenizer, pairs, model.max_tokens)
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


def encode_pairs(
    tokenizer: TextTokenizer, pairs: Sequence[tuple[str, str]], max_tokens: int | None
) -> tuple[list[list[int]], list[int]]:
    """Rows of ids (end of text, context, continuation) and where each continuation begins.

    Context and continuation are encoded as one text; the continuation is what comes after as many
    tokens as the context alone has. Contexts lose their beginning where a row is too long.

    Raises:
        UserError: a continuation leaves no room for a context token, or has no token.
    """
    rows, firsts = [], []
    whole = tokenizer.encode_many([context + continuation for context, continuation in pairs])
    alone = tokenizer.encode_many([context for context, _ in pairs])
    for ids, context, (_, continuation) in zip(whole, alone, pairs, strict=True):
        row, first = [tokenizer.end_id, *ids], 1 + len(context)
        size = len(row) - first
        if size < 1 or (max_tokens is not None and size >= max_tokens):
            raise UserError(
                f"--data: the choice {continuation[:60]!r} has {size} tokens of its own; the model "
                f"reads {max_tokens} at most."
            )
        cut = max(0, len(row) - max_tokens) if max_tokens is not None else 0
        rows.append(row[cut:])
        firsts.append(first - cut)
    return rows, firsts
