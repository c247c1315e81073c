"""What `frontier_proteins` is asked for: cells, temperatures, and the designs of each."""

import math
from dataclasses import dataclass
from pathlib import Path

from didi_core.commands.comparing.study import temperatures_of
from didi_core.errors import UserError
from didi_protein.generate import generate
from didi_protein.generating.options import GenerateOptions
from didi_protein.models.judges import Judge
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.sequences.training_data import read_training_sequences


@dataclass(frozen=True)
class Request:
    """What every cell is asked for."""

    cells: list[str]
    """model:steps or model:limit."""
    judge: Judge
    lengths: Path
    """FASTA whose lengths are drawn."""
    num: int
    seed: int
    precision: str
    scratch: Path

    def draw(self, cell: str, temperature: float) -> list[str]:
        """Designs of a cell; those that its file holds already are not made again."""
        model, _, steps = cell.rpartition(":")
        # Two models in folders of one name are two cells.
        name = f"{self.cells.index(cell)}_{Path(model).name}_{steps}_{temperature:g}.fasta"
        out = self.scratch / name
        options = GenerateOptions(
            model=model,
            num=self.num,
            out=out,
            length=f"from:{self.lengths}",
            steps=None if steps == "limit" else int(steps),
            sampler="first-hitting" if steps == "limit" else "ancestral",
            seed=self.seed,
            temperature=temperature,
            precision=self.precision,
            resume=True,
            quiet=True,
        )
        try:
            generate(options)
        except UserError as error:  # it names the flags of `generate`
            kept = f" Sets are kept in {self.scratch}: another --out starts anew."
            raise UserError(
                f"{cell} at temperature {temperature:g}: {error}{kept if out.exists() else ''}"
            ) from error
        return [sequence for _, sequence in read_training_sequences(out)]


def parse_cells(text: str) -> list[str]:
    """Cells as MODEL:STEPS between commas; raises UserError for anything else."""
    named = text.split(",")
    for cell in named:
        model, _, steps = cell.rpartition(":")
        if not model or not (steps == "limit" or steps.isdecimal()):
            raise UserError(f"--cells {cell}: give MODEL:STEPS or MODEL:limit, as in tiny:8.")
    return named


def parse_temperatures(text: str) -> list[float]:
    """Numbers between commas, with 1; raises UserError for anything else."""
    wrong: list[str] = []
    found = temperatures_of(text, wrong)
    if wrong:
        raise UserError(f"{wrong[0]}.")
    return list(found)


def check_diversity(diversity: float, kmer: int) -> None:
    """Raise UserError unless k-mers of residues can have this entropy."""
    most = kmer * math.log(len(CANONICAL_RESIDUES))
    if not 0 < diversity <= most:
        raise UserError(
            f"--diversity {diversity:g}: give nats of {kmer}-mer entropy, above 0 and at most "
            f"{most:.2f}."
        )
