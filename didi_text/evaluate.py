"""`didi-text evaluate`: how good a model of text is, by the field's measures.

    didi-text evaluate --model M --task genppl --steps 16 --num 512 --out genppl.json
    didi-text evaluate --model M --task zeroshot --data ptb,lambada --out zeroshot.json
    didi-text evaluate --model M --task bound --data valid.jsonl.gz --out bound.json
    didi-text evaluate --model gpt2 --task choice --data questions.jsonl --out choice.json

From Python: `evaluate(EvaluateOptions(model="gpt2", task="bound", data="valid.txt", out=...))`.
This file imports no torch, so that `--help` is fast; the work is in `didi_text.evaluating.run`.
"""

from typing import TYPE_CHECKING

from didi_core.cli.command_options import (
    command_of,
)
from didi_text.evaluating.options import TASKS as TASKS
from didi_text.evaluating.options import EvaluateOptions as EvaluateOptions
from didi_text.evaluating.options import EvaluateResult as EvaluateResult

if TYPE_CHECKING:
    from didi_text.models.load import CausalLanguageModel, LanguageModel


def evaluate(
    options: EvaluateOptions,
    model: "LanguageModel | None" = None,
    judge: "CausalLanguageModel | None" = None,
) -> EvaluateResult:
    """Measure, and write the figures with everything needed to read them.

    Args:
        model: the one that the options name, where it is open already.
        judge: the same.

    Returns:
        The figures; in each process of torchrun all of them, of which the first writes the file.

    Raises:
        UserError: options without sense, an output that exists, a model or data that cannot be
            opened.
    """
    from didi_text.evaluating.run import run_evaluate

    return run_evaluate(options, model, judge)


def _run_command(options: EvaluateOptions) -> None:
    from didi_core.commands.processes import join_processes

    result = evaluate(options)
    if not join_processes().is_first:
        return
    if options.json_output:
        print(result.out.read_text(encoding="utf-8"), end="")
    else:
        from didi_text.evaluating.show import print_figures

        print_figures(result.figures)


evaluate_command = command_of(
    EvaluateOptions, _run_command, "Measure a model of text: samples, likelihood, or choices."
)
