"""The parsed request of `compare`: lists from the flags, settings of each method, its folder."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from didi_core.commands.chosen_samplers import ChosenSampler, chosen_samplers
from didi_core.commands.compare_options import FREE_TO_CHANGE, CompareOptions
from didi_core.commands.distill_settings import DistillSettings
from didi_core.commands.study import (
    check_study_folder,
    empty_for_overwrite,
    label_clashes,
    label_of,
    split_words,
    step_counts,
    temperatures_of,
)
from didi_core.errors import UserError
from didi_core.files import write_json
from didi_core.hydra_app import choices_of, compose_settings
from didi_core.number_checks import no_seed, too_small
from didi_core.training.devices import check_precision, resolve_device

MARKER = "compare.json"
"""The file that says that a folder is a comparison's, and which."""
_INPUTS = ("teacher", "data", "judge", "fold", "reference", "training")
"""Options that may name a file or folder."""
UNBOUNDED = 1_000_000
"""Updates of a distillation that its time ends."""

Settings = TypeVar("Settings", bound=DistillSettings)


@dataclass(frozen=True)
class Study:
    """The parsed request."""

    methods: tuple[str, ...]
    students: tuple[str, ...]
    samplers: tuple[ChosenSampler, ...]
    steps: tuple[int, ...]
    teacher_steps: tuple[int, ...]
    temperatures: tuple[float, ...] = (1.0,)


def study_of(options: CompareOptions, settings_of: Callable[[str], DistillSettings]) -> Study:
    """Lists from the flags.

    Args:
        settings_of: settings of one method; refuses one that does not exist.

    Raises:
        UserError: every flag that makes no sense, together.
    """
    wrong: list[str] = []
    study = Study(
        split_words(options.methods),
        split_words(options.students),
        chosen_samplers(options.samplers, wrong),
        step_counts("--steps", options.steps, wrong),
        step_counts("--teacher-steps", options.teacher_steps, wrong),
        temperatures_of(options.temperatures, wrong),
    )
    if not options.samplers.strip(", ") or not study.steps:
        wrong.append("--samplers and --steps each need one value at least")
    if not 0 < options.top_p <= 1:
        wrong.append(f"--top-p {options.top_p:g} must be above 0 and at most 1, which is all")
    wrong += too_small(options, num=2, pool_size=1, pool_steps=1, batch_tokens=1)
    wrong += no_seed(options.seed)
    if options.diversity is not None and len(study.temperatures) == 1:
        more = "--temperatures beside 1, as in 0.8,0.9,1,1.1"
        wrong.append(f"--diversity {options.diversity:g} needs {more}")
    if options.diversity is not None and not 0 < options.diversity < math.inf:
        wrong.append(f"--diversity {options.diversity:g} must be nats of entropy, above 0")
    if options.budget <= 0:
        wrong.append(f"--budget {options.budget:g} must be more than 0 seconds")
    wrong += _unknown_methods(study.methods)
    wrong += label_clashes((options.teacher, *study.students, *study.methods))
    if wrong:
        raise UserError("; ".join(wrong) + ".")
    check_precision(options.precision)
    for method in study.methods:
        settings_of(method)
    return study


def _unknown_methods(methods: Iterable[str]) -> Iterator[str]:
    for method in methods:
        name, _, preset = method.partition(":")
        for group, chosen in (("method", name), ("preset", preset)):
            if chosen not in (known := choices_of(group)) and (chosen or group == "method"):
                yield f"--methods {method}: no {group} {chosen}; give one of {', '.join(known)}"


def method_settings(
    options: CompareOptions, method: str, config_name: str, settings_class: type[Settings]
) -> Settings:
    """Settings of one method, `NAME` or `NAME:PRESET`, as the config files have them.

    Args:
        config_name: the program's configuration of `distill`.
    """
    name, _, preset = method.partition(":")
    overrides = [f"method={name}", *([f"preset={preset}"] if preset else []), "teacher=_", "out=_"]
    settings = compose_settings(config_name, settings_class, overrides)
    settings.teacher, settings.out = options.teacher, str(options.out / label_of(method))
    settings.reference, settings.data = ("data", options.data) if options.data else ("pool", None)
    settings.pool_length = options.length
    settings.pool_size, settings.pool_steps = options.pool_size, options.pool_steps
    settings.steps, settings.max_seconds = UNBOUNDED, options.budget
    settings.seed, settings.device = options.seed, options.device
    settings.precision, settings.offline = options.precision, options.offline
    settings.resume = True
    return settings


def check_folder(options: CompareOptions) -> None:
    """Refuse a folder that exists, unless it is to be replaced or holds this comparison.

    Raises:
        UserError: it holds something else, or another comparison.
    """
    check_study_folder(
        options.out, MARKER, "comparison", resume=options.resume, overwrite=options.overwrite
    )
    _check_files(options)
    if options.overwrite:
        return
    decided, marker = _decided(options), options.out / MARKER
    if not marker.is_file():
        return
    # What an earlier version did not record had its default.
    defaults = {each.name: each.default for each in fields(options)} | {"device": decided["device"]}
    stored = defaults | json.loads(marker.read_text())
    if changed := [key for key in decided if stored[key] not in (decided[key], MISSING)]:
        before = " ".join(_flag(key, stored[key]) for key in changed)
        raise UserError(
            f"--resume: {options.out} holds a comparison with another {', '.join(changed)}: give "
            f"{before}, as then, or another --out (--overwrite makes all anew, students too)."
        )


def _check_files(options: CompareOptions) -> None:
    """Refuse what is asked for and is no file, or would be removed with what is replaced."""
    for name in ("data", "reference", "training"):
        given = getattr(options, name, None)
        # Without a suffix it is the name of a corpus.
        if given is not None and Path(given).suffix and not Path(given).exists():
            raise UserError(f"--{name} {given}: there is no such file.")
    used = [getattr(options, name, None) for name in _INPUTS] + list(split_words(options.students))
    for each in used if options.overwrite else ():
        place = Path(each).resolve() if each and Path(each).exists() else None
        if place is not None and place.is_relative_to(options.out.resolve()):
            raise UserError(
                f"--overwrite would remove {each}, which lies in --out {options.out}: choose "
                "another --out, or move it."
            )


def claim_folder(options: CompareOptions) -> None:
    """Write what the folder holds, in the place of what it held where that is to be replaced."""
    if options.overwrite:
        empty_for_overwrite(options.out, MARKER)
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / MARKER, _decided(options))


def _decided(options: CompareOptions) -> dict[str, Any]:
    """What decides the result, as it is stored."""
    asked = json.loads(json.dumps(asdict(options), default=str))
    device = resolve_device(options.device).type  # of GPUs any will do
    return {k: v for k, v in asked.items() if k not in FREE_TO_CHANGE} | {"device": device}


def _flag(key: str, value: object) -> str:
    """How an option is given.

    >>> _flag("batch_tokens", 8192), _flag("data", None)
    ('--batch-tokens 8192', 'no --data')
    """
    flag = f"--{key.replace('_', '-')}"
    return f"no {flag}" if value is None else f"{flag} {value}"
