"""Fill one batch of sequences with a sampler, in halves where the device's memory is too small.

Random numbers are keyed by record, so that a halved batch draws from the same keys.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from didi_core.data.batches import pad_batch
from didi_core.data.vocabulary import Vocabulary
from didi_core.peak_memory import is_out_of_memory, release_cached_memory
from didi_core.sampling.forbidden import Forbidden, ForbiddenIds
from didi_core.sampling.predictor import AnyPredictor
from didi_core.sampling.request import (
    Prior,
    Sampled,
    SampledRecord,
    Sampler,
    SampleSettings,
)

OUT_OF_MEMORY = "out of memory, even alone"
"""Why a record failed that memory does not hold: it is not tried again."""


@dataclass
class CallMeter:
    """Rows that went through the network, for the progress bar."""

    rows: int = 0
    """Of this batch."""
    before: int = 0
    """Tokens planned for the batches before it."""
    width: int = 1
    """Tokens of each row of this batch, padding included."""
    show: Callable[[float], object] = float  # nothing is shown

    def start_batch(self, before: int, width: int) -> None:
        """Count from here, whatever the batches before came to."""
        self.rows, self.before, self.width = 0, before, width

    def __call__(self, rows: int) -> None:
        self.rows += rows
        self.show(self.before + self.rows * self.width)


@dataclass(frozen=True)
class Engine:
    """A sampler and the network behind it."""

    sampler: Sampler
    predictor: AnyPredictor
    meter: CallMeter

    @property
    def vocabulary(self) -> Vocabulary:
        return self.predictor.vocabulary

    @property
    def device(self) -> torch.device:
        return self.predictor.device

    def fill(
        self,
        rows: Sequence[Sequence[int]],
        keys: Sequence[int],
        settings: SampleSettings,
        forbidden: Sequence[ForbiddenIds] = (),
    ) -> list[SampledRecord]:
        """Return finished sequences, as `rows` are ordered, each numbered by its key.

        One that memory does not hold even alone has failed.

        Args:
            rows: framed ids with masks to fill.
            keys: key of each row's random numbers.
            forbidden: what positions of each row may not get; none: nothing is forbidden.
        """
        try:
            prior = build_prior(rows, keys, self.vocabulary, self.device)
            own = self._forbidding(settings, rows, keys, forbidden)
            return _unpack(self.sampler.sample(prior, own), rows, keys)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Here no handler is left whose traceback keeps the batch's tensors alive.
        release_cached_memory()
        if len(rows) == 1:
            return [SampledRecord(keys[0], list(rows[0]), 0, 0, 1, OUT_OF_MEMORY)]
        half = len(rows) // 2
        first, second = slice(None, half), slice(half, None)
        return [
            each
            for part in (first, second)
            for each in self.fill(rows[part], keys[part], settings, forbidden[part])
        ]

    def _forbidding(
        self,
        settings: SampleSettings,
        rows: Sequence[Sequence[int]],
        keys: Sequence[int],
        forbidden: Sequence[ForbiddenIds],
    ) -> SampleSettings:
        """Return the settings with what is forbidden in these rows."""
        if not any(forbidden):
            return settings
        width = max(map(len, rows))
        table = Forbidden.of(forbidden, keys, width, self.vocabulary, self.device)
        return replace(settings, draw=replace(settings.draw, forbidden=table))


def build_engine(predictor: AnyPredictor, build: Callable[[AnyPredictor], Sampler]) -> Engine:
    """Build an engine whose progress can be watched.

    Args:
        build: makes the sampler from the predictor it is to use.
    """
    meter = CallMeter()
    return Engine(build(replace(predictor, on_call=meter)), predictor, meter)


def build_prior(
    rows: Sequence[Sequence[int]],
    keys: Sequence[int],
    vocabulary: Vocabulary,
    device: torch.device | str,
) -> Prior:
    """Return the batch to fill: mask tokens are free, everything else is kept.

    Args:
        rows: framed ids; `vocabulary.mask_id` where something is to be generated.
        keys: key of each row's random numbers.
    """
    batch = pad_batch(rows, vocabulary)
    free = batch.maskable & (batch.tokens == vocabulary.mask_id)
    batch = replace(batch, maskable=free).to(device)
    return Prior(batch, torch.tensor(list(keys), dtype=torch.int64, device=device))


def planned_calls(engine: Engine, rows: Sequence[Sequence[int]], settings: SampleSettings) -> int:
    """Return the calls that rows need together at most, without redraws."""
    mask = engine.vocabulary.mask_id
    free = [list(row).count(mask) for row in rows]
    return sum(engine.sampler.num_steps(count, settings) for count in free)


def _unpack(
    sampled: Sampled, rows: Sequence[Sequence[int]], keys: Sequence[int]
) -> list[SampledRecord]:
    none = torch.zeros_like(sampled.denoiser_calls)
    extra = (none if each is None else each for each in (sampled.head_passes, sampled.guide_calls))
    columns = (sampled.tokens, sampled.denoiser_calls, sampled.discriminator_calls, *extra)
    found = zip(rows, keys, *(column.tolist() for column in columns), strict=True)
    return [
        # Without the padding on the right.
        SampledRecord(key, tokens[: len(row)], calls, discriminator, 1, None, head, guide)
        for row, key, tokens, calls, discriminator, head, guide in found
    ]
