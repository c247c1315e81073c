"""What `evaluate` does: check, open, measure part by part, write."""

import time
from pathlib import Path
from typing import Any

import torch

from didi_core.cli import check_output
from didi_core.errors import UserError
from didi_core.files import write_json
from didi_core.training.devices import resolve_device, settle_precision
from didi_core.training.run_folder import package_versions
from didi_text.evaluate import EvaluateOptions, EvaluateResult
from didi_text.evaluate_checks import check_options
from didi_text.evaluate_journal import (
    PartsJournal,
    finished_result,
    journal_file,
    sample_file,
)
from didi_text.evaluate_models import (
    CausalLanguageModel,
    LanguageModel,
    describe_model,
    open_language_model,
)
from didi_text.evaluate_tasks import Opened, run_task

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
