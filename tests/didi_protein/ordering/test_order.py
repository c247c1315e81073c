"""`didi-protein order`: DNA that means what it should, rows that fail alone, what is refused."""

import json
import random
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from Bio.Seq import Seq

from didi_core.cli.run import run_program
from didi_core.errors import UserError
from didi_protein.app import app as program
from didi_protein.order import OrderOptions, OrderResult, order
from didi_protein.scoring.table import build_table, read_cells, write_scores

pytestmark = pytest.mark.skipif(find_spec("dnachisel") is None, reason="needs the extra order")

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
SITES = {"BsaI": "GGTCTC", "BsmBI": "CGTCTC", "EcoRI": "GAATTC", "XhoI": "CTCGAG", "BstNI": "CCWGG"}
FLANK5, FLANK3 = "GGTCTCACC", "GCTTAGAGACC"
"""BsaI sites, as for Golden Gate assembly; the one behind stands on the other strand."""


def random_designs(number: int, length: int = 60) -> dict[str, str]:
    draw = random.Random(0)
    return {f"d{place}": "".join(draw.choices(RESIDUES, k=length)) for place in range(number)}


def fasta_at(folder: Path, designs: dict[str, str], name: str = "designs.fasta") -> Path:
    path = folder / name
    path.write_text("".join(f">{key}\n{each}\n" for key, each in designs.items()))
    return path


def run(*inputs: Path, **options: object) -> OrderResult:
    out = inputs[0].parent / "order.csv"
    return order(OrderOptions(**{"inputs": [str(each) for each in inputs], "out": out, **options}))


def variants(bases: str) -> list[str]:
    """Spell a site out by hand: W is A or T."""
    return [bases.replace("W", base) for base in "AT"] if "W" in bases else [bases]


def occurrences(dna: str, bases: str) -> list[int]:
    """Return where a site begins on either strand, by plain search of both."""
    found = []
    for each in variants(bases):
        for strand in (each, str(Seq(each).reverse_complement())):
            found += [place for place in range(len(dna)) if dna.startswith(strand, place)]
    return sorted(set(found))


@pytest.mark.parametrize("host", ["ecoli", "yeast", "human", "cho"])
@pytest.mark.parametrize("codons", ["match", "best"])
def test_every_dna_meets_every_rule(tmp_path: Path, host: str, codons: str) -> None:
    designs = random_designs(5)
    path = fasta_at(tmp_path, designs)
    asked = {"n_tag": "His6+GS+TEV", "c_tag": "G4S+StrepII", "flank5": FLANK5, "flank3": FLANK3}
    result = run(path, host=host, codons=codons, avoid=",".join(SITES), **asked)
    assert result.num_failed == 0
    for name, dna in zip(result.table["id"], result.table["dna"], strict=True):
        body = dna[len(FLANK5) : -len(FLANK3)]
        tagged = f"MHHHHHHGSENLYFQG{designs[name]}GGGGSWSHPQFEK"
        assert dna == FLANK5 + body + FLANK3
        assert str(Seq(body).translate()) == f"{tagged}*"
        assert not re.search("A{6}|C{6}|G{6}|T{6}", dna)
        windows = [dna[place : place + 50] for place in range(len(dna) - 49)]
        assert all(15 <= each.count("G") + each.count("C") <= 35 for each in windows)
        # The two in the flanks are the user's own.
        assert occurrences(dna, SITES["BsaI"]) == [0, len(dna) - len("GAGACC")]
        for enzyme in set(SITES) - {"BsaI"}:
            assert occurrences(dna, SITES[enzyme]) == []
    assert len(result.summary["notes"]) == 2 and "BsaI" in result.summary["notes"][0]


@pytest.mark.parametrize("other_strand", [False, True])
@pytest.mark.parametrize(
    ("site", "options", "dna"),
    [
        ("GCAAA", {"flank5": "TGC"}, "TGCAAGTCG"),  # flank and design
        ("GGAAA", {"n_tag": "W"}, "TGGAAGTCG"),  # tag and design
        ("TCGTGG", {"c_tag": "W"}, "AAAAGCTGG"),  # design and tag
        ("TCGTA", {"stop": "TAA"}, "AAAAGCTAA"),  # design and stop
        ("TCGCC", {"flank3": "CCA"}, "AAAAGCCCA"),  # design and flank
    ],
)
def test_sites_across_junctions_are_mended(
    tmp_path: Path, site: str, options: dict[str, object], dna: str, other_strand: bool
) -> None:
    """Of KS: each site would arise of the codons AAA and TCG, and one other codon avoids it."""
    bases = str(Seq(site).reverse_complement()) if other_strand else site
    path = fasta_at(tmp_path, {"a": "KS"})
    asked = {"no_start": True, "stop": "none", "gc": "0-100", "codons": "best"} | options
    usual = run(path, **asked).table["dna"][0]
    assert usual != dna or site.startswith("TCG")
    result = run(path, avoid=bases, overwrite=True, **asked)
    assert occurrences(result.table["dna"][0], site) == []


@pytest.mark.parametrize(
    ("site", "options"),
    [
        ("GGATG", {"n_tag": "WM", "no_start": True}),
        ("TGGAT", {"n_tag": "W", "no_start": True}),
    ],
)
def test_sites_across_junctions_that_no_codon_mends_are_failures(
    tmp_path: Path, site: str, options: dict[str, object]
) -> None:
    """M and W have one codon each."""
    result = run(fasta_at(tmp_path, {"a": "MK"}), avoid=site, gc="0-100", **options)
    assert result.table["status"].tolist() == ["failed"]
    assert f"--avoid {site} at " in result.table["error"][0]


def test_a_row_that_fails_names_its_rule_and_loses_no_other(tmp_path: Path) -> None:
    # M and W have one codon each, so that ATGTGG cannot be kept out of MW.
    designs = {"good": "MKTAYIAK", "fixed": "KMWK", "odd": "MXK", "last": "MSEEDK"}
    result = run(fasta_at(tmp_path, designs), avoid="ATGTGG", plate=96)
    table = result.table.set_index("id")
    assert table["status"].to_dict() == {
        "good": "ok", "fixed": "failed", "odd": "invalid", "last": "ok",
    }  # fmt: skip
    assert "--avoid ATGTGG at 7-12" in table["error"]["fixed"]
    assert "X at position 2" in table["error"]["odd"]
    assert read_cells(result.uploads[0], "", [])["Name"] == ["good", "last"]
    assert table["well"].dropna().to_dict() == {"good": "A1", "last": "A2"}


@pytest.mark.parametrize(
    ("design", "options", "rule"),
    [
        ("MK" * 30, {"gc": "45-60"}, "--gc 45-60"),
        ("MK" * 30, {"gc": "0-1"}, "the protein's codons allow"),
        ("KKKKKKKK", {"max_homopolymer": 3, "flank3": "AA", "stop": "none", "gc": "0-100",
                      "min_codon_usage": 0.5}, "--max-homopolymer 3"),
        ("MW", {"avoid": "NdeI", "flank5": "GGCAT", "no_start": True},
         "--avoid NdeI (CATATG) at 3-8"),
    ],
)  # fmt: skip
def test_each_rule_is_named(
    tmp_path: Path, design: str, options: dict[str, object], rule: str
) -> None:
    result = run(fasta_at(tmp_path, {"a": design}), **options)
    assert rule in result.table["error"][0]


def test_the_same_seed_gives_the_same_dna_in_any_process_order_and_company(tmp_path: Path) -> None:
    designs = random_designs(3)
    path = fasta_at(tmp_path, designs)
    first = run(path, avoid="BsaI").table.set_index("id")["dna"]
    turned = fasta_at(tmp_path, {"x": designs["d2"], "y": designs["d0"]}, "turned.fasta")
    command = ["order", str(turned), "--out", str(tmp_path / "turned.csv"), "--avoid", "BsaI"]
    done = subprocess.run(
        [sys.executable, "-m", "didi_protein", *command],
        env={"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    again = read_cells(tmp_path / "turned.csv", "", [])
    assert again["Sequence"] == [first["d2"], first["d0"]]
    other = run(path, avoid="BsaI", seed=1, overwrite=True).table
    assert set(other["dna"]).isdisjoint(first)


def test_codons_are_as_often_as_in_the_host(tmp_path: Path) -> None:
    """Of 100 lysines E. coli writes 76 as AAA (its table: 0.76 and 0.24)."""
    result = run(fasta_at(tmp_path, {"a": "SK" * 100}), gc="0-100", max_homopolymer=9, stop="TAA")
    codons = re.findall("...", result.table["dna"][0])
    assert (codons.count("AAA"), codons.count("AAG")) == (76, 24)
    best = run(fasta_at(tmp_path, {"a": "SK" * 30}), codons="best", overwrite=True,
               gc="0-100")  # fmt: skip
    assert best.table["codon_adaptation"][0] == 1


def test_rare_codons_are_left_out(tmp_path: Path) -> None:
    """AGA, AGG and CGA are below a tenth of E. coli's arginines; CGC, CGG and CGT are not."""
    path = fasta_at(tmp_path, {"a": "RS" * 50})
    rare = {"AGG", "AGA", "CGA"}
    codons = re.findall("...", run(path, gc="0-100").table["dna"][0])
    assert rare.isdisjoint(codons) and {"CGC", "CGT"} <= set(codons)
    all_of_them = run(path, gc="0-100", min_codon_usage=0, overwrite=True).table["dna"][0]
    assert rare & set(re.findall("...", all_of_them))


@pytest.mark.parametrize(
    ("options", "begins", "ends"),
    [
        ({}, "MAAK", "*"),
        ({"no_start": True}, "AAK", "*"),
        ({"stop": "TAATGA"}, "MAAK", "**"),
        ({"stop": "none"}, "MAAK", "K"),
        ({"n_tag": "MGS+his6"}, "MGSHHHHHHAAK", "*"),
        ({"c_tag": "TEV"}, "MAAK", "ENLYFQG*"),
    ],
)
def test_start_stop_and_tags(
    tmp_path: Path, options: dict[str, object], begins: str, ends: str
) -> None:
    dna = run(fasta_at(tmp_path, {"a": "AAKSEK"}), **options).table["dna"][0]
    protein = str(Seq(dna).translate())
    assert protein.startswith(begins) and protein.endswith(ends)


def test_the_stop_gives_way_to_a_site_at_the_flank(tmp_path: Path) -> None:
    """TAA before TTAAC would be a site of TAATTA on both strands; TGA is E. coli's next."""
    path = fasta_at(tmp_path, {"a": "MSE"})
    assert run(path, avoid="TAATTA", flank3="TTAACC").table["dna"][0].endswith("TGATTAACC")
    with pytest.raises(UserError, match="--stop TAA"):
        run(path, avoid="TAATTA", flank3="TTAACC", stop="TAA", overwrite=True)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"flank5": "CC", "avoid": "CATG"}, "CATG"),
        ({"flank5": "GGCAT", "avoid": "NsiI,NdeI"}, "NdeI (CATATG)"),
        ({"flank5": "GGAAAAA", "max_homopolymer": 5}, "--max-homopolymer 6"),
    ],
)
def test_a_start_that_breaks_a_rule_at_the_flank_is_refused(
    tmp_path: Path, options: dict[str, object], named: str
) -> None:
    """Else every design would fail, for one and the same reason."""
    path = fasta_at(tmp_path, {"a": "AKSEK"})
    with pytest.raises(UserError, match="--flank5") as caught:
        run(path, **options)
    assert named in str(caught.value)
    assert run(path, **options, no_start=True, overwrite=True).table["status"][0] == "ok"


def test_domains_of_bundled_models_are_called_no_whole_proteins(tmp_path: Path) -> None:
    designs = {
        "a model=tiny-student": "MKTAYIAKQR",
        "b model=tiny": "MKTAYIAKQW",
        "c model=tiny parent=mine": "MKTAYIAKQY",
        "d model=my-student": "MKTAYIAKQF",
    }
    (note,) = run(fasta_at(tmp_path, designs)).summary["notes"]
    assert note.startswith("2 designs of a bundled model") and "none is a whole protein" in note


def test_names_that_a_vendor_may_refuse_are_noted(tmp_path: Path) -> None:
    made = run(fasta_at(tmp_path, {"a_1": "AAK", "a#2": "AAR"}))
    (note,) = made.summary["notes"]
    assert "a#2" in note and list(made.table["id"]) == ["a_1", "a#2"]


@pytest.mark.parametrize(
    ("fill", "wells"), [("rows", ["A1", "A2", "H12", "A1"]), ("columns", ["A1", "B1", "H12", "A1"])]
)
def test_plates_are_filled(tmp_path: Path, fill: str, wells: list[str]) -> None:
    path = fasta_at(tmp_path, {f"d{place}": "MSE" for place in range(97)})
    result = run(path, plate=96, fill=fill)
    table = result.table
    assert [table["well"][place] for place in (0, 1, 95, 96)] == wells
    assert table["well"][:96].nunique() == 96
    assert table["plate"].tolist() == [1] * 96 + [2]
    upload = read_cells(tmp_path / "order.csv", "", [])
    assert list(upload) == ["Name", "Sequence", "Plate", "Well"]
    assert upload["Well"] == table["well"].tolist()


def test_idt_takes_a_plate_a_file_and_no_file_of_an_earlier_order_stays(tmp_path: Path) -> None:
    many = fasta_at(tmp_path, {f"d{place}": "MSE" for place in range(100)})
    result = run(many, plate=96, vendor="idt")
    assert [each.name for each in result.uploads] == ["order.csv", "order.2.csv"]
    second = read_cells(tmp_path / "order.2.csv", "", [])
    assert list(second) == ["Well Position", "Name", "Sequence"]
    assert second["Name"] == ["d96", "d97", "d98", "d99"]
    few = fasta_at(tmp_path, {"d0": "MSE"}, "few.fasta")
    with pytest.raises(UserError, match="--overwrite"):
        run(few)
    run(few, overwrite=True)
    assert not (tmp_path / "order.2.csv").exists()


def test_a_table_of_score_is_read(tmp_path: Path) -> None:
    rows = [
        {"id": "007", "status": "ok", "sequence": "MSEEK"},
        {"id": "b", "status": "invalid", "error": "X at 2", "sequence": "MXK"},
    ]
    write_scores(tmp_path / "scores.csv", build_table(rows))
    result = run(tmp_path / "scores.csv")
    assert result.table["status"].tolist() == ["ok", "invalid"]
    assert "X at 2" in result.table["error"][1]
    assert read_cells(tmp_path / "order.csv", "", [])["Name"] == ["007"]


def test_what_an_inverse_folder_was_given_is_no_order(tmp_path: Path) -> None:
    path = tmp_path / "mpnn.fasta"
    path.write_text(">wild native=True\nMSEEK\n>a\nMSEDK\n")
    result = run(path)
    assert result.table["id"].tolist() == ["a"] and "no design" in result.summary["notes"][0]
    rows = [{"id": "wild", "status": "ok", "sequence": "MSEEK", "native": True},
            {"id": "a", "status": "ok", "sequence": "MSEDK"}]  # fmt: skip
    write_scores(tmp_path / "scores.csv", build_table(rows))
    assert run(tmp_path / "scores.csv", overwrite=True).table["id"].tolist() == ["a"]


def test_ids_that_files_share_are_named_with_the_flag_that_mends_it(tmp_path: Path) -> None:
    one = fasta_at(tmp_path, {"design_1": "MSE", "a": "MSK"}, "one.fasta")
    two = fasta_at(tmp_path, {"design_1": "MSD"}, "two.fasta")
    with pytest.raises(UserError, match=r"one\.fasta.*two\.fasta.*design_1.*--prefix-files"):
        run(one, two)
    result = run(one, two, prefix_files=True)
    assert result.table["id"].tolist() == ["one_design_1", "one_a", "two_design_1"]


def test_clean_mends_what_is_safe(tmp_path: Path) -> None:
    path = fasta_at(tmp_path, {"a": "mse-k*"})
    assert run(path).table["status"][0] == "invalid"
    assert run(path, clean=True, overwrite=True).table["protein"][0] == "MSEK"


@pytest.mark.parametrize(
    ("flag", "value", "named"),
    [
        ("host", "tobacco", "cho"),
        ("codons", "worst", "best"),
        ("min_codon_usage", 1.5, "0 to 1"),
        ("avoid", "BsaX", "GGTCTC"),
        ("avoid", "GG", "4 bases"),
        ("gc", "70-30", "30-70"),
        ("gc", "thirty", "30-70"),
        ("gc_window", 3, "10 bases"),
        ("max_homopolymer", 1, "3 or more"),
        ("stop", "ATG", "TAATGA"),
        ("n_tag", "His7", "His6"),
        ("c_tag", "gs", "StrepII"),
        ("flank5", "ACGU", "A, C, G and T"),
        ("flank3", "AAAAAAA", "--max-homopolymer 7"),
        ("plate", 95, "96"),
        ("seed", -1, "from 0"),
        ("fill", "diagonal", "columns"),
        ("vendor", "acme", "idt"),
        ("out", Path("order.xlsx"), ".csv"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, flag: str, value: object, named: str
) -> None:
    path = fasta_at(tmp_path, {"a": "MSE"})
    with pytest.raises(UserError) as caught:
        run(path, **{flag: value})
    assert f"--{flag.replace('_', '-')}" in str(caught.value)
    assert str(value) in str(caught.value) and named in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["designs.fasta"]


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    path = fasta_at(tmp_path, {"a": "MSE"})
    (tmp_path / "order.designs.csv").write_text("mine")
    with pytest.raises(UserError, match=r"order\.designs\.csv exists"):
        run(path)
    assert (tmp_path / "order.designs.csv").read_text() == "mine"
    write_scores(tmp_path / "scores.csv", build_table([{"id": "a", "sequence": "MSE"}]))
    with pytest.raises(UserError, match="would replace the input"):
        run(tmp_path / "scores.csv", out=tmp_path / "scores.csv", overwrite=True)


def test_the_command_says_what_failed_and_gives_its_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fasta_at(tmp_path, {"a": "MSE", "b": "MXE"})
    words = ["order", str(path), "--out", str(tmp_path / "o.csv"), "--plate", "96", "--json"]
    assert run_program(lambda: program(words, standalone_mode=False)) == 1
    done = capsys.readouterr()
    assert "o.designs.csv" in done.err
    assert json.loads(done.out) == json.loads((tmp_path / "o.order.json").read_text())
    assert json.loads(done.out)["by_status"] == {"ok": 1, "invalid": 1}
    again = [*words[:-1], "--overwrite"]
    assert run_program(lambda: program(again, standalone_mode=False)) == 1
    shown = capsys.readouterr().out
    assert "1 design on 1 plate" in shown and "X at position 2" in shown


ORDERS = [
    ({"a": "MSE", "b": "MSEEK"}, [], ["12 to 18 bases", "no flanks"], []),
    ({"a": "MSE"}, ["--flank5", "GGTCTC"], ["18 bases", "flanks of 6 and 0"], ["no flanks"]),
    ({"a": "MNGSE"}, [], ["no concern in E. coli"], []),
    ({"a": "MNGSE"}, ["--host", "yeast"], ["N-glycosylation site"], ["no concern"]),
    ({"a": "MXE"}, [], ["nothing to order", "o.designs.csv"], ["upload", "bases"]),
]
"""Designs, flags, and what the screen names and does not."""


@pytest.mark.parametrize(("designs", "flags", "named", "unnamed"), ORDERS)
def test_the_screen_says_what_is_ordered(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    designs: dict[str, str],
    flags: list[str],
    named: list[str],
    unnamed: list[str],
) -> None:
    path = fasta_at(tmp_path, designs)
    words = ["order", str(path), "--out", str(tmp_path / "o.csv"), "--gc", "0-100", *flags]
    run_program(lambda: program(words, standalone_mode=False))
    # Without spaces: a long path is broken over lines.
    shown = "".join(capsys.readouterr().out.split())
    assert all(each.replace(" ", "") in shown for each in named)
    assert not any(each.replace(" ", "") in shown for each in unnamed)


def test_hints_stand_beside_each_design(tmp_path: Path) -> None:
    designs = {"leaves": "MKKTAIAIAVALAGFATVAQAAPKDNTWYTGAK", "plain": "MSEENGSCK"}
    table: pd.DataFrame = run(fasta_at(tmp_path, designs)).table.set_index("id")
    assert table["signal_peptide"].to_dict() == {"leaves": 1, "plain": 0}
    assert table["n_glycosylation_sites"].to_dict() == {"leaves": 0, "plain": 1}
    assert table["odd_cysteines"].to_dict() == {"leaves": 0, "plain": 1}


def test_a_run_at_the_flank_is_left_to_another_stop_or_refused(tmp_path: Path) -> None:
    path = fasta_at(tmp_path, {"d": "MKTAYIARQR"})
    assert run(path, flank3="AAAAA").table["dna"][0].endswith("TAGAAAAA")
    with pytest.raises(UserError, match=r"--stop TAA before --flank3 AAAAA.*--max-homopolymer 7"):
        run(path, flank3="AAAAA", stop="TAA", overwrite=True)


def test_a_run_longer_than_any_dna_may_be_allowed(tmp_path: Path) -> None:
    made = run(fasta_at(tmp_path, {"d": "MKKKKKKTAYIARQR"}), max_homopolymer=10**30)
    assert made.table["status"][0] == "ok"
