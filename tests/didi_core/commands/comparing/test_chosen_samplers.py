"""What `compare --samplers` names: options, rows of a teacher without a limit, and its pairs."""

from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import get_type_hints

import pandas as pd
import pytest
from tiny_models import FRAMED, tiny_denoiser

from didi_core.commands.comparing.cells import Cell, CellRequest, ScoredCell
from didi_core.commands.comparing.compare import cells_of
from didi_core.commands.comparing.options import CompareOptions
from didi_core.commands.comparing.study import (
    ChosenSampler,
    Study,
    check_folder,
    chosen_samplers,
    claim_folder,
)
from didi_core.commands.comparing.table import compare_cells
from didi_core.commands.generating.options import SamplingOptions
from didi_core.errors import UserError
from didi_core.models.folder import LoadedModel
from didi_core.sampling.registry import SAMPLERS
from didi_protein.generating.options import GenerateOptions as ProteinOptions
from didi_text.samples.options import GenerateOptions as TextOptions

LOOP = ChosenSampler("psi", (("schedule", "loop"), ("eta", 0.02)))


def test_options_stand_in_brackets() -> None:
    wrong: list[str] = []
    found = chosen_samplers("ancestral, psi( eta = 0.02,schedule=loop ),remdm(),ancestral", wrong)
    assert not wrong
    assert found == (ChosenSampler("ancestral"), LOOP, ChosenSampler("remdm"))
    (same,) = chosen_samplers("psi(schedule=loop,eta=0.020)", wrong)
    assert same == LOOP, "one setting has one name"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("psi(eta=0.1", "--samplers psi(eta=0.1: give NAME or NAME(OPTION=VALUE,...)"),
        ("psi(eta=0.1)x", "--samplers psi(eta=0.1)x: give NAME"),
        ("psi(a(b))", "--samplers psi(a(b)): give NAME"),
        ("psi(eta)", "--samplers psi: eta: it must be NAME=VALUE"),
        ("psi(eta=x)", "--samplers psi: eta=x must be a number"),
        ("psi(eta=2)", "--samplers psi: eta=2.0 must be from 0 to 1"),
        ("psi(eta=0.1,eta=0.2)", "give each option once"),
        ("psi(sigma=1)", "--samplers psi: sigma: sampler psi has no option sigma; it has schedule"),
        ("ancestral(eta=1)", "sampler ancestral has no options, but got eta"),
        ("psy(eta=1)", "--samplers psy does not exist: did you mean psi? There are analytic"),
        ("first-hitting", "--samplers first-hitting takes no steps"),
    ],
)
def test_what_makes_no_sense_is_told_and_the_rest_is_read(text: str, told: str) -> None:
    wrong: list[str] = []
    assert chosen_samplers(f"ancestral,{text}", wrong)[0] == ChosenSampler("ancestral")
    assert len(wrong) == 1 and told in wrong[0]


def model_of(process: str) -> LoadedModel:
    return LoadedModel(tiny_denoiser(), FRAMED, {"didi": {"process": process}}, "m", Path(), {})


def test_two_settings_of_a_sampler_are_two_rows_with_files_of_their_own() -> None:
    cells = [Cell("t", 8, "psi"), Cell("t", 8, LOOP.name, options=LOOP.options)]
    assert [cell.name for cell in cells] == ["t_psi_8", "t_psi-schedule=loop-eta=0.02_8"]
    assert [cell.label for cell in cells] == ["psi", "psi(schedule=loop,eta=0.02)"]
    assert cells[1].at(0.5).name == "t_psi-schedule=loop-eta=0.02_8_t0.5"
    request = CellRequest(
        folder=Path("f"), num=2, length="9", seed=0, device="cpu", top_p=0.9
    ).generation(cells[1], ".x")
    assert request["sampler_options"] == {"schedule": "loop", "eta": 0.02}
    assert request["sampler"] == "psi" and request["top_p"] == 0.9


def test_a_teacher_without_a_limit_has_plain_rows_whatever_the_samplers() -> None:
    uniform = model_of("uniform")
    opened, plain = {"t": uniform, "s": uniform}, ChosenSampler("ancestral")
    for given in (*permutations((plain, LOOP, ChosenSampler("greedy-tail"))), (LOOP,)):
        study = Study((), (), given, (2,), (4,))
        cells, left_out = cells_of(study, "t", opened)
        assert {Cell("t", 2), Cell("t", 4)} <= {*cells} and len({*cells}) == len(cells)
        assert (Cell("s", 2) in cells) == (plain in given), "the teacher alone"
        assert len(left_out) == 1 and "t with first-hitting, its limit" in left_out[0]
    masked = {"t": model_of("absorbing")}
    apart = Study((), (), (ChosenSampler("apart"),), (2,), ())
    assert cells_of(apart, "t", masked)[0] == [Cell.limit("t"), Cell("t", 2, "apart")]


def test_a_model_that_no_sampler_asked_for_can_take_has_its_plain_rows() -> None:
    opened = {"t": model_of("absorbing"), "s": model_of("sedd")}
    study = Study((), (), (ChosenSampler("ancestral"),), (2,), ())
    cells, left_out = cells_of(study, "t", opened)
    assert cells == [Cell.limit("t"), Cell("t", 2), Cell("s", 2, "analytic")]
    assert left_out == ("s with ancestral: it is a score-entropy model",)
    assert cells[-1].is_plain and not Cell("s", 2, "psi").is_plain
    # As a teacher it has no limit: its plain rows are the reference.
    alone = cells_of(study, "s", {"s": opened["s"]})[0]
    assert alone == [Cell("s", 2, "analytic")]


def test_every_row_is_paired_with_the_plain_row_of_as_many_steps() -> None:
    plain, other = Cell("t", 2), Cell("t", 2, "psi")
    cells = {plain: 3.0, other: 2.5, Cell("t", 4): 1.0, Cell("s", 2, "psi"): 2.0}
    scored = [
        ScoredCell(
            cell, {"model": cell.model, "steps": cell.steps}, pd.Series({"a": nll, "b": nll})
        )
        for cell, nll in cells.items()
    ]
    less = compare_cells(scored, "t", seed=0)["nll_minus_teacher"]
    assert pd.isna(less[0]) and pd.isna(less[2]), "plain rows are what others are paired with"
    assert less[1] == -0.5 and less[3] == -1.0


def test_a_sampler_says_what_it_cannot_take() -> None:
    masked = model_of("absorbing")
    assert SAMPLERS["rgas"].reason_against(masked) == "it has no discriminator.safetensors"
    guided = replace(masked, extras={"discriminator": Path("discriminator.safetensors")})
    assert SAMPLERS["rgas"].reason_against(guided) is None
    assert SAMPLERS["psi"].reason_against(masked) == "it is a masked model"


@pytest.mark.parametrize("options", [ProteinOptions, TextOptions])
def test_the_help_of_generate_is_made_of_the_entries(options: type[SamplingOptions]) -> None:
    (option,) = get_type_hints(options, include_extras=True)["sampler"].__metadata__
    said = "; ".join(f"{name} ({each.summary})" for name, each in SAMPLERS.items())
    assert option.help.startswith(f"{said}. Settings of one sampler alone may stand in brackets")


@dataclass(frozen=True, kw_only=True)
class Asked(CompareOptions):
    """With a kind of device, as both programs are asked."""

    device: str = "cpu"


def test_a_comparison_of_before_had_the_default_of_what_it_did_not_record(tmp_path: Path) -> None:
    asked = Asked(teacher="t", out=tmp_path / "s", resume=True)
    claim_folder(asked)
    marker = tmp_path / "s" / "compare.json"
    marker.write_text(marker.read_text().replace('"top_p": 1.0,', ""))
    check_folder(asked)
    with pytest.raises(UserError, match=r"another top_p: give --top-p 1\.0, as then"):
        check_folder(replace(asked, top_p=0.9))
