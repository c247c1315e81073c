"""How often each host uses which codon; no network is asked.

The tables are of the Codon Usage Database [1]_: three through the package python-codon-tables, that
of the Chinese hamster from `_codons/`, whose NOTICE says where it comes from.

.. [1] Nakamura, Gojobori, Ikemura. "Codon usage tabulated from the international DNA sequence
   databases: status for the year 2000", Nucleic Acids Research 28, 2000.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from didi_core.errors import UserError, missing_extra

HOSTS = {
    "ecoli": "e_coli_316407",
    "yeast": "s_cerevisiae_4932",
    "human": "h_sapiens_9606",
    "cho": "c_griseus_10029",
}
"""Name of `--host`, and its table: species and NCBI taxonomy number."""
STOP = "*"


@dataclass(frozen=True)
class CodonUsage:
    """The codons of one host."""

    table: str
    """Species and NCBI taxonomy number."""
    shares: Mapping[str, Mapping[str, float]]
    """Of each residue (`*` for stop), the share of each of its codons; they sum to 1."""

    def without_rare(self, least: float) -> "CodonUsage":
        """Return the same without codons of a share below `least`; the most frequent one stays."""
        kept = {}
        for residue, shares in self.shares.items():
            floor = min(least, max(shares.values()))
            common = {codon: share for codon, share in shares.items() if share >= floor}
            total = sum(common.values())
            kept[residue] = {codon: share / total for codon, share in common.items()}
        return CodonUsage(self.table, kept)

    def best(self, residue: str) -> str:
        """Return the most frequent codon; of equal ones the first in the alphabet."""
        shares = self.shares[residue]
        return min(shares, key=lambda codon: (-shares[codon], codon))

    def adaptation(self, codons: str) -> float:
        """Return the codon adaptation index of a coding sequence, 0 to 1 [1]_.

        It is the geometric mean over codons of their share over that of the most frequent codon
        for the same residue. Methionine and tryptophan, which have one codon, are left out.

        .. [1] Sharp, Li. Nucleic Acids Research 15, 1987.
        """
        weight = {
            codon: max(share, 1e-3) / max(shares.values())
            for residue, shares in self.shares.items()
            if len(shares) > 1 and residue != STOP
            for codon, share in shares.items()
        }
        triplets = (codons[place : place + 3] for place in range(0, len(codons), 3))
        logs = [math.log(weight[triplet]) for triplet in triplets if triplet in weight]
        return math.exp(sum(logs) / len(logs)) if logs else 1.0


def codon_usage(host: str) -> CodonUsage:
    """Return the codons of a host by its name.

    Raises:
        UserError: the host is unknown, or the extra `order` is not installed.
    """
    table = HOSTS.get(host.lower())
    if table is None:
        raise UserError(f"--host {host}: give one of {', '.join(HOSTS)}.")
    shares = _bundled(table) if table == HOSTS["cho"] else _of_package(table)
    return CodonUsage(table, {residue: dict(sorted(each.items())) for residue, each in shares})


def _of_package(table: str) -> list[tuple[str, dict[str, float]]]:
    try:
        from python_codon_tables import get_codons_table
    except ImportError as error:
        raise missing_extra("python-codon-tables", "order") from error
    return [(residue, _normalised(each)) for residue, each in get_codons_table(table).items()]


def _bundled(table: str) -> list[tuple[str, dict[str, float]]]:
    counts: dict[str, dict[str, float]] = defaultdict(dict)
    text = (files("didi_protein") / "_codons" / f"{table}.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        counts[row["amino_acid"]][row["codon"]] = float(row["count"])
    return [(residue, _normalised(each)) for residue, each in counts.items()]


def _normalised(values: Mapping[str, float]) -> dict[str, float]:
    """Return values as shares: tables of two digits do not always sum to 1."""
    total = sum(values.values())
    return {codon: value / total for codon, value in values.items()}
