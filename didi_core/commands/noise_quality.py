"""What a student's noise input brings: quality with it and without, for the model card.

Programs that open the folder as an ordinary masked model leave the noise out, so its reader must
know what is lost. The measure needs no model but the teacher: its likelihood bound on samples of
the student. It is no independent judge, and says nothing of copies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from didi_core.diffusion.draws import Stream, keyed_generator
from didi_core.evaluation.bounds import BoundEstimate, bound_samples
from didi_core.evaluation.entropy import pooled_kmer_entropy
from didi_core.models.folder import LoadedModel
from didi_core.models.noise import without_noise
from didi_core.sampling.ancestral import ancestral
from didi_core.sampling.batching import plan_batches
from didi_core.sampling.filling import Filler
from didi_core.sampling.predictor import Predictor
from didi_core.sampling.request import SampleSettings
from didi_core.vocabulary import Vocabulary

NUM_SAMPLES = 64
BATCH_TOKENS = 8_192
BOUND_DRAWS = 4
"""Times for each sample: the bound is an estimate."""


@dataclass(frozen=True)
class SampleQuality:
    """Of one set of samples."""

    bound: BoundEstimate
    """The teacher's bound on their likelihood, in nats a token."""
    kmer_entropy: float
    """Of their pooled 3-mers, in nats."""


def noise_section(
    student: nn.Module, teacher: LoadedModel, lengths: Sequence[int], settings: SampleSettings
) -> str:
    """A paragraph and a table for the student's card; nothing where it has no noise input.

    Args:
        lengths: those of the reference, of which the samples' are drawn.
        settings: the steps and the grid the student was distilled for.
    """
    denoiser, noise = without_noise(student)
    if noise is None:
        return ""
    chosen = torch.randint(
        len(lengths), (NUM_SAMPLES,), generator=keyed_generator(settings.seed, Stream.LENGTH, 0)
    )
    sizes = [int(lengths[i]) for i in chosen]
    predictors = {
        "with": Predictor(student, teacher.vocabulary, noise),
        "without": Predictor(denoiser, teacher.vocabulary),
    }
    rows = []
    for name, predictor in predictors.items():
        found = _quality(predictor, teacher.denoiser, sizes, settings)
        bound = f"{found.bound.nats_per_token:.3f} ± {1.96 * found.bound.standard_error:.3f}"
        rows.append(f"| {name} | {bound} | {found.kmer_entropy:.3f} |")
    return "\n".join(
        [
            "",
            "## Noise input",
            "",
            f"`noise.safetensors` holds a noise input (one latent a {noise.kind}). `generate` uses "
            "it; programs that know nothing of it leave it out. What that costs, on "
            f"{NUM_SAMPLES} samples in {settings.steps} ancestral steps with float64 draws (the "
            "bound is the teacher's own, not an independent judge's):",
            "",
            "| noise | teacher's bound, nats a token (95%) | entropy of 3-mers, nats |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _quality(
    predictor: Predictor, teacher: nn.Module, sizes: Sequence[int], settings: SampleSettings
) -> SampleQuality:
    vocabulary = predictor.vocabulary
    rows = [vocabulary.frame([vocabulary.mask_id] * size) for size in sizes]
    filler = Filler(ancestral(predictor), settings, vocabulary, predictor.device)
    samples: list[list[int]] = []
    for records in plan_batches([len(row) for row in rows], BATCH_TOKENS):
        filled = filler.fill([rows[i] for i in records], records)
        samples += [_unframed(each.ids, vocabulary) for each in filled if each is not None]
    bound = bound_samples(
        teacher, vocabulary, samples, draws=BOUND_DRAWS, seed=settings.seed
    ).estimate()
    entropy = pooled_kmer_entropy(samples, 3, vocabulary.size, settings.seed).mean
    return SampleQuality(bound, entropy)


def _unframed(ids: list[int], vocabulary: Vocabulary) -> list[int]:
    first = int(vocabulary.bos_id is not None)
    return ids[first : len(ids) - int(vocabulary.eos_id is not None)]
