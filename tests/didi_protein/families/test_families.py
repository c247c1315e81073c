"""Family statistics: toy alignments counted by hand, invariances, and sets of known dependence."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didi_core.errors import UserError
from didi_protein.families import (
    ContactMap,
    FamilyAlignment,
    FamilyProfile,
    FamilyReference,
    PairEntries,
    contact_precision,
    coupling_scores,
    covariances,
    identities,
    mean_identities,
    measure_family,
    nearest_identities,
    pair_covariances,
    read_alignment,
    select_entries,
)
from didi_protein.families.alignments import alignment_of
from didi_protein.families.covariances import (
    fit_covariances,
    fit_sites,
    resampled_frequencies,
    site_frequencies,
)
from didi_protein.families.intervals import bootstrap_weights, normal_interval
from didi_protein.families.profile import GAP, encode_rows, extents
from didi_protein.families.statistics import draw_independent_columns
from didi_protein.sequences.bundled import bundled_sequences
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.sequences.training_data import read_training_sequences

CASES = settings(max_examples=20, derandomize=True, deadline=None, database=None)


def state(column: int, letter: str) -> int:
    return 20 * column + CANONICAL_RESIDUES.index(letter)


def aligned(rows: list[str]) -> FamilyAlignment:
    """As HMMER would return rows that all align."""
    count, codes = len(rows), encode_rows(rows)
    sequences = tuple(row.replace("-", "") for row in rows)
    numbers = np.full(count, 50.0), np.full(count, 1e-9), (codes != GAP).mean(axis=1)
    return FamilyAlignment(sequences, codes, *numbers)


def coupled_rows(count: int, seed: int, strength: float = 1.0) -> list[str]:
    """Twelve columns; 0 and 6, 1 and 8, 3 and 11 hold the same letter with this probability."""
    generator = np.random.default_rng(seed)
    letters = generator.choice(list("ACDK"), size=(count, 12))
    for first, second in ((0, 6), (1, 8), (3, 11)):
        same = generator.random(count) < strength
        letters[same, second] = letters[same, first]
    letters[generator.random((count, 12)) < 0.05] = "-"
    return ["".join(row) for row in letters]


def test_the_domain_of_a_longer_protein_is_found() -> None:
    profile = FamilyProfile.read(bundled_sequences("PF00595")[0])
    member = read_training_sequences("PF00595")[0][1]
    around = "GSGSGSGSGS" + member + "GGGGG"
    ends = extents(profile, [member, around])
    low, high = ends[0].tolist()
    assert 1 <= low < 5 and len(member) - 5 < high <= len(member)
    assert (ends[1] - ends[0]).tolist() == [10, 10]
    assert len(extents(profile, [])) == 0


PAIRS = ((0, 6), (1, 8), (3, 11))


def coupled_contacts() -> ContactMap:
    distances = np.full((12, 12), 20.0)
    for first, second in PAIRS:
        distances[first, second] = distances[second, first] = 4.0
    return ContactMap(distances)


# Pair covariances, by hand


def test_frequencies_count_gaps_in_the_denominator() -> None:
    rows = encode_rows(["AC", "A-", "CC", "--"])
    frequencies = site_frequencies(rows)
    assert frequencies[state(0, "A")] == 0.5
    assert frequencies[state(0, "C")] == 0.25
    assert frequencies[state(1, "C")] == 0.5
    assert frequencies.sum() == 0.75 + 0.5


def test_covariances_by_hand_are_those_of_every_pair_of_columns_above_the_threshold() -> None:
    rows = encode_rows(["AC", "AC", "CD", "A-"])
    # f_0(A) = 3/4, f_0(C) = 1/4, f_1(C) = 1/2, f_1(D) = 1/4
    expected = {
        (state(0, "A"), state(1, "C")): 1 / 2 - 3 / 8,
        (state(0, "A"), state(1, "D")): 0 - 3 / 16,
        (state(0, "C"), state(1, "D")): 1 / 4 - 1 / 16,
        (state(0, "C"), state(1, "C")): 0 - 1 / 8,
    }
    entries = select_entries(rows)
    pairs = zip(entries.first.tolist(), entries.second.tolist(), strict=True)
    found = dict(zip(pairs, pair_covariances(rows, entries), strict=True))
    assert found == pytest.approx(expected, abs=1e-12)
    few = select_entries(rows, threshold=0.126)  # leaves out the two of 1/8
    assert len(few) == 2
    assert len(select_entries(encode_rows(["AC"] * 3))) == 0


def brute_force(rows: np.ndarray, threshold: float) -> dict[tuple[int, int], float]:
    found = {}
    for i in range(rows.shape[1]):
        for j in range(i + 1, rows.shape[1]):
            for a in range(20):
                for b in range(20):
                    one, other = rows[:, i] == a, rows[:, j] == b
                    value = (one & other).mean() - one.mean() * other.mean()
                    if abs(value) > threshold:
                        found[20 * i + a, 20 * j + b] = value
    return found


def test_blocks_and_strips_agree_with_counting_pair_by_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(covariances, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(covariances, "_STRIP_NUMBERS", 20 * 5 * 20 * 2)  # two columns of five
    monkeypatch.setattr(covariances, "_FLAGS_AT_ONCE", 90)
    rows = np.random.default_rng(0).integers(0, 21, size=(30, 5)).astype(np.uint8)
    entries = select_entries(rows, 0.02)
    expected = brute_force(rows, 0.02)
    found = dict(
        zip(
            zip(entries.first.tolist(), entries.second.tolist(), strict=True),
            pair_covariances(rows, entries),
            strict=True,
        )
    )
    assert found.keys() == expected.keys()
    for pair, value in expected.items():
        assert found[pair] == pytest.approx(value, abs=1e-9)
    weights = bootstrap_weights(len(rows), 3, seed=0)
    repeated = [np.repeat(rows, counts.astype(int), axis=0) for counts in weights]
    frequencies = resampled_frequencies(rows, weights)
    assert frequencies == pytest.approx(np.stack([site_frequencies(each) for each in repeated]))


def test_correlation_and_slope_are_those_of_the_entries_and_of_every_resample() -> None:
    nature, other = encode_rows(coupled_rows(400, 1)), encode_rows(coupled_rows(60, 2, 0.5))
    entries = select_entries(nature)
    target = pair_covariances(nature, entries)
    weights = bootstrap_weights(len(other), 8, seed=3)
    fit = fit_covariances(other, entries, target, weights)

    def by_hand(rows: np.ndarray) -> tuple[float, float]:
        values = pair_covariances(rows, entries)
        return np.corrcoef(values, target)[0, 1], np.polyfit(target, values, 1)[0]

    again = [by_hand(np.repeat(other, counts.astype(int), axis=0)) for counts in weights]
    correlation, slope = by_hand(other)
    for found, estimate, resampled, scale in (
        (fit.correlation, correlation, [each for each, _ in again], "correlation"),
        (fit.slope, slope, [each for _, each in again], "plain"),
    ):
        expected = normal_interval(estimate, resampled, scale)
        assert found.as_dict() == pytest.approx(expected.as_dict(), abs=1e-5)
        assert found.low < found.mean < found.high


def test_slope_is_the_share_of_dependence_that_is_left() -> None:
    """A mixture of nature with its own independent columns has that share of the covariances."""
    nature = encode_rows(coupled_rows(4_000, 1))
    entries = select_entries(nature)
    target = pair_covariances(nature, entries)
    noise = draw_independent_columns(nature, 4_000, np.random.default_rng(0))
    half = np.concatenate([nature, noise])
    fit = fit_covariances(half, entries, target, bootstrap_weights(len(half), 20, 0))
    assert fit.slope.mean == pytest.approx(0.5, abs=0.03)
    assert fit.correlation.mean > 0.98
    alone = fit_covariances(noise, entries, target, bootstrap_weights(len(noise), 20, 0))
    assert abs(alone.slope.mean) < 0.03


def test_what_has_no_variance_has_no_correlation() -> None:
    nature = encode_rows(coupled_rows(200, 1))
    entries = select_entries(nature)
    same = encode_rows(["ACDKACDKACDK"] * 40)
    fit = fit_covariances(
        same, entries, pair_covariances(nature, entries), bootstrap_weights(40, 10, 0)
    )
    assert fit.correlation is None
    assert fit.slope.mean == 0
    none = PairEntries(*np.zeros((2, 0), int))
    nothing = fit_covariances(same, none, np.zeros(0), bootstrap_weights(40, 10, 0))
    assert nothing.correlation is None
    assert nothing.slope is None


def test_site_correlation_by_hand() -> None:
    nature, other = encode_rows(["AC", "AC", "CD", "A-"]), encode_rows(["AC", "CC"])
    expected = np.corrcoef(site_frequencies(nature), site_frequencies(other))[0, 1]
    found = fit_sites(other, site_frequencies(nature), bootstrap_weights(2, 10, 0))
    assert found.mean == pytest.approx(expected)


# Contacts


def mean_field_scores(rows: np.ndarray) -> np.ndarray:
    """The couplings of every pair in float64, written out letter by letter."""
    columns = rows.shape[1]
    size = 20 * columns
    site = np.array([[(rows[:, i] == a).mean() for a in range(20)] for i in range(columns)])
    site = 0.5 * site + 0.5 / 21
    matrix = np.zeros((size, size))
    for i in range(columns):
        for j in range(columns):
            for a in range(20):
                for b in range(20):
                    if i == j:
                        pair = site[i, a] * (a == b)
                    else:
                        together = ((rows[:, i] == a) & (rows[:, j] == b)).mean()
                        pair = 0.5 * together + 0.5 / 441
                    matrix[20 * i + a, 20 * j + b] = pair - site[i, a] * site[j, b]
    couplings = -np.linalg.inv(matrix)
    norms = np.zeros((columns, columns))
    for i in range(columns):
        for j in range(columns):
            block = couplings[20 * i : 20 * i + 20, 20 * j : 20 * j + 20]
            block = block - block.mean(0) - block.mean(1)[:, None] + block.mean()
            norms[i, j] = np.sqrt((block**2).sum()) if i != j else 0
    means = norms.sum(axis=1) / (columns - 1)
    corrected = norms - np.outer(means, means) / means.mean()
    np.fill_diagonal(corrected, 0)
    return corrected


def test_couplings_are_those_written_out_letter_by_letter() -> None:
    rows = encode_rows(coupled_rows(80, 4))[:, [0, 6, 1, 8]]
    assert coupling_scores(rows) == pytest.approx(mean_field_scores(rows), rel=1e-3, abs=1e-4)


def test_weights_are_repeats() -> None:
    rows = encode_rows(coupled_rows(50, 5))
    weights = bootstrap_weights(50, 1, 0)[0]
    repeated = np.repeat(rows, weights.astype(int), axis=0)
    assert coupling_scores(rows, weights) == pytest.approx(coupling_scores(repeated), abs=1e-4)


def test_coupled_columns_come_first() -> None:
    scores = coupling_scores(encode_rows(coupled_rows(2_000, 6)))
    contacts = coupled_contacts()
    assert contact_precision(scores, contacts, top=3) == 1.0
    assert contact_precision(scores, contacts) == 3 / 12
    assert contacts.in_contact().sum() == 3
    # Neighbours along the chain take no part, nor pairs without a distance.
    near = replace(contacts, distances=np.where(np.eye(12, k=4) + np.eye(12, k=-4), 1.0, 20.0))
    assert not near.in_contact().any()
    unknown = contacts.distances.copy()
    unknown[0, 6] = unknown[6, 0] = np.nan
    assert contact_precision(scores, ContactMap(unknown), top=2) == 1.0
    assert np.isnan(contact_precision(scores, ContactMap(np.full((12, 12), np.nan))))


def write_contacts(path: Path, *rows: str, header: str = "column_i\tcolumn_j\tdistance_angstrom"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_contacts_are_read_by_column_name_from_one(tmp_path: Path) -> None:
    table = write_contacts(
        tmp_path / "c.tsv",
        "5.5\t1\t8",
        "9\t8\t1",
        "",
        "7.99\t2\t7",
        header="distance_angstrom\tcolumn_i\tcolumn_j",
    )
    contacts = ContactMap.read(table, 8)
    assert contacts.distances[0, 7] == contacts.distances[7, 0] == 5.5  # the smaller of two
    assert np.isnan(contacts.distances[0, 1])
    first, second = contacts.pairs()
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 7), (1, 6)]
    assert contacts.in_contact().all()


@pytest.mark.parametrize(
    ("rows", "columns", "names"),
    [
        (["1\t9\t5"], 8, ("--contacts", "column 9", "8 match columns")),
        (["1\t8\t5"], 202, ("--contacts", "column 8", "202 match columns")),
        (["0\t3\t5"], 8, ("--contacts", "line 2", "0 3 5")),
        (["3\t3\t5"], 8, ("--contacts", "line 2")),
        (["1\t3\tnan"], 8, ("--contacts", "nan")),
        (["1\t3\t-2"], 8, ("--contacts", "-2")),
        (["1\tx\t2"], 8, ("--contacts", "x")),
        (["1\t3"], 8, ("--contacts", "1 3")),
        ([], 8, ("--contacts", "no pair")),
    ],
)
def test_contacts_that_do_not_fit(
    tmp_path: Path, rows: list[str], columns: int, names: tuple[str, ...]
) -> None:
    table = write_contacts(tmp_path / "c.tsv", *rows)
    with pytest.raises(UserError) as refused:
        ContactMap.read(table, columns)
    assert all(name in str(refused.value) for name in names)


def test_contacts_without_a_header(tmp_path: Path) -> None:
    table = write_contacts(tmp_path / "c.tsv", header="1\t2\t3")
    with pytest.raises(UserError, match="column_i"):
        ContactMap.read(table, 8)


# Identities


def test_identities_by_hand() -> None:
    rows = encode_rows(["ACDK", "AC-K", "----"])
    references = encode_rows(["ACDA", "A--K"])
    # ACDK: 3 of 4, 2 of 4. AC-K: 2 of 4 (D stands against a gap), 2 of 3.
    assert nearest_identities(rows, references) == pytest.approx([3 / 4, 2 / 3, 0])
    assert mean_identities(encode_rows(["ACDK", "AC-K", "KKKK"])) == pytest.approx(
        [(3 / 4 + 1 / 4) / 2, (3 / 4 + 1 / 4) / 2, 1 / 4]
    )
    with pytest.raises(ValueError, match="two"):
        mean_identities(rows[:1])


def test_nineteen_of_twenty_is_a_copy() -> None:
    row = "ACDEFGHIKLMNPQRSTVWY"
    found = measure_family(aligned([row[:-1] + "A"]), aligned([row] * 4))
    assert found.designs.copies is not None
    assert found.designs.nearest_identities.tolist() == [0.95]
    assert found.designs.copies.mean == 1


@CASES
@given(seed=st.integers(0, 2**32 - 1))
def test_identities_in_blocks_are_those_of_every_pair(seed: int) -> None:
    rows = np.random.default_rng(seed).integers(17, 21, size=(13, 4)).astype(np.uint8)

    def one(first: np.ndarray, second: np.ndarray) -> float:
        either = (first != GAP) | (second != GAP)
        return float(((first == second) & (first != GAP)).sum() / max(either.sum(), 1))

    table = np.array([[one(first, second) for second in rows] for first in rows])
    before, identities._AT_ONCE = identities._AT_ONCE, 5
    try:
        assert nearest_identities(rows, rows[6:]) == pytest.approx(table[:, 6:].max(axis=1))
        others = (table.sum(axis=1) - table.diagonal()) / 12
        assert mean_identities(rows) == pytest.approx(others)
    finally:
        identities._AT_ONCE = before


# Intervals


def test_intervals_stand_about_the_estimate() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, size=4_000)
    plain = normal_interval(0.7, values)
    assert (plain.low, plain.high) == pytest.approx((0.7 - 0.196, 0.7 + 0.196), abs=0.01)
    share = normal_interval(0.95, values, "share")
    assert share.high == 1
    near_one = normal_interval(0.99, [0.97, 0.98, 0.985], "correlation")
    assert 0.9 < near_one.low < 0.99 < near_one.high < 1
    assert normal_interval(np.nan, values) is None
    assert normal_interval(0.5, [np.nan, np.nan, 0.5]) is None
    assert normal_interval(0.5, [0.5]) is None


def test_the_interval_is_as_wide_as_sets_of_one_size_differ() -> None:
    nature = encode_rows(coupled_rows(20_000, 1))
    entries = select_entries(nature)
    target = pair_covariances(nature, entries)
    sets = nature.reshape(100, 200, 12)
    fisher = [
        np.arctanh(np.corrcoef(pair_covariances(each, entries), target)[0, 1]) for each in sets
    ]
    weights = bootstrap_weights(200, 100, 0)
    found = [fit_covariances(each, entries, target, weights).correlation for each in sets[:10]]
    widths = [np.arctanh(each.high) - np.arctanh(each.low) for each in found]
    assert np.mean(widths) / (2 * 1.96) == pytest.approx(np.std(fisher), rel=0.35)


# A whole set


def test_a_set_beside_nature_and_independent_columns() -> None:
    nature, designs = aligned(coupled_rows(3_000, 1)), aligned(coupled_rows(600, 2))
    found = measure_family(designs, nature, coupled_contacts(), held_out=designs)
    sets = (found.designs, found.natural, found.independent, found.held_out)
    assert [each.n for each in sets] == [600] * 4
    assert found.num_natural == 3_000
    assert found.contact_share == pytest.approx(3 / 28)
    assert found.designs.covariance_correlation.mean > 0.95
    assert found.natural.covariance_correlation.mean > 0.95
    assert abs(found.independent.covariance_correlation.mean) < 0.2
    assert found.designs.covariance_slope.mean == pytest.approx(1, abs=0.1)
    assert found.designs.contact_precision.mean == 3 / 12
    assert found.independent.site_correlation.mean > 0.98
    assert found.designs.pairwise_identity.low < found.designs.pairwise_identity.high
    assert found.held_out.as_dict() == found.designs.as_dict()
    record = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert set(record["designs"]["nearest_identity_quantiles"]) == {
        "0.05", "0.25", "0.5", "0.75", "0.95",
    }  # fmt: skip
    assert len(found.designs.nearest_identities) == 600


def test_copies_of_nature_are_counted() -> None:
    rows = coupled_rows(400, 1)
    fresh = ["KKKKKKKKKKKK"] * 2
    found = measure_family(aligned(rows[:6] + fresh), aligned(rows))
    assert found.designs.copies.mean == 6 / 8
    assert found.designs.num_distinct == 7
    assert found.designs.contact_precision is None
    assert found.contact_share is None


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_sequences_does_not_matter(seed: int) -> None:
    rows, nature = coupled_rows(60, 7), coupled_rows(150, 8)
    generator = np.random.default_rng(seed)
    other_rows = [rows[place] for place in generator.permutation(60)]
    other_nature = [nature[place] for place in generator.permutation(150)]
    entries, again = (select_entries(encode_rows(each)) for each in (nature, other_nature))
    assert (entries.first == again.first).all()
    assert (entries.second == again.second).all()
    one, other = (
        measure_family(aligned(each), aligned(beside), coupled_contacts(),
                       num_contact_resamples=2).designs
        for each, beside in ((rows, nature), (other_rows, other_nature))
    )  # fmt: skip
    for name in ("covariance_correlation", "covariance_slope", "site_correlation", "copies",
                 "contact_precision", "nearest_identity", "pairwise_identity"):  # fmt: skip
        assert getattr(one, name).mean == pytest.approx(getattr(other, name).mean, abs=1e-6), name
    assert sorted(one.nearest_identities) == pytest.approx(sorted(other.nearest_identities))


def test_the_same_seed_gives_the_same_intervals() -> None:
    designs, nature = aligned(coupled_rows(80, 2)), aligned(coupled_rows(300, 1))
    first, again = (measure_family(designs, nature, seed=5).as_dict() for _ in range(2))
    assert first == again
    assert first != measure_family(designs, nature, seed=6).as_dict()


def test_controls_are_made_once_for_an_n_and_nature_is_disjoint() -> None:
    reference = FamilyReference(aligned(coupled_rows(100, 1)))
    assert reference.controls(30) is reference.controls(30)
    natural, independent = reference.controls(80)
    assert (natural.n, independent.n) == (50, 80)
    distinct = FamilyReference(aligned(["ACDKACDKACDK"] + ["KKKKKKKKKKKK"] * 3))
    # A subset that held its own reference would find itself at identity 1.
    rows = np.arange(12 * 8).reshape(8, 12) % 20
    alone = FamilyReference(aligned(["".join(CANONICAL_RESIDUES[x] for x in r) for r in rows]))
    assert alone.controls(4)[0].nearest_identity.mean < 1
    assert distinct.controls(2)[0].nearest_identity.mean > 0
    with pytest.raises(ValueError, match="resamples"):
        FamilyReference(aligned(coupled_rows(10, 1)), num_resamples=1)


@pytest.mark.parametrize(
    ("designs", "nature", "names"),
    [
        (20, 4_500, ("20 designs", "fewer than 30")),
        (100, 4_500, ("100 designs", "mostly noise")),
        (600, 4_500, ("600 designs", "equal n")),
        (600, 900, ("900 natural", "450 sequences")),
    ],
)
def test_warnings_where_n_is_too_small(designs: int, nature: int, names: tuple[str, ...]) -> None:
    found = measure_family(aligned(coupled_rows(designs, 2)), aligned(coupled_rows(nature, 1)))
    assert all(name in " ".join(found.warnings) for name in names), found.warnings


def test_enough_designs_give_no_warning() -> None:
    found = measure_family(aligned(coupled_rows(2_048, 2)), aligned(coupled_rows(4_500, 1)))
    assert [each for each in found.warnings if "distinct" not in each] == []


def test_contacts_that_nature_cannot_tell_are_warned_of() -> None:
    nature = aligned(coupled_rows(1_200, 1, strength=0.0))
    found = measure_family(aligned(coupled_rows(60, 2)), nature, coupled_contacts())
    assert any("contact precision" in each for each in found.warnings)


def test_repeats_and_what_does_not_align_are_warned_of() -> None:
    designs = aligned(coupled_rows(40, 2) * 2)
    designs.bits[:10] = np.nan
    found = measure_family(designs, aligned(coupled_rows(300, 1)))
    assert (found.designs.n, found.designs.n_given) == (70, 80)
    assert any("10 of 80" in each for each in found.warnings)
    assert any("40 of 70" in each for each in found.warnings)


def test_without_sequences_there_are_no_statistics_but_a_reason() -> None:
    designs, nature = aligned(coupled_rows(10, 2)), aligned(coupled_rows(300, 1))
    assert "profile alone" in measure_family(designs, None).reason
    assert measure_family(designs, None).designs is None
    none = replace(designs, bits=np.full(10, np.nan))
    found = measure_family(none, nature)
    assert "none of 10" in found.reason
    assert found.as_dict()["designs"] is None
    assert "1 natural" in measure_family(designs, nature.take(np.arange(1))).reason


def test_one_design_has_what_one_can_have() -> None:
    found = measure_family(aligned(["ACDKACDKACDK"]), aligned(coupled_rows(300, 1)))
    assert found.designs.covariance_correlation is None
    assert found.designs.pairwise_identity is None
    assert 0 < found.designs.nearest_identity.mean <= 1


# Alignments and profiles


FAMILY = ["MKVLAAGIVGLCAKAYLEHWQ", "MKVLSAGIVGLCARAYLEHWQ", "MKILAAGVVGLCAKKYLEHWE",
          "MRVLAAGIIGLCAKAYIEHFQ", "MKVLAAGIVG-CAKAYLDHWQ", "MKVIAAGIVGLCSKAYLEHW-"]  # fmt: skip


def as_fasta(rows: list[str]) -> str:
    return "".join(f">s{place}\n{row}\n" for place, row in enumerate(rows))


@pytest.mark.parametrize(
    ("rows", "match", "sequences"),
    [
        (["AC-D", "A-KD"], ["AC-D", "A-KD"], ["ACD", "AKD"]),
        (["AC.D", "A.KD"], ["AC-D", "A-KD"], ["ACD", "AKD"]),  # dots as gaps
        (["acdk", "ac-k"], ["ACDK", "AC-K"], ["ACDK", "ACK"]),
        (["ACddD", "A-D"], ["ACD", "A-D"], ["ACDDD", "AD"]),  # A3M
        (["ACddD", "A-..D"], ["ACD", "A-D"], ["ACDDD", "AD"]),  # A2M
        (["AcD-", "ACDK"], ["ACD-", "ACDK"], ["ACD", "ACDK"]),  # masked residues
        (["A~C_"], ["A-C-"], ["AC"]),
    ],
)
def test_match_columns_of_every_format(
    rows: list[str], match: list[str], sequences: list[str]
) -> None:
    found = alignment_of(rows)
    assert found.match_rows() == match
    assert found.sequences() == sequences
    assert found.num_columns == len(match[0])


def test_stockholm_marks_its_own_columns(tmp_path: Path) -> None:
    text = "# STOCKHOLM 1.0\ns1 ACDK\ns2 A-DK\n#=GC RF x.xx\n//\n"
    path = tmp_path / "family.sto.gz"
    path.write_bytes(gzip.compress(text.encode()))
    found = read_alignment(path)
    assert found.match_rows() == ["ADK", "ADK"]
    assert found.sequences() == ["ACDK", "ADK"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (as_fasta(["ACD", "AC"]), ("s1", "2 match columns", "s0", "3")),
        (as_fasta(["AC*", "ACD"]), ("s0", "'*'")),
        (as_fasta(["", ""]), ("no columns",)),
        ("# STOCKHOLM 1.0\ns1 ACDK\ns2 A-D\n//\n", ("Stockholm",)),
        ("# STOCKHOLM 1.0\ns1 ACDK\n//\n# STOCKHOLM 1.0\ns1 ACDK\n//\n", ("one family",)),
        ("HMMER3/f [3.4]\nNAME x\nLENG 4\n", ("ALPH",)),
        ("HMMER3/f [3.4]\nNAME x\nLENG 4\nALPH DNA\n", ("DNA", "proteins")),
        ("HMMER3/f [3.4]\nNAME x\nLENG 4\nALPH amino\n", ("not calibrated",)),
        ("hello\n", ("no FASTA",)),
        ("", ("empty",)),
    ],
)
def test_families_that_cannot_be_read(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    pytest.importorskip("pyhmmer")
    path = tmp_path / "family"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as refused:
        FamilyProfile.read(path)
    assert all(name in str(refused.value) for name in ("--family", *names))


@pytest.fixture(scope="module")
def profile() -> FamilyProfile:
    pytest.importorskip("pyhmmer")
    return FamilyProfile.from_alignment(alignment_of(FAMILY))


def test_members_align_as_they_were_given(profile: FamilyProfile) -> None:
    found = profile.align_members()
    assert found.aligned.all()
    assert found.num_columns == profile.num_columns == 21
    assert (found.rows[:4] == encode_rows(FAMILY[:4])).all()
    assert found.rows[4][10] == GAP
    assert found.coverage[:5] == pytest.approx([1, 1, 1, 1, 20 / 21])
    assert (found.bits > 10).all()


def test_a_column_of_gaps_stays_a_match_column() -> None:
    pytest.importorskip("pyhmmer")
    rows = [row[:7] + "-" + row[7:] for row in FAMILY[:5]] + ["MKVIAAGWIVGLCSKAYLEHW-"]
    assert FamilyProfile.from_alignment(alignment_of(rows)).num_columns == 22


def test_insertions_are_dropped_and_tell_the_profile_of_insertions() -> None:
    pytest.importorskip("pyhmmer")
    rows = [FAMILY[0][:7] + "gggg" + FAMILY[0][7:], *FAMILY[1:]]
    found = FamilyProfile.from_alignment(alignment_of(rows))
    assert found.num_columns == 21
    assert found.members[0] == rows[0].upper()
    design = found.align([rows[0].upper()])
    assert (design.rows[0] == encode_rows(FAMILY[:1])[0]).all()
    without = FamilyProfile.from_alignment(alignment_of(FAMILY)).align([rows[0].upper()])
    assert design.bits[0] > without.bits[0]


def test_what_does_not_align_has_no_numbers(profile: FamilyProfile) -> None:
    found = profile.align(["GGSGGSGGSGGSGGSGGSGGS", FAMILY[0], "", "XXXXXX", "M", "MK?"])
    assert found.aligned.tolist() == [False, True, False, False, False, False]
    assert np.isnan(found.bits[0]) and np.isnan(found.evalue[0]) and np.isnan(found.coverage[0])
    assert (found.rows[0] == GAP).all()
    assert len(profile.align([])) == 0


def test_a_result_depends_on_its_sequence_alone(profile: FamilyProfile) -> None:
    sequences = [row.replace("-", "") for row in FAMILY]
    together = profile.align(sequences * 40, threads=2)
    for place, sequence in enumerate(sequences):
        alone = profile.align([sequence])
        for copy in (place, place + 6 * 39):
            assert (together.rows[copy] == alone.rows[0]).all()
            assert together.bits[copy] == alone.bits[0]
            assert together.evalue[copy] == alone.evalue[0]


def test_a_profile_file_gives_the_same_bits_and_no_members(
    profile: FamilyProfile, tmp_path: Path
) -> None:
    path = tmp_path / "family.hmm"
    with open(path, "wb") as stream:
        profile.hmm.write(stream)
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for each in (path, packed):
        read = FamilyProfile.read(each)
        assert read.members is None
        assert read.align_members() is None
        found = read.align([FAMILY[0]])
        assert found.bits == pytest.approx(profile.align([FAMILY[0]]).bits, abs=0.01)
    with open(path, "ab") as stream:
        profile.hmm.write(stream)
    with pytest.raises(UserError, match="2 profiles"):
        FamilyProfile.read(path)


def test_designs_from_file_to_statistics(tmp_path: Path) -> None:
    pytest.importorskip("pyhmmer")
    path = tmp_path / "family.fasta.gz"
    path.write_bytes(gzip.compress(as_fasta(FAMILY * 5).encode()))
    profile = FamilyProfile.read(path)
    contacts = ContactMap.read(
        write_contacts(tmp_path / "c.tsv", "1\t10\t5", "2\t20\t12"), profile.num_columns
    )
    designs = profile.align(["MKVLAAGIVGLCAKAYLEHWQ", "GGSGGSGGSGGS", "MRILAAGIVGLCAKAYIEHWQ"])
    found = measure_family(designs, profile.align_members(), contacts)
    assert (found.designs.n, found.designs.n_given) == (2, 3)
    assert found.designs.copies.mean == 0.5
    assert any("1 of 3" in each for each in found.warnings)
