"""What a set of designs looks like in space: diversity, clusters and novelty of their structures.

The structures are those of the column `pdb_file`: predicted by `--fold`, or given as input.
"""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from Bio.PDB.Chain import Chain

from didi_core.errors import UserError
from didi_core.evaluation.bootstrap import bootstrap_mean
from didi_core.io.files import shown
from didi_core.progress import progress_bar
from didi_protein.scoring.rows import Row
from didi_protein.similarity import foldseek, tm_score
from didi_protein.similarity.tm_score import Trace
from didi_protein.structures.parse import STRUCTURE_SUFFIXES, alpha_trace, parse_structure
from didi_protein.structures.read import CHAIN_COLUMN, file_of_cell
from didi_protein.structures.secondary import HELIX, STRAND, secondary_structure

CLUSTER_COLUMN = "structure_cluster"
REFERENCE_COLUMN = "max_reference_tm"


@dataclass(frozen=True)
class StructureMeasures:
    """Figures of the set, and what they mean."""

    figures: dict[str, Any] = field(default_factory=dict)
    """As under `set` in the summary."""
    definitions: dict[str, str] = field(default_factory=dict)
    """With version and flags."""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StructureRequest:
    """What is to be measured."""

    table: Path
    """Where the table will stand: `pdb_file` is relative to its folder."""
    reference: Path | None
    """Of `--reference`; novelty is measured where it is a folder of structures."""
    max_pairs: int
    seed: int
    threads: int | None
    whole_set: bool
    """Whether the rows are all of the request: pairs and clusters of a shard mean nothing."""
    quiet: bool


def measure_structures(rows: Sequence[Row], request: StructureRequest) -> StructureMeasures:
    """Fill in `max_reference_tm` and `structure_cluster` of the rows, and measure the set.

    Rows without a structure are left out.

    Raises:
        UserError: Foldseek failed, or a structure that a row names cannot be read.
    """
    placed = [(row, chain) for row in rows if (chain := chain_of(row, request.table)) is not None]
    if not placed:
        return StructureMeasures()
    members, chains = [row for row, _ in placed], [chain for _, chain in placed]
    measures = StructureMeasures()
    _add_secondary(chains, request, measures)
    if request.whole_set and request.max_pairs and tm_score.is_available():
        _add_diversity(chains, request, measures)
    if foldseek.is_available():
        _add_foldseek(members, chains, request, measures)
    else:
        print(foldseek.ABSENT, file=sys.stderr)
    return measures


def holds_structures(path: Path | None) -> bool:
    """Whether a reference is a folder of structure files."""
    return path is not None and path.is_dir() and any(map(_is_structure, shown(path.iterdir())))


def _is_structure(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(STRUCTURE_SUFFIXES)


def chain_of(row: Row, table: Path) -> Chain | None:
    """Return the structure of a row; None where it has none.

    Args:
        table: whose folder `pdb_file` is relative to.

    Raises:
        UserError: the structure that the row names cannot be read.
    """
    values = row.as_dict()
    name = values.get("pdb_file")
    if name is None:
        return None
    path = file_of_cell(table.parent, name)
    model, _ = parse_structure(path, f"pdb_file of {row.record.id}:")
    chains = {chain.id: chain for chain in model}
    wanted = values.get(CHAIN_COLUMN, next(iter(chains)))
    if wanted not in chains:
        raise UserError(f"{path} holds no protein chain {wanted}, which {row.record.id} asks for.")
    return chains[wanted]


def _add_secondary(
    chains: Sequence[Chain], request: StructureRequest, measures: StructureMeasures
) -> None:
    """Measure how much of each chain is helix and strand."""
    states = [secondary_structure(alpha_trace(chain)[0]) for chain in chains]
    for name, state in (("helix_fraction", HELIX), ("strand_fraction", STRAND)):
        shares = [each.count(state) / len(each) for each in states]
        measures.figures[name] = bootstrap_mean(shares, request.seed).as_dict() | {"n": len(shares)}
        measures.definitions[name] = (
            f"share of residues in a {name.split('_')[0]} by TM-align's rule on alpha carbons, "
            "mean over structures"
        )


def _add_diversity(
    chains: Sequence[Chain], request: StructureRequest, measures: StructureMeasures
) -> None:
    traces = [Trace(*alpha_trace(chain)) for chain in chains]
    lengths = [len(trace) for trace in traces]
    planned = tm_score.plan_pairs(lengths, request.max_pairs, request.seed)
    total = sum(len(each.pairs) for each in planned)
    shown = nullcontext() if request.quiet else progress_bar("comparing structures", total)
    with shown as on_progress:
        found = tm_score.mean_pairwise_tm(traces, request.max_pairs, request.seed, on_progress)
    if found is not None:
        measures.figures["mean_pairwise_tm"] = found.as_dict()
        measures.definitions["mean_pairwise_tm"] = tm_score.definition(request.max_pairs)
        measures.versions["tmtools"] = tm_score.version()


def _add_foldseek(
    rows: Sequence[Row],
    chains: Sequence[Chain],
    request: StructureRequest,
    measures: StructureMeasures,
) -> None:
    measures.versions["foldseek"] = foldseek.version()
    if request.whole_set:
        clusters = foldseek.structure_clusters(chains, request.threads)
        for row, cluster in zip(rows, clusters, strict=True):
            row.values[CLUSTER_COLUMN] = cluster
        measures.figures["num_structure_clusters"] = len(set(clusters))
        measures.definitions["num_structure_clusters"] = foldseek.cluster_definition()
    if request.reference is not None and holds_structures(request.reference):
        found = foldseek.max_reference_tm(chains, request.reference, request.threads)
        for row, tm in zip(rows, found, strict=True):
            if tm is not None:
                row.values[REFERENCE_COLUMN] = tm
        measures.definitions[REFERENCE_COLUMN] = foldseek.search_definition(
            len(chains), request.reference
        )
