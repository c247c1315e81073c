"""Files of other programs: any bytes, and only messages come back; tables lose nothing."""

import csv
import io
import tempfile
from functools import cache
from pathlib import Path

import pytest
from fuzzing import CASES, damaged, only_user_errors, write
from hypothesis import given
from hypothesis import strategies as st
from prediction_fixtures import (
    LIGAND_MPNN,
    PROTEIN_MPNN,
    TWO_CHAINS,
    Model,
    write_alphafold3,
    write_alphafold_server,
    write_boltz,
    write_chai,
    write_colabfold,
)

from didi_protein.sequences.fasta import Reading, parse_header, read_records
from didi_protein.sequences.tables import ColumnNames, read_table

MPNN = [each.encode() for each in (PROTEIN_MPNN, TWO_CHAINS, LIGAND_MPNN)]
CELLS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\ufeff"))
SEQUENCE = Model().chains["A"]


@CASES
@given(content=damaged(*MPNN, words=(b", ", b"/", b":", b"=", b"[", b"']", b"sample=", b"id=")))
def test_fasta_of_inverse_folding(tmp_path: Path, content: bytes) -> None:
    with only_user_errors():
        records = read_records([write(tmp_path, "a.fa", content)])
        assert len({record.id for record in records}) == len(records)
        for record in records:
            assert parse_header(record.title[1:]) == (record.id, record.header)


@CASES
@given(content=damaged(b"Name;Seq;x\r\na;MKT;1,5\r\nb;GGG;2\r\n", words=(b";", b",", b'"', b"\t")))
def test_tables(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, "a.csv", content)
    for columns in (ColumnNames("Seq", "Name"), ColumnNames("Seq")):
        with only_user_errors():
            read_records([path], reading=Reading(columns))


@CASES
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1), sign=st.sampled_from(",;\t|"))
def test_cells_stay_what_they_were(tmp_path: Path, rows: list[tuple[str, str]], sign: str) -> None:
    stream = io.StringIO(newline="")
    written = csv.writer(stream, delimiter=sign, quoting=csv.QUOTE_ALL)
    written.writerow(("Seq", "id", "kept as text"))
    written.writerows((SEQUENCE, one, f"x{two}") for one, two in rows)
    path = write(tmp_path, "a.csv", stream.getvalue().encode())
    found = read_table(path, ColumnNames("Seq"))
    assert [(each.id, each.header["kept as text"]) for each in found] == [
        (one, f"x{two}") for one, two in rows
    ]


@cache
def _outputs() -> dict[str, dict[str, bytes]]:
    """What each program wrote, by path."""
    models = [Model(seed=1, score=0.5), Model(seed=2, score=0.9)]
    writers = {
        "colabfold": lambda folder: write_colabfold(folder, "d", models),
        "boltz": lambda folder: write_boltz(folder, "d", models),
        "chai": lambda folder: write_chai(folder / "d", models),
        "alphafold3": lambda folder: write_alphafold3(folder, "d", models),
        "server": lambda folder: write_alphafold_server(folder, "d", models),
    }
    contents = {}
    for tool, writer in writers.items():
        with tempfile.TemporaryDirectory() as name:
            writer(Path(name))
            files = [path for path in Path(name).rglob("*") if path.is_file()]
            contents[tool] = {str(each.relative_to(name)): each.read_bytes() for each in files}
    return contents


@pytest.mark.parametrize("tool", ["colabfold", "boltz", "chai", "alphafold3", "server"])
@CASES
@given(data=st.data(), all_models=st.booleans())
def test_output_folders(tool: str, data: st.DataObject, all_models: bool) -> None:
    contents = _outputs()[tool]
    read = sorted(name for name in contents if name.endswith((".json", ".npz", ".cif")))
    hit = data.draw(st.sampled_from(read))
    words = (b"null", b"{}", b"[]", b"-1", b"1e999", b"NaN", b'"x"', b"true")
    with tempfile.TemporaryDirectory() as name:
        for path, content in contents.items():
            (Path(name) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(name) / path).write_bytes(content)
        (Path(name) / hit).write_bytes(data.draw(damaged(contents[hit], words=words)))
        records = read_records([name], reading=Reading(all_models=all_models, keep_unreadable=True))
        assert len(records) >= (2 if all_models else 1)
