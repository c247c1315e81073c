"""What a run knows when its rows are done: what a summary is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from didi_core.io.shards import Shard
from didi_core.progress import counted
from didi_protein.scoring.embedding import EmbeddingMeasures
from didi_protein.scoring.scorers import Scorer
from didi_protein.scoring.set_measures import FEWEST_REFERENCES
from didi_protein.scoring.structure_measures import StructureMeasures
from didi_protein.similarity.neighbours import Neighbour


@dataclass(frozen=True)
class SummaryParts:
    """What a run knows when its rows are done."""

    table: pd.DataFrame
    scorers: Sequence[Scorer]
    reference: Sequence[str] | None
    only_parents: bool
    """Whether it holds nothing but parents of the designs: being near those is no merit."""
    parents: dict[str, dict[str, Any]]
    """Scores of the parents, by name."""
    training: Sequence[str] | None
    """Those of `--training`."""
    held_against: dict[str, Any] | None
    """What rows were looked for copies of; None where nothing was."""
    neighbours: Sequence[Neighbour | None] | None
    clusters: Mapping[float, Sequence[int]] | None
    """Of the rows that are ok, at each of `CLUSTER_IDENTITIES`; None where not computed."""
    structures: StructureMeasures
    embedding: EmbeddingMeasures
    family: dict[str, Any] | None
    """What `--family` found; None where it was not given."""
    shard: Shard
    places: Sequence[int]
    """Place of each row among all records."""
    num_records: int
    """Of the whole request."""

    @property
    def shares_mean_something(self) -> bool:
        """Whether precision and recall do: of a handful of natural sequences they are chance."""
        enough = len(self.reference or ()) >= FEWEST_REFERENCES
        return enough and not self.only_parents

    @property
    def about_shares(self) -> list[str]:
        """Say why precision and recall are left out, where there is a reference."""
        if self.reference is None or self.only_parents or self.shares_mean_something:
            return []
        return [
            f"Precision and recall are left out: --reference holds "
            f"{counted(len(self.reference), 'sequence')}, and shares of fewer than "
            f"{FEWEST_REFERENCES} are chance; nearest_reference_identity of each design stands in "
            "the table."
        ]
