"""Tables of anybody as input: separators, encodings, decimal commas, and wrong names of columns."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from scoring_fixtures import quick_scores
from typer.testing import CliRunner

from didi_core.cli.run import run_program
from didi_core.errors import UserError
from didi_protein.app import app
from didi_protein.filter import FilterOptions, filter_designs
from didi_protein.score import score, score_command
from didi_protein.scoring.table import read_scores
from didi_protein.sequences.fasta import ProteinRecord, Reading, read_records
from didi_protein.sequences.tables import ColumnNames

ONE, TWO = "MKTAYIAKQRQISFVKSHFSRQLEERLG", "GSHMLEDPVDAFRNLGKTWYESCCNAPSTI"
TABLE = f"Name,Seq,Kd (nM),lot\nK\u00e4se 1,{ONE},0.5,007\nb,{TWO},12,1E5\n"
ROWS = [
    ("K\u00e4se_1", ONE, {"Kd (nM)": "0.5", "lot": "007", "name": "K\u00e4se 1"}),
    ("b", TWO, {"Kd (nM)": "12", "lot": "1E5"}),
]


def read(path: Path, sequence: str = "Seq", names: str | None = "Name") -> list[ProteinRecord]:
    return read_records([path], reading=Reading(ColumnNames(sequence, names)))


def excel(text: str) -> str:
    """The same table as a German Excel saves it."""
    return text.replace(",", ";").replace("0.5", "0,5").replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", TABLE.encode()),
        ("a.csv", TABLE.encode("utf-8-sig")),
        ("a.csv", excel(TABLE).encode("utf-8-sig")),
        ("a.csv", excel(TABLE).encode("cp1252")),
        ("a.csv", ("sep=;\r\n" + excel(TABLE)).encode("latin-1")),
        ("a.txt", TABLE.replace(",", "\t").encode("utf-16")),
        ("a.tsv", TABLE.replace(",", "\t").encode()),
        ("a.TAB.gz", gzip.compress(TABLE.replace(",", "\t").encode())),
        ("a.csv", TABLE.replace(",", "|").encode()),
        ("a.csv", (TABLE.replace("\n", ",,\n") + ",,,,,\n").encode()),
        ("a.csv", ('"' + TABLE.replace(",", '","').replace("\n", '"\n"')[:-1]).encode()),
    ],
)
def test_whatever_spreadsheets_write_reads_alike(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    found = [(each.id, each.sequence, each.header) for each in read(path)]
    assert [(each[0], each[1], dict(sorted(each[2].items()))) for each in found] == [
        (each[0], each[1], dict(sorted(each[2].items()))) for each in ROWS
    ]


def test_decimal_commas_are_points_only_where_most_cells_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"Seq;x;y;z\n{ONE};-1,5;1,5;1,000\n{TWO};2;1,5 nM;1,2,3\n")
    first, second = [each.header for each in read(path, names=None)]
    assert first == {"x": "-1.5", "y": "1,5", "z": "1,000"}
    assert second == {"x": "2", "y": "1,5 nM", "z": "1,2,3"}
    path.write_text(f"Seq;x\n{ONE};0,5\n{TWO};n.d.\n{ONE};1.200,5\n")
    assert [each.header["x"] for each in read(path, names=None)] == ["0.5", "n.d.", "1200.5"]


@pytest.mark.parametrize(
    ("header", "ids"),
    [("Seq,Name", ["a_1", "a_2"]), ("Seq,id", ["x", "x#2"]), ("Seq,", ["a_1", "a_2"])],
)
def test_ids_where_no_column_is_named(header: str, ids: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n{ONE},x\n{TWO},x\n")
    records = read(tmp_path / "a.csv", names=None)
    assert [each.id for each in records] == ids
    others = {key for each in records for key in each.header}
    assert others == {"Seq,Name": {"Name"}, "Seq,id": set(), "Seq,": {"column_2"}}[header]


WRONG = [
    (TABLE, "seq", "Name", ["--sequence-column seq", "did you mean 'Seq'", "'Kd (nM)'", "'lot'"]),
    (TABLE, "Seq", "nom", ["--id-column nom", "it has 'Name', 'Seq'"]),
    (excel(TABLE), "sequence", None, ["--sequence-column sequence", "'Name', 'Seq', 'Kd (nM)'"]),
    ("", "Seq", None, ["a.csv", "empty"]),
    ("Name,Seq\n", "Seq", None, ["a.csv", "no rows"]),
    ("Seq,Seq\nMK,MK\n", "Seq", None, ["'Seq' twice"]),
    (f"Seq,b\n{ONE},1,2\n", "Seq", None, ["row 1 has 3 cells"]),
    (f'Seq,b\n"{ONE},1\n', "Seq", None, ["a.csv", "no table"]),
    (f">a\n{ONE}\n", "Seq", None, ["--sequence-column Seq", "it has '>a'"]),
    ("\0\1", "Seq", None, ["binary"]),
]


@pytest.mark.parametrize(("text", "sequence", "names", "said"), WRONG)
def test_bad_tables_are_refused(
    text: str, sequence: str, names: str | None, said: list[str], tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError) as caught:
        read(tmp_path / "a.csv", sequence, names)
    assert all(each in str(caught.value) for each in said), caught.value


def _workbook(folder: Path) -> list[str]:
    (folder / "a.xlsx").write_bytes(b"PK")
    return [str(folder / "a.xlsx")]


def _no_table(folder: Path) -> list[str]:
    (folder / "a.fasta").write_text(f">a\n{ONE}\n")
    return [str(folder / "a.fasta"), "--sequence-column", "Seq"]


def _ids_alone(folder: Path) -> list[str]:
    (folder / "a.csv").write_text(TABLE)
    return [str(folder / "a.csv"), "--id-column", "Name"]


def _wrong_name(folder: Path) -> list[str]:
    (folder / "a.csv").write_text(TABLE)
    return [str(folder / "a.csv"), "--sequence-column", "sequence"]


def _no_column(folder: Path) -> list[str]:
    (folder / "a.csv").write_text(TABLE)
    return [str(folder / "a.csv")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (_workbook, ["a.xlsx", "save its sheet as CSV"]),
        (_no_table, ["--sequence-column Seq", "no INPUT is a table"]),
        (_ids_alone, ["--id-column Name", "--sequence-column"]),
        (_wrong_name, ["--sequence-column sequence", "'Seq'"]),
        (_no_column, ["a.csv", "--sequence-column"]),
    ],
)
def test_flags_that_cannot_be_meant_end_with_status_2(
    arguments: Callable[[Path], list[str]],
    said: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["score", *arguments(tmp_path), "--out", str(tmp_path / "s.csv"), "--judge", "none"]
    command += ["--pseudo", "none"]
    assert run_program(lambda: app(command, standalone_mode=False)) == 2
    message = capsys.readouterr().err
    assert all(each in message for each in said), message
    assert not (tmp_path / "s.csv").exists()


def test_a_table_is_scored_filtered_and_scored_again_without_loss(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_bytes(excel(TABLE + f"c,{ONE[:9]}xB,7,8\nd,,1,2\n").encode("cp1252"))
    (folder / "log.txt").write_text("no table")
    (folder / "b.fasta").write_text(f">e\n{TWO[3:]}\n")
    options = quick_scores(
        folder, tmp_path / "s.csv", sequence_column="Seq", id_column="Name", training=Path("none")
    )
    score(options)
    table = read_scores(options.out).set_index("id")
    assert table["status"].tolist() == ["ok", "ok", "invalid", "invalid", "ok"]
    assert table.index.tolist() == ["K\u00e4se_1", "b", "c", "d", "e"]
    assert table["header_Kd (nM)"].tolist()[:4] == ["0.5", "12", "7", "1"]
    kept = filter_designs(
        FilterOptions(
            table=options.out, out=tmp_path / "k.fasta", maximum=["header_Kd (nM)=1"],
            sort_by="header_Kd (nM):lowest",
        )
    )  # fmt: skip
    assert kept.selected["header_name"].tolist() == ["K\u00e4se 1"]
    again = quick_scores(
        options.out, tmp_path / "t.csv", sequence_column="sequence", training=Path("none")
    )
    score(again)
    second = read_scores(again.out).set_index("id")
    for column in ("sequence", "header_Kd (nM)", "header_lot", "header_name", "gravy"):
        assert second[column].fillna("").tolist() == table[column].fillna("").tolist(), column


def test_help_names_the_flags() -> None:
    from typer import Typer

    program = Typer()
    program.command("score")(score_command)
    said = CliRunner().invoke(program, ["--help"], env={"COLUMNS": "200"}).output
    assert all(flag in said for flag in ("--sequence-column", "--id-column", "--all-models"))
