"""What `overwrite=true` takes away, and when: nothing of an earlier model joins the new one."""

from pathlib import Path

import pytest
from distill_fixtures import student_of
from generate_fixtures import design

from didi_core.commands.training import distill as distilling
from didi_core.commands.training import distill as student_folder
from didi_core.errors import Terminated, UserError
from didi_core.models.folder import load_denoiser
from didi_core.models.named import unfinished_run
from didi_core.models.noise_file import load_noise
from didi_protein.pretrain import pretrain
from didi_protein.settings import ModelSettings, PretrainSettings

WEIGHTS = {"model.safetensors", "noise.safetensors", "discriminator.safetensors"}
NOISY = {"kind": "position", "size": 4}


@pytest.fixture
def student(teacher: Path, tmp_path: Path) -> Path:
    """Of DiDi-Instruct, with a discriminator and a noise input."""
    folder = student_of(teacher, tmp_path / "s", {"name": "didi", "noise": NOISY}, steps=1)
    assert files_of(folder).keys() >= WEIGHTS
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "pool" not in path.parts
    }


def stop(*_: object, **__: object) -> None:
    raise Terminated


def test_a_discriminator_of_another_student_does_not_stay(teacher: Path, student: Path) -> None:
    student_of(teacher, student, {"name": "dmmd"}, steps=1, overwrite=True)
    assert WEIGHTS & files_of(student).keys() == {"model.safetensors"}
    assert load_denoiser(student).extras == {}
    with pytest.raises(UserError, match="discriminator"):
        design(student, student.parent / "d.fasta", num=2, steps=8, sampler="rgas")


def test_a_curve_of_another_student_does_not_stay(teacher: Path, student: Path) -> None:
    (student / "headroom.json").write_text("{}")
    student_of(teacher, student, {"name": "dmmd"}, steps=1, overwrite=True)
    assert not (student / "headroom.json").exists()


def test_a_model_from_scratch_takes_the_place_of_a_student_with_noise(student: Path) -> None:
    fasta = student.parent / "natural.fasta"
    fasta.write_text("".join(f">{i}\nMKTAYIAKQR{'ACDEFGHIKL'[i]}\n" for i in range(10)))
    pretrain(
        PretrainSettings(
            data=str(fasta), out=str(student), steps=1, tokens_per_batch=64, overwrite=True,
            device="cpu",
            model=ModelSettings(num_layers=1, hidden_size=8, num_heads=2, intermediate_size=16),
        )
    )  # fmt: skip
    model = load_denoiser(student)
    assert model.extras == {}
    assert load_noise(model.denoiser, model.config, model.extras.get("noise"), "it") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pool_length": "20-10"}, "upside down"),
        ({"teacher": "none-such"}, "none-such"),
        ({"reference": "data", "data": "none-such.fasta"}, "none-such"),
        ({"reference": "data", "data": "LONG", "max_length": 5}, "every reference sequence is"),
        ({"steps": 0}, "steps=0"),
        ({"teacher": "ITSELF"}, "would remove the teacher"),
    ],
    ids=str,
)
def test_what_is_refused_takes_nothing_away(
    teacher: Path, student: Path, change: dict[str, object], message: str
) -> None:
    long = student.parent / "long.fasta"
    long.write_text(">a\nMKTAYIAKQR\n")
    named = {"LONG": str(long), "ITSELF": str(student)}
    given = {name: named.get(str(value), value) for name, value in change.items()}
    before = files_of(student)
    with pytest.raises(UserError, match=message):
        student_of(
            given.pop("teacher", teacher), student, {"name": "dmmd"}, overwrite=True, **given
        )
    assert files_of(student) == before


def test_a_killed_replacement_is_a_run_that_is_not_finished(
    teacher: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken, pytest.raises(Terminated):
        broken.setattr(distilling, "train", stop)
        student_of(teacher, student, {"name": "dmmd"}, overwrite=True)
    assert unfinished_run(student) == "distill"
    assert not WEIGHTS & files_of(student).keys()
    with pytest.raises(UserError, match="is a run that is not finished"):
        design(student, student.parent / "d.fasta", num=2)
    student_of(teacher, student, {"name": "dmmd"}, resume=True)
    design(student, student.parent / "d.fasta", num=2)


def test_a_kill_between_the_files_of_a_student_leaves_none_to_open(
    teacher: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished run that goes on for longer has an equal config, and other weights."""
    method = {"name": "didi", "noise": NOISY}
    with monkeypatch.context() as broken, pytest.raises(Terminated):
        broken.setattr(student_folder, "save_model_folder", stop)
        student_of(teacher, student, method, steps=2, resume=True)
    assert unfinished_run(student) == "distill"
    student_of(teacher, student, method, steps=2, resume=True)
    assert "config.json" in files_of(student)
