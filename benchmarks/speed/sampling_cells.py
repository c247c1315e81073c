"""Sampling, timed: our sampler, its bare network calls, and the published loops' plain form."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed.alternate import Contestants, alternate
from benchmarks.speed.layouts import LAYOUTS
from benchmarks.speed.plain_samplers import Network, plain_ancestral, plain_dplm
from benchmarks.speed.plan import Cell
from didi_core.data.vocabulary import Vocabulary
from didi_core.models.compiled import compiled_blocks
from didi_core.models.denoiser import Denoiser
from didi_core.sampling.ancestral import ancestral
from didi_core.sampling.batching import plan_batches
from didi_core.sampling.dplm import DplmSampler
from didi_core.sampling.filling import build_prior
from didi_core.sampling.predictor import Prediction, Predictor
from didi_core.sampling.request import Prior, Sampler, SampleSettings
from didi_core.training.devices import TORCH_TYPES

BATCH_TOKENS = 16_384
SAMPLERS: dict[str, Callable[[Predictor], Sampler]] = {"ancestral": ancestral, "dplm": DplmSampler}


@dataclass(frozen=True)
class Recorder:
    """A predictor that keeps what it was asked."""

    inner: Predictor
    asked: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    def log_probs(self, tokens: Tensor, lengths: Tensor, at: Tensor, *more: Any) -> Tensor:
        self.asked.append((tokens.clone(), lengths, at.clone()))
        return self.inner.log_probs(tokens, lengths, at, *more)

    def predict(self, tokens: Tensor, lengths: Tensor, at: Tensor, *more: Any) -> Prediction:
        self.asked.append((tokens.clone(), lengths, at.clone()))
        return self.inner.predict(tokens, lengths, at, *more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def sampling_cell(cell: Cell, device: torch.device, precision: str) -> dict[str, Any]:
    """The record of a cell of kind step, set or compile."""
    layout = LAYOUTS[cell.layout]
    network = layout.build().to(device, TORCH_TYPES[precision])
    predictor = Predictor(network, layout.vocabulary)
    priors = build_priors(cell, layout.vocabulary, device)
    settings = SampleSettings(steps=cell.steps)
    recorder = Recorder(predictor)
    _sample(SAMPLERS[cell.task](recorder), priors, settings)
    sampler = SAMPLERS[cell.task](predictor)
    contestants: dict[str, Callable[[], object]] = {
        "ours": partial(_sample, sampler, priors, settings)
    }
    compiled: AbstractContextManager[None] = nullcontext()
    if cell.kind == "step":
        contestants["bare"] = partial(_replay, network, recorder.asked)
        ratios = [("ours", "bare")]
    elif cell.kind == "compile":
        other = Predictor(copy.deepcopy(network), layout.vocabulary)
        compiled = compiled_blocks(other.denoiser, "compile")
        contestants["compiled"] = partial(_sample, SAMPLERS[cell.task](other), priors, settings)
        ratios = [("ours", "compiled")]
    else:
        contestants |= plain_contestants(cell, network, layout.vocabulary, priors)
        ratios = [(name, "ours") for name in contestants if name != "ours"]
    with compiled:
        record = alternate(contestants, cell.repeats, device).record(ratios)
    return record | {"work": _work(cell, recorder, priors)}


def build_priors(cell: Cell, vocabulary: Vocabulary, device: torch.device) -> list[Prior]:
    """The batches of the cell's rows, all masked: the same for every contestant."""
    low, high = cell.lengths
    gaps = max(1, cell.rows - 1)
    lengths = [low + (high - low) * row // gaps for row in range(cell.rows)]
    rows = [vocabulary.frame([vocabulary.mask_id] * length) for length in lengths]
    plan = plan_batches([len(row) for row in rows], BATCH_TOKENS)
    return [build_prior([rows[i] for i in batch], batch, vocabulary, device) for batch in plan]


def plain_contestants(
    cell: Cell, network: Denoiser, vocabulary: Vocabulary, priors: list[Prior]
) -> Contestants:
    """The published loop on the same batches, for ancestral also with its cache."""

    def logits(tokens: Tensor, lengths: Tensor) -> Tensor:
        return network.head(network.trunk(tokens, lengths))

    def run(loop: Callable[..., Tensor], **more: bool) -> None:
        asked: Network = logits
        for prior in priors:
            loop(asked, prior.batch.tokens, prior.batch.lengths, vocabulary, cell.steps, **more)

    if cell.task == "dplm":
        return {"plain": partial(run, plain_dplm)}
    cached = partial(run, plain_ancestral, cached=True)
    return {"plain": partial(run, plain_ancestral), "plain cached": cached}


def _sample(sampler: Sampler, priors: list[Prior], settings: SampleSettings) -> None:
    for prior in priors:
        sampler.sample(prior, settings)


@torch.no_grad()
def _replay(network: Denoiser, asked: list[tuple[Tensor, Tensor, Tensor]]) -> None:
    """The same trunk and head on the same rows and positions, and nothing else."""
    for tokens, lengths, at in asked:
        network.logits_at(tokens, lengths, at)


def _work(cell: Cell, recorder: Recorder, priors: list[Prior]) -> dict[str, float]:
    """What was computed, which explains the ratios."""
    tokens = sum(prior.batch.tokens.numel() for prior in priors)
    return {
        "batches": len(priors),
        "tokens": sum(int(prior.batch.lengths.sum()) for prior in priors),
        "calls": len(recorder.asked),
        "share_of_plain_trunk": sum(t.numel() for t, _, _ in recorder.asked)
        / (tokens * cell.steps),
        "share_of_plain_head": sum(int(at.sum()) for _, _, at in recorder.asked)
        / (tokens * cell.steps),
    }
