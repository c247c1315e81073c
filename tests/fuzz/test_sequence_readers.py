"""FASTA, templates, lengths, --bias and structures: any bytes, and only messages come back."""

import gzip
import json
from pathlib import Path

import pytest
from fuzzing import CASES, altered, damaged, only_user_errors, write
from hypothesis import given
from hypothesis import strategies as st

from didi_core.commands.generating.domain import LengthWords, read_lengths
from didi_core.io.shards import parse_shard
from didi_core.sampling.sampler_options import parse_options
from didi_protein.generating.residue_bias import check_exclude, read_bias
from didi_protein.generating.templates import places_of, read_templates
from didi_protein.sequences.fasta import read_records
from didi_protein.sequences.lengths import design_lengths
from didi_protein.sequences.training_data import read_training_sequences
from didi_protein.structures.read import read_structure

FASTA = b">design_1 length=6 model=tiny steps=8\nMKTAYI\n>b\nACDEFGHIK\nLMNP\n>b x=<b>&\nMK*\n"
PDB = b"".join(
    b"ATOM  %5d  CA  %s A%4d    %8.3f%8.3f%8.3f  1.00%6.2f           C  \n"
    % (i, name, i, 3.8 * i, 0.0, i % 3, 80.0 + i)
    for i, name in enumerate((b"MET", b"LYS", b"THR", b"ALA", b"TYR", b"ILE"), start=1)
)
CIF = b"data_x\nloop_\n" + b"".join(
    b"_atom_site.%s\n" % each
    for each in b"group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id "
    b"label_entity_id label_seq_id pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy "
    b"B_iso_or_equiv auth_seq_id auth_asym_id pdbx_PDB_model_num".split()
)
CIF += b"".join(
    b"ATOM %d C CA . %s A 1 %d ? %d.0 0.0 0.0 1.0 90.0 %d A 1\n" % (i, name, i, 4 * i, i)
    for i, name in enumerate((b"MET", b"LYS", b"THR", b"ALA"), start=1)
)
TEMPLATES = ("___MKT___", "10-20:MKT:5-15", "MK_:3:__A", "")


@CASES
@given(
    content=damaged(FASTA, gzip.compress(FASTA, mtime=0), words=(b">", b"\r\n", b"\xef\xbb\xbf"))
)
def test_fasta(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, "a.fasta", content)
    with only_user_errors():
        records = read_records([path])
        assert len({record.id for record in records}) == len(records)
    with only_user_errors():
        read_training_sequences(path)


@CASES
@given(content=damaged(PDB, PDB * 2, words=(b"TER\n", b"MODEL        2\n", b"nan", b"HETATM")))
def test_pdb(tmp_path: Path, content: bytes) -> None:
    with only_user_errors():
        read_structure(write(tmp_path, "a.pdb", content))


@CASES
@given(content=damaged(CIF, words=(b"loop_\n", b"'", b";", b"?", b"data_y\n", b"nan")))
def test_mmcif(tmp_path: Path, content: bytes) -> None:
    with only_user_errors():
        read_structure(write(tmp_path, "a.cif", content))


@CASES
@given(
    side=altered({"pae": [[0.5] * 6] * 6, "ptm": 0.7, "plddt": [90.0] * 6}).map(
        lambda side: json.dumps(side).encode()
    )
    | damaged(b'[{"predicted_aligned_error": [[1, 2], [3, 4]]}]')
)
def test_json_beside_a_structure(tmp_path: Path, side: bytes) -> None:
    path = write(tmp_path, "a.pdb", PDB)
    write(tmp_path, "a_scores.json", side)
    with only_user_errors():
        assert read_structure(path)[0].sequence == "MKTAYI"


@CASES
@given(
    text=st.text(max_size=400)
    | st.text("MKTC_x[]:-0123456789 ", max_size=400)
    | st.builds(lambda a, b: a + b, st.sampled_from(TEMPLATES), st.text(":_-9M", max_size=300))
)
def test_template(text: str) -> None:
    with only_user_errors():
        for template in read_templates(text, 300):
            assert len(places_of(template.pattern(0, 0))) <= 300


@CASES
@given(
    content=damaged(
        b"id,template\na,___MKT\nb,5-9:MK\n", FASTA.replace(b"Y", b"_"), words=(b",", b'"', b"\n")
    ),
    suffix=st.sampled_from((".csv", ".tsv", ".fasta", ".csv.gz")),
)
def test_template_file(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = write(tmp_path, f"t{suffix}", content)
    with only_user_errors():
        read_templates(str(path), 300)


@CASES
@given(
    spec=st.text(max_size=30) | st.text("0123456789-, ", max_size=30) | st.just("from:/nowhere"),
    num=st.integers(0, 20),
)
def test_lengths(spec: str, num: int) -> None:
    with only_user_errors():
        assert all(1 <= each <= 300 for each in design_lengths(spec, num, 0, 300))
    with only_user_errors():
        read_lengths(spec, 1, 0, None, LengthWords("token", "sample"))


@CASES
@given(
    content=damaged(
        b"residue,nats\nA,0.5\nC,-2\n", b'{"A": 0.5, "C": -2}', words=(b",", b"nan", b"[", b"1e999")
    ),
    suffix=st.sampled_from((".csv", ".tsv", ".json")),
)
def test_bias(tmp_path: Path, content: bytes, suffix: str) -> None:
    with only_user_errors():
        read_bias(write(tmp_path, f"b{suffix}", content))


@CASES
@given(text=st.text(max_size=20) | st.text("0123456789/=ACDx ", max_size=20))
def test_small_flags(text: str) -> None:
    for parse in (check_exclude, parse_shard, lambda each: parse_options([each])):
        with only_user_errors():
            parse(text)


def test_a_template_longer_than_a_file_name() -> None:
    assert len(read_templates("_" * 400 + "MKT", 500)[0].pattern(0, 0)) == 403
    with pytest.raises(ValueError, match="nothing to fill"):
        read_templates("M" * 300, 500)
