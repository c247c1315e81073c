"""What computes a scan: one more scorer of records (`didi_protein.scoring.scorers.Scorer`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from didi_core.data.batches import bucket_width
from didi_core.errors import UserError, as_written
from didi_core.models.folder import LoadedModel
from didi_core.training.devices import resolve_device
from didi_protein.models.judges import MaskedScorer, masked_scorer, open_masked_scorer
from didi_protein.scanning.options import ScanOptions
from didi_protein.scanning.substitutions import SequenceScan, scan_sequences
from didi_protein.scoring.rows import Row
from didi_protein.scoring.scorers import autocast_of, model_settings
from didi_protein.scoring.table import rounded
from didi_protein.sequences.fasta import ProteinRecord
from didi_protein.sequences.positions import positions_text
from didi_protein.sequences.residues import CANONICAL_RESIDUES

PASSES = 8
"""Forward passes that the records of a batch fill; only the last of them is not full."""
LOG_ODDS = "log_odds"


@dataclass(frozen=True)
class ScanScorer:
    """Log-odds of every substitution; see `didi_protein.scoring.scorers.Scorer`."""

    model: MaskedScorer
    positions: tuple[int, ...] | None
    """From 0; None for all."""
    batch_tokens: int
    precision: str
    name: str = "scan"
    columns: tuple[str, ...] = (LOG_ODDS,)

    @property
    def max_length(self) -> int | None:
        return self.model.max_length

    @property
    def settings(self) -> dict[str, Any]:
        return {
            **model_settings(self.model, self.precision),
            "positions": None if self.positions is None else positions_text(self.positions),
        }

    def places(self, length: int) -> tuple[int, ...]:
        """Return the positions scanned of a sequence."""
        return tuple(range(length)) if self.positions is None else self.positions

    def score(self, records: Sequence[ProteinRecord]) -> list[dict[str, Any]]:
        """Return the log-odds of each record [positions][20], with the digits of the table."""
        scans = scan_sequences(
            self.model.denoiser,
            self.model.vocabulary,
            [record.sequence for record in records],
            [self.places(len(record.sequence)) for record in records],
            self.batch_tokens,
            autocast_of(self.precision),
        )
        if not all(np.isfinite(scan.log_odds).all() for scan in scans):
            raise FloatingPointError("a score is not a finite number")
        return [
            {LOG_ODDS: [[rounded(each) for each in row] for row in scan.log_odds.tolist()]}
            for scan in scans
        ]

    def scan_of(self, row: Row) -> SequenceScan:
        """Return what was found of a row."""
        sequence = row.record.sequence
        places = self.places(len(sequence))
        wild_types = "".join(sequence[at] for at in places)
        return SequenceScan(wild_types, places, np.array(row.values[LOG_ODDS]))

    def plan(self, lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
        """Return the records of each batch: like lengths, as many as fill `PASSES` forward passes.

        Args:
            lengths: residues of each record.
            batch_tokens: most rows times padded width of a forward pass.
        """
        batches: list[list[int]] = []
        filled = 0
        for record in sorted(range(len(lengths)), key=lambda each: (lengths[each], each)):
            length = lengths[record]
            tokens = len(self.places(length)) * bucket_width(length)
            if not batches or filled + tokens > PASSES * batch_tokens:
                batches.append([])
                filled = 0
            batches[-1].append(record)
            filled += tokens
        return batches


def open_scorer(
    options: ScanOptions, positions: tuple[int, ...] | None, opened: LoadedModel | None = None
) -> ScanScorer:
    """Open the model.

    Args:
        opened: the model, where it is open already.

    Raises:
        UserError: there is none, or it is no masked one over the 20 residues.
    """
    if opened is not None:
        model = masked_scorer(opened, "--model")
    else:
        device = resolve_device(options.device)
        model = open_masked_scorer(options.model, device, offline=options.offline, flag="--model")
    written = {model.vocabulary.tokens[index] for index in model.vocabulary.generable_ids}
    if written != set(CANONICAL_RESIDUES):
        raise UserError(f"{as_written('--model', options.model)} does not write the 20 residues.")
    return ScanScorer(model, positions, options.batch_tokens, options.precision)
