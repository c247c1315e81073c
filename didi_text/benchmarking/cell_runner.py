"""One cell of a benchmark: its samples judged, its sampling timed, its JSON kept."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from didi_core.commands.comparing.cells import Cell, CellRequest
from didi_core.commands.generating.options import GenerationResult
from didi_core.commands.generating.run import batch_writer, generate, with_stored_defaults
from didi_core.errors import UserError
from didi_core.evaluation.timing import Write, measure_latency, search_throughput
from didi_core.io.files import write_json
from didi_core.io.journal import require_same_settings
from didi_core.peak_memory import is_out_of_memory, release_cached_memory
from didi_core.progress import progress_bar
from didi_core.training.devices import describe_device
from didi_core.training.run_folder import package_versions
from didi_text.benchmarking.options import BenchmarkOptions
from didi_text.benchmarking.study import Opened
from didi_text.models.load import CausalLanguageModel, LanguageModel, describe_model
from didi_text.samples.measures import Samples, measure_samples, read_samples, readable_tokens
from didi_text.samples.options import GenerateOptions
from didi_text.samples.samples import SAMPLES, plan_samples

MARKER = "benchmark.json"
"""The result; written from the start, it also says that a folder is a benchmark's."""

Record = dict[str, Any]
"""Contents of a JSON: of a cell, or of the whole."""


class CellFailed(Exception):
    """A cell that has no figures; the message says why, and the other cells go on."""


class CellRunner:
    """Measures cells, each once: a cell whose JSON is there is read."""

    def __init__(self, options: BenchmarkOptions, opened: Opened) -> None:
        self.options, self.opened = options, opened
        self.request = CellRequest.of(
            options,
            options.out / "samples",
            str(opened.length),
            device=str(opened.device),
            sweep="samples",
        )
        # Once: a digest reads every weight of a model.
        self.described = {label: describe_model(model) for label, model in opened.models.items()}
        self.described_judge = describe_model(opened.judge)

    def keep(self, record: Record) -> None:
        """Write `benchmark.json`, as far as it goes."""
        if self.opened.processes.is_first:
            write_json(self.options.out / MARKER, record)

    def writer(self, cell: Cell) -> Write:
        """What is timed: a batch of samples, from nothing to token ids on the host.

        Raises:
            UserError: the model lacks what the sampler needs.
        """
        model, length = self._model(cell), self.opened.length
        vocabulary = model.loaded.vocabulary
        row = vocabulary.frame([vocabulary.mask_id] * length)
        return batch_writer(self._generate_options(cell), model.loaded, row)

    def stored(self, cell: Cell) -> Record | None:
        """What an earlier run found; None where there is nothing.

        Raises:
            UserError: it was found with other settings.
        """
        path = self._path(cell)
        if not path.is_file():
            return None
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            settings = record["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"--resume: {path} is no cell of a benchmark; delete it.") from error
        require_same_settings(settings, self.settings(cell), path)
        return record

    def tokens(self, cell: Cell) -> list[list[int]] | None:
        """Token ids of a cell's samples; None where they are no longer there."""
        path = self.request.path(cell, ".jsonl")
        return read_samples(path).ids if path.is_file() else None

    def settings(self, cell: Cell) -> Record:
        """Everything that a cell's figures depend on."""
        options, model = self.options, self._model(cell)
        return {
            **_identity("model", self.described[cell.model]),
            **_identity("judge", self.described_judge),
            "judge_tokens": readable_tokens(self.opened.judge),
            "sampler": cell.label,
            "steps": cell.steps,
            "temperature": cell.temperature,
            "reveal_exponent": self._reveal_exponent(cell, model),
            "num": options.num,
            "length": self.opened.length,
            "seed": options.seed,
            "draws": self._draws(model),
            "precision": options.precision,
            "repeats": options.repeats if _is_timed(cell) else None,
            "max_batch": options.max_batch if _is_timed(cell) else None,
            "device": describe_device(self.opened.device),
        }

    def find(self, cell: Cell) -> Record | str:
        """What an earlier run found or is measured now; why, where there are no figures.

        Of several processes one that lacks memory would leave the others waiting: all of them end.
        """
        try:
            return self.stored(cell) or self.measure(cell)
        except CellFailed as failure:
            return str(failure)
        except Exception as error:
            if self.opened.processes.count > 1 or not is_out_of_memory(error):
                raise
        release_cached_memory()
        return "out of memory"

    def measure(self, cell: Cell) -> Record:
        """Sample, judge and, at temperature 1, time; and write the cell's JSON.

        Raises:
            CellFailed: samples that cannot be made or judged.
        """
        samples, cost = self._samples(cell)
        quality = self._judge(samples)
        del quality["samples"]  # how they were made stands in the settings
        is_first, record = self.opened.processes.is_first, None
        if is_first:  # times it while the others wait
            record = {
                "format": "didi-text benchmark cell 1",
                "cell": cell.name,
                "model": cell.model,
                **cost,
                "quality": quality,
                **(self._timings(cell) if _is_timed(cell) else {}),
                "settings": self.settings(cell),
                "versions": package_versions(),
            }
            write_json(self._path(cell), record)
        return json.loads(json.dumps(self.opened.processes.from_first(record)))

    def _timings(self, cell: Cell) -> Record:
        release_cached_memory()
        options, write = self.options, self.writer(cell)
        with torch.no_grad():
            latency = measure_latency(write, options.repeats)
            throughput = search_throughput(write, self.opened.length, options.max_batch)
        return {"latency": latency.as_dict(), "throughput": throughput.as_dict()}

    def _judge(self, samples: Samples) -> Record:
        options = self.options
        try:
            is_first = self.opened.processes.is_first
            bar = progress_bar("Judging", len(samples.texts)) if is_first else nullcontext(float)
            with bar as show:
                return measure_samples(
                    samples,
                    self.opened.judge,
                    batch_tokens=options.batch_tokens,
                    seed=options.seed,
                    show=show,
                    share=self.opened.processes,
                )
        except UserError as error:  # a collapsed model may write nothing that can be judged
            raise CellFailed(str(error)) from error

    def _samples(self, cell: Cell) -> tuple[Samples, Record]:
        """Samples, kept as JSONL, and the calls that one took."""
        model = self._model(cell)
        options = self._generate_options(cell)
        domain = replace(SAMPLES, plan=partial(plan_samples, tokenizer=model.tokenizer))
        result = generate(options, domain, model.loaded)
        drawn = self.opened.processes.from_first(None if result is None else _drawn(result))
        if drawn.samples is None:
            raise CellFailed(drawn.failure)
        return drawn.samples, drawn.cost

    def _generate_options(self, cell: Cell) -> GenerateOptions:
        model = self._model(cell)
        own = {"model": model.name, "draws": self._draws(model)}
        return GenerateOptions(**self.request.generation(cell, ".jsonl") | own)

    def _draws(self, model: LanguageModel) -> str:
        """`--draws` is of the masked models, of which papers drew in float32."""
        return "float64" if isinstance(model, CausalLanguageModel) else self.options.draws

    def _reveal_exponent(self, cell: Cell, model: LanguageModel) -> float | None:
        return with_stored_defaults(self._generate_options(cell), model.loaded).reveal_exponent

    def _model(self, cell: Cell) -> LanguageModel:
        return self.opened.models[cell.model]

    def _path(self, cell: Cell) -> Path:
        return self.options.out / "cells" / f"{cell.name}.json"


@dataclass(frozen=True)
class _Drawn:
    """Samples of a cell with the calls that one took; where one could not be made, why."""

    samples: Samples | None = None
    cost: Record = field(default_factory=dict)
    failure: str = ""


def _drawn(result: GenerationResult) -> _Drawn:
    if result.failed:
        return _Drawn(failure=result.failed[0].reason)
    discriminator_calls = result.discriminator_calls / result.num_made
    cost = {"calls": result.mean_nfe, "discriminator_calls": discriminator_calls}
    return _Drawn(read_samples(result.out), cost)


def _is_timed(cell: Cell) -> bool:
    """A temperature changes what is drawn, not what a call costs."""
    return cell.temperature == 1


def _identity(prefix: str, described: Mapping[str, object]) -> Record:
    """What decides a model's figures: its weights and tokenizer, not where it lies."""
    return {f"{prefix}_{key}": described[key] for key in ("weights", "tokenizer")}
