"""One cell of a comparison: a model, a sampler and a number of steps; its designs and scores.

Every cell has the same lengths and the same seed, so that designs of one number form pairs.
"""

from dataclasses import dataclass
from pathlib import Path

from didi_core.models.folder import LoadedModel
from didi_protein.generate import GenerateOptions, GenerateResult, generate
from didi_protein.judges import Judge
from didi_protein.score import ScoreOptions, ScoreResult, score

LIMIT_SAMPLER = "first-hitting"
"""One call a residue: exact, and so the limit of every number of steps."""


@dataclass(frozen=True)
class Cell:
    """One model, sampler and number of steps."""

    model: str
    """Its label: the name of a bundled model, the last part of a folder."""
    steps: int | None
    """None is the model's limit."""
    sampler: str = "ancestral"

    @classmethod
    def limit(cls, model: str) -> "Cell":
        return cls(model, None, LIMIT_SAMPLER)

    @property
    def name(self) -> str:
        """Of its files."""
        if self.steps is None:
            return f"{self.model}_limit"
        plain = self.sampler == "ancestral"
        return (
            f"{self.model}_{self.steps}" if plain else f"{self.model}_{self.sampler}_{self.steps}"
        )


@dataclass(frozen=True)
class Scored:
    """Designs of a cell with their scores."""

    cell: Cell
    made: GenerateResult
    scored: ScoreResult


@dataclass(frozen=True, kw_only=True)
class CellRequest:
    """What all cells of a comparison share."""

    folder: Path
    """FASTA files and score tables go here, named by the cell."""
    num: int
    length: str
    seed: int
    device: str
    batch_tokens: int = GenerateOptions.batch_tokens
    precision: str = GenerateOptions.precision
    fold: str = "none"
    pdb_dir: Path | None = None
    reference: Path | None = None
    training: Path | None = None
    offline: bool = False


def design_cell(cell: Cell, request: CellRequest, model: LoadedModel) -> GenerateResult:
    """Write `CELL.fasta`, or go on with it."""
    options = GenerateOptions(
        model=cell.model,
        num=request.num,
        length=request.length,
        sampler=cell.sampler,
        steps=cell.steps,
        out=request.folder / f"{cell.name}.fasta",
        seed=request.seed,
        device=request.device,
        batch_tokens=request.batch_tokens,
        precision=request.precision,
        resume=True,
        quiet=True,
    )
    return generate(options, model)


def score_cell(cell: Cell, request: CellRequest, made: GenerateResult, judge: Judge) -> Scored:
    """Write `CELL.csv` beside the designs, or go on with it."""
    fasta = made.fasta
    options = ScoreOptions(
        inputs=[str(fasta)],
        out=fasta.with_suffix(".csv"),
        judge=judge.name,
        pseudo="none",  # one network call a residue: more than all else together
        fold=request.fold,
        pdb_dir=None if request.pdb_dir is None else request.pdb_dir / cell.name,
        reference=request.reference,
        training=request.training,
        seed=request.seed,
        device=request.device,
        offline=request.offline,
        resume=True,
        quiet=True,
    )
    return Scored(cell, made, score(options, judge))
