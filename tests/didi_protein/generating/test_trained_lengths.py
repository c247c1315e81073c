"""Model folders know the lengths that they were trained on, and `generate` warns of others."""

import json
from pathlib import Path

import numpy as np
import pytest

from didi_core.commands.info import show_info
from didi_core.data.length_ranges import LengthRanges
from didi_core.models.folder import load_denoiser, read_trained_lengths
from didi_core.progress import say_once
from didi_protein.distill import distill
from didi_protein.generate import generate
from didi_protein.generating.options import GenerateOptions, GenerateResult
from didi_protein.info import info
from didi_protein.models.load import BUNDLED_MODELS
from didi_protein.models.writers import open_writer
from didi_protein.pretrain import pretrain
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.sequences.training_data import read_training_sequences
from didi_protein.settings import DistillSettings, ModelSettings, PretrainSettings

TRAINED = [*range(20, 25), *range(40, 51), 90]
RANGES = LengthRanges(((20, 24), (40, 50), (60, 60)))
"""Of them, the longest cropped to 60."""


def test_the_families_that_ship_are_two_ranges() -> None:
    lengths = [len(sequence) for _, sequence in read_training_sequences("families")]
    ranges = LengthRanges.of(lengths)
    assert ranges.ranges == ((64, 82), (162, 202)) and str(ranges) == "64 to 82 and 162 to 202"
    assert min(lengths) == 64 and max(lengths) == 202


def train(folder: Path, kind: str) -> Path:
    generator = np.random.default_rng(0)
    rows = ["".join(generator.choice(list(CANONICAL_RESIDUES), size=n)) for n in TRAINED]
    fasta = folder / "some.fasta"
    fasta.write_text("".join(f">{number}\n{row}\n" for number, row in enumerate(rows)))
    model = ModelSettings(num_layers=1, hidden_size=8, num_heads=2, intermediate_size=16, kind=kind)
    fixed = {"steps": 1, "tokens_per_batch": 256, "max_length": 60, "device": "cpu"}
    return pretrain(PretrainSettings(data=str(fasta), out=str(folder / kind), model=model, **fixed))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("trained"), "masked")


def test_pretrain_writes_what_it_trained_on(teacher: Path) -> None:
    assert json.loads((teacher / "config.json").read_text())["didi"]["trained_lengths"] == [
        [20, 24],
        [40, 50],
        [60, 60],
    ]
    assert load_denoiser(teacher).trained_lengths == RANGES
    assert "- Lengths: 20 to 24, 40 to 50 and 60 residues; " in (teacher / "README.md").read_text()


def test_a_judge_has_them_too(tmp_path: Path) -> None:
    judge = train(tmp_path, "autoregressive")
    assert read_trained_lengths(judge) == open_writer(str(judge)).trained_lengths == RANGES


def test_a_student_inherits_its_teachers(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = DistillSettings(
        method={"name": "sdtt", "rounds": 1},
        teacher=str(teacher),
        reference="pool",
        pool_size=4,
        pool_steps=1,
        pool_length="30,45",
        out=str(tmp_path / "s"),
        steps=1,
        tokens_per_batch=256,
        device="cpu",
    )
    student = distill(settings)
    assert load_denoiser(student).trained_lengths == RANGES
    assert "- Lengths: 20 to 24" in (student / "README.md").read_text()
    assert "pool_length= (reference=pool): 2 of 4 samples" in capsys.readouterr().err


ASKED = [
    ({"length": "40-50"}, None),
    ({"length": "36,66,18,26"}, None),
    ({"length": "35"}, "--length 35: 3 of 3 designs"),
    ({"length": "48,30"}, "--length 48,30: 1 of 3 designs"),
    ({"template": "20:MKT:9"}, "--template 20:MKT:9: 3 of 3 designs"),
    ({"template": "20:MKT:20"}, None),
]


@pytest.mark.parametrize(("asked", "warning"), ASKED, ids=[str(each[0]) for each in ASKED])
def test_other_lengths_are_made_with_one_warning(
    teacher: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    asked: dict[str, str],
    warning: str | None,
) -> None:
    result = made(teacher, tmp_path / "d.fasta", **asked)
    printed = [each for each in capsys.readouterr().err.splitlines() if "not trained on" in each]
    assert result.num_made == 3
    assert json.loads(result.summary.read_text())["warnings"] == printed
    if warning is None:
        assert not printed
    else:
        assert len(printed) == 1 and printed[0].startswith(warning)
        assert f"{teacher} was not trained on" in printed[0] and f"{RANGES} residues" in printed[0]


def made(model: Path, out: Path, **asked: str) -> GenerateResult:
    say_once.cache_clear()
    options = GenerateOptions(model=str(model), num=3, steps=1, out=out, device="cpu", **asked)
    result = generate(options)
    assert result is not None
    return result


def test_a_folder_that_does_not_say_warns_of_nothing(teacher: Path, tmp_path: Path) -> None:
    config = json.loads((teacher / "config.json").read_text())
    del config["didi"]["trained_lengths"]
    for path in teacher.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config))
    summary = json.loads(made(tmp_path, tmp_path / "d.fasta", length="35").summary.read_text())
    assert summary["warnings"] == []


def test_info_shows_them(
    teacher: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(type(BUNDLED_MODELS), "folder", lambda *_: teacher)
    found = info()
    assert found.trained_lengths == dict.fromkeys(BUNDLED_MODELS.names, str(RANGES))
    show_info(found, as_json=False)
    assert "tiny 20 to 24, 40 to 50 and 60" in capsys.readouterr().out
