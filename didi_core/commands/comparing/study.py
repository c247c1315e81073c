"""The parsed request of `compare`: lists from the flags, settings of each method, its folder."""

import json
import math
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from didi_core.cli.hydra_app import choices_of, compose_settings
from didi_core.cli.run import check_output
from didi_core.commands.comparing.labels import label_clashes, label_of, split_words
from didi_core.commands.comparing.options import FREE_TO_CHANGE, CompareOptions
from didi_core.commands.training.settings import DistillSettings
from didi_core.errors import UserError
from didi_core.io.files import write_json
from didi_core.models.folder import LoadedModel
from didi_core.number_checks import MOST_STEPS, minimum_errors, seed_errors
from didi_core.sampling.folder_defaults import OWN, own_sampler
from didi_core.sampling.registry import find_sampler
from didi_core.sampling.sampler_options import parse_options, split_name
from didi_core.training.devices import check_precision, resolve_device

MARKER = "compare.json"
"""The file that says that a folder is a comparison's, and which."""


_INPUTS = ("teacher", "data", "judge", "fold", "reference", "training")
"""Options that may name a file or folder."""
_LISTS = ("students", "family", "contacts")
"""Options that may name several."""


UNBOUNDED = 1_000_000
"""Updates of a distillation that its time ends."""

Settings = TypeVar("Settings", bound=DistillSettings)


@dataclass(frozen=True)
class ChosenSampler:
    """One sampler with its options: one row for each model and number of steps."""

    name: str
    options: tuple[tuple[str, object], ...] = ()
    """Names and values of the options given, in the order of the sampler's settings."""

    def of(self, model: LoadedModel) -> "ChosenSampler":
        """Return the sampler of one model: `own` is what its folder names."""
        if self.name != OWN:
            return self
        name, options = split_name(own_sampler(model))
        return ChosenSampler(name, tuple(options.items()))


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
    if not options.samplers.strip(", ") or not options.steps.strip(", "):
        wrong.append("--samplers and --steps each need one value at least")
    if not 0 < options.top_p <= 1:
        wrong.append(f"--top-p {options.top_p:g} must be above 0 and at most 1, which is all")
    wrong += minimum_errors(options, num=2, pool_size=1, pool_steps=1, batch_tokens=1)
    wrong += seed_errors(options.seed)
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
    used = [getattr(options, name, None) for name in _INPUTS]
    used += [each for name in _LISTS for each in split_words(getattr(options, name, None) or "")]
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


# What verbs that put many models and step counts into one table share: lists, labels, folder.


def step_counts(flag: str, text: str, wrong: list[str], others: str = "") -> tuple[int, ...]:
    """Numbers of steps between commas; what is no such number is told to `wrong`.

    Args:
        others: what else may stand there, for the message.
    """
    words = split_words(text)
    if bad := [word for word in words if not _is_count(word)]:
        wrong.append(f"{flag} {text}: {', '.join(bad)} is no number of steps; give 8,16{others}")
        return ()
    return tuple(dict.fromkeys(int(word) for word in words))


def _is_count(word: str) -> bool:
    return word.isdecimal() and len(word) < 20 and 1 <= int(word) <= MOST_STEPS


def temperatures_of(text: str, wrong: list[str]) -> tuple[float, ...]:
    """Temperatures between commas, with 1; what is none is told to `wrong`.

    Six digits count: files are named by them.
    """
    words = split_words(text)
    if bad := [word for word in words if not _is_temperature(word)]:
        wrong.append(
            f"--temperatures {text}: {', '.join(bad)} is no temperature above 0; give 0.8,0.9,1"
        )
        return (1.0,)
    return tuple(sorted({1.0, *(float(f"{float(word):g}") for word in words)}))


def _is_temperature(word: str) -> bool:
    try:
        return 0 < float(word) < math.inf
    except ValueError:
        return False


def check_study_folder(
    out: Path, marker: str, holds: str, *, resume: bool, overwrite: bool
) -> None:
    """Refuse a folder that exists, unless it is to be continued or replaced and is ours.

    Args:
        marker: the file that shows a folder to be ours.
        holds: what such a folder holds, for the message: "comparison".

    Raises:
        UserError: see `check_output`; or it holds something else, which is never touched.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: choose another name.")
    check_output(out, resume=resume, overwrite=overwrite)
    if not (out / marker).is_file() and out.is_dir() and any(out.iterdir()):
        flag = "--overwrite" if overwrite else "--resume"
        raise UserError(f"{flag}: {out} holds no {holds}; choose another --out.")


def empty_for_overwrite(out: Path, marker: str) -> None:
    """Remove a folder that `check_study_folder` let pass."""
    if (out / marker).is_file():
        shutil.rmtree(out)


# The samplers that `compare --samplers` names, each with the options it is given.
#
# A word is a name of `generate --sampler`, with settings of `generate --sampler-option` in brackets
# where wanted: `ancestral,psi(schedule=loop,eta=0.02)`. `own` is, for each model, the sampler that
# its folder names for `generate`, so that rows may differ in it.

FLAG = "--samplers"


EXAMPLE = '"ancestral,psi(schedule=loop,eta=0.02)"'


_WORD = re.compile(r"\s*([^\s(),=]+)\s*(?:\(([^()]*)\)\s*)?")


def chosen_samplers(text: str, wrong: list[str]) -> tuple[ChosenSampler, ...]:
    """The samplers of a list, each once; what makes no sense is told to `wrong`.

    >>> chosen_samplers("ancestral, psi(eta=0.020,schedule=loop)", [])[1]
    ChosenSampler(name='psi', options=(('schedule', 'loop'), ('eta', 0.02)))
    """
    chosen = []
    for word in split_words(text):
        try:
            chosen.append(_chosen(word))
        except UserError as error:
            wrong.append(str(error).removesuffix("."))
    return tuple(dict.fromkeys(chosen))


def other_than_own(rows: Sequence[tuple[str, str]], opened: Mapping[str, LoadedModel]) -> list[str]:
    """Return a sentence on each model that `generate` would draw by a sampler of none of its rows.

    Args:
        rows: labels of models, with those of the samplers that draw them.
        opened: the models by label.
    """
    notes = []
    for label, loaded in opened.items():
        drawn = list(dict.fromkeys(sampler for model, sampler in rows if model == label))
        named = loaded.config.get("didi", {}).get("sampler")
        if drawn and named not in (None, *drawn):
            notes.append(
                f"The folder of {label} names the sampler {named}, which generate takes; here it "
                f"is drawn by {' and '.join(drawn)}, as asked for ({OWN} in the place of a "
                "sampler is what a model's folder names)."
            )
    return notes


def _chosen(word: str) -> ChosenSampler:
    if word.strip() == OWN:
        return ChosenSampler(OWN)
    found = _WORD.fullmatch(word)
    if found is None:
        raise UserError(
            f"{FLAG} {word.strip()}: give NAME or NAME(OPTION=VALUE,...), between commas and in "
            f"quotes, as in {FLAG} {EXAMPLE}"
        )
    kind = find_sampler(found[1], FLAG)
    if not kind.takes_steps:
        raise UserError(
            f"{FLAG} {kind.name} takes no steps: leave it out, the limit of a masked teacher is "
            "always there"
        )
    inside = re.sub(r"\s*=\s*", "=", found[2] or "")
    pairs = [pair for each in inside.split(",") if (pair := each.strip())]
    options = parse_options(pairs, f"{FLAG} {kind.name}: ")
    if len(options) < len(pairs):
        raise UserError(f"{FLAG} {word.strip()}: give each option once")
    settings = kind.read(options, f"{FLAG} {kind.name}: ")
    values = {} if settings is None else asdict(settings)
    return ChosenSampler(kind.name, tuple((key, values[key]) for key in values if key in options))
