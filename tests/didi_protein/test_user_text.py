"""What a user wrote stays what it was, at the doors: odd values, ids, tables of others, places."""

import base64
import re
from pathlib import Path

import pytest

from didi_core.errors import UserError
from didi_core.io.files import check_writable
from didi_protein.filter import filter_designs
from didi_protein.filtering.options import FilterOptions
from didi_protein.generating.templates import read_templates
from didi_protein.report import write_report
from didi_protein.score import score
from didi_protein.scoring.options import ScoreOptions, ScoreResult
from didi_protein.scoring.table import build_table, read_scores, write_scores
from didi_protein.sequences.fasta import ProteinRecord, read_records

ONE, TWO = "MKTAYIAKQRQISFVKSHF", "GSHMLEDPVDAFQKLLAEY"
ATOM = "ATOM  {:5d}  CA  ALA A{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00 90.00           C  \n"
PDB = "".join(ATOM.format(i, i, 3.8 * i, 0.0, i % 3) for i in range(1, 9)) + "END\n"


def scored(out: Path, *inputs: Path) -> ScoreResult:
    options = {"judge": "none", "pseudo": "none", "threads": 1, "device": "cpu", "quiet": True}
    return score(ScoreOptions(inputs=[str(each) for each in inputs], out=out, **options))


def row(name: str | None, sequence: str = ONE, **more: object) -> dict[str, object]:
    return {"id": name, "length": 19, "status": "ok", "sequence": sequence, **more}


def table_of(place: Path, *rows: dict[str, object]) -> Path:
    write_scores(place, build_table(rows))
    return place


def filtered(table: Path, **more: object) -> list[str]:
    out = table.with_suffix(".fasta")
    filter_designs(FilterOptions(table=table, out=out, overwrite=True, **more))
    return [line for line in out.read_text().splitlines() if line.startswith(">")]


def test_numbers_are_made_where_they_are_asked_for(tmp_path: Path) -> None:
    rows = [row("a", header_lot="007", header_v="1e2"), row("b", TWO, header_lot="x")]
    table = table_of(tmp_path / "a.csv", *rows)
    assert filtered(table, minimum=["header_v=99"]) == [">a length=19 lot=007 v=1e2"]
    for flags in ({"minimum": ["header_lot=1"]}, {"sort_by": "header_lot:lowest"}):
        with pytest.raises(UserError, match="header_lot of row 2, id b, holds 'x'"):
            filtered(table, **flags)


def test_a_cell_that_somebody_edited_is_kept(tmp_path: Path) -> None:
    table = table_of(tmp_path / "a.csv", row("a", judge_perplexity=8.5), row("b", TWO, nfe=3))
    table.write_text(table.read_text().replace("8.5", "8.50"))
    filtered(table, maximum=["judge_perplexity=9"])
    assert ",8.50," in (tmp_path / "a.selected.csv").read_text()


def test_an_id_of_several_words_leads_back(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, letter in (("model 1 (b)", "ALA"), ("model_1_(b)", "GLY"), ("100%", "SER")):
        (folder / f"{name}.pdb").write_text(PDB.replace("ALA", letter))
    first = scored(tmp_path / "a.csv", folder)
    names = dict(zip(first.table["id"], first.table["header_name"], strict=True))
    assert names == {"100%": None, "model_1_(b)#2": "model 1 (b)", "model_1_(b)": None}
    titles = filtered(first.out)
    assert ">model_1_(b)#2 length=8 name*=model%201%20(b)" in titles
    again = scored(tmp_path / "b.csv", tmp_path / "a.fasta")
    assert dict(zip(again.table["id"], again.table["header_name"], strict=True)) == names


def test_filter_and_report_make_words_of_old_ids(tmp_path: Path) -> None:
    table = table_of(
        tmp_path / "a.csv",
        row("my design 1", judge_perplexity=9.0),
        row("c\td", TWO, header_name="mine", judge_perplexity=8.0),
        row("a%20b", ONE[1:], judge_perplexity=7.0),
    )
    titles = filtered(table)
    assert titles[0].startswith(">a%20b ") and "name" not in titles[0]
    assert titles[1] == ">c_d length=19 name=mine name#2*=c%09d"
    assert titles[2] == ">my_design_1 length=19 name*=my%20design%201"
    ids = [record.header.get("name") for record in read_records([table.with_suffix(".fasta")])]
    assert ids == [None, "mine", "my design 1"]
    filtered(table, top=2)  # whose rejected one the report must know again
    page = write_report([table], tmp_path / "a.html").out.read_text()
    (text,) = re.findall(r"data:text/plain;base64,([A-Za-z0-9+/=]+)", page)
    titles = [line for line in base64.b64decode(text).decode().splitlines() if line[0] == ">"]
    assert titles == [">a%20b length=18", ">c_d length=19 name=mine"]


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (("a", None), "an empty id in row 2 "),
        (("a", "  "), "an empty id in row 2 "),
        (("a\nb", "c"), "an id with a line break in row 1 "),
        (("a", "b", "a"), "an id that another row has in rows 1, 3 "),
    ],
)
def test_ids_that_lead_nowhere_are_refused(
    tmp_path: Path, ids: tuple[str | None, ...], said: str
) -> None:
    rows = [row(name, ONE[place:]) for place, name in enumerate(ids)]
    with pytest.raises(UserError, match=said):
        filtered(table_of(tmp_path / "a.jsonl", *rows))
    assert not (tmp_path / "a.fasta").exists()


def test_template_names_stay(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('id,template\n1e5,__MKT__\n00012,__MKT__\nNA,_M\n"a b",_M\na,_M\na,_M\n,_M\n')
    names = [each.name for each in read_templates(str(path), 100)]
    assert names == ["1e5", "00012", "NA", "a b", "a", "a#2", "unnamed"]
    title = ProteinRecord("design_1", "MK", {"template": "a b"}).title
    assert title == ">design_1 template*=a%20b"


@pytest.mark.parametrize("sign", [";", "\t"])
def test_a_table_of_a_spreadsheet_is_named_as_such(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"\ufeffid,status,sequence,gravy\na,ok,{ONE},0\n".replace(",", sign))
    for read in (lambda: filtered(path), lambda: write_report([path], tmp_path / "a.html")):
        with pytest.raises(UserError, match=r"is separated by (;|tabs),.*separated by commas"):
            read()
    other = tmp_path / "hits.csv"  # not of score: no column of ours
    other.write_text(f"Name,Seq,Kd\na,{ONE},0\n".replace(",", sign).replace("0", "5,3"))
    for read in (lambda: filtered(other), lambda: write_report([other], tmp_path / "a.html")):
        with pytest.raises(UserError, match=r"is separated by .*score .*--sequence-column") as told:
            read()
        assert "mend that row" not in str(told.value)
    template = tmp_path / "t.csv"
    template.write_text(f"id{sign}template\na{sign}__M\n")
    with pytest.raises(UserError, match=r"--template .* is separated by"):
        read_templates(str(template), 100)


def test_tables_that_are_not_plain(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for text, said in (
        ("id,status,sequence,id\n", "the column 'id' twice"),
        ("id,status,sequence\na,ok,MK,7\n", "row 1 has 4 cells, the header 3"),
        ('id,status,sequence\na,ok,"MK\n', "is no table"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=said):
            read_scores(path)
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "status": "ok", "sequence": "MK"}\n{"id": "\\ud800"}\n')
    with pytest.raises(UserError, match="line 2 cannot be read"):
        read_scores(path)
    path.write_text(
        '{"id": 7, "status": "ok", "sequence": "MK", "mine": 1.10, "n": [1.0], "o": ""}'
    )
    (only,) = read_scores(path).to_dict("records")
    assert (only["id"], only["mine"], only["n"], only["o"]) == ("7", "1.10", "[1.0]", None)


def test_links_in_the_way_to_the_table(tmp_path: Path) -> None:
    (tmp_path / "real" / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a" / "b")
    (tmp_path / "any.pdb").write_text(PDB)
    result = scored(tmp_path / "link" / "r.csv", tmp_path / "any.pdb")
    assert result.table["pdb_file"].tolist() == ["../../../any.pdb"]
    (tmp_path / "kept").mkdir()
    out = tmp_path / "kept" / "f.fasta"
    filter_designs(FilterOptions(table=tmp_path / "link" / "r.csv", out=out))
    assert read_scores(tmp_path / "kept" / "f.selected.csv")["pdb_file"].tolist() == ["../any.pdb"]


def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "a.fasta").write_text(f">a\n{ONE}\n")
    longest = "x" * 251 + ".csv"  # the table would fit, its summary would not
    for name in ("file/r.csv", "folder.csv", longest):
        with pytest.raises(UserError, match="cannot be written"):
            scored(tmp_path / name, tmp_path / "a.fasta")
    check_writable(tmp_path / "new" / "r.csv")
    assert list((tmp_path / "new").iterdir()) == []
