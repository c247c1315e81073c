"""`didi-text headroom`: the curve of a text model, MDLM's layout too, and `--grid best` by it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from text_fixtures import DOCUMENTS, save_causal, write_jsonl
from text_models import sample, texts, write_tiny_model

from didi_core.errors import UserError
from didi_core.evaluation.headroom_record import read_curve
from didi_text.evaluate import EvaluateOptions, evaluate
from didi_text.headroom import HeadroomOptions, HeadroomResult, headroom


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("data") / "d.jsonl", DOCUMENTS * 4)


def measure(model: Path, data: Path, **changes: Any) -> HeadroomResult:
    return headroom(HeadroomOptions(model=str(model), data=str(data), quiet=True, **changes))


@pytest.fixture(scope="module")
def measured(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose folder has its curve."""
    folder = write_tiny_model(tmp_path_factory.mktemp("model") / "m", seed=4)
    result = measure(folder, data)
    assert result.kept == folder / "headroom.json"
    assert [each.calls for each in result.losses] == [1, 2, 4, 8, 16, 32]
    assert np.isfinite(result.record["nats"]).all() and "token" in result.sentences[0]
    return folder


def test_samples_follow_the_best_grid_of_the_curve(measured: Path, tmp_path: Path) -> None:
    stored = read_curve(measured)
    assert stored is not None
    best = sample(measured, tmp_path / "b.jsonl", grid="best", steps=6)
    settings = json.loads(best.summary.read_text())["settings"]
    assert settings["kept"] == list(stored.curve.best_grid(6))
    assert texts(best) != texts(sample(measured, tmp_path / "e.jsonl", steps=6))
    assert '"grid": "best"' in best.out.read_text()


def test_evaluate_takes_the_grid_too(measured: Path, tmp_path: Path) -> None:
    judge = save_causal(tmp_path / "judge")
    asked: dict[str, Any] = {
        **{"task": "genppl", "model": str(measured), "judge": str(judge), "num": 2},
        **{"length": 20, "steps": 4, "quiet": True},
    }
    found = evaluate(EvaluateOptions(out=tmp_path / "b.json", grid="best", **asked))
    assert '"grid": "best"' in found.out.read_text()


def test_models_of_other_kinds_are_refused(data: Path, tmp_path: Path) -> None:
    for folder, words in (
        (write_tiny_model(tmp_path / "u", process="uniform"), "uniform-state"),
        (write_tiny_model(tmp_path / "s", process="sedd"), "score"),
        (save_causal(tmp_path / "c"), "autoregressive"),
    ):
        with pytest.raises(UserError, match=words):
            measure(folder, data)
