"""What `evaluate` refuses before it opens anything: values without sense, flags of other tasks."""

from collections.abc import Iterator

from didi_core.errors import UserError
from didi_core.number_checks import no_seed, too_small
from didi_core.training.devices import check_precision, resolve_device
from didi_text.evaluate import TASKS, EvaluateOptions

_SAMPLING = (
    "num", "length", "steps", "sampler", "sampler_option", "top_p", "draws", "grid",
)  # fmt: skip
"""Options of samples that are made here."""
_TASKS_OF = {
    **dict.fromkeys((*_SAMPLING, "judge", "judge_tokens", "mauve"), ("genppl",)),
    **dict.fromkeys(("form", "mask_draws", "limit"), ("zeroshot", "bound", "choice")),
    **dict.fromkeys(("block_length", "remainder"), ("zeroshot", "bound")),
}
"""Options that act in some tasks alone, and in which; all others act in every one."""
_LEAST = {
    **dict.fromkeys(("num", "steps", "judge_tokens", "mask_draws", "block_length", "limit"), 1),
    **dict.fromkeys(("threads", "batch_tokens"), 1),
    "length": 2,
}
_WORDS = {
    "form": (None, "time", "order"),
    "remainder": ("keep", "drop", "published"),
    "draws": ("float64", "float32"),
    "grid": ("exact", "published"),
}


def check_options(options: EvaluateOptions) -> None:
    """Collect what is wrong with single values, and show it together.

    Raises:
        UserError: naming each flag and value.
    """
    wrong = [*_missing(options), *_senseless(options), *_idle(options)]
    if wrong:
        raise UserError("; ".join(wrong) + ".")
    check_precision(options.precision)
    resolve_device(options.device)


def _missing(options: EvaluateOptions) -> Iterator[str]:
    if options.task not in TASKS:
        yield f"--task {options.task} must be one of {', '.join(TASKS)}"
    if options.model is None and not (options.task == "genppl" and options.data):
        yield "--model is missing"
    if options.data is None and options.task in ("bound", "choice"):
        yield f"--data is missing: --task {options.task} needs a file"


def _senseless(options: EvaluateOptions) -> Iterator[str]:
    if options.out.suffix != ".json":
        yield f"--out {options.out} must end in .json"
    yield from too_small(options, **_LEAST)
    for name, choices in _WORDS.items():
        if getattr(options, name) not in choices:
            yield f"{_given(options, name)} must be {' or '.join(filter(None, choices))}"
    if not 0 < options.top_p <= 1:
        yield f"--top-p {options.top_p:g} must be above 0 and at most 1"
    yield from no_seed(options.seed)


def _idle(options: EvaluateOptions) -> Iterator[str]:
    """Flags that would not act: of another task, or of samples that are made already."""
    if options.task not in TASKS:
        return
    for name, tasks in _TASKS_OF.items():
        if options.task not in tasks and _is_given(options, name):
            yield f"{_given(options, name)} needs --task {' or '.join(tasks)}"
    made_already = options.task == "genppl" and options.data is not None
    sampling = [_given(options, name) for name in _SAMPLING if _is_given(options, name)]
    if made_already and sampling:
        yield f"{', '.join(sampling)}: the samples of --data are made already"


def _is_given(options: EvaluateOptions, name: str) -> bool:
    return getattr(options, name) not in (getattr(EvaluateOptions, name), [])


def _given(options: EvaluateOptions, name: str) -> str:
    """The flag as it was given.

    >>> from pathlib import Path
    >>> options = EvaluateOptions(task="bound", out=Path("o.json"), sampler_option=["eta=1", "a=b"])
    >>> _given(options, "sampler_option"), _given(options, "top_p")
    ('--sampler-option eta=1 a=b', '--top-p 1')
    """
    value = getattr(options, name)
    if isinstance(value, list):
        value = " ".join(value)
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return f"--{name.replace('_', '-')} {shown}"
