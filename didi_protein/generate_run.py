"""What `didi-protein generate` does: from options to designs in a file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_core.peak_memory import PeakMemory
from didi_core.sampling.redraw import Finished, Rule, accept_all
from didi_core.sampling.registry import (
    SamplerKind,
    build_predictor,
    check_settings,
    find_sampler,
)
from didi_core.sampling.request import DrawSettings, SampleSettings
from didi_core.sampling.run_request import Request, build_engine, run_request
from didi_core.shards import Shard, parse_shard
from didi_core.training.devices import check_precision, resolve_device
from didi_protein.design_files import DesignFiles
from didi_protein.design_records import (
    Decoder,
    DesignRecord,
    design_records,
    encode_patterns,
    length_limit,
)
from didi_protein.design_summary import (
    deciding_settings,
    header_of,
    result_of,
    summary_of,
)
from didi_protein.fasta import ProteinRecord
from didi_protein.generate import GenerateOptions, GenerateResult
from didi_protein.models import open_model
from didi_protein.properties import repeat_fraction
from didi_protein.residue_bias import check_exclude, log_bias, read_bias

_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


def run_generate(options: GenerateOptions, model: LoadedModel | None) -> GenerateResult:
    """See `didi_protein.generate.generate`."""
    check_options(options)
    kind, shard = find_sampler(options.sampler), parse_shard(options.shard)
    if options.steps is None:
        options = replace(options, steps=kind.default_steps)
    exclude, nats = check_exclude(options.exclude), read_bias(options.bias)
    check_settings(kind, _sample_settings(options, None))
    files = DesignFiles(options.out)
    files.check(resume=options.resume, overwrite=options.overwrite)
    model = model or _open(options)
    options = replace(options, reveal_exponent=_reveal_exponent(options, kind, model))
    records = design_records(
        options.num, options.length, options.template, options.seed, length_limit(model)
    )
    decided = deciding_settings(options, records, exclude, nats, model)
    if options.resume and (done := files.finished_summary(decided)) is not None:
        return result_of(files, done)
    bias = log_bias(exclude, nats, model.vocabulary)
    request = _request(options, shard, records, model, _sample_settings(options, bias))
    with PeakMemory(next(model.denoiser.parameters()).device) as peak:
        finished, seconds = _sample(options, kind, model, request, files, decided)
    cost = {"seconds": seconds, "peak_memory": peak.bytes}
    return _write(options, model, request, records, finished, cost, files, decided)


def check_options(options: GenerateOptions) -> None:
    """Collect what is wrong with single values, and show it together.

    Raises:
        UserError: naming each flag and value.
    """
    wrong = []
    if options.num < 1:
        wrong.append(f"--num {options.num} must be at least 1")
    if options.batch_tokens < 1:
        wrong.append(f"--batch-tokens {options.batch_tokens} must be at least 1")
    if not 0 <= options.seed < 2**63:
        wrong.append(f"--seed {options.seed} must be from 0 to 2^63 - 1")
    if not (math.isfinite(options.temperature) and options.temperature > 0):
        wrong.append(f"--temperature {options.temperature:g} must be above 0")
    if not 0 < options.top_p <= 1:
        wrong.append(f"--top-p {options.top_p:g} must be above 0 and at most 1")
    if options.max_repeat is not None and not 0 <= options.max_repeat <= 1:
        wrong.append(f"--max-repeat {options.max_repeat:g} must be from 0 to 1")
    exponent = options.reveal_exponent
    if exponent is not None and not (math.isfinite(exponent) and exponent > 0):
        wrong.append(f"--reveal-exponent {exponent:g} must be above 0")
    if exponent not in (None, 1.0) and options.grid == "published":
        wrong.append("--reveal-exponent and --grid published exclude each other")
    if options.draws not in ("float64", "float32"):
        wrong.append(f"--draws {options.draws} must be float64 or float32")
    if options.grid not in ("exact", "published"):
        wrong.append(f"--grid {options.grid} must be exact or published")
    if wrong:
        raise UserError("; ".join(wrong) + ".")
    check_precision(options.precision)


def _open(options: GenerateOptions) -> LoadedModel:
    device = resolve_device(options.device)
    dtype = _DTYPES[options.precision]
    return open_model(options.model, device, offline=options.offline, dtype=dtype)


def _sample_settings(options: GenerateOptions, bias: torch.Tensor | None) -> SampleSettings:
    exponent = options.reveal_exponent
    return SampleSettings(
        steps=options.steps,
        seed=options.seed,
        grid=options.grid,
        reveal_exponent=1.0 if exponent is None else exponent,
        draw=DrawSettings(options.temperature, options.top_p, bias, options.draws),
    )


def _reveal_exponent(options: GenerateOptions, kind: SamplerKind, model: LoadedModel) -> float:
    """The grid's exponent: as asked, else as the model was distilled for, else even."""
    if options.reveal_exponent is not None:
        return options.reveal_exponent
    if options.grid == "published" or not kind.reveals_on_grid:
        return 1.0
    return float(model.config.get("didi", {}).get("reveal_exponent", 1.0))


def _request(
    options: GenerateOptions,
    shard: Shard,
    records: Sequence[DesignRecord],
    model: LoadedModel,
    settings: SampleSettings,
) -> Request:
    return Request(
        rows=encode_patterns(records, model.vocabulary),
        settings=settings,
        batch_tokens=options.batch_tokens,
        shard=shard,
        rule=_repeat_rule(options.max_repeat, Decoder(model.vocabulary)),
        unique=options.unique,
    )


def _repeat_rule(max_repeat: float | None, decode: Decoder) -> Rule:
    if max_repeat is None:
        return accept_all

    def refuse_repeats(ids: list[int]) -> str | None:
        share = repeat_fraction(decode(ids))
        return f"repeat fraction {share:.3f} above {max_repeat:g}" if share > max_repeat else None

    return refuse_repeats


def _sample(
    options: GenerateOptions,
    kind: SamplerKind,
    model: LoadedModel,
    request: Request,
    files: DesignFiles,
    decided: dict[str, Any],
) -> tuple[list[Finished], float]:
    """Results in record order, and the seconds they took."""
    engine = build_engine(
        build_predictor(model),
        lambda predictor: kind.build(predictor, model, options.sampler_options),
    )
    partial = files.open_partial(decided, resume=options.resume)
    run_request(request, engine, partial, quiet=options.quiet)
    return sorted(partial.rows, key=lambda row: row.record), partial.seconds


def _write(
    options: GenerateOptions,
    model: LoadedModel,
    request: Request,
    records: Sequence[DesignRecord],
    finished: Sequence[Finished],
    cost: Mapping[str, float | None],
    files: DesignFiles,
    decided: dict[str, Any],
) -> GenerateResult:
    decode = Decoder(model.vocabulary)
    designs = [
        ProteinRecord(
            records[row.record].id,
            decode(row.ids),
            header_of(options, records[row.record], row),
        )
        for row in finished
        if row.failure is None
    ]
    summary = summary_of(records, finished, cost, decided, request.shard, model)
    files.write(designs, summary)
    return result_of(files, summary)
