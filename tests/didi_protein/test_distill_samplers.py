"""A student and its designs: the pool, the sampler that settings name, DPLM's own."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from distill_fixtures import student_settings
from generate_fixtures import design, designs, sequences, write_tiny_model
from safetensors.torch import load_file

from didi_core.commands.comparing.cells import Cell
from didi_core.commands.comparing.study import ChosenSampler, other_than_own
from didi_core.commands.training.distill import DistillRun
from didi_core.commands.training.drawn_pool import draw_pool
from didi_core.errors import UserError
from didi_core.models.folder import load_denoiser
from didi_core.sampling.folder_defaults import OWN, own_sampler
from didi_core.training.devices import build_fabric
from didi_protein.distill import distill
from didi_protein.domain import TRAINING


def test_a_pool_is_reused_only_where_all_that_decides_it_is_the_same(
    teacher: Path, tmp_path: Path
) -> None:
    fabric = build_fabric("cpu", "float32")

    def pool(folder: Path, **changes: object) -> list[int]:
        run = DistillRun(student_settings(folder, tmp_path, {"name": "didi"}, **changes), TRAINING)
        settings, opened = replace(run.settings, out=str(tmp_path)), load_denoiser(folder)
        lengths = TRAINING.pool_lengths(settings, run.longest(opened))
        return draw_pool(opened, lengths, settings, TRAINING.unit, fabric).flat.tolist()

    plain = pool(teacher)
    assert pool(teacher) == plain
    assert len(list((tmp_path / "pool").iterdir())) == 1
    other = write_tiny_model(tmp_path / "other", seed=5)
    assert pool(other) != plain, "another teacher's samples are its own"
    for changes in ({"pool_steps": 2}, {"seed": 1}, {"pool_size": 11}, {"pool_length": "10-21"}):
        assert pool(teacher, **changes) != plain, changes
    assert len(list((tmp_path / "pool").iterdir())) == 6


@pytest.mark.parametrize("sampler", ["apart", "momentum(positions=apart)", None])
def test_a_student_of_dmmd_is_drawn_as_its_settings_name(
    teacher: Path, tmp_path: Path, sampler: str | None
) -> None:
    method = {"name": "dmmd", "sampler": sampler}
    student = distill(student_settings(teacher, tmp_path / "student", method))
    made = design(student, tmp_path / "d.fasta", steps=4, num=2)
    expected = (sampler or "momentum").partition("(")[0]
    assert {record.header["sampler"] for record in designs(made)} == {expected}
    assert json.loads(made.summary.read_text())["settings"]["reveal_exponent"] == 2.0


def test_two_networks_are_sampled_by_contrast_at_two_calls_a_step(
    teacher: Path, tmp_path: Path
) -> None:
    method = {"name": "contrast", "networks": "two", "weight": 2.0, "weak_steps": 2}
    both = distill(student_settings(teacher, tmp_path / "both", method))
    kept, given = (load_file(each / "model.safetensors") for each in (both, teacher))
    assert all(torch.equal(tensor, kept[name]) for name, tensor in given.items())

    made = design(both, tmp_path / "a.fasta", num=6, batch_tokens=64)
    plain = design(teacher, tmp_path / "b.fasta", num=6)
    for found, beside in zip(designs(made), designs(plain), strict=True):
        assert (found.header["sampler"], found.header["steps"]) == ("contrast", "4")
        assert int(found.header["nfe"]) == 2 * int(beside.header["nfe"])
    assert sequences(made) != sequences(plain)
    assert len(json.loads(made.summary.read_text())["settings"]["weak"]) == 16
    parts = [
        sequences(design(both, tmp_path / f"{n}.fasta", num=6, batch_tokens=64, shard=f"{n}/2"))
        for n in (1, 2)
    ]
    assert sorted(parts[0] + parts[1]) == sorted(sequences(made))

    off = design(both, tmp_path / "off.fasta", num=6, sampler="contrast(weight=0)")
    assert sequences(off) == sequences(plain)
    assert [each.header["nfe"] for each in designs(off)] == [
        each.header["nfe"] for each in designs(plain)
    ]
    published = design(both, tmp_path / "p.fasta", num=1, grid="published")
    assert designs(published)[0].header["sampler"] == "ancestral"
    with pytest.raises(UserError, match="--grid published"):
        design(both, tmp_path / "q.fasta", num=1, sampler="contrast", grid="published")
    with pytest.raises(UserError, match=r"weak\.safetensors"):
        design(teacher, tmp_path / "r.fasta", num=1, sampler="contrast")


def test_a_joint_head_stands_beside_two_networks(teacher: Path, tmp_path: Path) -> None:
    method = {"name": "contrast", "networks": "two", "weak_steps": 2}
    both = distill(student_settings(teacher, tmp_path / "both", method, joint_head=True))
    files = {path.name for path in both.glob("*.safetensors")}
    assert files == {"model.safetensors", "joint_head.safetensors", "weak.safetensors"}
    made = design(both, tmp_path / "d.fasta", num=3)
    assert {record.header["sampler"] for record in designs(made)} == {"contrast"}
    assert made.head_passes >= 3


def test_a_student_of_the_guided_law_stands_alone(teacher: Path, tmp_path: Path) -> None:
    method = {"name": "contrast", "sampler": "apart", "weak_steps": 2, "student_steps": 2}
    student = distill(student_settings(teacher, tmp_path / "student", method))
    assert not (student / "weak.safetensors").exists()
    made = design(student, tmp_path / "d.fasta", num=2)
    assert {record.header["sampler"] for record in designs(made)} == {"apart"}


def test_a_renoised_student_is_drawn_by_what_it_was_trained_for(
    teacher: Path, tmp_path: Path
) -> None:
    method = {"name": "dmmd", "renoise": True, "auxiliary_updates": 4}
    student = distill(student_settings(teacher, tmp_path / "student", method))
    named = json.loads((student / "config.json").read_text())["didi"]["sampler"]
    assert named == "remdm(schedule=renoise)"
    made = design(student, tmp_path / "d.fasta", steps=4, num=4)
    settings = json.loads(made.summary.read_text())["settings"]
    assert (settings["sampler"], settings["reveal_exponent"]) == ("remdm", 2.0)
    assert settings["sampler_options"] == {"schedule": "renoise"}
    asked = design(student, tmp_path / "e.fasta", steps=4, num=4, sampler=named)
    sequences = [[record.sequence for record in designs(each)] for each in (made, asked)]
    assert sequences[0] == sequences[1]
    # Who asks for the sampler without options gets it without the folder's.
    plain = design(student, tmp_path / "f.fasta", steps=4, num=4, sampler="remdm")
    assert json.loads(plain.summary.read_text())["settings"]["sampler_options"] == {}
    model = load_denoiser(student)
    own = ChosenSampler(OWN).of(model)
    assert (own_sampler(model), own) == (named, ChosenSampler("remdm", (("schedule", "renoise"),)))
    assert Cell.labelled("s", 4, named).label == named
    assert other_than_own([("s", named)], {"s": model}) == []
    assert len(other_than_own([("s", "remdm")], {"s": model})) == 1


def test_mmd_makes_a_student(teacher: Path, tmp_path: Path) -> None:
    student = distill(student_settings(teacher, tmp_path / "student", {"name": "mmd"}))
    made = design(student, tmp_path / "d.fasta", steps=4, num=2)
    assert {record.header["sampler"] for record in designs(made)} == {"ancestral"}


def test_dplm_makes_500_steps_where_none_are_given(teacher: Path, tmp_path: Path) -> None:
    made = design(teacher, tmp_path / "d.fasta", sampler="dplm", steps=None, num=2, length="5")
    for record in designs(made):
        assert record.header["steps"] == "500"
        assert 500 <= int(record.header["nfe"]) <= 1000
    few = design(teacher, tmp_path / "few.fasta", sampler="dplm", steps=3, num=2, length="5")
    assert all(record.header["steps"] == "3" for record in designs(few))
