"""Codon tables of the hosts: their sums, the shipped one's source, and the adaptation index."""

import csv
from importlib.util import find_spec

import pytest
from Bio.Data.CodonTable import unambiguous_dna_by_id
from doc_commands import ROOT

from didi_protein.ordering.hosts import CodonUsage, codon_usage

needs_tables = pytest.mark.skipif(
    find_spec("python_codon_tables") is None, reason="needs the extra order"
)


@pytest.mark.parametrize(
    "host",
    ["cho", *(pytest.param(each, marks=needs_tables) for each in ("ecoli", "yeast", "human"))],
)
def test_tables_are_the_standard_code_in_shares(host: str) -> None:
    usage = codon_usage(host)
    code = unambiguous_dna_by_id[1]
    for residue, shares in usage.shares.items():
        assert sum(shares.values()) == pytest.approx(1)
        assert all(code.forward_table.get(codon, "*") == residue for codon in shares)
    assert sum(map(len, usage.shares.values())) == 64


def test_the_shipped_table_is_that_of_the_database() -> None:
    """153,527 codons of 331 coding sequences; per thousand: CUG 38.8, GAG 41.1, UCG 3.4."""
    path = ROOT / "didi_protein" / "_codons" / "c_griseus_10029.csv"
    with open(path, encoding="utf-8") as stream:
        counts = {row["codon"]: int(row["count"]) for row in csv.DictReader(stream)}
    assert sum(counts.values()) == 153_527
    per_thousand = {codon: round(1000 * count / 153_527, 1) for codon, count in counts.items()}
    assert [per_thousand[each] for each in ("CTG", "GAG", "TCG")] == [38.8, 41.1, 3.4]


def test_adaptation_is_the_geometric_mean_of_relative_shares() -> None:
    usage = CodonUsage("", {"K": {"AAA": 0.8, "AAG": 0.2}, "M": {"ATG": 1.0}, "*": {"TAA": 1.0}})
    assert usage.adaptation("AAAAAA") == pytest.approx(1)
    # AAG weighs 0.2 / 0.8 = 1/4: of one AAA and one AAG the geometric mean is 1/2.
    assert usage.adaptation("ATGAAAAAG") == pytest.approx(0.5)


def test_without_rare_codons_the_most_frequent_stays() -> None:
    usage = CodonUsage("", {"K": {"AAA": 0.7, "AAG": 0.3}})
    assert usage.without_rare(0.4).shares == {"K": {"AAA": 1.0}}
    assert usage.without_rare(0.9).shares == {"K": {"AAA": 1.0}}
    assert usage.without_rare(0.0).shares["K"] == pytest.approx({"AAA": 0.7, "AAG": 0.3})
