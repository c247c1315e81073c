"""`--motif`: residues cut from a structure, where designs hold them, and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from generate_fixtures import design, designs
from motif_fixtures import motif_cif, motif_pdb

from didi_core.errors import UserError
from didi_protein.generating.motif import read_motif
from didi_protein.structures.motif import parse_piece, parse_placed, placed_text

WRITERS = [(motif_pdb, "m.pdb"), (motif_cif, "m.cif")]


@pytest.fixture
def structure(tmp_path: Path) -> Path:
    return motif_pdb(tmp_path / "m.pdb")


@pytest.mark.parametrize(("write", "name"), WRITERS, ids=["pdb", "mmcif"])
@pytest.mark.parametrize(
    ("spec", "pattern", "placed"),
    [
        ("1,A56", "_H", "A56>2"),
        ("A55-57,2", "SHD__", "A55-57>1-3"),
        ("A55-A57,2", "SHD__", "A55-57>1-3"),
        ("A55,A57", "S_D", "A55>1,A57>3"),
        ("1,A55,A56", "_SH", "A55>2,A56>3"),
        # An inserted residue is one more, and what is not resolved is counted.
        ("A58,A59", "G_K", "A58>1,A59>3"),
        ("A58-59,A64", "GWK____L", "A58-59>1-3,A64>8"),
        ("A58A,3,A56", "W___H", "A58A>1,A56>5"),
        # Selenomethionine is kept as methionine.
        ("A64-65,1", "LM_", "A64-65>1-2"),
        ("H-1,2,1/5", "C__V", "H-1>1,1/5>4"),
    ],
)
def test_residues_are_kept_and_gaps_are_the_structure_s(
    write: Callable[[Path], Path],
    name: str,
    spec: str,
    pattern: str,
    placed: str,
    tmp_path: Path,
) -> None:
    value = f"{write(tmp_path / name)}:{spec}"
    motif = read_motif(value, None)
    assert motif.template.pattern(0, 0) == pattern
    assert placed_text(motif.placed(motif.template.lengths(0, 0))) == placed


def test_ranges_are_free_and_the_total_is_met(structure: Path) -> None:
    motif = read_motif(f"{structure}:0-5,A55-56,2-4,A58,1-9", None)
    total = range(14, 15)
    for record in range(50):
        pattern = motif.template.pattern(2, record, total)
        assert re.fullmatch(r"_{0,5}SH_{2,4}G_{1,9}", pattern) and len(pattern) == 14
        first, second = motif.placed(motif.template.lengths(2, record, total))
        assert pattern[first.start : first.start + 2] == "SH" and pattern[second.start] == "G"


def test_without_ranges_a_length_leaves_the_ends_open(structure: Path) -> None:
    motif = read_motif(f"{structure}:A55,A57", 20)
    patterns = {motif.template.pattern(1, record, range(20, 21)) for record in range(400)}
    assert patterns == {"_" * n + "S_D" + "_" * (17 - n) for n in range(18)}


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("B57", ["B57", "no such chain", "A, H, 1"]),
        ("A90", ["A90", "does not hold 90", "chain A", "55-58, 58A-59, 64-68"]),
        ("A56B", ["A56B", "does not hold 56B", "55-58"]),
        ("A59-64", ["A59-64", "does not hold 59 to 64 in whole", "55-58, 58A-59, 64-68"]),
        ("A57-55", ["A57-55", "55 stands before 57"]),
        ("3,A68", ["A68", "68 is SEP", "none of the 20"]),
        ("A57,A55", ["A55 is not behind A57", "A57,20-30,A55"]),
        ("A55-57,3,A56", ["named twice"]),
        ("A55,H0", ["H0 is of another chain than A55", "A55,20-30,H0"]),
        ("A55,9-3", ["9-3", "upside down", "3-9"]),
        ("A55,,3", ["''", "neither residues"]),
        ("A55;A57", ["'A55;A57'", "A57 or A163-181"]),
        ("10-20", ["no residue to keep"]),
        ("A55-57", ["nothing to fill", "10-20,A55-57,10-20", "--length"]),
        ("", ["''"]),
    ],
)
def test_what_cannot_be_kept_is_refused(structure: Path, spec: str, named: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        read_motif(f"{structure}:{spec}", None)
    message = str(refused.value)
    assert message.startswith(f"--motif {structure}")
    assert not [each for each in named if each not in message], message


@pytest.mark.parametrize(
    ("value", "named"),
    [("m.pdb", "m.pdb:A57,A102"), ("no_such.pdb:A5", "does not exist"), ("", "F.pdb:A57")],
)
def test_a_file_without_residues_and_no_file_are_refused(value: str, named: str) -> None:
    with pytest.raises(UserError, match=re.escape(named)):
        read_motif(value, None)


@pytest.mark.parametrize(
    "text", ["A57", "A163-181", "A52B-60", "H-1-3", "1/5", "A#2/7-9", "/12", "BB8"]
)
def test_pieces_are_written_as_they_are_read(text: str) -> None:
    assert str(parse_piece(text)) == text
    placed = f"{text}>7,{text}>9-12"
    assert placed_text(parse_placed(placed)) == placed


@pytest.mark.parametrize("text", ["A57", "A57>0", "A57>9-3", "57>3", "A57>3,", "A>3", "", "A57>-3"])
def test_a_header_that_says_no_places_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not residues|names no place"):
        parse_placed(text)


def test_designs_keep_the_motif_and_say_where(model: Path, structure: Path, tmp_path: Path) -> None:
    value = f"{structure}:3-8,A55-56,4-9,A59,A64,2-6"
    result = design(model, tmp_path / "d.fasta", motif=value, length="25-30", num=20)
    assert result.num_designs == 20
    for record in designs(result):
        assert 25 <= len(record.sequence) <= 30 and "template" not in record.header
        first, second, third = parse_placed(record.header["motif"])
        assert record.sequence[first.start : first.start + 2] == "SH"
        assert record.sequence[second.start] == "K" and record.sequence[third.start] == "L"
        assert third.start - second.start == 5
    assert len({record.header["motif"] for record in designs(result)}) > 5


def test_choices_are_drawn_among_their_residues(model: Path, tmp_path: Path) -> None:
    result = design(model, tmp_path / "d.fasta", template="2-5:HE[AL]_H[WYF]", num=40, exclude="Y")
    found = [re.fullmatch(r".{2,5}HE([AL]).H([WF])", each.sequence) for each in designs(result)]
    assert all(found)
    assert {each[1] for each in found if each} == set("AL")
    assert {each[2] for each in found if each} == set("WF")


JUDGE = {"model": Path("tiny-judge"), "steps": None}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"template": "HE[AL]_H", "exclude": "AL"}, r"--exclude AL: nothing is left of \[AL\]"),
    ({"template": "__A", "motif": "m.pdb:A55"}, "not --template and --motif"),
    ({"motif": "STRUCTURE:2-5,A55,3", "length": "40"}, "--length 40: .*6 to 9"),
    ({"motif": "STRUCTURE:2-400,A55"}, "up to 401 residues, past the model's limit of 300"),
    ({"motif": "STRUCTURE:9,A55,9", **JUDGE}, "A55,9: --model tiny-judge .*autoregressive"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_requests_without_sense_are_refused(
    model: Path, structure: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    asked = {"model": model, **changes}
    if "motif" in asked:
        asked["motif"] = asked["motif"].replace("STRUCTURE", str(structure))
    with pytest.raises(UserError, match=message):
        design(out=tmp_path / "d.fasta", **asked)
