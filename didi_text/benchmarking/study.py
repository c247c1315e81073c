"""What a benchmark measures: its cells, parsed from the flags."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from didi_core.commands.comparing.cells import LIMIT_SAMPLER, Cell
from didi_core.commands.comparing.labels import label_clashes, label_of, split_words
from didi_core.commands.comparing.study import step_counts, temperatures_of
from didi_core.commands.comparing.sweep import Natural
from didi_core.commands.processes import Processes, join_processes
from didi_core.errors import UserError
from didi_core.models.causal import AUTOREGRESSIVE
from didi_core.models.dit_files import checkpoint_file
from didi_core.number_checks import minimum_errors, seed_errors
from didi_core.sampling.folder_defaults import (
    OWN,
    own_sampler,
    plain_sampler,
)
from didi_core.sampling.registry import SAMPLERS, find_sampler
from didi_core.sampling.sampler_options import options_in_words, sampler_label, split_name
from didi_core.training.devices import TORCH_TYPES, check_precision
from didi_text.benchmarking.options import BenchmarkOptions
from didi_text.models.judges import DEFAULT_JUDGE, bundled_judge, open_judge
from didi_text.models.load import (
    CausalLanguageModel,
    DiffusionLanguageModel,
    LanguageModel,
    open_causal,
)
from didi_text.models.writers import open_language_model
from didi_text.samples.reference import natural_text, reference_samples, stored_natural
from didi_text.tokenizers.tokenizer import TextTokenizer

LIMIT = "limit"


@dataclass(frozen=True)
class Study:
    """The parsed request."""

    models: tuple[tuple[str, str | None], ...]
    """Names and samplers; None before `with_samplers` where the command names none."""
    steps: tuple[int, ...]
    limit: bool
    temperatures: tuple[float, ...] = (1.0,)
    """Rising; 1 is among them."""

    def with_samplers(self, models: Mapping[str, LanguageModel]) -> "Study":
        """The same with the plain sampler of its process for a model that was named without one.

        `own` is the sampler that the model's folder names for `generate`.

        Args:
            models: those that are open, by label.
        """

        def chosen(name: str, sampler: str | None) -> str:
            loaded = models[label_of(name)].loaded
            if sampler == OWN:
                return own_sampler(loaded)
            return sampler or plain_sampler(loaded.process).name

        return replace(self, models=tuple((name, chosen(name, how)) for name, how in self.models))

    def cells(self, models: Mapping[str, LanguageModel]) -> tuple[Cell, ...]:
        """In the order of the table, the baseline last; each once.

        Args:
            models: those that are open, by label.
        """
        cells = []
        for name, sampler in self.models:
            label = label_of(name)
            cells += [Cell.labelled(label, steps, str(sampler)) for steps in self.steps]
            if self.limit and has_limit(models[label]):
                cells.append(Cell.limit(label))
        cells += [
            Cell(label, None, AUTOREGRESSIVE, is_baseline=True)
            for label, model in models.items()
            if isinstance(model, CausalLanguageModel)
        ]
        return tuple(dict.fromkeys(cells))

    def heated(self, cell: Cell) -> tuple[Cell, ...]:
        """The cell at every temperature but 1."""
        return tuple(cell.at(each) for each in self.temperatures if each != 1)

    def reference(self, cells: Sequence[Cell]) -> Cell:
        """What the others are compared with: the first model's limit, else its most steps."""
        label, sampler = label_of(self.models[0][0]), self.models[0][1]
        limit = Cell.limit(label)
        return limit if limit in cells else Cell.labelled(label, max(self.steps), str(sampler))


def has_limit(model: LanguageModel) -> bool:
    """Whether one call a token is a law of its own: where revealed tokens never change."""
    if isinstance(model, CausalLanguageModel):
        return True
    return model.loaded.process in find_sampler(LIMIT_SAMPLER).processes


def parse_study(options: BenchmarkOptions) -> Study:
    """Lists from the flags.

    Raises:
        UserError: every flag that makes no sense, together.
    """
    wrong: list[str] = []
    words = split_words(options.steps)
    counts = ",".join(word for word in words if word != LIMIT)
    study = Study(
        tuple(_with_sampler(word, wrong) for word in split_words(options.models)),
        step_counts("--steps", counts, wrong, f" or {LIMIT}"),
        LIMIT in words,
        temperatures_of(options.temperatures, wrong),
    )
    if not study.models:
        wrong.append("--models needs one model at least")
    if not words:
        wrong.append("--steps needs one value at least, as in --steps 8,16")
    names = dict.fromkeys(name for name, _ in study.models)
    baseline = [options.baseline] if options.baseline not in (None, "none") else []
    wrong += label_clashes((*names, *baseline))
    wrong += [
        f"--models {name}:{sampler}: {sampler} takes no steps; the limit is --steps {LIMIT}"
        for name, sampler in study.models
        if sampler not in (None, OWN) and not find_sampler(split_name(sampler)[0]).takes_steps
    ]
    wrong += _wrong_numbers(options) + _wrong_reference(options.reference, study)
    if options.draws not in ("float64", "float32"):
        wrong.append(f"--draws {options.draws} must be float64 or float32")
    if wrong:
        raise UserError("; ".join(wrong) + ".")
    check_precision(options.precision)
    return study


_WITH_SAMPLER = re.compile(r"(?P<name>.+):(?P<sampler>[^:()]+)(?P<options>\([^()]*\))?")


def _with_sampler(word: str, wrong: list[str]) -> tuple[str, str | None]:
    """Return `student:rgas(tilt_start=0)` or `student` in its parts, the options as in cells.

    A colon before anything but a sampler belongs to the path. What makes no sense is told to
    `wrong`.
    """
    found = _WITH_SAMPLER.fullmatch(word)
    if found is None or found["sampler"] not in (OWN, *SAMPLERS):
        return word, None
    sampler = found["sampler"]
    try:
        _, options = split_name(f"{sampler}{found['options'] or ''}", f"--models {found['name']}:")
        if sampler != OWN:
            find_sampler(sampler).read(options, f"--models {word}: ")
    except UserError as error:
        wrong.append(str(error).removesuffix("."))
        options = {}
    return found["name"], sampler_label(sampler, options_in_words(options))


def _wrong_reference(reference: Path | None, study: Study) -> list[str]:
    if reference is None:
        return []
    if len(study.temperatures) == 1:
        return [f"--reference {reference} needs --temperatures beside 1, as in 0.8,0.9,1"]
    if reference.suffix and not reference.exists():  # without one it is the name of a corpus
        return [f"--reference {reference}: there is no such file"]
    return []


def _wrong_numbers(options: BenchmarkOptions) -> list[str]:
    least = {"num": 2, "length": 4, "repeats": 1, "max_batch": 1, "batch_tokens": 1}
    return minimum_errors(options, **least) + seed_errors(options.seed)


# The models behind a benchmark: opened on their device, with the length that all of them read.

DEFAULT_BASELINE = "gpt2"


DEFAULT_LENGTH = 1_024


@dataclass(frozen=True)
class Opened:
    """Models on their device, by label."""

    models: Mapping[str, LanguageModel]
    judge: CausalLanguageModel
    baseline: str | None
    """As it was named."""
    length: int
    device: torch.device
    processes: Processes
    """Those of torchrun, which make and judge the samples of each cell together."""
    natural: Natural | None = None
    """Natural text, to compare temperatures at its entropy."""


def open_study(study: Study, options: BenchmarkOptions) -> Opened:
    """Open every model, in the precision asked for; the judge is always float32.

    Raises:
        UserError: one cannot be opened, or does not read the length asked for.
    """
    processes = join_processes()
    device = processes.device(options.device)
    dtype = TORCH_TYPES[options.precision]
    denoisers = {
        label_of(name): _open_denoiser(name, device, options) for name in dict(study.models)
    }
    default = bundled_judge(model.tokenizer for model in denoisers.values())
    judge = open_judge(options.judge or default or DEFAULT_JUDGE, device, offline=options.offline)
    models: dict[str, LanguageModel] = dict(denoisers)
    asked = options.baseline or default or DEFAULT_BASELINE
    baseline = None if asked == "none" else asked
    if baseline is not None and label_of(baseline) in models:
        raise UserError(
            f"--baseline {baseline}: a model of that name is measured; rename a folder."
        )
    if baseline is not None:
        models[label_of(baseline)] = open_causal(
            baseline,
            device,
            offline=options.offline,
            flag="--baseline",
            tokenizer=options.tokenizer if checkpoint_file(baseline) else None,
        )
    for model in models.values():
        model.network.to(dtype)
    length, first = _length(options.length, models), next(iter(denoisers.values())).tokenizer
    natural = _natural(options, judge, first, length) if len(study.temperatures) > 1 else None
    return Opened(models, judge, baseline, length, device, processes, natural)


def _natural(
    options: BenchmarkOptions, judge: CausalLanguageModel, tokenizer: TextTokenizer, length: int
) -> Natural | None:
    if options.reference is None:
        return stored_natural(judge, tokenizer, str(length))
    samples = reference_samples(
        options.reference,
        tokenizer,
        num=options.num,
        length=str(length),
        limit=length,
        seed=options.seed,
        offline=options.offline,
    )
    return natural_text(samples.ids or [])


def _open_denoiser(
    name: str, device: torch.device, options: BenchmarkOptions
) -> DiffusionLanguageModel:
    model = open_language_model(
        name, device, offline=options.offline, flag="--models", tokenizer=options.tokenizer
    )
    if isinstance(model, CausalLanguageModel):
        raise UserError(
            f"--models {name} is autoregressive and takes no steps: give it as --baseline."
        )
    return model


def _length(asked: int | None, models: Mapping[str, LanguageModel]) -> int:
    limits = {label: model.max_tokens for label, model in models.items() if model.max_tokens}
    least = min(limits, key=lambda label: limits[label]) if limits else None
    if least is None or (asked is not None and asked <= limits[least]):
        return asked or DEFAULT_LENGTH
    if asked is not None:
        raise UserError(f"--length {asked}: {least} reads {limits[least]} tokens at most.")
    return min(DEFAULT_LENGTH, limits[least])
