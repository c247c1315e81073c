"""`didi-protein compare` at a small scale: cells, pairs, resuming, what it refuses."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from compare_checks import (  # noqa: F401  its tests run here too
    Compares,
    test_a_folder_with_other_work_is_left_alone,
    test_an_interrupted_comparison_goes_on,
    test_bad_options,
    test_every_cell_is_a_row,
    test_every_long_phase_says_the_time_left_without_a_terminal,
    test_methods_get_their_own_settings,
    test_more_temperatures_are_added_to_a_finished_comparison,
    test_sequences_are_made_in_the_precision_that_their_record_names,
)
from scoring_fixtures import random_sequences, write_judge, write_masked, write_uniform

from didi_core.commands.comparing.cells import Cell
from didi_core.commands.comparing.study import check_folder, claim_folder
from didi_core.commands.comparing.table import printed_table
from didi_core.commands.generating.options import FailedRecord, GenerationResult
from didi_core.errors import Terminated, UserError
from didi_core.models.folder import LoadedModel
from didi_protein.compare import CompareResult, compare
from didi_protein.comparing import cells as comparison_cells
from didi_protein.comparing import compare as compare_run
from didi_protein.comparing.cells import CellRequest, cut_to_lengths, design_cell, natural_designs
from didi_protein.comparing.compare import COLUMNS, as_json, print_result
from didi_protein.comparing.options import CompareOptions
from didi_protein.scoring.options import ScoreOptions
from didi_protein.sequences.fasta import write_fasta
from didi_protein.sequences.lengths import design_lengths
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.sequences.training_data import read_training_sequences


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> CompareOptions:
    """Random models of one layer, half a second of distillation, designs of 20 to 40 residues."""
    models = tmp_path_factory.mktemp("models")
    natural = models / "natural.fasta"
    natural.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(random_sequences(8))))
    return CompareOptions(
        teacher=str(write_masked(models / "teacher", seed=0)),
        out=tmp_path_factory.mktemp("run") / "study",
        students=str(write_masked(models / "earlier", seed=1)),
        methods="dmmd,didi:paper",
        samplers="ancestral,rgas",
        steps="2",
        teacher_steps="4",
        budget=0.5,
        data=str(natural),
        num=4,
        length="20-40",
        judge=str(write_judge(models / "judge")),
        reference=natural,
        device="cpu",
    )


@pytest.fixture(scope="module")
def compares() -> Compares:
    return Compares(
        compare,
        compare_run,
        partial(print_result, folded=False),
        "designs",
        ".fasta",
        "scoring",
        kept="*.fasta",
    )


@pytest.fixture(scope="module")
def finished(options: CompareOptions) -> CompareResult:
    return compare(options)


def test_figures_are_those_of_the_score_tables(finished: CompareResult) -> None:
    table = finished.table.set_index(["model", "sampler", "steps"])
    limit = pd.read_csv(finished.out / "designs" / "teacher_limit.csv").set_index("id")
    guided = pd.read_csv(finished.out / "designs" / "didi-paper_rgas_2.csv").set_index("id")
    row = table.loc["didi-paper", "rgas", 2]
    difference = np.log(guided["judge_perplexity"]) - np.log(limit["judge_perplexity"])
    assert row["nll_minus_limit"] == pytest.approx(difference.mean())
    assert row["judge_nll"] == pytest.approx(np.log(guided["judge_perplexity"]).mean())
    assert row["discriminator_calls"] > 0
    assert "pooled_3mer_entropy" in finished.table
    withheld = {"precision", "recall"}  # of eight natural sequences
    assert not ({"mean_plddt", "foldable_share"} | withheld) & set(finished.table)


def test_a_note_says_what_few_calls_of_the_teacher_lose(finished: CompareResult) -> None:
    notes = [note for note in finished.notes if note.startswith("Headroom of")]
    assert len(notes) == 1 and "in 2 calls" in notes[0] and "8 sequences of" in notes[0]


def test_printed_and_json_forms(
    finished: CompareResult, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # test runners set it in their workers
    record = json.loads(as_json(finished))
    assert len(record["table"]) == len(finished.table)
    print_result(finished, folded=True)
    printed = capsys.readouterr().out
    assert "Published, not measured here" in printed and "88.2" in printed
    assert "Left out: dmmd with rgas" in printed
    assert "intervals from fewer than 30 are too narrow" in printed
    assert len(record["warnings"]) == 1
    # A pipe has no width: no column is cut to fit 80.
    assert any("Judge NLL" in line and "Seconds" in line for line in printed.splitlines())


def test_another_kind_of_device_is_refused_and_another_of_its_kind_is_not(
    options: CompareOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = replace(options, out=tmp_path / "study", device="cpu", resume=True)
    claim_folder(begun)
    check_folder(begun)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="another device: give --device cpu, as then"):
        check_folder(replace(begun, device="auto"))
    claim_folder(replace(begun, out=tmp_path / "other", device="cuda:0"))
    check_folder(replace(begun, out=tmp_path / "other", device="cuda:1"))


def test_a_set_without_a_judged_design_becomes_a_row(
    options: CompareOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of one model too long for the judge, and none of the other made at all."""

    def generated(cell: Cell, request: CellRequest, model: LoadedModel) -> GenerationResult:
        made = design_cell(cell, replace(request, length="30"), model)
        if cell.model == "teacher":
            return made
        write_fasta(made.out, [])
        failed = (FailedRecord("design_000001", "out of memory", 1),)
        return replace(made, num_made=0, failed=failed, mean_nfe=None)

    monkeypatch.setattr(compare_run, "DOMAIN", replace(compare_run.DOMAIN, make=generated))
    short = str(write_judge(tmp_path / "short", max_length=25))
    plain = replace(options, methods="", samplers="ancestral", teacher_steps="", length="20,30")
    done = compare(replace(plain, out=tmp_path / "study", judge=short, fold="none"))
    errors = done.table.set_index(["model", "sampler"])["error"]
    assert "no design was judged (30 residues: the judge model" in errors["teacher", "ancestral"]
    assert errors["earlier", "ancestral"] == "no design could be made (out of memory)"
    assert len(done.table) == 3 and "nll_minus_limit" not in done.table
    print_result(done, folded=False)


def test_scores_take_batches_as_asked_and_judge_in_float32(
    options: CompareOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def note(given: ScoreOptions, judge: object) -> None:  # noqa: ARG001
        asked.append(given)
        raise Terminated

    monkeypatch.setattr(comparison_cells, "run_score", note)
    with pytest.raises(Terminated):
        compare(
            replace(
                options,
                out=tmp_path / "study",
                methods="",
                students="",
                batch_tokens=512,
                precision="bf16",
            )
        )
    assert [(each.batch_tokens, each.precision) for each in asked] == [(512, "float32")]


def test_without_a_limit_the_teacher_in_as_many_steps_is_what_is_shown() -> None:
    steps = pd.array([8, 8], dtype="Int64")
    row = {"model": ["duo", "dcd"], "sampler": "ancestral", "steps": steps, "calls": 8.0}
    less = {f"nll_minus_teacher{end}": [np.nan, -0.25] for end in ("", "_low", "_high")}
    limit = {f"nll_minus_limit{end}": [np.nan, 0.5] for end in ("", "_low", "_high")}
    for more, shown in ((less, "Less teacher"), (limit | less, "Less limit")):
        table = printed_table(pd.DataFrame({**row, **more}), COLUMNS)
        assert [column.header for column in table.columns][-1] == shown
        assert list(table.columns[-1].cells)[1].count("0.250" if more is less else "0.500") == 3


def test_natural_sequences_are_cut_to_the_lengths_of_the_designs() -> None:
    """The shortest that is as long goes to each; of 3 designs the longest has none."""
    sequences = ["A" * 5, "C" * 9, "D" * 7, "E" * 2]
    found = cut_to_lengths(sequences, {"x": 8, "y": 4, "z": 30}, seed=0)
    assert found == {"y": "A" * 4, "x": "C" * 8}
    assert cut_to_lengths(sequences, {"x": 7, "y": 7, "z": 7}, seed=1).keys() == {"x", "y"}


def test_curves_are_compared_at_natural_sequences(
    options: CompareOptions, finished: CompareResult, tmp_path: Path
) -> None:
    lengths = design_lengths(options.length, options.num, options.seed, 1022)
    random = np.random.default_rng(0)
    letters = [random.choice([*CANONICAL_RESIDUES], length + 3) for length in lengths]
    reference = tmp_path / "natural.fasta"
    reference.write_text("".join(f">{i}\n{''.join(e)}\n" for i, e in enumerate(letters)))
    designs = finished.out / "designs" / "teacher_limit.fasta"
    natural = natural_designs(reference, designs, seed=0)
    ids = sorted(natural.ids)
    level = natural.level(ids)
    assert len(ids) == options.num == len(level.diversity) == len(level.ngrams)
    made = dict(read_training_sequences(designs))
    counts = [max(0, len(made[each]) - 2) for each in ids]
    assert level.diversity.denominators.tolist() == counts, "as many 3-mers as the designs"
    few = tmp_path / "few.fasta"
    few.write_text(">one\nMKV\n")
    assert natural_designs(few, designs, seed=0) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"judge": "IN/short"}, r"^--length 20-40: every design is longer than the 19 "),
        (
            {"methods": "dmmd,dcd"},
            r"^--methods dcd distils uniform-state models.*, or --methods contrast or .*sdtt\.$",
        ),
        (
            {"teacher": "IN/duo", "methods": "dcd", "data": None},
            r"as in --pool-steps 256\.$",  # it has no limit to draw a pool at
        ),
    ],
    ids=["past the judge", "another process", "no limit"],
)
def test_what_cannot_be_is_refused_before_any_work(
    options: CompareOptions, tmp_path: Path, change: dict, message: str
) -> None:
    write_judge(tmp_path / "short", max_length=19)
    write_uniform(tmp_path / "duo", seed=0)
    change = {k: v and v.replace("IN", str(tmp_path)) for k, v in change.items()}
    with pytest.raises(UserError, match=message):
        compare(replace(options, out=tmp_path / "study", **change))
    assert not (tmp_path / "study").exists(), "the mended command finds it as the first did"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "missing.fasta"}, r"--data missing\.fasta: there is no such file"),
        ({"reference": Path("gone.fasta")}, r"--reference gone\.fasta: there is no such file"),
        ({"pool_size": 0}, "--pool-size 0 must be at least 1"),
        ({"methods": "dmmd:paper"}, "group_size"),
        ({"diversity": -1.0, "temperatures": "0.9"}, "--diversity -1 must be"),
        ({"students": "OUT/kept"}, "--overwrite would remove .*kept, which lies in --out"),
    ],
)
def test_what_is_refused_costs_no_earlier_comparison(
    options: CompareOptions, tmp_path: Path, change: dict, message: str
) -> None:
    out = tmp_path / "study"
    write_masked(out / "kept")
    (out / "compare.json").write_text("{}")
    change = {k: v.replace("OUT", str(out)) if k == "students" else v for k, v in change.items()}
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message):
        compare(replace(options, out=out, overwrite=True, **change))
    assert sorted(tmp_path.rglob("*")) == before


def test_offline_and_flags_reach_what_opens_models(
    options: CompareOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the judge nor a model is looked for over the network; messages name their flags."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    given = replace(options, methods="", offline=True)
    for flag, name in (("--teacher", "teacher"), ("--students", "students"), ("--judge", "judge")):
        wanted = replace(given, out=tmp_path / name, **{name: f"nobody/{name}"})
        with pytest.raises(UserError, match=f"^{flag} nobody/{name} is not a folder.*may not be"):
            compare(wanted)
