"""A joint head, from distillation to designs: the folder, the flag that leaves it out, the card."""

import json
from pathlib import Path

import pytest
import transformers
from distill_fixtures import student_of
from generate_fixtures import design, sequences

from didi_core.errors import UserError
from didi_core.models.folder import load_denoiser
from didi_core.models.joint_head_file import load_joint_head, save_joint_head


@pytest.fixture(scope="module")
def headed(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    method = {"name": "joint-head", "student": {"name": "adamw", "lr": 0.1, "warmup_steps": 1}}
    return student_of(teacher, tmp_path_factory.mktemp("headed"), method, steps=4)


def test_the_folder_is_the_teacher_with_a_head_and_says_so(teacher: Path, headed: Path) -> None:
    config = json.loads((headed / "config.json").read_text())
    assert config["didi"]["joint_head"] is True and config["didi"]["method"] == "joint-head"
    one, two = (load_denoiser(each).denoiser.state_dict() for each in (teacher, headed))
    assert all(one[name].equal(two[name]) for name in one), "the teacher is left as it is"
    card = (headed / "README.md").read_text()
    assert "draws the tokens of a step together" in card and "| without the joint head" in card
    assert transformers.AutoModelForMaskedLM.from_pretrained(headed) is not None


def test_designs_take_the_head_and_can_be_made_without(headed: Path, tmp_path: Path) -> None:
    made = design(headed, tmp_path / "a.fasta", num=6, steps=3)
    again = design(headed, tmp_path / "b.fasta", num=6, steps=3, batch_tokens=4096)
    assert sequences(made) == sequences(again), "the batch does not matter"
    plain = design(headed, tmp_path / "c.fasta", num=6, steps=3, without_joint_head=True)
    assert sequences(plain) != sequences(made)
    assert plain.head_passes == 0 and made.head_passes >= 6, "each design took a pass at least"
    assert made.calls_made == plain.calls_made, "a pass of the head is no call"
    with pytest.raises(UserError, match=r"joint_head was not given, now [0-9a-f]{16}"):
        design(headed, tmp_path / "c.fasta", num=6, steps=3, resume=True)


def test_samplers_that_read_no_head_refuse_the_flag(headed: Path, tmp_path: Path) -> None:
    for sampler, steps in (("saber", 3), ("first-hitting", None)):
        with pytest.raises(UserError, match=f"--without-joint-head: --sampler {sampler}"):
            design(
                headed, tmp_path / "a.fasta", num=2, sampler=sampler, steps=steps,
                without_joint_head=True,
            )  # fmt: skip


def test_a_head_beside_a_method_is_that_of_its_student(teacher: Path, tmp_path: Path) -> None:
    plain = student_of(teacher, tmp_path / "plain", {"name": "dmmd"})
    both = student_of(teacher, tmp_path / "both", {"name": "dmmd"}, joint_head=True)
    one, two = (load_denoiser(each).denoiser.state_dict() for each in (plain, both))
    assert all(one[name].equal(two[name]) for name in one), "the student is the same"
    assert (both / "joint_head.safetensors").is_file()
    student_of(teacher, both, {"name": "dmmd"}, overwrite=True)
    assert not (both / "joint_head.safetensors").exists(), "an older head does not stay"
    design(both, tmp_path / "a.fasta", num=2)
    with pytest.raises(UserError, match="--without-joint-head"):
        design(both, tmp_path / "b.fasta", num=2, without_joint_head=True)


def test_what_cannot_have_a_head_is_refused(teacher: Path, tmp_path: Path) -> None:
    for method in ("joint-head", "dcd"):
        with pytest.raises(
            UserError, match=f"joint_head=true.*method={method}|method={method}.*joint_head=true"
        ):
            student_of(teacher, tmp_path, {"name": method}, joint_head=True)
    with pytest.raises(UserError, match=r"joint_head=true.*remdm.*method\.sampler"):
        student_of(teacher, tmp_path, {"name": "dmmd", "renoise": True}, joint_head=True)
    method = {"name": "dmmd", "renoise": True, "sampler": "apart"}
    read = student_of(teacher, tmp_path / "apart", method, joint_head=True)
    assert (read / "joint_head.safetensors").is_file(), "apart draws with the head"


def test_a_folder_that_lost_its_head_is_refused(headed: Path, tmp_path: Path) -> None:
    model = load_denoiser(headed)
    head = load_joint_head(
        model.denoiser, model.vocabulary.num_generable, model.extras["joint_head"], model.config, ""
    )
    assert head is not None
    (headed / "joint_head.safetensors").unlink()
    with pytest.raises(UserError, match=r"joint_head\.safetensors is missing"):
        design(headed, tmp_path / "a.fasta", num=2)
    save_joint_head(head, headed / "joint_head.safetensors")
    assert design(headed, tmp_path / "a.fasta", num=2).num_made == 2
