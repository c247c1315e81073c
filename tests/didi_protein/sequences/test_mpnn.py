"""FASTA of ProteinMPNN and LigandMPNN: ids, chains, values without commas, and natives."""

from pathlib import Path

import pytest
from prediction_fixtures import LIGAND_MPNN, ONE, OTHER, PROTEIN_MPNN, TWO, TWO_CHAINS
from scoring_fixtures import quick_scores

from didi_protein.filter import FilterOptions, filter_designs
from didi_protein.reporting.cells import cells_of
from didi_protein.reporting.tables import read_tables
from didi_protein.score import score
from didi_protein.scoring.table import read_scores
from didi_protein.sequences.fasta import ProteinRecord, parse_header, read_records
from didi_protein.sequences.training_data import read_training_sequences


def read(path: Path, text: str) -> list[ProteinRecord]:
    path.write_text(text)
    return read_records([path])


def test_values_of_protein_mpnn_and_ids(tmp_path: Path) -> None:
    native, *samples = read(tmp_path / "any name.fa", PROTEIN_MPNN)
    assert (native.id, native.sequence) == ("6MRR", ONE)
    assert native.header == {
        "score": "1.5322", "global_score": "1.5322", "fixed_chains": "[]",
        "designed_chains": "['A']", "model_name": "v_48_020", "git_hash": "015ff820",
        "seed": "37", "native": "True",
    }  # fmt: skip
    assert [each.id for each in samples] == ["6MRR_1", "6MRR_2", "6MRR_1#2"]
    assert samples[0].header == {
        "T": "0.1", "sample": "1", "score": "0.7291", "global_score": "0.7330",
        "seq_recovery": "0.5736", "model": "v_48_020", "seed": "37",
    }  # fmt: skip
    assert [each.sequence for each in samples] == [TWO, OTHER, OTHER[1:]]


def test_a_row_for_each_chain(tmp_path: Path) -> None:
    records = read(tmp_path / "3HTN.fa", TWO_CHAINS)
    assert [(each.id, each.sequence, each.header["chain"]) for each in records] == [
        ("3HTN_A", ONE, "A"),
        ("3HTN_B", TWO, "B"),
        ("3HTN_1_A", TWO, "A"),
        ("3HTN_1_B", "GSXXH", "B"),
    ]
    assert [each.header.get("native") for each in records] == ["True", "True", None, None]
    assert records[0].header["designed_chains"] == "['A', 'B']"


def test_values_of_ligand_mpnn_and_ids(tmp_path: Path) -> None:
    records = read(tmp_path / "x.fa", LIGAND_MPNN)
    assert [(each.id, each.sequence) for each in records] == [
        ("4GYT_chain1", ONE),
        ("4GYT_chain2", TWO),
        ("4GYT_1_chain1", TWO),
        ("4GYT_1_chain2", OTHER),
    ]
    assert records[0].header["model_path"] == "./my, models/x=1.pt"
    assert records[2].header == {
        "id": "1", "T": "0.1", "seed": "111", "overall_confidence": "0.4349",
        "ligand_confidence": "0.4305", "seq_rec": "0.4576", "chain": "1",
        "model": "./my, models/x=1.pt",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (PROTEIN_MPNN.partition("\n>")[2].join((">", "")), ["s_1", "s_2", "s_1#2"]),
        (PROTEIN_MPNN + TWO_CHAINS.replace("/", ""), None),
        (f">T=0.1, sample=3, score=0.7\n{ONE}\n", ["s_3"]),
        (f">x y, z=1\n{ONE}\n>T=0.1 sample=3\n{ONE}\n", ["x", "T=0.1"]),
        (f">tr|Q1|Q1_X Kinase, score=2 OS=Homo sapiens, x\n{ONE}\n", ["tr|Q1|Q1_X"]),
        (f">x, id=4, name=b\n{ONE}\n", ["x,"]),
    ],
)
def test_what_belongs_to_these_programs_and_what_does_not(
    text: str, ids: list[str] | None, tmp_path: Path
) -> None:
    records = read(tmp_path / "s.fasta", text)
    found = [each.id for each in records]
    assert found == (ids or ["6MRR", "6MRR_1", "6MRR_2", "6MRR_1#2", "3HTN", "3HTN_1"])


def test_files_of_several_targets_have_unique_ids(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "6MRR.fa").write_text(PROTEIN_MPNN)
    ids = [each.id for each in read_records([tmp_path / "a", tmp_path / "b" / "6MRR.fa"])]
    assert len(set(ids)) == 8 and ids[:2] == ["6MRR", "6MRR_1"]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    for record in read(tmp_path / "x.fa", PROTEIN_MPNN + TWO_CHAINS + LIGAND_MPNN):
        assert parse_header(record.title[1:]) == (record.id, record.header)


def test_natives_are_scored_and_no_part_of_the_set(tmp_path: Path) -> None:
    (tmp_path / "m.fa").write_text(PROTEIN_MPNN)
    # As many as figures beside natural sequences need, of two kinds.
    natural = [ONE] * 20 + [OTHER] * 10
    (tmp_path / "n.fasta").write_text("".join(f">n{i}\n{s}\n" for i, s in enumerate(natural)))
    options = quick_scores(
        tmp_path / "m.fa", tmp_path / "s.csv", reference=tmp_path / "n.fasta", training=Path("none")
    )
    summary = score(options).summary
    table = read_scores(options.out).set_index("id")
    assert table["native"].isna().tolist() == [False, True, True, True]
    assert table["native"].iloc[0]
    assert table["gravy"].notna().all()
    assert (
        table["model"].tolist()[1:] == ["v_48_020"] * 3 and table["seed"].tolist()[1:] == [37] * 3
    )
    assert table.loc["6MRR", "nearest_reference"] == "n0"
    assert table["header_score"].tolist() == ["1.5322", "0.7291", "0.7414", "0.8"]
    assert (summary["num_records"], summary["num_ok"], summary["num_natives"]) == (4, 3, 1)
    figures, designs = summary["set"], table.iloc[1:]
    assert figures["n"] == 3
    assert figures["mean_length"] == pytest.approx(designs["length"].mean())
    assert figures["precision"]["mean"] == pytest.approx(2 / 3)
    assert figures["recall"]["mean"] == pytest.approx(1 / 3)  # not ONE, which is the native itself
    assert figures["num_clusters"] == 2 and table["cluster"].isna().tolist()[0]


def test_a_set_of_natives_alone_has_rows_and_no_designs(tmp_path: Path) -> None:
    (tmp_path / "m.fasta").write_text(f">a native=True\n{ONE}\n>b native=yes\n{TWO}X\n")
    result = score(quick_scores(tmp_path / "m.fasta", tmp_path / "s.csv", training=Path("none")))
    assert result.table["status"].tolist() == ["ok", "invalid"]
    assert result.table["header_native"].tolist() == [None, "yes"]  # as we do not write it
    assert (result.summary["num_ok"], result.summary["num_natives"]) == (0, 1)
    kept = filter_designs(FilterOptions(table=tmp_path / "s.csv", out=tmp_path / "k.fasta"))
    assert kept.selected.empty and kept.rejected["filter"].tolist() == ["native", "status"]


def test_natives_are_never_chosen(tmp_path: Path) -> None:
    (tmp_path / "m.fa").write_text(PROTEIN_MPNN)
    score(quick_scores(tmp_path / "m.fa", tmp_path / "s.csv", training=Path("none")))
    result = filter_designs(
        FilterOptions(
            table=tmp_path / "s.csv",
            out=tmp_path / "best.fasta",
            sort_by="header_score:highest",
            minimum=["header_score=0.73"],
            top=2,
        )
    )
    assert result.selected["id"].tolist() == ["6MRR_1#2", "6MRR_2"]
    rejected = result.rejected.set_index("id")["filter"]
    assert rejected["6MRR"] == "native"
    step = next(each for each in result.funnel if each.filter == "native")
    assert (step.rejected_alone, step.left) == (1, 3)
    assert (result.summary["num_records"], result.summary["num_scored"]) == (4, 3)
    assert "native" not in (tmp_path / "best.fasta").read_text()


def test_reports_leave_natives_out(tmp_path: Path) -> None:
    (tmp_path / "m.fa").write_text(PROTEIN_MPNN)
    score(quick_scores(tmp_path / "m.fa", tmp_path / "s.csv", training=Path("none")))
    cells = cells_of(read_tables([tmp_path / "s.csv"]))
    assert [each for cell in cells for each in cell.designs["id"]] == [
        "6MRR_1",
        "6MRR_2",
        "6MRR_1#2",
    ]
    assert sum(cell.num_records for cell in cells) == 3


def test_chains_serve_as_reference_sequences(tmp_path: Path) -> None:
    (tmp_path / "m.fa").write_text(TWO_CHAINS.replace("XX", ""))
    found = read_training_sequences(tmp_path / "m.fa", name="--reference")
    assert [each for _, each in found] == [ONE, TWO, TWO, "GSH"]
