"""Tasks of lm-evaluation-harness [1]_ for masked models and autoregressive ones alike.

The harness asks for log p(continuation | context). A masked model answers with its bound; it has
no greedy continuation, so that figures which need one (an exact match) mean nothing for it.

.. [1] https://github.com/EleutherAI/lm-evaluation-harness
"""

from collections.abc import Sequence
from typing import Any

from didi_core.errors import UserError, missing_extra
from didi_text.evaluate_choice import encode_for
from didi_text.evaluate_likelihood import BoundSettings, continuation_nats
from didi_text.evaluate_models import LanguageModel


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
