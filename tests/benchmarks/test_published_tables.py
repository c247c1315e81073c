"""The papers' tables: what is at hand is measured, what is not is named, and rows stand beside."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from dit_fixtures import draw, published_shapes
from folding_fixtures import write_folding_model
from published_folders import (
    TRAINING_CONFIG,
    didi_folder,
    duo_folder,
    mdlm_folder,
    sdtt_folder,
)

from benchmarks.published_tables import (
    TEXT_MODELS,
    at_hand,
    dplm,
    matched,
    published_plddt,
    text,
)
from didi_core.commands.comparing.labels import label_of
from didi_core.errors import UserError
from didi_core.models.bundled import BundledModels
from didi_core.models.hub_names import split_revision
from didi_protein.comparing.compare import DPLM_PLDDT
from didi_text.tokenizers.tokenizer import open_tokenizer


def test_what_is_not_at_hand_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert at_hand(["tiny", "nobody/has-this"], "didi-text") == ["tiny"]
    assert "didi-text download nobody/has-this" in capsys.readouterr().err
    with pytest.raises(UserError, match="didi-protein download nobody/has-this"):
        at_hand(["nobody/has-this"], "didi-protein")


def test_every_published_plddt_is_found_by_model_and_length() -> None:
    assert published_plddt("airkingbd/dplm_650m", 200) == 85.6
    assert published_plddt("airkingbd/dplm_650m", 150) is None
    assert published_plddt("tiny", 200) is None
    assert len(DPLM_PLDDT) == 3


def write_public_models(cache: Path) -> None:
    """The hub's cache with every model of the table, small, as its authors write it."""
    tokenizer = BundledModels("didi_text").folder("tiny") / "tokenizer.json"
    words = len(open_tokenizer(tokenizer).vocabulary.tokens)
    training = {"config": TRAINING_CONFIG, "vocab_size": words}
    writers = {
        "kuleshov-group/mdlm-owt": lambda *to: mdlm_folder(*to, vocab_size=words),
        "yresearch/MDLM-MMD-OWT": lambda *to: mdlm_folder(*to, vocab_size=words),
        "jdeschena/sdtt": sdtt_folder,
        "haoyangzheng/didi-instruct-small": lambda to, weights: didi_folder(to, training, weights),
        "s-sahoo/duo": lambda *to: duo_folder(*to, vocab_size=words),
        "s-sahoo/duo-distilled": lambda *to: duo_folder(*to, vocab_size=words),
    }
    for seed, name in enumerate(TEXT_MODELS):
        repository, revision = split_revision(name)
        place, commit = cache / f"models--{repository.replace('/', '--')}", f"{seed:040x}"
        (place / "refs").mkdir(parents=True, exist_ok=True)
        (place / "refs" / (revision or "main")).write_text(commit)
        weights = draw(published_shapes(words=words), seed)
        folder = writers[repository](place / "snapshots" / commit, weights)
        shutil.copy(tokenizer, folder)


def test_every_model_of_the_text_table_opens_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the cache alone, each of its samplers taking the kind of network that it is."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    write_public_models(tmp_path / "hub")
    text(tmp_path, device="cpu", num=2, steps="2", length=16)
    record = json.loads((tmp_path / "text-float64" / "benchmark.json").read_text())
    found = [(row["model"], row["sampler"]) for row in record["rows"] if row["steps"] == 2]
    wanted = [(label_of(name), each) for name in TEXT_MODELS for each in TEXT_MODELS[name]]
    assert sorted(found) == sorted(wanted) and len(set(found)) == len(found)
    assert "left out" not in capsys.readouterr().err


def test_the_matched_table_runs_on_models_at_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"device": "cpu", "num": 2, "steps": "4", "temperatures": "0.9,1", "length": 16}
    matched(tmp_path, models="tiny-student", **own)
    table = pd.read_csv(tmp_path / "matched" / "matched.csv")
    assert set(table["model"]) == {
        "tiny-student", "MDLM", "D-MMD (of MDLM)", "SDTT (of MDLM)", "ReDi (of Duo)",
        "IDLM (of MDLM)", "Simplex-DMD",
    }  # fmt: skip
    assert "published, arXiv 2609.40235" in capsys.readouterr().out


def test_the_protein_table_folds_what_dplm_s_sampler_writes(tmp_path: Path) -> None:
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
