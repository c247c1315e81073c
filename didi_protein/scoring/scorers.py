"""What computes columns of the score table from sequences, one batch at a time.

A scorer is anything with the attributes of `Scorer`; folding plugs in as one more. It sees only
records that passed the checks, and knows nothing of files, resuming or failures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from didi_core.evaluation.pseudo import exact_pseudo_nll, one_pass_pseudo_nll
from didi_protein.models.judges import Judge, MaskedScorer
from didi_protein.scoring.columns import names_by
from didi_protein.scoring.properties import sequence_properties
from didi_protein.sequences.fasta import ProteinRecord

PROPERTIES_VERSION = 1
"""Raised when a definition in `scoring.properties` changes: old rows are then rescored."""


@runtime_checkable
class Scorer(Protocol):
    """Computes some columns of the table."""

    @property
    def name(self) -> str:
        """Short and unique among the scorers of a run; names failures."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table that it fills."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that its numbers depend on beside the sequence: a resumed run reuses equal ones."""

    @property
    def max_length(self) -> int | None:
        """Longest sequence it takes; None for any."""

    def score(self, records: Sequence[ProteinRecord]) -> list[dict[str, Any]]:
        """Column values of each record, in order."""


@dataclass(frozen=True)
class PropertyScorer:
    """Repeats, complexity, entropy and ProtParam."""

    name: str = "properties"
    columns: tuple[str, ...] = names_by("properties")
    max_length: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return {"version": PROPERTIES_VERSION, "columns": list(self.columns)}

    def score(self, records: Sequence[ProteinRecord]) -> list[dict[str, Any]]:
        return [sequence_properties(record.sequence) for record in records]


@dataclass(frozen=True)
class JudgeScorer:
    """Perplexity under an autoregressive model."""

    judge: Judge
    batch_tokens: int
    precision: str
    name: str = "judge"
    columns: tuple[str, ...] = names_by("judge")

    @property
    def max_length(self) -> int | None:
        return self.judge.max_length

    @property
    def settings(self) -> dict[str, Any]:
        return model_settings(self.judge, self.precision)

    def score(self, records: Sequence[ProteinRecord]) -> list[dict[str, Any]]:
        sequences = [record.sequence for record in records]
        nll = self.judge.nll(sequences, self.batch_tokens, autocast_of(self.precision))
        return [{"judge_perplexity": float(each)} for each in np.exp(nll)]


@dataclass(frozen=True)
class PseudoScorer:
    """Pseudo-perplexity under a masked model: exact, and in one pass where that means something."""

    scorer: MaskedScorer
    batch_tokens: int
    precision: str
    name: str = "pseudo"
    columns: tuple[str, ...] = names_by("pseudo")

    @property
    def max_length(self) -> int | None:
        return self.scorer.max_length

    @property
    def settings(self) -> dict[str, Any]:
        return model_settings(self.scorer, self.precision)

    def score(self, records: Sequence[ProteinRecord]) -> list[dict[str, Any]]:
        model, vocabulary = self.scorer.denoiser, self.scorer.vocabulary
        ids = [[vocabulary.id_of_token[letter] for letter in each.sequence] for each in records]
        autocast = autocast_of(self.precision)
        exact = [
            exact_pseudo_nll(model, vocabulary, each, self.batch_tokens, autocast) for each in ids
        ]
        rows = [{"pseudo_perplexity": float(np.exp(nll))} for nll in exact]
        if self.scorer.predicts_visible:
            one_pass = one_pass_pseudo_nll(model, vocabulary, ids, self.batch_tokens, autocast)
            for row, nll in zip(rows, one_pass, strict=True):
                row["pseudo_perplexity_one_pass"] = float(np.exp(nll))
        return rows


def autocast_of(precision: str) -> torch.dtype | None:
    """The type networks compute in under `--precision`; None for float32 throughout."""
    return torch.bfloat16 if precision == "bf16" else None


def model_settings(model: Judge | MaskedScorer, precision: str) -> dict[str, Any]:
    """Return what the numbers of a model depend on."""
    return {"name": model.name, "weights": model.fingerprint, "precision": precision}
