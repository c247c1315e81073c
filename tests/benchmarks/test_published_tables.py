"""The papers' tables: what is at hand is measured, what is not is named, and rows stand beside."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.published_tables import TEXT_MODELS, at_hand, dplm, published_plddt, text
from didi_core.errors import UserError
from didi_protein.published import DPLM_PLDDT


def test_what_is_not_at_hand_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert at_hand(["tiny", "nobody/has-this"], "didi-text") == ["tiny"]
    assert "didi-text download nobody/has-this" in capsys.readouterr().err
    with pytest.raises(UserError, match="didi-protein download nobody/has-this"):
        at_hand(["nobody/has-this"], "didi-protein")


def test_every_published_plddt_is_found_by_model_and_length() -> None:
    assert published_plddt("airkingbd/dplm_650m", 200) == 85.6
    assert published_plddt("airkingbd/dplm_650m", 150) is None
    assert published_plddt("tiny", 200) is None
    assert len(TEXT_MODELS) == 5 and len(DPLM_PLDDT) == 3


def test_the_text_table_runs_on_models_at_hand(tmp_path: Path) -> None:
    text(tmp_path, models="tiny-student", device="cpu", num=2, steps="2", length=16)
    record = json.loads((tmp_path / "text-float64" / "benchmark.json").read_text())
    assert any(row["model"] == "tiny-student" for row in record["rows"])


def test_the_protein_table_folds_what_dplm_s_sampler_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "didi_protein")
    from folding_fixtures import write_folding_model

    dplm(
        tmp_path,
        models="tiny",
        device="cpu",
        num=2,
        steps=3,
        lengths="12,16",
        fold=str(write_folding_model(tmp_path / "fold")),
    )
    table = pd.read_csv(tmp_path / "dplm" / "table.csv")
    assert table["length"].tolist() == [12, 16] and (table["folded"] == 2).all()
    assert table["mean_plddt_all_atom"].between(0, 100).all() and table["published"].isna().all()
