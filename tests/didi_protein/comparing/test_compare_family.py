"""`compare --family`: every row held against families, in the table, in JSON and on the page."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from family_fixtures import family_members, write_contacts, write_fasta
from scoring_fixtures import write_judge, write_masked

from didi_core.commands.comparing.cells import Cell
from didi_core.commands.generating.options import GenerationResult
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_protein.compare import CompareResult, compare
from didi_protein.comparing import compare as compare_run
from didi_protein.comparing import families as compared_families
from didi_protein.comparing.cells import CellRequest, design_cell
from didi_protein.comparing.compare import as_json, print_result
from didi_protein.comparing.families import MEASURES
from didi_protein.comparing.options import CompareOptions
from didi_protein.families import ContactMap, FamilyProfile, measure_family

pytest.importorskip("pyhmmer")
SHORT, LONG = 18, 26


def designs_of(cell: Cell) -> list[str]:
    """Twenty of the short family and thirty of the long one, of more dependence by more steps."""
    kept = 1.0 if cell.steps is None else cell.steps / 8
    return [
        *family_members(20, SHORT, seed=3, coupled=kept),
        *family_members(30, LONG, seed=4, coupled=kept),
    ]


def write_designs(cell: Cell, request: CellRequest, model: LoadedModel) -> GenerationResult:
    """Stand in for a model that has learnt both families: the rest is as it is."""
    made = design_cell(cell, request, model)
    steps = "" if cell.steps is None else f" steps={cell.steps} nfe={cell.steps}"
    header = f"model={cell.model} sampler={cell.sampler}{steps or ' nfe=20'}"
    write_fasta(made.out, designs_of(cell), header)
    return made


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> CompareOptions:
    folder = tmp_path_factory.mktemp("families")
    families = [
        write_fasta(folder / "short.fasta.gz", family_members(120, SHORT, seed=1)),
        write_fasta(folder / "long.aligned.fasta", family_members(120, LONG, seed=1)),
    ]
    contacts = [write_contacts(folder / f"{width}.tsv", width) for width in (SHORT, LONG)]
    return CompareOptions(
        teacher=str(write_masked(folder / "teacher")),
        out=tmp_path_factory.mktemp("run") / "study",
        methods="",
        steps="4",
        teacher_steps="",
        num=2,
        length="20",
        judge=str(write_judge(folder / "judge")),
        device="cpu",
        family=",".join(map(str, families)),
        contacts=",".join(map(str, contacts)),
    )


@pytest.fixture(scope="module")
def finished(options: CompareOptions) -> CompareResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare_run, "DOMAIN", replace(compare_run.DOMAIN, make=write_designs))
        return compare(options)


def test_figures_are_those_of_measure_family(
    options: CompareOptions, finished: CompareResult
) -> None:
    rows = finished.table.assign(steps=finished.table["steps"].fillna(0)).set_index("steps")
    assert list(rows["family_short_n"]) == [20] * 2 and list(rows["family_long_n"]) == [30] * 2
    assert options.family is not None and options.contacts is not None
    files = zip(options.family.split(","), options.contacts.split(","), strict=True)
    for (family, table), designs in zip(files, (slice(0, 20), slice(20, 50)), strict=True):
        profile = FamilyProfile.read(family)
        nature = profile.align_members()
        contacts = ContactMap.read(table, profile.num_columns)
        aligned = profile.align(designs_of(Cell("teacher", 4))[designs])
        expected = measure_family(aligned, nature, contacts)
        name = Path(family).name.split(".")[0]
        for measure in MEASURES:
            found = rows.loc[4]
            for suffix, end in (("", "mean"), ("_low", "low"), ("_high", "high")):
                assert found[f"family_{name}_{measure}{suffix}"] == pytest.approx(
                    getattr(getattr(expected.designs, measure), end)
                )
            for control in ("natural", "independent"):
                figure = getattr(getattr(expected, control), measure)
                assert found[f"family_{name}_{measure}_{control}"] == pytest.approx(figure.mean)
        path = finished.out / "designs" / "teacher_4.family.json"
        stored = json.loads(path.read_text())["families"][family]["statistics"]
        assert stored == json.loads(json.dumps(expected.as_dict()))


def test_table_json_terminal_and_page_have_them(
    finished: CompareResult,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # test runners set it in their workers
    record = json.loads(as_json(finished))
    assert record["table"][0]["family_short_covariance_correlation"] is not None
    assert sum("mostly noise" in note for note in record["notes"]) == 2, "one for each family"
    print_result(finished, folded=False)
    printed = capsys.readouterr().out
    assert "short r" in printed and "long slope" in printed
    assert finished.report is not None
    page = finished.report.read_text()
    assert "The family, counted" in page
    assert 'id="plot-family-0-calls"' in page and 'id="plot-family-1-calls"' in page
    correlations = finished.table["family_long_covariance_correlation"]
    assert all(f"{value:.3f}" in page for value in correlations)
    exact = finished.table["steps"].isna()
    assert correlations[exact].item() > correlations[~exact].item()


def test_what_was_counted_is_kept_and_goes_with_the_flag(
    options: CompareOptions, finished: CompareResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_run, "DOMAIN", replace(compare_run.DOMAIN, make=write_designs))
    path = finished.out / "designs" / "teacher_4.family.json"
    with monkeypatch.context() as patch:
        patch.setattr(compared_families, "_counted", None)  # nothing is counted again
        again = compare(replace(options, resume=True))
    assert again.table["family_short_n"].tolist() == [20] * 2
    short = options.family.split(",")[0] if options.family else ""
    compare(replace(options, resume=True, family=short, contacts=None))
    other = json.loads(path.read_text())
    assert list(other["families"]) == [short]
    without = compare(replace(options, resume=True, family=None, contacts=None))
    assert not path.exists() and not any("family" in name for name in without.table)
    assert without.report is not None and "The family" not in without.report.read_text()


def test_a_family_none_of_the_designs_belongs_to_is_a_row_without_figures(
    options: CompareOptions, tmp_path: Path
) -> None:
    """The random teacher's own designs align to nothing."""
    done = compare(replace(options, out=tmp_path / "study", contacts=None))
    assert done.table["family_short_n"].tolist() == [0, 0]
    assert "family_short_covariance_correlation" not in done.table
    assert done.report is not None and "No statistics" in done.report.read_text()
    assert sum("2 of 2 rows no design aligns" in note for note in done.notes) == 2
    assert not any("noise" in note for note in done.notes)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"family": None}, ("--contacts", "--family")),
        ({"contacts": "one.tsv"}, ("--contacts one.tsv", "1 tables for 2")),
        ({"family": "a/x.fasta,b/x.fa", "contacts": None}, ("--family a/x.fasta", "one name")),
        ({"family": "gone.fasta", "contacts": None}, ("--family gone.fasta",)),
        ({"family": "HMM", "contacts": None}, ("--family", "profile alone")),
        ({"family": "ODD", "contacts": None}, ("--family", "two or more")),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(
    options: CompareOptions, tmp_path: Path, change: dict, named: tuple[str, ...]
) -> None:
    hmm, odd = tmp_path / "toy.hmm", write_fasta(tmp_path / "odd.fasta", family_members(1, 30, 0))
    with open(hmm, "wb") as stream:
        FamilyProfile.read(odd).hmm.write(stream)
    files = {"HMM": str(hmm), "ODD": str(odd)}
    change = {name: files.get(str(value), value) for name, value in change.items()}
    with pytest.raises(UserError) as caught:
        compare(replace(options, out=tmp_path / "study", **change))
    assert all(each in str(caught.value) for each in named)
    assert not (tmp_path / "study").exists()
