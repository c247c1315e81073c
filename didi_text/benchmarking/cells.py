"""One cell of a benchmark: its samples judged, its sampling timed, its JSON kept."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from didi_core.commands.generating.run import batch_writer, with_stored_defaults
from didi_core.commands.processes import of_first
from didi_core.errors import UserError
from didi_core.evaluation.timing import Write, measure_latency, search_throughput
from didi_core.io.files import write_json
from didi_core.io.journal import require_same_settings
from didi_core.peak_memory import is_out_of_memory, release_cached_memory
from didi_core.progress import progress_bar
from didi_core.training.devices import describe_device
from didi_core.training.run_folder import package_versions
from didi_text.benchmarking.options import BenchmarkOptions
from didi_text.benchmarking.study import Cell, Opened
from didi_text.generate import generate
from didi_text.models.load import CausalLanguageModel, LanguageModel, describe_model
from didi_text.samples.measures import Samples, measure_samples, read_samples, readable_tokens
from didi_text.samples.options import GenerateOptions

Record = dict[str, Any]


class CellFailed(Exception):
    """A cell that has no figures; the message says why, and the other cells go on."""


class CellRunner:
    """Measures cells, each once: a cell whose JSON is there is read."""

    def __init__(self, options: BenchmarkOptions, opened: Opened) -> None:
        self.options, self.opened = options, opened
        # Once: a digest reads every weight of a model.
        self.described = {label: describe_model(model) for label, model in opened.models.items()}
        self.described_judge = describe_model(opened.judge)

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
        path = self._path(cell, "cells", ".json")
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
        path = self._path(cell, "samples", ".jsonl")
        return read_samples(path).ids if path.is_file() else None

    def settings(self, cell: Cell) -> Record:
        """Everything that a cell's figures depend on."""
        options, model = self.options, self._model(cell)
        return {
            **_identity("model", self.described[cell.model]),
            **_identity("judge", self.described_judge),
            "judge_tokens": readable_tokens(self.opened.judge),
            "sampler": cell.sampler,
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
        """What an earlier run found or is measured now; why, where there are no figures."""
        try:
            return self.stored(cell) or self.measure(cell)
        except CellFailed as failure:
            return str(failure)
        except Exception as error:
            if not is_out_of_memory(error):
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
        write_json(self._path(cell, "cells", ".json"), record)
        return json.loads(json.dumps(record))

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
            with progress_bar("Judging", len(samples.texts)) as show:
                return measure_samples(
                    samples,
                    self.opened.judge,
                    batch_tokens=options.batch_tokens,
                    seed=options.seed,
                    show=show,
                )
        except UserError as error:  # a collapsed model may write nothing that can be judged
            raise CellFailed(str(error)) from error

    def _samples(self, cell: Cell) -> tuple[Samples, Record]:
        """Samples, kept as JSONL, and the calls that one took."""
        model = self._model(cell)
        options = self._generate_options(cell)
        result = of_first(generate(options, model.loaded))
        if result.failed:
            raise CellFailed(result.failed[0].reason)
        cost = {
            "calls": result.mean_nfe,
            "discriminator_calls": result.discriminator_calls / result.num_made,
        }
        return read_samples(result.out), cost

    def _generate_options(self, cell: Cell) -> GenerateOptions:
        options = self.options
        return GenerateOptions(
            model=self._model(cell).name,
            num=options.num,
            length=str(self.opened.length),
            steps=cell.steps,
            sampler=cell.sampler,
            temperature=cell.temperature,
            draws=self._draws(self._model(cell)),
            out=self._path(cell, "samples", ".jsonl"),
            seed=options.seed,
            batch_tokens=options.batch_tokens,
            device=str(self.opened.device),
            precision=options.precision,
            offline=options.offline,
            resume=True,
        )

    def _draws(self, model: LanguageModel) -> str:
        """`--draws` is of the masked models, of which papers drew in float32."""
        return "float64" if isinstance(model, CausalLanguageModel) else self.options.draws

    def _reveal_exponent(self, cell: Cell, model: LanguageModel) -> float | None:
        return with_stored_defaults(self._generate_options(cell), model.loaded).reveal_exponent

    def _model(self, cell: Cell) -> LanguageModel:
        return self.opened.models[cell.model]

    def _path(self, cell: Cell, folder: str, suffix: str) -> Path:
        return self.options.out / folder / f"{cell.name}{suffix}"


def _is_timed(cell: Cell) -> bool:
    """A temperature changes what is drawn, not what a call costs."""
    return cell.temperature == 1


def _identity(prefix: str, described: Mapping[str, object]) -> Record:
    """What decides a model's figures: its weights and tokenizer, not where it lies."""
    return {f"{prefix}_{key}": described[key] for key in ("weights", "tokenizer")}
