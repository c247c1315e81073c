"""FASTA in and out, and what is said of bad input."""

import gzip
import io
import sys
from pathlib import Path

import pytest

from didi_core.errors import UserError
from didi_protein.sequences.fasta import (
    ProteinRecord,
    parse_header,
    read_records,
    unique_ids,
    write_fasta,
)
from didi_protein.sequences.residues import clean_sequence, find_problem, is_canonical
from didi_protein.sequences.training_data import load_corpus, read_training_sequences

TWO = ">a steps=8 model=tiny free text\nMKT\nAYI\n\n>b\nGGG\n"


def test_bundled_families_are_read_without_the_gaps_of_their_alignment():
    found = read_records(["PF00595-held-out"])
    assert len(found) == 1_643 and all(is_canonical(each.sequence) for each in found)


def test_header_words_with_an_equals_sign_become_pairs():
    title = "design_000017 length=143 model=tiny-student sampler=ancestral steps=8 nfe=8 seed=3"
    record_id, pairs = parse_header(title)
    assert record_id == "design_000017"
    assert list(pairs) == ["length", "model", "sampler", "steps", "nfe", "seed"]
    assert pairs["model"] == "tiny-student"
    assert parse_header("x two=a=b =c d=") == ("x", {"two": "a=b", "d": ""})
    assert parse_header("") == ("", {})


def test_plain_gzipped_and_standard_input_read_alike(tmp_path, monkeypatch):
    plain, packed = tmp_path / "a.fasta", tmp_path / "packed_without_suffix"
    plain.write_bytes(TWO.replace("\n", "\r\n").encode("utf-8-sig"))
    packed.write_bytes(gzip.compress(TWO.encode(), mtime=0))
    expected = [
        ProteinRecord("a", "MKTAYI", {"steps": "8", "model": "tiny"}),
        ProteinRecord("b", "GGG", {}),
    ]
    assert read_records([plain]) == expected
    assert read_records([packed]) == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TWO.encode())))
    assert read_records(["-"]) == expected


def test_a_folder_is_read_in_name_order_and_other_files_are_left_alone(tmp_path):
    (tmp_path / "iter_500_L_200.fasta").write_text(">SEQUENCE_0\nAAA\n")
    (tmp_path / "iter_500_L_100.fasta").write_text(">SEQUENCE_0\nCCC\n")
    (tmp_path / "notes.txt").write_text("no sequence")
    assert [(r.id, r.sequence) for r in read_records([tmp_path])] == [
        ("SEQUENCE_0", "CCC"),
        ("SEQUENCE_0#2", "AAA"),
    ]


def test_duplicate_and_empty_ids_are_numbered_without_taking_a_name_in_use():
    found = unique_ids(["a", "a", "", "a#2", "a", ""])
    assert found == ["a", "a#3", "unnamed", "a#2", "a#4", "unnamed#2"]


def test_an_empty_record_stays_a_record(tmp_path):
    path = tmp_path / "a.fasta"
    path.write_text(">a\n>b\nMK\n>\nAC\n")
    assert [(r.id, r.sequence) for r in read_records([path])] == [
        ("a", ""),
        ("b", "MK"),
        ("unnamed", "AC"),
    ]


@pytest.mark.parametrize("name", ["out.fasta", "out.fasta.gz"])
def test_what_is_written_is_read_back_and_is_the_same_bytes_each_time(tmp_path, name):
    records = [
        ProteinRecord("a", "MKT", {"length": "3", "steps": "8"}),
        ProteinRecord("b", "ACDEFGHIKLMNPQRSTVWY" * 40),
    ]
    write_fasta(tmp_path / name, records)
    first = (tmp_path / name).read_bytes()
    assert read_records([tmp_path / name]) == records
    write_fasta(tmp_path / name, records)
    assert (tmp_path / name).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.fasta"
    write_fasta(path, [ProteinRecord("old", "MK")])

    def records():
        yield ProteinRecord("new", "MK")
        raise RuntimeError("stopped half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        write_fasta(path, records())
    assert path.read_text() == ">old\nMK\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.fasta"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read .does not exist"),
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\x7fELF\x00\x01", "binary"),
        (gzip.compress(b"\x00\x01\x02", mtime=0), "binary"),
        (b"id,sequence\na,MKT\n", "begins with 'id,sequence'"),
        (gzip.compress(TWO.encode() * 9, mtime=0)[:-12], "cut short or damaged"),
        (b"\x1f\x8bnonsense", "cut short or damaged"),
    ],
)
def test_bad_files_are_named_with_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "bad.fasta"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_records([path])
    assert str(path) in str(caught.value)


def test_training_sequences_are_mended_or_dropped_and_counted(tmp_path, capsys):
    path = tmp_path / "train.fasta"
    path.write_text(">a\nmkt*\n>b\nMK-T.A\n>c\nMKX\n>d\n\n>e\nMK*T\n>f\nM\n>g\nMKTAYIAK\n")
    kept = read_training_sequences(path, min_length=2, max_length=6)
    assert kept == [("a", "MKT"), ("b", "MKTA")]
    said = capsys.readouterr().err
    assert "5 of 7 sequences dropped" in said
    assert "lower case is read as upper case, in 1 of 2 sequences" in said
    assert "2 with non-standard residues" in said
    assert "1 empty" in said
    assert "1 shorter than 2" in said
    assert "1 longer than 6" in said


def test_families_that_ship_here_are_read_without_a_word(capsys):
    assert read_training_sequences("PF00595-held-out")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("num", "warned"), [(2, True), (99, True), (100, False)])
def test_too_few_sequences_to_train_on_are_told(num, warned, tmp_path, capsys):
    path = tmp_path / "train.fasta"
    path.write_text("".join(f">s{i}\nMKTAY\n" for i in range(num)))
    assert len(load_corpus(str(path))) == num
    assert (f"data={path} holds too few" in capsys.readouterr().err) == warned
    load_corpus(str(path), "valid=")
    assert "too few" not in capsys.readouterr().err


def test_training_on_nothing_usable_is_an_error(tmp_path):
    path = tmp_path / "train.fasta"
    path.write_text(">a\nXXX\n")
    with pytest.raises(UserError, match="no usable sequence: 1 with non-standard residues"):
        read_training_sequences(path)


def test_problems_are_named_with_their_first_position():
    assert find_problem("ACDEFGHIKLMNPQRSTVWY") is None
    assert find_problem("") == "the sequence is empty"
    assert find_problem("MKx") == "non-standard residue X at position 3"
    assert find_problem("MkT") == "lower-case residue at position 2; --clean mends this"
    assert find_problem("M--T*") == (
        "2 x gap, first at position 2, stop sign at position 5; --clean mends this"
    )
    assert find_problem("M*T") == "stop sign at position 2"
    assert find_problem("MK7") == "character '7' at position 3"


def test_dna_is_no_protein():
    gene = "ATGGTTCACCTGACTCCTGAGGAGAAGTCT"
    assert find_problem(gene).startswith("reads as DNA") and find_problem(f"M{gene}") is None
    assert find_problem("AG" * 40) is None and find_problem(gene[:19]) is None


def test_cleaning_mends_only_what_is_safe():
    assert clean_sequence("mk-t.a yi**") == "MKTAYI"
    assert clean_sequence("M*T") == "M*T"
    assert clean_sequence("mkx") == "MKX"
    assert not is_canonical("")


def test_hidden_files_of_a_folder_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.fasta").write_text(">a\nMKT\n")
    for name in (".b.fasta", "._a.fasta", ".DS_Store.pdb", "._c.pdb"):
        (tmp_path / name).write_bytes(b"\0\5\26\7")
    assert [record.id for record in read_records([tmp_path])] == ["a"]
    (tmp_path / "a.fasta").unlink()
    with pytest.raises(UserError, match="holds no sequence file"):
        read_records([tmp_path])


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b">a\nMKT\n")))
    with pytest.raises(UserError, match=r"INPUT -: .*twice"):
        read_records(["-", "-"])
    assert [record.id for record in read_records(["-"])] == ["a"]
    with pytest.raises(UserError, match=r"--reference -: .*once"):
        read_records(["-"], "--reference")
