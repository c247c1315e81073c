"""DSM and FastPLMs folders of random weights: drawn from, scored by, and distilled for a moment."""

import json
from pathlib import Path

import pytest
import torch
from distill_fixtures import student_of
from esm_fixtures import reference_model, write_dsm_folder, write_fast_esm_folder
from generate_fixtures import design, sequences
from safetensors.torch import load_file

from didi_core.models.folder import load_denoiser
from didi_protein.models.judges import open_masked_scorer
from didi_protein.sequences.alphabet import PROTEIN


@pytest.mark.parametrize(
    ("write", "method", "steps", "kind"),
    # The first update of dmmd leaves the student, which is the teacher yet, as it is.
    [(write_dsm_folder, "didi", 1, "esm_diff"), (write_fast_esm_folder, "dmmd", 2, "esm")],
    ids=["dsm", "fastplms"],
)
def test_it_is_drawn_from_and_distilled(
    tmp_path: Path, write, method: str, steps: int, kind: str
) -> None:
    folder = write(tmp_path / "teacher", reference_model(token_dropout=True))
    made = sequences(design(folder, tmp_path / "teacher.fasta", num=2))
    assert len(set(made)) == 2 and all(20 <= len(each) <= 40 for each in made)
    changes = {"steps": steps, "pool_size": 2, "tokens_per_batch": 64, "verdict": False}
    student = student_of(folder, tmp_path / "student", {"name": method}, **changes)
    assert json.loads((student / "config.json").read_text())["model_type"] == kind
    assert len(sequences(design(student, tmp_path / "student.fasta", num=2))) == 2
    teacher = load_denoiser(folder, default_vocabulary=PROTEIN).denoiser
    trained = load_denoiser(student).denoiser
    assert trained.settings == teacher.settings
    for name, tensor in teacher.state_dict().items():
        assert not torch.equal(tensor, trained.state_dict()[name]), f"{name} was not trained"
    assert "lm_head.decoder.weight" in load_file(student / "model.safetensors")
    # DSM's loss is of masked positions alone, ESM-2's of visible ones too.
    assert open_masked_scorer(str(folder)).predicts_visible is (kind == "esm")
