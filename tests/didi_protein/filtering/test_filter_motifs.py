"""The motifs counted for the laboratory, by hand."""

import pytest

from didi_protein.scoring.columns import names_by
from didi_protein.scoring.properties import developability


@pytest.mark.parametrize(
    "sequence, column, count",
    [
        ("ACCA", "cysteine_count", 2),
        ("ACCA", "odd_cysteines", 0),
        ("CCAC", "odd_cysteines", 1),
        ("NAS", "n_glycosylation_sites", 1),
        ("NAT", "n_glycosylation_sites", 1),
        ("NPS", "n_glycosylation_sites", 0),
        ("NAC", "n_glycosylation_sites", 0),
        ("NA", "n_glycosylation_sites", 0),
        ("NNSS", "n_glycosylation_sites", 2),  # they overlap
        ("NGNSNA", "deamidation_sites", 2),
        ("DGDSDG", "isomerisation_sites", 2),
        ("DPPD", "acid_cleavage_sites", 1),
        ("QAAA", "n_terminal_glutamine", 1),
        ("MQAA", "n_terminal_glutamine", 0),
    ],
)
def test_counts(sequence: str, column: str, count: int) -> None:
    assert developability(sequence)[column] == count


def test_all_columns_in_order() -> None:
    assert tuple(developability("M")) == names_by("motifs")
    assert set(developability("M").values()) == {0}
