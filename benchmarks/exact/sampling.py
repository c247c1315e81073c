"""Draw a set of samples from a model folder, or from the exact conditionals."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.exact.exact_predictor import ExactPredictor
from benchmarks.exact.process import ExactProcess, Ranks
from benchmarks.exact.variants import Variant
from didi_core.sampling.ancestral import ancestral, first_hitting
from didi_core.sampling.batching import plan_batches
from didi_core.sampling.filling import build_prior
from didi_core.sampling.folder_defaults import stored_reveal_exponent
from didi_core.sampling.registry import build_predictor, check_settings, find_sampler
from didi_core.sampling.request import DrawSettings, Sampler, SampleSettings
from didi_protein.models.load import open_model
from didi_protein.sequences.alphabet import PROTEIN

BATCH_TOKENS = 8_192
LENGTH_SEED = 5_000_011
_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class SampleSet:
    """Samples and their cost."""

    sequences: list[Ranks]
    mean_calls: float
    """Network calls a sequence."""
    mean_discriminator_calls: float
    mean_head_passes: float
    """Passes of a joint head a sequence: of what a step reveals alone."""
    core_minutes: float
    settings: SampleSettings


def lengths_of(process: ExactProcess, count: int) -> list[int]:
    """Lengths drawn as the process draws them; the same for every model, so that cells pair up."""
    return process.sample(count, LENGTH_SEED).lengths.tolist()


def sample_model(
    folder: Path,
    lengths: Sequence[int],
    steps: int | None,
    seed: int,
    variant: Variant,
    temperature: float = 1.0,
) -> SampleSet:
    """Samples of a trained model; `steps` None is its limit, one token a call."""
    model = open_model(folder, dtype=_DTYPES[variant.precision])
    kind = find_sampler("first-hitting" if steps is None else variant.sampler)
    exponent = variant.reveal_exponent
    settings = SampleSettings(
        steps=steps,
        seed=seed,
        reveal_exponent=exponent or stored_reveal_exponent("exact", kind, model),
        draw=DrawSettings(temperature=temperature),
    )
    check_settings(kind, settings)
    return fill_set(kind.build(build_predictor(model), model, variant.options), lengths, settings)


def sample_exact(
    process: ExactProcess, lengths: Sequence[int], steps: int | None, seed: int, variant: Variant
) -> SampleSet:
    """Samples by the exact conditionals: all that is lost is lost by drawing independently."""
    predictor = ExactPredictor(process, PROTEIN)
    sampler = first_hitting(predictor) if steps is None else ancestral(predictor)
    exponent = variant.reveal_exponent or 1.0
    settings = SampleSettings(steps=steps, seed=seed, reveal_exponent=exponent)
    return fill_set(sampler, lengths, settings)


def fill_set(sampler: Sampler, lengths: Sequence[int], settings: SampleSettings) -> SampleSet:
    """One sequence of each length; record i draws from the same keys whatever the batches."""
    rows = [PROTEIN.frame([PROTEIN.mask_id] * length) for length in lengths]
    ranks = PROTEIN.rank_of_id.numpy()
    sequences: list[Ranks] = [np.empty(0, int)] * len(rows)
    calls, discriminator_calls, passes = (np.zeros(len(rows)) for _ in range(3))
    started = time.process_time()
    for records in plan_batches([len(row) for row in rows], BATCH_TOKENS):
        prior = build_prior([rows[i] for i in records], records, PROTEIN, "cpu")
        sampled = sampler.sample(prior, settings)
        for record, ids in zip(records, sampled.tokens.numpy(), strict=True):
            sequences[record] = ranks[ids[1 : len(rows[record]) - 1]]
        calls[records] = sampled.denoiser_calls.numpy()
        discriminator_calls[records] = sampled.discriminator_calls.numpy()
        if sampled.head_passes is not None:
            passes[records] = sampled.head_passes.numpy()
    return SampleSet(
        sequences,
        float(calls.mean()),
        float(discriminator_calls.mean()),
        float(passes.mean()),
        (time.process_time() - started) / 60,
        settings,
    )
