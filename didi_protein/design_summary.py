"""What `NAME.generate.json` and the FASTA headers of designs say."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from didi_core.models.fingerprint import weights_digest
from didi_core.models.folder import LoadedModel
from didi_core.sampling.redraw import Finished
from didi_core.shards import SHARD_KEY, Shard, parse_shard, shard_record
from didi_core.training.run_folder import package_versions
from didi_protein.design_files import DesignFiles
from didi_protein.design_records import DesignRecord
from didi_protein.generate import FailedDesign, GenerateOptions, GenerateResult


def deciding_settings(
    options: GenerateOptions,
    records: Sequence[DesignRecord],
    exclude: str,
    nats: Mapping[str, float],
    model: LoadedModel,
) -> dict[str, Any]:
    """Every setting that decides which designs come out; a run is continued only with the same."""
    patterns = "\n".join(record.pattern for record in records)
    device = next(model.denoiser.parameters()).device
    return {
        "model": model_label(options.model),
        "weights": weights_digest(model.denoiser),
        "num": options.num,
        "length": options.length,
        "template": options.template,
        "patterns": hashlib.sha256(patterns.encode()).hexdigest()[:16],
        "sampler": options.sampler,
        "sampler_options": dict(options.sampler_options),
        "steps": options.steps,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "exclude": exclude,
        "bias": dict(nats),
        "unique": options.unique,
        "max_repeat": options.max_repeat,
        "draws": options.draws,
        "grid": options.grid,
        "reveal_exponent": options.reveal_exponent,
        "seed": options.seed,
        "batch_tokens": options.batch_tokens,
        "precision": options.precision,
        "device": device.type,
        "shard": str(parse_shard(options.shard)),
    }


def model_label(name: str) -> str:
    """The model's name as one word of a header."""
    return "_".join(str(name).split())


def header_of(options: GenerateOptions, record: DesignRecord, row: Finished) -> dict[str, str]:
    """The `key=value` words after a design's id."""
    words: dict[str, object] = {
        "length": len(record.pattern),
        "model": model_label(options.model),
        "sampler": options.sampler,
        "steps": options.steps,
        "nfe": row.denoiser_calls,
        "seed": options.seed,
        "template": record.template,
        "tries": row.tries if row.tries > 1 else None,
    }
    return {key: str(value) for key, value in words.items() if value is not None}


def summary_of(
    records: Sequence[DesignRecord],
    finished: Sequence[Finished],
    cost: Mapping[str, float | None],
    decided: Mapping[str, Any],
    shard: Shard,
    model: LoadedModel,
) -> dict[str, Any]:
    """The contents of `NAME.generate.json`.

    Args:
        finished: this run's records, in record order.
        cost: `seconds` of sampling, and the `peak_memory` of this process in bytes.
        decided: see `deciding_settings`.
    """
    made = [row for row in finished if row.failure is None]
    calls = [row.denoiser_calls for row in made]
    summary: dict[str, Any] = {
        "format": "didi-protein generate summary 1",
        **cost,
        "num_designs": len(made),
        "num_records": len(records),
        "calls_made": sum(row.denoiser_calls for row in finished),
        "discriminator_calls": sum(row.discriminator_calls for row in finished),
        "mean_nfe": sum(calls) / len(calls) if calls else None,
        "redraws": sum(row.tries - 1 for row in finished),
        "failed": [
            {"id": records[row.record].id, "reason": row.failure, "tries": row.tries}
            for row in finished
            if row.failure is not None
        ],
        "device": describe_device(next(model.denoiser.parameters()).device),
        "settings": dict(decided),
        "versions": package_versions(),
    }
    if shard.count > 1:
        places = [row.record for row in made]
        summary[SHARD_KEY] = shard_record(shard, len(records), places).as_json()
    return summary


def describe_device(device: torch.device) -> str:
    """The machine part that computed: `cpu, 2 threads`, or the GPU's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def result_of(files: DesignFiles, summary: Mapping[str, Any]) -> GenerateResult:
    """The typed result from the contents of `NAME.generate.json`."""
    figures = (
        "num_designs", "seconds", "peak_memory", "calls_made", "discriminator_calls", "mean_nfe",
        "redraws",
    )  # fmt: skip
    return GenerateResult(
        fasta=files.fasta,
        summary=files.summary,
        failed=tuple(FailedDesign(**each) for each in summary["failed"]),
        **{name: summary.get(name) for name in figures},
    )
