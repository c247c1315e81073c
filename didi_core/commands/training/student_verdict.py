"""What a distillation came to, in a sentence: the student beside its teacher on few quick samples.

Both draw samples of the same lengths, the student with what its folder names, the teacher in as
many steps and, where that is quick, at its own limit of one call a token. The measure is the
teacher's likelihood bound on each sample, in nats a token, and the interval is that of the mean
difference of pairs of equal length (bootstrap, 95%): `level` where it covers zero.

A low bound alone is no quality: who repeats what the teacher finds likeliest has the lowest. So a
student whose pooled 3-mers have less entropy, with its whole interval, is called less varied, never
better. The teacher is no independent judge, and 64 samples are few: `compare` says more.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from didi_core.cli.next_command import fresh_folder
from didi_core.data.vocabulary import Vocabulary
from didi_core.diffusion.draws import Stream, keyed_generator
from didi_core.diffusion.process import DEFAULT_PROCESS
from didi_core.evaluation.bootstrap import Interval, bootstrap_mean
from didi_core.evaluation.bounds import bound_samples
from didi_core.evaluation.entropy import pooled_kmer_entropy
from didi_core.models.folder import LoadedModel
from didi_core.progress import readable_time
from didi_core.sampling.batching import plan_batches
from didi_core.sampling.filling import Engine, build_engine, planned_calls
from didi_core.sampling.folder_defaults import (
    choose_sampler,
    folder_options,
    stored_reveal_exponent,
)
from didi_core.sampling.registry import build_predictor, build_sampler, find_sampler
from didi_core.sampling.request import SampleSettings
from didi_core.sampling.time_estimate import estimate_seconds

SAMPLES = 64
"""Of each side."""
MOST_SECONDS = 60.0
"""That all samples may take, by an estimate: what takes longer is left out."""
BOUND_DRAWS = 4
"""Orders of each sample in its bound."""
BATCH_TOKENS = 8_192
COMPARED = 2048
"""Samples of each model by the command that compares properly."""
LESS_VARIED = "likelier but less varied than"
KMER = 3
LIMIT = "first-hitting"
"""The exact sampler of masked models, one call a token."""


@dataclass(frozen=True)
class Side:
    """A model ready to draw its samples."""

    name: str
    """What the sentence calls it."""
    engine: Engine
    settings: SampleSettings

    @classmethod
    def of(
        cls, name: str, model: LoadedModel, steps: int, seed: int, sampler: str | None = None
    ) -> "Side":
        """Make a side.

        Args:
            sampler: what it is drawn with; None: what its folder names.
        """
        kind = choose_sampler(None, "exact", model) if sampler is None else find_sampler(sampler)
        options = folder_options(kind, model) if sampler is None else {}
        settings = SampleSettings(
            steps=steps if kind.takes_steps else None,
            seed=seed,
            reveal_exponent=stored_reveal_exponent("exact", kind, model),
        )
        engine = build_engine(
            build_predictor(model), lambda predictor: build_sampler(kind, predictor, model, options)
        )
        return cls(name, engine, settings)

    def seconds(self, rows: Sequence[Sequence[int]]) -> float:
        """Estimate how long its samples take."""
        batches = [[rows[i] for i in batch] for batch in _batches(rows)]
        calls = [planned_calls(self.engine, each, self.settings) for each in batches]
        return estimate_seconds(self.engine.predictor, batches, calls)

    def draw(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """Draw a sample for each row of masks [rows], framing left out.

        Raises:
            RuntimeError: memory does not hold one.
        """
        samples: dict[int, list[int]] = {}
        for batch in _batches(rows):
            filled = self.engine.fill([rows[i] for i in batch], batch, self.settings)
            for each in filled:
                if each.failure is not None:
                    raise RuntimeError(each.failure)
                samples[each.record] = _unframed(each.ids, self.engine.vocabulary)
        return [samples[place] for place in range(len(rows))]


@dataclass(frozen=True)
class Drawn:
    """What is known of one side's samples."""

    nats: NDArray[np.float64]
    """[samples]: the teacher's bound, in nats a token."""
    entropy: Interval
    """Of their pooled 3-mers, in nats."""


def student_verdict(
    student: LoadedModel,
    teacher: LoadedModel,
    lengths: Sequence[int],
    steps: int,
    seed: int,
    unit: str,
) -> str:
    """Return the sentence, or why there is none.

    Args:
        student: as its folder has it.
        lengths: those of the reference, of which the samples' are drawn.
        steps: that the student was distilled for.
        unit: what a token is called.
    """
    rows = _rows(lengths, teacher.vocabulary, seed)
    own = Side.of("the student", student, steps, seed)
    sides = [Side.of(f"its teacher in {steps}", teacher, steps, seed)]
    seconds = own.seconds(rows) + sides[0].seconds(rows)
    if seconds > MOST_SECONDS:
        return f"No quick verdict: {SAMPLES} samples of each take about {readable_time(seconds)}."
    if teacher.process == DEFAULT_PROCESS:
        limit = Side.of("its teacher's limit", teacher, steps, seed, LIMIT)
        sides += [limit] * (seconds + limit.seconds(rows) <= MOST_SECONDS)
    first = _measure(own.draw(rows), teacher, seed)
    found = [(side.name, _measure(side.draw(rows), teacher, seed)) for side in sides]
    beside = ", ".join(judged(name, first, other) for name, other in found)
    entropies = " and ".join(f"{other.entropy.mean:.2f}" for _, other in found)
    # A cooler teacher is likelier and less varied, too.
    open_question = " Likelier and less varied is no proof: compare with --temperatures."
    return (
        f"Quick verdict: in {steps} steps the student is {beside} (teacher's bound on {SAMPLES} "
        f"samples of each, nats a {unit}; entropy of 3-mers {first.entropy.mean:.2f} against "
        f"{entropies} nats).{open_question if LESS_VARIED in beside else ''}"
    )


def judged(name: str, student: Drawn, other: Drawn) -> str:
    """Return better than, level with or worse than `name`, with the mean difference."""
    difference = bootstrap_mean(student.nats - other.nats)
    low, high = difference.low, difference.high
    if low <= 0 <= high:
        word = "level with"
    elif low > 0:
        word = "worse than"
    elif student.entropy.high < other.entropy.low:
        word = LESS_VARIED
    else:
        word = "better than"
    return f"{word} {name} ({difference.mean:+.3f}, 95% {low:+.3f} to {high:+.3f})"


def comparison_seconds(
    student: LoadedModel, teacher: LoadedModel, lengths: Sequence[int], steps: int, seed: int
) -> float:
    """Estimate how long the samples of `compare_command` take, by a few calls of each model."""
    rows = _rows(lengths, teacher.vocabulary, seed)
    sides = [Side.of("", student, steps, seed), Side.of("", teacher, steps, seed)]
    if teacher.process == DEFAULT_PROCESS:
        sides.append(Side.of("", teacher, steps, seed, LIMIT))
    return sum(side.seconds(rows) for side in sides) * COMPARED / SAMPLES


def compare_command(program: str, teacher: str, student: str, steps: int, lengths: str) -> str:
    """Return the command that compares properly.

    Args:
        lengths: flags that ask for sequences as long as the reference's; may be empty.
    """
    models = ["--teacher", teacher, "--students", student, "--methods", ""]
    many = ["--samplers", "own", "--steps", str(steps), "--num", str(COMPARED)]
    out = shlex.join(["--out", str(fresh_folder(Path(f"{student}-compared")))])
    return f"{shlex.join([program, 'compare', *models, *many])}{lengths} {out}"


def _rows(lengths: Sequence[int], vocabulary: Vocabulary, seed: int) -> list[list[int]]:
    """Draw the lengths of the samples, and return framed rows of masks."""
    generator = keyed_generator(seed, Stream.LENGTH, 0)
    chosen = torch.randint(len(lengths), (SAMPLES,), generator=generator)
    return [vocabulary.frame([vocabulary.mask_id] * int(lengths[i])) for i in chosen]


def _batches(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    return plan_batches([len(row) for row in rows], BATCH_TOKENS)


def _measure(samples: Sequence[list[int]], teacher: LoadedModel, seed: int) -> Drawn:
    vocabulary = teacher.vocabulary
    device = next(teacher.denoiser.parameters()).device
    found = bound_samples(
        *(teacher.denoiser, vocabulary, samples),
        process=teacher.process,
        draws=BOUND_DRAWS,
        seed=seed,
        device=device,
    )
    entropy = pooled_kmer_entropy(samples, KMER, vocabulary.size, seed)
    return Drawn(found.per_sequence() / found.lengths, entropy)


def _unframed(ids: Sequence[int], vocabulary: Vocabulary) -> list[int]:
    first = int(vocabulary.bos_id is not None)
    return list(ids[first : len(ids) - int(vocabulary.eos_id is not None)])
