"""Bundling a text run: 16-bit weights that open as the run's did, the card, the judge's rows."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import save_file

from benchmarks import bundle_models
from benchmarks.bundle_models import Domain, bundle_denoiser, bundle_judge, text
from didi_core.models.bundled import BundledModels
from didi_text.models import open_model, tokenizer_of

sys.path.append(str(Path(__file__).parents[1] / "didi_text"))
from text_fixtures import save_causal, tiny_tokenizer, write_jsonl
from text_models import write_tiny_model


@dataclass(frozen=True)
class LocalModels(BundledModels):
    """Bundled into a folder of the test."""

    root: Path = Path()

    def folder(self, name: str) -> Path:
        return self.root / name


@pytest.fixture
def domain(tmp_path: Path) -> Domain:
    return replace(text(), bundled=LocalModels("didi_text", root=tmp_path / "bundled"))


def as_run(folder: Path, verb: str) -> Path:
    settings = {"data": "/home/me/corpus.jsonl", "tokenizer": "/home/me/tok", "steps": 20}
    record = {"verb": verb, "seed": 3, "settings": settings}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "metrics.jsonl").write_text('{"step": 10}\n{"step": 20}\n')
    return folder


def test_a_student_opens_as_the_run_did(domain: Domain, tmp_path: Path) -> None:
    run = as_run(write_tiny_model(tmp_path / "run"), "distill")
    save_file({"weight": torch.ones(2)}, run / "noise.safetensors")
    bundle_denoiser("tiny-student", run, domain)
    folder = tmp_path / "bundled" / "tiny-student"
    found, given = open_model(folder), open_model(run)
    weights = zip(
        found.denoiser.state_dict().values(), given.denoiser.state_dict().values(), strict=True
    )
    assert all(torch.equal(a, b.bfloat16().float()) for a, b in weights)
    assert found.vocabulary == given.vocabulary and found.config["didi"]["teacher"] == "tiny"
    assert tokenizer_of(found).digest == tiny_tokenizer().digest
    assert (folder / "noise.safetensors").read_bytes() == (run / "noise.safetensors").read_bytes()
    record = json.loads((folder / "run.json").read_text())
    assert record["updates"] == 20 and record["settings"]["data"] == "corpus.jsonl"
    card = (folder / "README.md").read_text()
    assert "didi-text distill`, 20 updates, seed 3" in card and "/home/me" not in card


def test_a_judge_comes_with_its_reference_rows(
    domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = as_run(save_causal(tmp_path / "run"), "pretrain")
    held_out = write_jsonl(tmp_path / "held_out.jsonl")
    seen = []

    def rows(data: Path, training: Path | None) -> dict:
        seen.append((data, training))
        return {"held_out_text": {"n": 1}}

    bundle_judge(run, replace(domain, reference_rows=rows), held_out, None)
    folder = tmp_path / "bundled" / "tiny-judge"
    assert domain.bundled.ships("tiny-judge") and seen == [(held_out, None)]
    assert json.loads((folder / "reference_rows.json").read_text()) == {"held_out_text": {"n": 1}}
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert tokenizer_of_judge(folder) == tiny_tokenizer().digest
    monkeypatch.setattr(bundle_models, "LARGEST_MB", 1e-3)
    with pytest.raises(typer.BadParameter, match="MB of weights"):
        bundle_models.check_size(folder)


def tokenizer_of_judge(folder: Path) -> str:
    from didi_text.judges import open_judge

    return open_judge(str(folder)).tokenizer.digest
