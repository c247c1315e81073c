"""Proteins of the study: families of 30 to 100 residues, the bundled judge, 3-mer entropy."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.side_by_side.corpus import DISTILL, PRETRAIN, Corpus, Verb, bound_of
from didi_core.evaluation.frontier import FrontierPoint
from didi_core.evaluation.ratio import PooledKmerEntropy, Ratio
from didi_protein.distill import distill
from didi_protein.generate import generate
from didi_protein.generating.options import GenerateOptions
from didi_protein.models.judges import Judge, open_judge
from didi_protein.models.writers import open_writer
from didi_protein.pretrain import pretrain
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.sequences.training_data import read_training_sequences
from didi_protein.settings import DistillSettings, PretrainSettings

SHORTEST, LONGEST = 30, 100
"""Forty families: few enough to be learnt in TEACHER_UPDATES by either process."""
TEACHER_UPDATES = 2_000


def lengths(held_out: Path, scratch: Path) -> str:
    """A FASTA whose lengths are drawn: what is held out, within the bounds."""
    kept = [s for _, s in read_training_sequences(held_out, SHORTEST, LONGEST)]
    path = scratch / "lengths.fasta"
    path.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(kept)), encoding="utf-8")
    return f"from:{path}"


@cache
def _judge() -> Judge:
    return open_judge("tiny-judge")


def judge(path: Path, temperature: float) -> FrontierPoint:
    """NLL, every design alike, and pooled 3-mer entropy."""
    designs = [sequence for _, sequence in read_training_sequences(path)]
    ranks = [[CANONICAL_RESIDUES.index(residue) for residue in each] for each in designs]
    nll = Ratio.mean_of(_judge().nll(designs))
    return FrontierPoint(temperature, nll, PooledKmerEntropy(3, len(CANONICAL_RESIDUES))(ranks))


def bound(folder: Path, data: Path) -> dict[str, Any]:
    """The likelihood, or its bound, of a model on the first sequences of a file."""
    ids_of_rank = np.array(PROTEIN.generable_ids)
    ids = [
        ids_of_rank[[CANONICAL_RESIDUES.index(residue) for residue in sequence]].tolist()
        for _, sequence in read_training_sequences(data, SHORTEST, LONGEST)
    ]
    return bound_of(open_writer(str(folder)), ids)


def write_natural(data: Path, out: Path, num: int, shuffled: bool) -> int:
    """The first sequences of the study's lengths, the residues of each in any order if asked."""
    kept = [list(s) for _, s in read_training_sequences(data, SHORTEST, LONGEST)][:num]
    if shuffled:
        random = np.random.default_rng(0)
        kept = [random.permutation(each).tolist() for each in kept]
    lines = (f">{i}\n{''.join(each)}\n" for i, each in enumerate(kept))
    out.write_text("".join(lines), encoding="utf-8")
    return len(kept)


PROTEINS = Corpus(
    verbs={
        "pretrain": Verb("pretrain", PretrainSettings, pretrain),
        "distill": Verb("distill", DistillSettings, distill),
    },
    train="protein/families_train.fasta.gz",
    held_out="protein/families_valid.fasta.gz",
    suffix=".fasta",
    told={
        "pretrain": (
            *PRETRAIN,
            "model.intermediate_size=512",
            "ema=0.99",
            f"max_length={LONGEST}",
            "too_long=drop",
        ),
        "distill": (f"max_length={LONGEST}", *DISTILL),
    },
    lengths=lengths,
    generate=lambda **flags: generate(GenerateOptions(**flags)),
    judge=judge,
    bound=bound,
    write_natural=write_natural,
    teacher_updates=TEACHER_UPDATES,
)
