"""`--template`: its three forms, and what is refused."""

import gzip
import re
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from scipy.stats import chisquare

from didi_core.diffusion.draws import Stream, keyed_uniform
from didi_core.errors import UserError
from didi_protein.generating.templates import (
    FreeRange,
    parse_template,
    places_of,
    read_templates,
)

LIMIT = 200


def test_underscores_are_free_and_letters_are_kept() -> None:
    (template,) = read_templates("___MKT___", LIMIT)
    assert template.name == "___MKT___"
    assert template.longest == 9
    assert template.pattern(seed=0, record=5) == "___MKT___"


def test_free_ranges_are_drawn_for_each_record() -> None:
    (template,) = read_templates("10-12:MKT:0-1:W_:3", LIMIT)
    assert template.parts == (FreeRange(10, 12), "MKT", FreeRange(0, 1), "W_", FreeRange(3, 3))
    assert template.longest == 12 + 3 + 1 + 2 + 3
    patterns = [template.pattern(seed=0, record=record) for record in range(3000)]
    matches = [re.fullmatch(r"(_{10,12})MKT(_?)W_____?_?", each) for each in patterns]
    assert all(matches)
    first = Counter(len(match[1]) for match in matches if match)
    second = Counter(len(match[2]) for match in matches if match)
    assert all(abs(first[n] - 1000) < 4 * (3000 * 2 / 9) ** 0.5 for n in (10, 11, 12))
    assert all(abs(second[n] - 1500) < 4 * (3000 / 4) ** 0.5 for n in (0, 1))
    # The ranges of a template are drawn apart from each other.
    both = Counter((len(match[1]), len(match[2])) for match in matches if match)
    assert all(abs(count - 500) < 4 * (3000 * 5 / 36) ** 0.5 for count in both.values())


def test_without_a_total_each_range_is_drawn_for_itself() -> None:
    template = parse_template("10-100:MKT:0-7", "t")
    for record in range(300):
        first, second = (float(keyed_uniform(3, Stream.LENGTH, record, part)) for part in (0, 2))
        expected = "_" * (10 + int(first * 91)) + "MKT" + "_" * int(second * 8)
        assert template.pattern(3, record) == expected


@pytest.mark.parametrize("totals", [range(9, 10), range(7, 11), range(0, 9), range(12, 50)])
def test_a_total_is_met_and_every_way_to_meet_it_is_as_likely(totals: range) -> None:
    template = parse_template("0-3:MK:1-4:W[AL]:2", "t")
    bounds = [(0, 3), (2, 2), (1, 4), (2, 2), (2, 2)]
    every = product(*(range(low, high + 1) for low, high in bounds))
    ways = {lengths for lengths in every if sum(lengths) in totals}
    assert 1 < len(ways) < 16
    found = Counter(tuple(template.lengths(1, record, totals)) for record in range(4000))
    assert set(found) == ways
    assert chisquare([found[each] for each in sorted(ways)]).pvalue > 1e-3
    pattern = template.pattern(1, 5, totals)
    assert len(places_of(pattern)) == sum(template.lengths(1, 5, totals))


@pytest.mark.parametrize(
    ("text", "totals", "possible"),
    [
        ("10-20:MKT:5-15", range(17, 18), "18 to 38"),
        ("10-20:MKT:5-15", range(39, 60), "18 to 38"),
        ("__MKT", range(60, 61), "exactly 5"),
        ("10-20:MKT:5-999", range(17, 18), "18 to 200"),
    ],
)
def test_a_total_that_cannot_be_met_is_refused_with_those_that_can(
    text: str, totals: range, possible: str
) -> None:
    with pytest.raises(UserError, match=f"^--length X: .*{re.escape(text)} .*{possible}"):
        parse_template(text, text).check_total(totals, "--length X", LIMIT)


def test_blanks_and_choices() -> None:
    template = parse_template("xHE[AL]_H:2:[C]", "t")
    assert template.pattern(0, 0) == "_HE[AL]_H__[C]"
    assert places_of(template.pattern(0, 0)) == [*"_HE", "AL", *"_H__C"]
    assert template.shortest == template.longest == 9
    assert parse_template("H[AL]H", "t").longest == 3, "a choice is something to fill"


def test_ranges_are_keyed_by_seed_and_record() -> None:
    template = parse_template("10-100:MKT", "t")
    patterns = [template.pattern(seed=1, record=record) for record in range(20)]
    assert patterns == [template.pattern(seed=1, record=record) for record in range(20)]
    assert patterns != [template.pattern(seed=2, record=record) for record in range(20)]
    assert len(set(patterns)) > 5


@pytest.mark.parametrize("packed", [False, True])
def test_a_fasta_file_holds_many(tmp_path: Path, packed: bool) -> None:
    text = ">first some words\n__MK\nT__\n>second\n5-9:WW:2\n>first\n_A\n"
    path = tmp_path / ("t.fasta.gz" if packed else "t.fasta")
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if packed else text.encode())
    templates = read_templates(str(path), LIMIT)
    assert [each.name for each in templates] == ["first", "second", "first#2"]
    assert templates[0].pattern(0, 0) == "__MKT__"
    assert templates[1].parts == (FreeRange(5, 9), "WW", FreeRange(2, 2))


@pytest.mark.parametrize(("suffix", "separator"), [(".csv", ","), (".tsv", "\t")])
def test_a_table_holds_many(tmp_path: Path, suffix: str, separator: str) -> None:
    rows = [("note", "id", "template"), ("x", "my motif", "__MKT"), ("y", "NA", "1-2:W")]
    path = tmp_path / f"t{suffix}"
    path.write_text("".join(separator.join(row) + "\n" for row in rows))
    templates = read_templates(str(path), LIMIT)
    assert [each.name for each in templates] == ["my motif", "NA"]
    assert templates[1].parts == (FreeRange(1, 2), "W")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__MXT_", r"--template __MXT_: 'X' is no residue .* at position 4"),
        ("__MK*", r"'\*' is no residue .* at position 5"),
        ("__mkt", r"lower-case 'm' \(write residues to keep in capitals\) at position 3"),
        ("HE[AX]_H", r"'X' is no residue .* at position 5"),
        ("HE[al]_H", r"lower-case 'a' .* at position 4"),
        ("HE[]_H", r"nothing to choose from in \[\] at position 3"),
        ("HE[A_H", r"'\[' without its other half .* at position 3"),
        ("HEA]_H", r"']' without its other half .* at position 4"),
        ("HE[A[L]]_H", r"'\[' without its other half .* at position 5"),
        ("10-20:MBT", r"'B' is no residue .* at position 8"),
        ("10-20:M-T", r"'-' is no residue .* at position 8"),
        ("9" * 5_000 + ":MKT", r"99999999999999999999 is a length that no protein has"),
        ("20-10:MKT", r"the range 20-10 is upside down; write 10-20"),
        ("MKT", r"nothing to fill"),
        ("0:MKT:0-0", r"nothing to fill"),
        ("5::MKT", r"nothing between colons at position 3"),
        (":MKT_", r"nothing between colons at position 1"),
        ("", r"nothing between colons at position 1"),
        ("100-198:MKT", r"up to 201 residues, past the model's limit of 200"),
        ("_" * 201, r"up to 201 residues"),
        ("no_such.fasta", r"--template no_such.fasta: cannot be read \(does not exist\)"),
        ("no_such.csv", r"--template no_such.csv: cannot be read \(does not exist"),
    ],
)
def test_templates_without_sense_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_templates(text, LIMIT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,template\na,__\n", r"needs the columns id and template; missing: id"),
        ("id,template\n", r"has no rows"),
        ("", r"is no table"),
        ("id,template\ngood,__A\nbad,__Z\n", r"--template bad: 'Z' is no residue .* position 3"),
    ],
)
def test_tables_without_templates_or_with_a_bad_one_are_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_templates(str(path), LIMIT)
