"""The folding columns of the score table, of one model or of two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from didi_core.models.hub_names import last_name
from didi_protein.folding.fold import Fold, FoldingModel
from didi_protein.folding.memory import fold_or_shrink
from didi_protein.folding.structure_files import FoldFiles
from didi_protein.scoring.columns import SECOND_PLDDT, names_by
from didi_protein.sequences.fasta import ProteinRecord
from didi_protein.similarity import tm_score

FOLD_VERSION = 1
"""Raised when a definition of the columns changes: old rows are then folded again."""


@dataclass(frozen=True)
class FoldScorer:
    """pLDDT, pTM and PAE under a folding model, and files of the structures."""

    model: FoldingModel
    files: FoldFiles
    chunk_size: int | None = None
    """See `FoldingModel.fold_batch`; the first that is tried."""
    folded: dict[str, Fold] = field(default_factory=dict)
    """What was folded last, by sequence: a second model looks at it again."""
    name: str = "fold"
    columns: tuple[str, ...] = names_by("fold")
    max_length: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return _settings_of(self.model)

    def still_stands(self, record: ProteinRecord, values: Mapping[str, Any]) -> bool:
        """Tell whether known values need no folding: the files that are asked for are there."""
        if self.files.pdb_file(record.id) not in (None, values.get("pdb_file")):
            return False
        return all(path.is_file() for path in self.files.paths(record.id))

    def score(self, records: Sequence[ProteinRecord]) -> list[dict[str, Any]]:
        """Fold records and write their files; see `folds`."""
        folds = self.folds(records)
        self.folded.clear()
        self.folded.update((each.sequence, fold) for each, fold in zip(records, folds, strict=True))
        for record, fold in zip(records, folds, strict=True):
            self.files.write(record.id, record.sequence, fold, self.model.name)
        return [
            {
                "mean_plddt": fold.mean_plddt,
                "mean_plddt_all_atom": fold.mean_plddt_all_atom,
                "ptm": fold.ptm,
                "mean_pae": fold.mean_pae,
                "pdb_file": self.files.pdb_file(record.id),
            }
            for record, fold in zip(records, folds, strict=True)
        ]

    def folds(self, records: Sequence[ProteinRecord]) -> list[Fold]:
        """Fold records, files aside; see `fold_or_shrink`."""
        return fold_or_shrink(self.model, [each.sequence for each in records], self.chunk_size)


@dataclass(frozen=True)
class AgreementScorer:
    """pLDDT under a second folding model, and how alike its structures are to the first one's."""

    first: FoldScorer
    model: FoldingModel
    """The second."""
    name: str = "fold_second"
    max_length: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return (SECOND_PLDDT + last_name(self.model.name), *names_by("fold_second"))

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "first": self.first.settings,
            "second": _settings_of(self.model),
            "tmtools": tm_score.version(),
        }

    def score(self, records: Sequence[ProteinRecord]) -> list[dict[str, Any]]:
        """Fold records by the second model; by the first too, where it did not just do so."""
        missing = [each for each in records if each.sequence not in self.first.folded]
        known = dict(self.first.folded)
        if missing:
            found = self.first.folds(missing)
            known |= {each.sequence: fold for each, fold in zip(missing, found, strict=True)}
        sequences = [each.sequence for each in records]
        folds = fold_or_shrink(self.model, sequences, self.first.chunk_size)
        pairs = zip(sequences, folds, strict=True)
        values = [(fold.mean_plddt, _tm(each, known[each], fold)) for each, fold in pairs]
        return [dict(zip(self.columns, each, strict=True)) for each in values]


def _tm(sequence: str, one: Fold, other: Fold) -> float | None:
    """Return the TM-score of two structures; None of a chain too short for one."""
    if len(sequence) < tm_score.MIN_RESIDUES:
        return None
    traces = [tm_score.Trace(each.alphas.double().numpy(), sequence) for each in (one, other)]
    return tm_score.tm_score(*traces)


def _settings_of(model: FoldingModel) -> dict[str, Any]:
    """Return what the structures of a model depend on beside the sequence."""
    return {
        "name": model.name,
        "weights": model.fingerprint,
        "precision": model.precision,
        **model.settings,
        "version": FOLD_VERSION,
    }
