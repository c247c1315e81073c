"""How near each row comes to what its model was trained on: memory, told from design.

A row is held against the sequences of `--training`, or else of what its own model says it was
trained on (`models.trained_on`): by alignment where these are at hand, else by the sketch in the
model's folder. A row with a parent is meant to be near it, so training sequences that are copies of
the parent, by the same rule, do not count.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from didi_core.errors import UserError
from didi_core.io.files import at_home
from didi_core.models.hub import TRAINING_SKETCH, find_folder
from didi_core.models.hub_names import may_be_hub_id
from didi_protein.models.load import BUNDLED_MODELS
from didi_protein.models.trained_on import data_of
from didi_protein.scoring.options import ScoreOptions
from didi_protein.scoring.rows import Row
from didi_protein.sequences.bundled import bundled_sequences
from didi_protein.sequences.fasta import ProteinRecord
from didi_protein.sequences.residues import is_canonical
from didi_protein.sequences.training_data import read_training_sequences
from didi_protein.similarity import mmseqs
from didi_protein.similarity.neighbours import (
    COPY_IDENTITY,
    NEIGHBOUR_IDENTITY,
    near_relatives,
    nearest_neighbours,
)
from didi_protein.similarity.sketch import Sketch

NONE = "none"
"""The value of `--training` that looks for no copies."""
PARENT_KEY = "parent"
"""Of a header: the id of the sequence that a design was made from, or the sequence itself."""
SHORTEST_PARENT = 20
"""Residues from which a parent that is no known id is a sequence."""


@dataclass(frozen=True)
class Nearest:
    """Of each sequence the training sequence that is most like it."""

    identity: NDArray[np.float64]
    """To it [sequences], 0 to 1; 0 where nothing is alike."""
    spacing: NDArray[np.float64]
    """Its own identity to the training sequence nearest to it [sequences]; NaN where it is no
    relative of the sequence."""


@runtime_checkable
class TrainingSource(Protocol):
    """What rows are held against."""

    @property
    def name(self) -> str:
        """What messages and the summary call it."""

    @property
    def by(self) -> str:
        """How: alignment or sketch."""

    @property
    def column(self) -> str:
        """The column that it fills."""

    def __len__(self) -> int:
        """Return the number of training sequences."""

    def nearest(self, sequences: Sequence[str], parents: Sequence[str | None]) -> Nearest:
        """Find the nearest of each sequence among those that are no copies of its parent."""


@dataclass(frozen=True)
class AlignedTraining:
    """Training sequences at hand."""

    name: str
    records: Sequence[tuple[str, str]]
    """Id and residues of each."""
    threads: int | None = None
    by: str = "alignment"
    column: str = "training_identity"

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def sequences(self) -> list[str]:
        """Return the residues of each."""
        return [sequence for _, sequence in self.records]

    def nearest(self, sequences: Sequence[str], parents: Sequence[str | None]) -> Nearest:
        known = list(dict.fromkeys(each for each in parents if each is not None))
        relatives = near_relatives(known, self.sequences, COPY_IDENTITY, self.threads)
        copies_of = dict(zip(known, relatives, strict=True))
        search = partial(nearest_neighbours, threads=self.threads, near_only=True)
        found = search(
            sequences,
            self.sequences,
            excluded=[copies_of[each] if each else frozenset() for each in parents],
        )
        places = [
            -1 if each is None or each.identity < NEIGHBOUR_IDENTITY else each.index
            for each in found
        ]
        distinct = sorted(set(places) - {-1})
        own = search(
            [self.sequences[place] for place in distinct],
            self.sequences,
            excluded=[frozenset([place]) for place in distinct],
        )
        spacing_of = {
            place: each.identity if each else 0.0 for place, each in zip(distinct, own, strict=True)
        }
        return Nearest(
            np.array([0.0 if each is None else each.identity for each in found]),
            np.array([spacing_of.get(place, np.nan) for place in places]),
        )


@dataclass(frozen=True)
class SketchedTraining:
    """The sketch of training sequences."""

    name: str
    sketch: Sketch
    by: str = "sketch"
    column: str = "training_identity_estimate"

    def __len__(self) -> int:
        return len(self.sketch)

    def nearest(self, sequences: Sequence[str], parents: Sequence[str | None]) -> Nearest:
        queries = Sketch.of(sequences)
        identity = np.zeros(len(queries))
        places = np.zeros(len(queries), dtype=np.int64)
        for parent in dict.fromkeys(parents):
            rows = np.array([each == parent for each in parents], dtype=bool)
            kept = np.arange(len(self.sketch))
            if parent is not None:
                kept = kept[self.sketch.identities(Sketch.of([parent])) < COPY_IDENTITY]
            identity[rows], near = self.sketch.only(kept).nearest(queries.only(rows))
            places[rows] = kept[near] if len(kept) else 0
        relative = identity >= NEIGHBOUR_IDENTITY
        spacing = np.full(len(queries), np.nan)
        near = places[relative]
        spacing[relative], _ = self.sketch.nearest(self.sketch.only(near), left_out=near)
        return Nearest(identity, spacing)


@dataclass(frozen=True)
class TrainingSources:
    """What each row is held against."""

    of_model: Mapping[str | None, TrainingSource]
    """By the model that a header names; that of all rows under None, where there is one."""
    parents: Mapping[str, str]
    """Sequence of each id or sequence that a header names as parent."""

    @property
    def distinct(self) -> list[TrainingSource]:
        """Return every source once."""
        return list({id(each): each for each in self.of_model.values()}.values())

    def of(self, record: ProteinRecord) -> TrainingSource | None:
        """Return what a record is held against; None where nothing is known."""
        model = record.header.get("model")
        return self.of_model.get(None) or self.of_model.get(model or "")


def open_training(
    options: ScoreOptions,
    given: Sequence[tuple[str, str]] | None,
    records: Sequence[ProteinRecord],
    ids: Iterable[tuple[str, str]] = (),
) -> TrainingSources:
    """Find what the rows are held against, and the sequences of their parents.

    Args:
        given: the sequences of `--training`, where it was given.
        ids: further sequences by id, which a parent may be.
    """
    if str(options.training) == NONE:
        return TrainingSources({}, {})
    sources: dict[str | None, TrainingSource] = {}
    if given is not None:
        sources[None] = _of_sequences(str(options.training), given, options.threads)
    else:
        sources |= _by_model(records, options.threads)
    if any(isinstance(each, SketchedTraining) for each in sources.values()):
        _say_sketched()
    aligned = [each for each in sources.values() if isinstance(each, AlignedTraining)]
    known = [*ids, *(given or ()), *(pair for each in aligned for pair in each.records)]
    parents = _parents_of(records, known) if sources else {}
    return TrainingSources(sources, parents)


def _of_sequences(
    name: str, records: Sequence[tuple[str, str]], threads: int | None
) -> TrainingSource:
    if mmseqs.is_available():
        return AlignedTraining(name, records, threads)
    return SketchedTraining(f"a sketch of {name}", Sketch.of([sequence for _, sequence in records]))


def _say_sketched() -> None:
    if not mmseqs.is_available():
        print(
            "Copies of training sequences are looked for by sketch: alignment needs MMseqs2 "
            "(pip install 'didi-protein[metrics]').",
            file=sys.stderr,
        )


def _by_model(
    records: Sequence[ProteinRecord], threads: int | None
) -> dict[str | None, TrainingSource]:
    """Return the source of each model that headers name; models of the same data share one."""
    found: dict[str | None, TrainingSource] = {}
    shared: dict[tuple[str, ...], TrainingSource] = {}
    for model in dict.fromkeys(each.header.get("model") for each in records):
        if not model or (folder := _folder_of(model)) is None:
            continue
        names = tuple(map(os.path.normpath, data_of(folder)))
        if names not in shared:
            source = _source_of(model, folder, names, threads)
            if source is None:
                continue
            if source.by == "sketch":  # of this very model
                found[model] = source
                continue
            shared[names] = source
        found[model] = shared[names]
    return found


def _folder_of(model: str) -> Path | None:
    """Return the folder of the model that a header names, where it is on this machine."""
    if model in BUNDLED_MODELS.names:
        return BUNDLED_MODELS.folder(model)
    path = Path(at_home(model))
    if path.match("checkpoints/step_*.safetensors"):
        path = path.parent.parent
    if path.is_dir():
        return path
    if not may_be_hub_id(model):
        return None
    try:
        return find_folder(model, offline=True, program="didi-protein")
    except UserError:
        return None


def _source_of(
    model: str, folder: Path, names: Sequence[str], threads: int | None
) -> TrainingSource | None:
    """Return the data of a model where they are at hand, else its sketch, else those at hand."""
    at_hand = [each for each in names if bundled_sequences(each) or Path(each).exists()]
    sketch = folder / TRAINING_SKETCH
    try:
        if at_hand and (len(at_hand) == len(names) or not sketch.is_file()):
            sequences = [pair for each in at_hand for pair in read_training_sequences(each)]
            return _of_sequences(", ".join(at_hand), sequences, threads)
        if sketch.is_file():
            return SketchedTraining(f"{TRAINING_SKETCH} of {model}", Sketch.read(sketch))
    except UserError as error:
        print(f"Copies of what {model} was trained on are not looked for: {error}", file=sys.stderr)
    return None


def _parents_of(records: Sequence[ProteinRecord], ids: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the sequence of each parent that headers name; who names an unknown one is told."""
    named = list(dict.fromkeys(each.header.get(PARENT_KEY) for each in records))
    if not any(named):
        return {}
    known = dict(ids) | {each.id: each.sequence for each in records}
    found: dict[str, str] = {}
    for parent in filter(None, named):
        sequence = known.get(parent)
        if sequence is None and len(parent) >= SHORTEST_PARENT:
            sequence = parent
        if sequence is not None and is_canonical(sequence):
            found[parent] = sequence
    if unknown := [each for each in named if each and each not in found]:
        print(
            f"parent={unknown[0]}{_and_more(unknown)} is in none of the files: give the parents by "
            "--reference FASTA, else nearness to a parent counts as copying (such rows are held "
            "against all training sequences).",
            file=sys.stderr,
        )
    return found


def _and_more(texts: Sequence[str]) -> str:
    return f" (and {len(texts) - 1:,} more)" if len(texts) > 1 else ""


def add_training(rows: Sequence[Row], sources: TrainingSources) -> None:
    """Fill in how near each row comes to what it is held against."""
    for source in sources.distinct:
        own = [row for row in rows if sources.of(row.record) is source]
        sequences = [row.record.sequence for row in own]
        parents = [sources.parents.get(row.record.header.get(PARENT_KEY, "")) for row in own]
        nearest = source.nearest(sequences, parents)
        for row, identity, spacing in zip(own, nearest.identity, nearest.spacing, strict=True):
            row.values[source.column] = round(float(identity), 3)
            if not np.isnan(spacing):
                row.values["training_neighbour_identity"] = round(float(spacing), 3)


def training_record(sources: TrainingSources) -> dict[str, Any] | None:
    """Return what rows were held against, for the summary; None where nothing was."""
    held = sources.distinct
    if not held:
        return None
    return {
        "file": "; ".join(dict.fromkeys(each.name for each in held)),
        "num_sequences": sum(len(each) for each in held),
        "by": "; ".join(dict.fromkeys(each.by for each in held)),
    }
