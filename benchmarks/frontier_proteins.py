"""Judge NLL against diversity for protein models: the frontier of `didi_core`, on real designs.

    python -m benchmarks.frontier_proteins --held-out families_valid.fasta.gz \
        --training families_train.fasta.gz --cells tiny:limit,tiny:8,tiny-student:8 \
        --temperatures 0.8,0.9,1.0,1.1 --num 512 --out benchmarks/results/frontier/bundled.json

The first cell is the baseline. Lengths are drawn as in the held-out set, the same for every cell
and temperature. Curves are compared at the pooled 3-mer entropy of the held-out set (cut to as many
sequences), which is resampled with them, and at its 4-mer entropy; or at --diversity. Every set has
its precision, recall and copies; at temperature 1 each cell also gets the k-mer distance and the
judge's gradient moment, from one half of the held-out set, beside the distance of the other half.
Sets are kept beside --out: the same command goes on, and other settings for the same --out are
refused.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.frontier_request import (
    Request,
    check_diversity,
    parse_cells,
    parse_temperatures,
)
from benchmarks.frontier_table import print_frontiers
from didi_core.cli.run import run_program
from didi_core.commands.comparing.sweep import reading_of
from didi_core.errors import UserError
from didi_core.evaluation.distances import kmer_distance
from didi_core.evaluation.frontier import Frontier, Level, trace_frontier
from didi_core.evaluation.frontier_plot import plot_frontiers
from didi_core.evaluation.frontier_record import frontier_record, write_frontiers
from didi_core.evaluation.gradient_moment import NUM_GROUPS, causal_token_loss, gradient_moment
from didi_core.evaluation.ratio import PooledKmerEntropy, Ratio
from didi_core.training.run_folder import git_revision, package_versions
from didi_protein.models.judges import Judge, open_judge
from didi_protein.scoring.set_measures import KMER, measure_set
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.sequences.training_data import read_training_sequences

GUARDS = ("precision", "recall", "copies")
"""What a temperature may cost, or buy, beside diversity; kept of every set."""
DIVERSITY = PooledKmerEntropy(KMER, len(CANONICAL_RESIDUES))
NGRAMS = PooledKmerEntropy(KMER + 1, len(CANONICAL_RESIDUES))
_RANKS = {residue: rank for rank, residue in enumerate(CANONICAL_RESIDUES)}


def main(
    held_out: Annotated[Path, typer.Option(help="Natural sequences kept from training.")],
    training: Annotated[Path, typer.Option(help="What the teacher was trained on.")],
    cells: Annotated[str, typer.Option(help="model:steps or model:limit; the first is the base.")],
    out: Annotated[Path, typer.Option(help="JSON to write; the figure goes beside it.")],
    temperatures: Annotated[str, typer.Option(help="Of the sweep.")] = "0.8,0.9,1.0,1.1",
    judge: Annotated[str, typer.Option(help="Autoregressive judge.")] = "tiny-judge",
    num: Annotated[int, typer.Option(help="Designs of a set.")] = 512,
    seed: Annotated[int, typer.Option(help="The same for every cell.")] = 11,
    precision: Annotated[str, typer.Option(help="Of the network; draws are float64.")] = "float32",
    diversity: Annotated[float | None, typer.Option(help="3-mer entropy to compare at.")] = None,
    shortest: Annotated[int, typer.Option(help="Residues.")] = 30,
    longest: Annotated[int, typer.Option(help="Residues.")] = 160,
) -> None:
    """Trace every cell's frontier and write one JSON and one figure."""
    named, sweep = parse_cells(cells), parse_temperatures(temperatures)
    if diversity is not None:
        check_diversity(diversity, KMER)
    natural = _sequences(held_out, shortest, longest)
    trained_on = _sequences(training, shortest, longest)
    if len(natural) < 2:
        raise UserError(
            f"--held-out {held_out}: {len(natural)} sequences of {shortest} to {longest} residues; "
            "two halves are compared: give more, or other --shortest and --longest."
        )
    if diversity is None and len(natural) < num:
        raise UserError(
            f"--num {num}: --held-out has {len(natural)}, and diversity depends on the size: give "
            f"--num {len(natural)} at most, or --diversity."
        )
    scratch = out.with_suffix(".sets")
    scratch.mkdir(parents=True, exist_ok=True)
    lengths = scratch / "lengths.fasta"
    lengths.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(natural)), encoding="utf-8")
    request = Request(named, open_judge(judge), lengths, num, seed, precision, scratch)
    frontiers = [_trace(cell, sweep, request) for cell in named]
    order = np.random.default_rng(seed).permutation(len(natural))
    data = [natural[i] for i in order]
    own, beside = (measure(_ids(data[:num])) for measure in (DIVERSITY, NGRAMS))
    level = Level(own, "that of held-out sequences", beside)
    if diversity is not None:
        level = Level(diversity, "--diversity")
    record = frontier_record(frontiers, level, frontiers[0].name)
    _add_guards(record, request, natural, trained_on)
    nll = float(request.judge.nll(data[:num]).mean())
    record["data"] = {"n": len(data[:num]), "diversity": own.value, "judge_nll": nll}
    record["beside"] = {
        cell: _beside(request.draw(cell, 1.0), data, trained_on, request.judge) for cell in named
    }
    record |= {"judge": judge, "versions": package_versions(), "git_revision": git_revision()}
    write_frontiers(out, record)
    # Fewer sequences are less varied: data then has no place beside the sets.
    marks = {"natural, held out": (own.value, nll)} if len(data) >= num else {}
    plot_frontiers(record, out.with_suffix(".png"), DIVERSITY.label, marks)
    print_frontiers(record, "3-mer entropy")
    print("\n".join(reading_of(record, "--held-out")), file=sys.stderr)
    print(f"Wrote {out} and {out.with_suffix('.png')}.", file=sys.stderr)


def _trace(cell: str, temperatures: Sequence[float], request: Request) -> Frontier:
    def judge(sequences: Sequence[str]) -> Ratio:
        return Ratio.mean_of(request.judge.nll(sequences))

    def diversity(sequences: Sequence[str]) -> Ratio:
        return DIVERSITY(_ids(sequences))

    settings = {"precision": request.precision, "draws": "float64", "seed": request.seed}

    def draw(temperature: float) -> list[str]:
        number = request.cells.index(cell) * len(temperatures) + temperatures.index(temperature)
        sets = f"[{number + 1}/{len(request.cells) * len(temperatures)}]"
        print(f"{sets} {cell} at temperature {temperature:g}", file=sys.stderr, flush=True)
        return request.draw(cell, temperature)

    def ngrams(sequences: Sequence[str]) -> Ratio:
        return NGRAMS(_ids(sequences))

    return trace_frontier(cell, draw, temperatures, judge, diversity, settings, ngrams)


def _add_guards(
    record: dict[str, Any], request: Request, natural: Sequence[str], trained_on: Sequence[str]
) -> None:
    for cell, frontier in record["frontiers"].items():
        for point in frontier["points"]:
            measured = measure_set(
                request.draw(cell, point["temperature"]),
                reference=trained_on,
                held_out=natural,
                training=trained_on,
                find_clusters=False,
            )
            point |= {name: measured.figures[name] for name in GUARDS}


def _beside(
    designs: Sequence[str], data: Sequence[str], trained_on: Sequence[str], judge: Judge
) -> dict[str, Any]:
    """All figures of a set, and its distances from data.

    Args:
        data: held out, in a random order. The judge has seen training data, whose distance from
            `data` would be no measure of noise.
    """
    measured = measure_set(
        designs, judge=judge, reference=trained_on, held_out=data, training=trained_on
    )
    figures = {k: v for k, v in measured.figures.items() if k != "residue_composition"}
    half = min(len(designs), len(data) // 2)  # distances are between sets of one size
    compared = designs[:half], data[:half], data[half : 2 * half]
    sets = [_ids(each) for each in compared]
    figures["kmer_distance"] = kmer_distance(*sets, KMER, DIVERSITY.vocabulary_size).as_dict()
    known = [[[judge.id_of_residue[r] for r in s] for s in each] for each in compared]
    groups = max(2, min(NUM_GROUPS, half // 4))
    moment = gradient_moment(judge.model, causal_token_loss(judge.bos_id), *known, groups)
    return figures | {"gradient_moment": moment.as_dict()}


def _sequences(path: Path, shortest: int, longest: int) -> list[str]:
    return [s for _, s in read_training_sequences(path, shortest, longest)]


def _ids(sequences: Sequence[str]) -> list[list[int]]:
    return [[_RANKS[residue] for residue in sequence] for sequence in sequences]


if __name__ == "__main__":
    app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
    app.command()(main)
    sys.exit(run_program(lambda: app(standalone_mode=False), goes_on=True))
