"""What `--embedding` adds to the figures of a set: its distance to nature as a model sees both.

A sequence becomes the mean of a masked model's last hidden states over its residues. Distances
between two sets depend on their sizes, so all are between sets of one size n, drawn with the seed:
the designs, as many natural sequences, and the designs with their residues shuffled, each against
the same n natural sequences.

    measure_embedding(open_masked_scorer("tiny"), designs, natural).figures["fbd"]
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from didi_core.data.batches import pad_batch
from didi_core.errors import UserError
from didi_core.evaluation.judge import BATCH_TOKENS
from didi_core.evaluation.point_sets import (
    KERNEL_WIDTH,
    NUM_NEIGHBOURS,
    PointSetDistances,
    compare_point_sets,
)
from didi_core.peak_memory import is_out_of_memory, release_cached_memory
from didi_core.progress import progress_bar
from didi_core.sampling.batching import plan_batches
from didi_protein.models.judges import MaskedScorer, open_masked_scorer
from didi_protein.scoring.options import ScoreOptions
from didi_protein.scoring.own_shuffles import shuffle_of
from didi_protein.scoring.scorers import PseudoScorer, Scorer
from didi_protein.sequences.alphabet import CANONICAL_RESIDUES

MOST_SEQUENCES = 2_560
"""Of each set: twice the width of the 650M ESM-2, what its Frechet distance asks for."""
FIGURES = {
    "fbd": "fbd",
    "mmd": "mmd",
    "density": "density",
    "coverage": "coverage",
    "embedding_precision": "precision",
    "embedding_recall": "recall",
}
"""Names in the summary of what `PointSetDistances` holds; two are taken there by neighbours."""

TITLES = {
    "fbd": "Frechet distance (FBD)",
    "mmd": "MMD",
    "density": "density",
    "coverage": "coverage",
    "embedding_precision": "precision in the embedding",
    "embedding_recall": "recall in the embedding",
}
"""What the terminal calls them."""


@dataclass(frozen=True)
class EmbeddingMeasures:
    """Parts of a summary; nothing was measured where `record` is None."""

    record: dict[str, Any] | None = None
    """The model, its width, the number of sequences a side, and how many neighbours balls reach."""
    figures: Mapping[str, Any] = field(default_factory=lambda: dict.fromkeys(FIGURES))
    """Of the designs."""
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The same of natural and of shuffled sequences, by the names of the reference rows."""
    warnings: Sequence[str] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)


def open_embedder(
    options: ScoreOptions, scorers: Sequence[Scorer], device: torch.device
) -> MaskedScorer | None:
    """Open the model of `--embedding`, or take that of `--pseudo`; None where none is asked for.

    Raises:
        UserError: there is no such model, or nothing to compare with.
    """
    if options.reference is None and options.embedding not in (ScoreOptions.embedding, "none"):
        raise UserError(
            f"--embedding {options.embedding}: designs are compared with natural sequences in it; "
            "give some, --reference F.fasta."
        )
    if options.embedding == "none" or options.reference is None:
        return None
    for scorer in scorers:
        if isinstance(scorer, PseudoScorer) and scorer.scorer.name == options.embedding:
            return scorer.scorer
    return open_masked_scorer(
        options.embedding, device, offline=options.offline, flag="--embedding"
    )


@torch.no_grad()
def embed_sequences(
    model: MaskedScorer,
    sequences: Sequence[str],
    batch_tokens: int = BATCH_TOKENS,
    autocast: torch.dtype | None = None,
    on_progress: Callable[[float], object] = float,
) -> Float[np.ndarray, "n width"]:
    """Return the mean hidden state of each sequence, after the last norm, over its residues alone.

    Args:
        sequences: canonical residues, at least one, none longer than the model reads.
        batch_tokens: bound on rows times padded width of one forward pass.
        on_progress: called with the number of sequences done.
    """
    denoiser: Any = model.denoiser
    ids, device = model.vocabulary.id_of_token, next(denoiser.parameters()).device
    framed = [model.vocabulary.frame(ids[letter] for letter in each) for each in sequences]
    found: dict[int, np.ndarray] = {}
    for records in plan_batches([len(each) for each in framed], batch_tokens):
        batch = pad_batch([framed[record] for record in records], model.vocabulary).to(device)
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            hidden = denoiser.trunk(batch.tokens, batch.lengths)
        residues = batch.maskable.cpu().double().unsqueeze(-1)  # neither framing nor padding
        means = (hidden.float().cpu().double() * residues).sum(1) / residues.sum(1)
        found |= zip(records, means.numpy(), strict=True)
        on_progress(len(found))
    return np.stack([found[record] for record in range(len(framed))])


def measure_embedding(
    model: MaskedScorer,
    designs: Sequence[str],
    reference: Sequence[str],
    *,
    seed: int = 0,
    batch_tokens: int = BATCH_TOKENS,
    autocast: torch.dtype | None = None,
    quiet: bool = True,
) -> EmbeddingMeasures:
    """Hold designs against natural sequences in the embedding of a masked model.

    Args:
        designs: canonical residues; those longer than the model reads are left out.
        reference: natural sequences; equal ones count once, others' letters are left out. At most
            half of them serve as the reference, the rest are nature's own row.
        seed: of the draws, the shuffles and the bootstrap.
        quiet: show no progress.
    """
    sets = draw_sets(model, designs, reference, seed)
    n = len(sets["designs"])
    if n <= NUM_NEIGHBOURS:
        why = (
            f"--embedding {model.name}: not measured; it takes {NUM_NEIGHBOURS + 1} designs and "
            f"twice as many different natural sequences that it reads, and there are {n} a side."
        )
        return EmbeddingMeasures(warnings=[why])
    flat = [each for sequences in sets.values() for each in sequences]
    shown = nullcontext(float) if quiet else progress_bar("embedding", len(flat))
    with shown as on_progress:
        points = _embed(model, flat, batch_tokens, autocast, on_progress)
    if not np.isfinite(points).all():
        why = f"--embedding {model.name}: not measured; hidden states are not finite numbers."
        return EmbeddingMeasures(warnings=[f"{why} Try --precision float32."])
    parts = dict(zip(sets, np.split(points, len(sets)), strict=True))
    against = parts.pop("reference")
    rows = {
        name: _figures(compare_point_sets(part, against, seed=seed), n)
        for name, part in parts.items()
    }
    return EmbeddingMeasures(
        record={
            "name": model.name,
            "num_parameters": model.num_parameters,
            "width": points.shape[1],
            "n": n,
            "num_neighbours": NUM_NEIGHBOURS,
        },
        figures=rows.pop("designs"),
        rows=rows,
        warnings=_about_size(model.name, n, points.shape[1]),
        definitions=_definitions(model.name, n),
    )


def draw_sets(
    model: MaskedScorer, designs: Sequence[str], reference: Sequence[str], seed: int
) -> dict[str, list[str]]:
    """Draw four sets of one size: designs, two halves of nature, and the designs shuffled."""
    generator = np.random.default_rng(seed)
    limit, canonical = model.max_length or np.inf, set(CANONICAL_RESIDUES)
    drawn, natural = (
        [each[place] for place in generator.permutation(len(each))]
        for each in (
            [each for each in designs if len(each) <= limit],
            [
                each
                for each in dict.fromkeys(reference)
                if len(each) <= limit and set(each) <= canonical
            ],
        )
    )
    n = min(len(drawn), len(natural) // 2, MOST_SEQUENCES)
    return {
        "designs": drawn[:n],
        "reference": natural[:n],
        "natural_held_out": natural[n : 2 * n],
        "residue_shuffled": [shuffle_of(each, seed) for each in drawn[:n]],
    }


def _embed(
    model: MaskedScorer,
    sequences: Sequence[str],
    batch_tokens: int,
    autocast: torch.dtype | None,
    on_progress: Callable[[float], object],
) -> Float[np.ndarray, "n width"]:
    """Embed in batches, or, where memory does not suffice for those, one at a time."""
    try:
        return embed_sequences(model, sequences, batch_tokens, autocast, on_progress)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    release_cached_memory()
    return embed_sequences(model, sequences, 1, autocast, on_progress)


def _figures(distances: PointSetDistances, n: int) -> dict[str, Any]:
    return {
        name: getattr(distances, theirs).as_dict() | {"n": n} for name, theirs in FIGURES.items()
    }


def _about_size(name: str, n: int, width: int) -> list[str]:
    if n >= 2 * width:
        return []
    return [
        f"--embedding {name}: {n} sequences a side are few for {width} dimensions (twice as many "
        "would do): the Frechet distance is too high, nature's too. Compare it with nature's and "
        "with sets of this size, never with a printed one."
    ]


def _definitions(name: str, n: int) -> dict[str, str]:
    space = f"{n} designs and {n} natural sequences, each the mean last hidden state of {name}"
    jackknife = "interval: 1.96 standard errors of the jackknife over designs"
    balls = f"balls reach to the {NUM_NEIGHBOURS}th nearest sequence of their own set"
    return {
        "fbd": f"squared Frechet distance between {space}; {jackknife}",
        "mmd": f"1,000 times the squared maximum mean discrepancy between {space}: biased "
        f"estimate, Gaussian kernel of width {KERNEL_WIDTH:g}; {jackknife}",
        "density": f"balls of natural sequences about a design, over {NUM_NEIGHBOURS}; {balls}",
        "coverage": f"share of natural sequences whose ball holds a design; {balls}; {jackknife}",
        "embedding_precision": f"share of designs in a ball of a natural sequence; {balls}",
        "embedding_recall": f"share of natural sequences in a ball of a design; {balls}; "
        f"{jackknife}",
    }
