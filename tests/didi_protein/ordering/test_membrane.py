"""The rules of thumb for membranes and signal peptides, on proteins whose answer is known."""

import pytest
from Bio.SeqUtils.ProtParamData import kd

from didi_protein.ordering.membrane import has_signal_peptide, transmembrane_stretches

SIGNAL_PEPTIDES = {
    "OmpA": "MKKTAIAIAVALAGFATVAQAAPKDNTWYTGAK",
    "PhoA": "MKQSTIALALLPLLFTPVTKARTPEMPVLENRA",
    "MalE": "MKIKTGARILALSALTTMMFSASALAKIEEGKLVIWIN",
    "PelB": "MKYLLPTAAAGLLLLAAQPAMAMDIGINSDPNS",
    "TEM-1": "MSIQHFRVALIPFFAAFCLPVFAHPETLVKVKDAEDQ",
    "insulin": "MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVE",
    "albumin": "MKWVTFISLLFLFSSAYSRGVFRRDAHKSEVAHR",
    "lysozyme": "MRSLLILVLCFLPLAALGKVFGRCELAAAMKRHG",
    "interleukin-2": "MYRMQLLSCIALSLALVTNSAPTSSSTKKTQLQLEH",
    "growth hormone": "MATGSRTSLLLAFGLLCLPWLQEGSAFPTIPLSRLFDNA",
}
INSIDE = {
    "ubiquitin": "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG",
    "T4 lysozyme": "MNIFEMLRIDEGLRLKIYKDTEGYYTIGIGHLLTKSPSLNAAKSELDKAIGRNTNGVITKDEAEKLFNQDVDAA",
}
GLYCOPHORIN = "SEPEITLIIFGVMAGVIGTILLISYGIRRLIKK"
"""Glycophorin A around its one helix in the membrane, ITLIIFGVMAGVIGTILLISYGI."""


@pytest.mark.parametrize("name", SIGNAL_PEPTIDES)
def test_signal_peptides_are_seen(name: str) -> None:
    assert has_signal_peptide(SIGNAL_PEPTIDES[name])


@pytest.mark.parametrize("name", INSIDE)
def test_proteins_of_the_inside_have_neither(name: str) -> None:
    assert not has_signal_peptide(INSIDE[name])
    assert transmembrane_stretches(INSIDE[name]) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("MKKTAIAIAVALAGFATVAQA", "KKTAIAIAVALAGFATVAQA"), "no start"),
        (("AIAIAVALAGFA", "AIAIKVALKGFA"), "charges in the core"),
        (("MKKTAIA", "MEETAIA"), "more acids than bases in front"),
        (("GFATVAQAAPKDNTWYTGAK", "EFETDEQEDPKDNTWYTGEK"), "nowhere to cut"),
    ],
)
def test_each_part_of_the_rule_acts(change: tuple[str, str], why: str) -> None:
    changed = SIGNAL_PEPTIDES["OmpA"].replace(*change)
    assert changed != SIGNAL_PEPTIDES["OmpA"]
    assert not has_signal_peptide(changed), why


def test_a_helix_in_the_membrane_is_one_stretch() -> None:
    [(first, last)] = transmembrane_stretches(GLYCOPHORIN)
    assert first <= 6 and last >= 24 and last - first < 30


def test_the_window_must_be_above_its_mean() -> None:
    """A is 1.8 and G -0.4: of 19 residues with two G the mean is 1.568, with one 1.684."""
    assert (kd["A"], kd["G"]) == (1.8, -0.4)
    assert transmembrane_stretches("A" * 17 + "GG") == []
    assert transmembrane_stretches("A" * 18 + "G") == [(1, 19)]
    assert transmembrane_stretches("A" * 18) == []
    apart = "A" * 19 + "D" * 30 + "L" * 21
    assert len(transmembrane_stretches(apart)) == 2


def test_a_mean_of_the_bound_itself_is_not_above_it() -> None:
    """Of 16 M (1.9), A (1.8) and two W (-0.9) the sum is 30.4, which is 19 times 1.6."""
    assert round(sum(kd[each] for each in "M" * 16 + "AWW"), 6) == 30.4
    assert transmembrane_stretches("M" * 16 + "AWW") == []
    assert transmembrane_stretches("M" * 16 + "AWG") == [(1, 19)]
