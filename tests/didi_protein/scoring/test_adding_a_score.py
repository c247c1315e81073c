"""docs/adding-a-score.md, put into a copy of the packages as it stands there."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from doc_commands import ROOT, run_python

from didi_protein.score import ScoreOptions, score
from didi_protein.sequences.training_data import read_training_sequences

PAGE = (ROOT / "docs" / "adding-a-score.md").read_text(encoding="utf-8")
NAMED = {"didi_protein/scoring/columns.py", "didi_protein/scoring/properties.py"}
NATURAL = [each for _, each in read_training_sequences("PF00595-held-out")]
FRACTIONS = [sum(map(each.count, "FWY")) / len(each) for each in NATURAL]
PLAIN, AROMATIC = min(FRACTIONS), max(FRACTIONS)
SEQUENCES = {
    name: NATURAL[FRACTIONS.index(fraction)]  # of a family that the judge knows: so it ranks them
    for name, fraction in (("plain", PLAIN), ("aromatic", AROMATIC))
}
USE = """
import sys
from pathlib import Path
from didi_protein.filter import FilterOptions, filter_designs
from didi_protein.report import write_report
from didi_protein.score import ScoreOptions, score
from didi_protein.scoring.show import print_summary

quick = {"judge": "none", "pseudo": "none", "device": "cpu", "quiet": True}
old = ScoreOptions(inputs=["d.fasta"], out=Path("old.csv"), resume=True, **quick)
assert score(old).table["aromatic_fraction"].notna().all()
judged = quick | {"judge": "tiny-judge"}
made = score(ScoreOptions(inputs=["d.fasta"], out=Path("s.csv"), **judged))
print_summary(made)
best = filter_designs(FilterOptions(
    table=Path("s.csv"), out=Path("best.fasta"), maximum=["aromatic_fraction=0.1"],
    sort_by="aromatic_fraction",
))
assert best.selected["id"].tolist() == ["plain"]
write_report(["s.csv"], "r.html")
"""


def git(*arguments: str, cwd: Path, text: str | None = None) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, input=text, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages, scored designs of before, and then the page's changes."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("didi_core", "didi_protein", "docs"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("_models", "*.pyc"))
    (root / "didi_protein" / "_models").symlink_to(ROOT / "didi_protein" / "_models")
    (root / "d.fasta").write_text("".join(f">{name}\n{each}\n" for name, each in SEQUENCES.items()))
    inputs, quick = [str(root / "d.fasta")], {"judge": "none", "pseudo": "none", "quiet": True}
    score(ScoreOptions(inputs=inputs, out=root / "old.csv", device="cpu", **quick))
    git("init", "--quiet", cwd=root)
    git("add", "didi_core", "didi_protein", "docs", cwd=root)
    for patch in re.findall(r"```diff\n(.*?)```", PAGE, re.DOTALL):
        git("apply", "--recount", "-", cwd=root, text=patch)
    return root


def test_it_touches_the_two_files_that_the_page_names(copy: Path) -> None:
    changed = set(git("diff", "--name-only", cwd=copy).split())
    assert changed == NAMED
    assert all(f"`{name}`" in PAGE for name in NAMED)


def test_table_summary_filter_report_and_terminal_have_it(copy: Path) -> None:
    printed = run_python(copy, "-c", USE)
    header, *lines = (copy / "s.csv").read_text().splitlines()
    assert header.endswith(",aromatic_fraction")
    assert [float(line.rpartition(",")[2]) for line in lines] == pytest.approx(
        [PLAIN, AROMATIC], 1e-5
    )
    summary = json.loads((copy / "s.summary.json").read_text())
    mean = summary["set"]["mean_aromatic_fraction"]["mean"]
    assert mean == pytest.approx((PLAIN + AROMATIC) / 2, rel=1e-5)
    assert "F, W or Y" in summary["definitions"]["mean_aromatic_fraction"]
    assert "aromatic" in printed
    page = (copy / "r.html").read_text()
    assert "The share of aromatic residues, averaged" in page  # the comparison
    assert f"aromatic</dt><dd>{PLAIN:.0%}" in page  # the card of a design


def test_the_pages_get_it(copy: Path) -> None:
    told = run_python(copy, "docs/column_tables.py", "docs/outputs.md", "docs/filter.md")
    assert told.split() == ["docs/outputs.md"]
    assert "| `aromatic_fraction` | 0 to 1 | lowest |" in (copy / "docs/outputs.md").read_text()
