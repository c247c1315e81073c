"""Bundling runs: 16-bit weights that open as the run's did, the card, the judge's rows."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import save_file
from text_fixtures import DOCUMENTS, save_causal, tiny_tokenizer, write_jsonl
from text_models import write_tiny_model
from typer.testing import CliRunner

from benchmarks import bundle_models
from benchmarks.bundle_cards import (
    PROTEIN_WORDS,
    TEXT_WORDS,
    card,
    settings_today,
    training_command,
)
from benchmarks.bundle_models import Domain, bundle_denoiser, bundle_judge, protein, text
from didi_core.cli.hydra_app import as_plain, compose_settings
from didi_core.evaluation.headroom_record import read_curve
from didi_core.models.bundled import BundledModels
from didi_protein import app as protein_app
from didi_protein.models.load import BUNDLED_MODELS as PROTEIN_MODELS
from didi_protein.settings import DistillSettings, PretrainSettings
from didi_text import app as text_app
from didi_text.models.load import BUNDLED_MODELS as TEXT_MODELS
from didi_text.models.load import open_model, tokenizer_of
from didi_text.settings import DistillSettings as TextDistillSettings
from didi_text.settings import PretrainSettings as TextPretrainSettings


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


def test_the_protein_models_that_ship_are_bundled_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They serve as runs: their weights have 16 bits already, so that none may change."""
    shipped = protein()
    local = replace(shipped, bundled=LocalModels("didi_protein", root=tmp_path / "bundled"))
    monkeypatch.setitem(bundle_models.DOMAINS, "protein", lambda: local)
    names = local.bundled.names
    for name in names:
        shutil.copytree(shipped.bundled.folder(name), tmp_path / name)
        (tmp_path / name / "metrics.jsonl").write_text('{"step": 7}\n')
    natural = tmp_path / "natural.fasta"
    natural.write_text(">a\nMKTAYIAKQRQISFVKSHFSRQ\n>b\nMGSSHHHHHHSSGLVPRGSH\n")
    app = typer.Typer()
    app.command()(bundle_models.main)
    given = [
        *("protein", "--teacher", str(tmp_path / "tiny")),
        *("--student", str(tmp_path / "tiny-student"), "--judge", str(tmp_path / "tiny-judge")),
    ]
    assert "--judge needs --held-out" in CliRunner().invoke(app, given).output
    data = ["--held-out", str(natural), "--training", str(natural)]
    CliRunner().invoke(app, [*given, *data], catch_exceptions=False)
    for name in names:
        old, new = tmp_path / name, tmp_path / "bundled" / name
        assert (new / "model.safetensors").read_bytes() == (old / "model.safetensors").read_bytes()
        assert f"# {name}:" in (new / "README.md").read_text()
        assert ", 7 updates, seed" in (new / "README.md").read_text()
    for name in ("tiny", "tiny-student"):
        folders = (tmp_path / name, tmp_path / "bundled" / name)
        old, new = (json.loads((folder / "config.json").read_text()) for folder in folders)
        old["didi"].pop("trained_lengths", None)
        assert new["didi"].pop("trained_lengths") == [[20, 22]] and new == old
    student = (tmp_path / "bundled" / "tiny-student" / "README.md").read_text()
    assert "| tiny-student:8, PDZ domains |" in student
    rows = json.loads((tmp_path / "bundled" / "tiny-judge" / "reference_rows.json").read_text())
    stored = json.loads((tmp_path / "tiny-judge" / "reference_rows.json").read_text())
    assert set(rows) == set(stored) | {"by_length"}
    config = json.loads((tmp_path / "bundled" / "tiny-judge" / "config.json").read_text())
    assert config["didi"]["trained_lengths"] == [[20, 22]]


def test_a_text_card_shows_the_rows_of_its_model_in_a_benchmark(tmp_path: Path) -> None:
    def row(model: str, steps: int | str | None, **more: object) -> dict[str, object]:
        figures = {"perplexity": 31.5, "perplexity_low": 30.0, "perplexity_high": 33.0}
        entropy = {"entropy": 4.5, "entropy_low": 4.4, "entropy_high": 4.6, "repetition": 0.01}
        swept = {"nll_at_equal_entropy": None, "difference_at_equal_entropy": None}
        made = {"model": model, "sampler": "ancestral", "steps": steps, "status": "ok"}
        return {**made, "n": 512, "calls": 7.96, **figures, **entropy, **swept, **more}

    better = {
        f"{name}{end}": value
        for name, value in (("nll_at_equal_entropy", 3.25), ("difference_at_equal_entropy", -0.5))
        for end in ("", "_low", "_high")
    }
    record = {
        "rows": [
            row("tiny", "limit", sampler="first-hitting"),
            row("tiny-student", 8, **better),
            row("tiny-student", 16, sampler="rgas"),
            row("tiny-student", 32, status="out of memory"),
            row("tiny-judge", None, sampler="autoregressive"),
        ],
        "reading": {"judge": "tiny-judge", "length": 128, "num": 512},
        "frontiers": {"baseline": "tiny_limit"},
    }
    words = replace(TEXT_WORDS, results=tmp_path / "text_benchmark.json")
    run = {"verb": "distill", "updates": 9, "seed": 1, "settings": {}}
    assert "## Scores" not in card("tiny-student", run, words)  # nothing is measured yet
    words.results.write_text(json.dumps(record))
    shown = card("tiny-student", run, words)
    assert "Samples of 128 tokens under `tiny-judge`" in shown
    table = [line for line in shown.splitlines() if line.startswith("|")]
    assert table[0].endswith("(nats a token) at equal entropy | less that of tiny_limit |")
    assert table[2:] == [
        "| tiny-student:8 | 512 | 8.0 | 31.500 (30.000 to 33.000) | 4.500 (4.400 to 4.600) | 0.010 "
        "| 3.250 (3.250 to 3.250) | -0.500 (-0.500 to -0.500) |",
        "| tiny-student:rgas:16 | 512 | 8.0 | 31.500 (30.000 to 33.000) | 4.500 (4.400 to 4.600) "
        "| 0.010 |  |  |",
    ]
    teacher = card("tiny", run, words)  # no row of its own at equal entropy: no such column
    assert "tiny:limit" in teacher and "equal entropy" not in teacher
    assert "## Scores" not in card("tiny-judge", run, words)


def tokenizer_of_judge(folder: Path) -> str:
    from didi_text.models.judges import open_judge

    return open_judge(str(folder)).tokenizer.digest


VERBS = {
    ("didi-protein", "pretrain"): (PROTEIN_WORDS, "pretrain", PretrainSettings),
    ("didi-protein", "distill"): (PROTEIN_WORDS, "distill", DistillSettings),
    ("didi-text", "pretrain"): (TEXT_WORDS, "text_pretrain", TextPretrainSettings),
    ("didi-text", "distill"): (TEXT_WORDS, "text_distill", TextDistillSettings),
}
"""Words of the cards, configuration and settings of each verb that trains."""
CARDS = sorted(
    bundled.folder(name) / "README.md"
    for bundled in (PROTEIN_MODELS, TEXT_MODELS)
    for name in bundled.names
)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: "/".join(path.parts[-4:-1]))
def test_the_command_of_a_bundled_card_is_one_that_its_verb_takes(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """With plan=true the settings are composed and checked, and nothing is trained."""
    monkeypatch.chdir(tmp_path)
    (line,) = re.findall(r"```bash\n(.*?)\n```", path.read_text(), re.DOTALL)
    program, verb, *told = shlex.split(line)
    app = {"didi-protein": protein_app, "didi-text": text_app}[program].app
    app([verb, *told, "plan=true"], standalone_mode=False)
    assert "weights" in capsys.readouterr().out


@pytest.mark.parametrize("path", CARDS, ids=lambda path: "/".join(path.parts[-4:-1]))
def test_the_command_of_a_bundled_card_has_the_settings_of_its_run(path: Path) -> None:
    """All but names of files, and the one update that a gentle start must leave to the bound."""
    record = json.loads((path.parent / "run.json").read_text())
    (line,) = re.findall(r"```bash\n(.*?)\n```", path.read_text(), re.DOTALL)
    program, verb, *told = shlex.split(line)
    words, config, settings_class = VERBS[program, verb]
    assert line == training_command(words, verb, settings_today(record["settings"]))
    if config == "text_pretrain":  # as the program calls it
        told = [re.sub("^model=", "text_model@model=", each) for each in told]
    found = as_plain(compose_settings(config, settings_class, told))
    found = json.loads(json.dumps(found))
    expected = record["settings"] | {k: found[k] for k in ("resume",) if k in found}
    for name in ("teacher", "tokenizer"):
        if expected.get(name):
            expected[name] = "tiny"
    start = expected.get("curriculum")
    if start is not None and start["steps"] >= expected["steps"]:
        assert found["curriculum"]["steps"] == expected["steps"] - 1
        start["steps"] = expected["steps"] - 1
    assert holds(found, expected)


def holds(found: dict, expected: dict) -> bool:
    """Whether all that was told then is so now; what has come since has its default."""
    return all(
        holds(found[name], value) if isinstance(value, dict) else found[name] == value
        for name, value in expected.items()
    )


def test_a_teacher_comes_with_its_curve_and_no_earlier_one(domain: Domain, tmp_path: Path) -> None:
    run = as_run(write_tiny_model(tmp_path / "run"), "pretrain")
    bundle_denoiser(
        "tiny", run, domain, held_out=write_jsonl(tmp_path / "held_out.jsonl", DOCUMENTS * 4)
    )
    folder = tmp_path / "bundled" / "tiny"
    stored = read_curve(folder)
    assert stored is not None and stored.is_of(open_model(folder).denoiser)
    bundle_denoiser("tiny", run, domain)
    assert read_curve(folder) is None


@pytest.mark.parametrize("shipped", [protein, text])
def test_the_teachers_that_ship_have_their_own_curve(shipped: Callable[[], Domain]) -> None:
    domain = shipped()
    folder = domain.bundled.folder("tiny")
    stored = read_curve(folder)
    assert stored is not None and stored.is_of(domain.open_model(folder).denoiser)
    assert "/" not in stored.measured.data
