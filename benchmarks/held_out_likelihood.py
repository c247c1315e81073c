"""Likelihood of whole clusters held out of a family, beside what counting columns reaches.

    python -m benchmarks.held_out_likelihood --models tiny,tiny-student --judges tiny-judge \
        --out benchmarks/results/held_out_likelihood.json

Nats a residue, lower is better, for each family that ships (`families-held-out`, clusters at 60%
identity of which training has no member) and for as many training sequences beside:

- `unigram`: residues by their frequencies in training,
- `columns`: each residue by the frequencies of its own column, the alignment given for free: more
  than any model of sequences is told,
- `profile`: the family's profile HMM, which has to find the alignment (bits of HMMER),
- a masked model: its any-order bound (an upper bound on the negative log-likelihood),
- a judge: exact, from left to right.

Intervals are 95%, by a bootstrap over sequences; relatives among them make them a little narrow.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from didi_core.cli.run import run_program
from didi_core.evaluation.bootstrap import Interval, bootstrap_ratio
from didi_core.evaluation.bounds import bound_samples
from didi_core.io.files import write_json
from didi_core.training.run_folder import git_revision, package_versions
from didi_protein.families.alignments import Alignment, read_alignment
from didi_protein.families.likelihood import profile_nats
from didi_protein.families.profile import GAP, FamilyProfile, encode_rows
from didi_protein.models.judges import open_judge
from didi_protein.models.load import open_model
from didi_protein.sequences.bundled import FAMILIES, HELD_OUT, bundled_sequences

DRAWS = 4
"""Orders of each sequence in a masked model's bound."""


@dataclass(frozen=True)
class Split:
    """Aligned sequences of a family, training or held out."""

    rows: NDArray[np.uint8]
    """[sequences, columns]: residues, and 20 for a gap."""
    sequences: Sequence[str]

    @classmethod
    def of(cls, alignment: Alignment) -> "Split":
        return cls(encode_rows(alignment.match_rows()), alignment.sequences())

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.array([len(each) for each in self.sequences])


def main(
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    models: Annotated[str, typer.Option(help="Masked models, between commas.")] = "tiny",
    judges: Annotated[str, typer.Option(help="Autoregressive ones.")] = "tiny-judge",
    seed: Annotated[int, typer.Option(help="Of orders, and of the bootstrap.")] = 0,
) -> None:
    """Measure every model on both families; write one JSON, print one table."""
    found: dict[str, dict[str, dict[str, object]]] = {}
    for family in FAMILIES:
        training, held_out = (
            Split.of(read_alignment(bundled_sequences(family + end)[0])) for end in ("", HELD_OUT)
        )
        few = np.random.default_rng(seed).permutation(len(training.rows))[: len(held_out.rows)]
        seen = Split(training.rows[few], [training.sequences[at] for at in few])
        profile = FamilyProfile.read(bundled_sequences(family)[0])
        found[family] = {}
        for name, split in (("held out", held_out), ("trained on", seen)):
            nats = counted(training, split)
            nats["profile"] = profile_nats(profile, split.sequences)
            nats |= {each: bound_of(each, split, seed) for each in filter(None, models.split(","))}
            nats |= {each: judged(each, split) for each in filter(None, judges.split(","))}
            of_set = {each: mean_of(values, split, seed) for each, values in nats.items()}
            found[family][name] = {each: asdict(value) for each, value in of_set.items()}
            for each, value in of_set.items():
                print(
                    f"{family} {name:11} {each:14} {value.mean:.3f} "
                    f"[{value.low:.3f}, {value.high:.3f}]  n = {len(split.rows):,}"
                )
    write_json(
        out,
        {"nats_per_residue": found, "draws": DRAWS, "seed": seed}
        | {"versions": package_versions(), "git_revision": git_revision()},
    )
    print(f"Wrote {out}.", file=sys.stderr)


def counted(training: Split, split: Split) -> dict[str, NDArray[np.float64]]:
    """Return the nats [sequences] of whole sequences by residue and by column frequencies."""
    overall = np.bincount(training.rows[training.rows != GAP], minlength=GAP)
    by_residue, by_column = np.log(overall / overall.sum()), column_log_probs(training.rows)
    columns, is_residue = np.arange(split.rows.shape[1]), split.rows != GAP
    residues = np.where(is_residue, split.rows, 0)
    return {
        "unigram": -np.where(is_residue, by_residue[residues], 0).sum(axis=1),
        "columns": -np.where(is_residue, by_column[columns, residues], 0).sum(axis=1),
    }


def column_log_probs(rows: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return log frequencies [columns, residues] of aligned rows [sequences, columns].

    One pseudo-count a column, spread over the 20 residues.
    """
    counts = np.stack([(rows == residue).sum(axis=0) for residue in range(GAP)], axis=1)
    return np.log((counts + 1 / GAP) / (counts.sum(axis=1, keepdims=True) + 1))


def bound_of(name: str, split: Split, seed: int) -> NDArray[np.float64]:
    """Return the bound [sequences], in nats of the whole sequence, of a masked model."""
    model = open_model(name)
    ids = [[model.vocabulary.id_of_token[each] for each in one] for one in split.sequences]
    samples = bound_samples(model.denoiser, model.vocabulary, ids, draws=DRAWS, seed=seed)
    return samples.per_sequence()


def judged(name: str, split: Split) -> NDArray[np.float64]:
    """Return the nats [sequences] of whole sequences under a judge."""
    return open_judge(name).nll(split.sequences) * split.lengths


def mean_of(nats: NDArray[np.float64], split: Split, seed: int) -> Interval:
    """Return nats a residue of the whole set."""
    return bootstrap_ratio(nats, split.lengths, seed=seed)


if __name__ == "__main__":
    app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
    app.command()(main)
    sys.exit(run_program(lambda: app(standalone_mode=False), goes_on=True))
