"""The folding columns of the score table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from didi_protein.folding.confidence import Fold, read_folds
from didi_protein.folding.memory import require_memory, with_smaller_chunks
from didi_protein.folding.network import FoldingModel
from didi_protein.folding.structure_files import FoldFiles
from didi_protein.folding.trunk import run_network
from didi_protein.scoring.columns import names_by
from didi_protein.sequences.fasta import ProteinRecord

FOLD_VERSION = 1
"""Raised when a definition of the columns changes: old rows are then folded again."""


@dataclass(frozen=True)
class FoldScorer:
    """pLDDT, pTM and PAE under a folding model, and files of the structures."""

    model: FoldingModel
    files: FoldFiles
    recycles: int | None = None
    """Passes after the first; None for as many as the model was trained with."""
    chunk_size: int | None = None
    """See `run_network`; the first that is tried."""
    name: str = "fold"
    columns: tuple[str, ...] = names_by("fold")
    max_length: int | None = None

    @property
    def precision(self) -> str:
        """Of the language-model half; the trunk is float32."""
        return self.model.precision

    @property
    def settings(self) -> dict[str, Any]:
        default = self.model.default_recycles
        return {
            "name": self.model.name,
            "weights": self.model.fingerprint,
            "precision": self.precision,
            "recycles": default if self.recycles is None else self.recycles,
            "version": FOLD_VERSION,
        }

    def still_stands(self, record: ProteinRecord, values: Mapping[str, Any]) -> bool:
        """Tell whether known values need no folding: the files that are asked for are there."""
        if self.files.pdb_file(record.id) not in (None, values.get("pdb_file")):
            return False
        return all(path.is_file() for path in self.files.paths(record.id))

    def score(self, records: Sequence[ProteinRecord]) -> list[dict[str, Any]]:
        """Fold records and write their files; see `folds`."""
        folds = self.folds(records)
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
        """Fold records together, one alone with ever smaller chunks.

        Raises:
            MemoryError: too little memory; fewer records at once may do.
        """
        if len(records) == 1:
            return with_smaller_chunks(lambda size: self.fold(records, size), self.chunk_size)[0]
        return self.fold(records, self.chunk_size)

    def fold(self, records: Sequence[ProteinRecord], chunk_size: int | None) -> list[Fold]:
        """Fold records together, files aside."""
        network, device = self.model.network, self.model.device
        width = max(len(record.sequence) for record in records)
        require_memory(network.config, len(records), width, device)
        sequences = [self.model.encode(record.sequence) for record in records]
        return read_folds(network, run_network(network, sequences, self.recycles, chunk_size))
