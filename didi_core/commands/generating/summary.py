"""What `NAME.generate.json` and each record's provenance say."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from didi_core.commands.generating.domain import (
    GenerationDomain,
    GenerationRecord,
    GenerationTask,
)
from didi_core.commands.generating.files import OutputFiles
from didi_core.commands.generating.options import FailedRecord, GenerationResult, SamplingOptions
from didi_core.io.shards import (
    SHARD_KEY,
    Shard,
    parse_shard,
    shard_record,
)
from didi_core.models.fingerprint import weights_digest
from didi_core.models.folder import LoadedModel
from didi_core.models.weight_files import file_digest
from didi_core.sampling.registry import find_sampler
from didi_core.sampling.request import SampledRecord
from didi_core.sampling.sampler_options import options_in_words
from didi_core.training.devices import describe_device
from didi_core.training.run_folder import package_versions


def deciding_settings(
    options: SamplingOptions, task: GenerationTask, model: LoadedModel
) -> dict[str, Any]:
    """Return every setting that decides what comes out; a run is continued only with the same.

    Args:
        options: with defaults that depend on model and sampler filled in.
    """
    rows = repr([record.row for record in task.records])
    if any(forbidden := [dict(record.forbidden) for record in task.records]):
        rows += repr(forbidden)
    head = None if options.without_joint_head else model.extras.get("joint_head")
    return {
        "model": model_label(options.model),
        "weights": weights_digest(model.denoiser),
        "noise": None if options.without_noise else file_digest(model.extras.get("noise")),
        **({} if head is None else {"joint_head": file_digest(head)}),
        "num": options.num,
        "length": options.length,
        **task.settings,
        "patterns": hashlib.sha256(rows.encode()).hexdigest()[:16],
        "sampler": options.sampler,
        "sampler_options": dict(options.sampler_options),
        **_other_weights(options, model),
        "steps": options.steps,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "unique": options.unique,
        "draws": options.draws,
        "grid": options.grid,
        "reveal_exponent": options.reveal_exponent,
        **({} if options.kept is None else {"kept": list(options.kept)}),
        "seed": options.seed,
        "batch_tokens": options.batch_tokens,
        "precision": options.precision,
        **({"compiled": True} if options.compile else {}),
        "device": next(model.denoiser.parameters()).device.type,
        "shard": str(parse_shard(options.shard)),
    }


def _other_weights(options: SamplingOptions, model: LoadedModel) -> dict[str, str | None]:
    """Return a digest of each file of weights that the sampler reads beside the network's."""
    needed = find_sampler(str(options.sampler)).needs
    return {name: file_digest(model.extras.get(name)) for name in needed}


def model_label(name: str) -> str:
    """The model's name as one word of a header."""
    return "_".join(str(name).split())


def provenance_of(
    options: SamplingOptions, record: GenerationRecord, row: SampledRecord
) -> dict[str, object]:
    """How a record was made, in the order in which it is written."""
    words: dict[str, object] = {
        "length": record.length,
        "model": model_label(options.model),
        "sampler": options.sampler,
        "sampler_options": options_in_words(options.sampler_options) or None,
        "steps": options.steps,
        "grid": "best" if options.grid == "best" else None,
        "nfe": row.denoiser_calls,
        "guide_calls": row.guide_calls or None,
        "seed": options.seed,
        "template": record.template,
        "tries": row.tries if row.tries > 1 else None,
    }
    return {key: value for key, value in words.items() if value is not None}


def summary_of(
    domain: GenerationDomain,
    task: GenerationTask,
    finished: Sequence[SampledRecord],
    cost: Mapping[str, float | None],
    decided: Mapping[str, Any],
    shard: Shard,
    model: LoadedModel,
    command: str,
) -> dict[str, Any]:
    """Return the contents of `NAME.generate.json`.

    Args:
        finished: this run's records, in record order.
        cost: `seconds` of sampling, and the `peak_memory` of this process in bytes.
        decided: see `deciding_settings`.
        command: that asks for the whole request.
    """
    records = task.records
    made = [row for row in finished if row.failure is None]
    calls = [row.denoiser_calls for row in made]
    summary: dict[str, Any] = {
        "format": f"{domain.program} generate summary 1",
        **cost,
        count_key(domain.noun): len(made),
        "num_records": len(records),
        "calls_made": sum(row.denoiser_calls for row in finished),
        "discriminator_calls": sum(row.discriminator_calls for row in finished),
        "head_passes": sum(row.head_passes for row in finished),
        "guide_calls": sum(row.guide_calls for row in finished),
        "mean_nfe": sum(calls) / len(calls) if calls else None,
        "redraws": sum(row.tries - 1 for row in finished),
        "failed": [
            {"id": records[row.record].id, "reason": row.failure, "tries": row.tries}
            for row in finished
            if row.failure is not None
        ],
        "warnings": list(task.warnings),
        "device": describe_device(next(model.denoiser.parameters()).device),
        "settings": dict(decided),
        "versions": package_versions(),
    }
    if shard.count > 1:
        places = [row.record for row in made]
        summary[SHARD_KEY] = shard_record(shard, len(records), places, command).as_json()
    return summary


def count_key(noun: str) -> str:
    """The summary's name for how many records were made.

    >>> count_key("design")
    'num_designs'
    """
    return f"num_{noun}s"


def result_of(summary: Mapping[str, Any], files: OutputFiles, noun: str) -> GenerationResult:
    """Return the typed result from the contents of `NAME.generate.json`."""
    figures = (
        "seconds", "peak_memory", "calls_made", "discriminator_calls", "mean_nfe", "redraws",
    )  # fmt: skip
    known: dict[str, Any] = {name: summary.get(name) for name in figures}
    # Older summaries know no heads and no guides.
    known |= {name: summary.get(name, 0) for name in ("head_passes", "guide_calls")}
    return GenerationResult(
        out=files.out,
        summary=files.summary,
        num_made=summary[count_key(noun)],
        failed=tuple(FailedRecord(**each) for each in summary["failed"]),
        **known,
    )
