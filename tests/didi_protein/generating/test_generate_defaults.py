"""`generate` without --sampler: what the model's folder names, else ancestral."""

import json
from pathlib import Path

import pytest
from generate_fixtures import design, sequences, write_tiny_model

from didi_core.commands.generating.run import batch_writer
from didi_core.errors import UserError
from didi_protein.generating.options import GenerateOptions
from didi_protein.models.load import open_model
from didi_protein.sequences.alphabet import PROTEIN
from didi_protein.sequences.residues import CANONICAL_RESIDUES


def named(folder: Path, sampler: str) -> Path:
    """The tiny model, its folder naming a sampler."""
    write_tiny_model(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["didi"]["sampler"] = sampler
    path.write_text(json.dumps(config))
    return folder


def sampler_of(result: Path) -> str:
    return json.loads(result.read_text())["settings"]["sampler"]


def test_the_folder_s_sampler_is_the_default_and_a_flag_goes_before_it(tmp_path: Path) -> None:
    model = named(tmp_path / "student", "apart")
    asked = {"num": 4, "length": "30"}
    low = {"sampler_options": {"threshold": 0.2}}  # random weights attend to little more
    usual = design(model, tmp_path / "usual.fasta", **asked, **low)
    apart = design(model, tmp_path / "apart.fasta", sampler="apart", **asked, **low)
    plain = design(model, tmp_path / "plain.fasta", sampler="ancestral", **asked)
    assert sequences(usual) == sequences(apart) != sequences(plain)
    assert sampler_of(usual.summary) == "apart" and sampler_of(plain.summary) == "ancestral"
    assert "sampler=apart" in (tmp_path / "usual.fasta").read_text()


def test_without_a_name_it_is_ancestral_as_on_the_published_grid(tmp_path: Path) -> None:
    unnamed = design(write_tiny_model(tmp_path / "m"), tmp_path / "a.fasta", num=1, length="20")
    assert sampler_of(unnamed.summary) == "ancestral"
    student = named(tmp_path / "student", "apart")
    published = design(student, tmp_path / "b.fasta", num=1, length="20", grid="published")
    assert sampler_of(published.summary) == "ancestral"
    tail = named(tmp_path / "tail", "greedy-tail")
    published = design(tail, tmp_path / "c.fasta", num=1, length="20", grid="published")
    assert sampler_of(published.summary) == "greedy-tail", "it has that grid"


def test_one_batch_is_written_by_the_folder_s_sampler(tmp_path: Path) -> None:
    model = named(tmp_path / "student", "dplm")
    made = design(model, tmp_path / "a.fasta", num=2, length="20")
    options = GenerateOptions(model=str(model), num=2, out=tmp_path / "b.fasta", steps=4)
    opened = open_model(model)
    write = batch_writer(options, opened, PROTEIN.frame([PROTEIN.mask_id] * 20))
    ranks = [PROTEIN.rank_of_id[ids[1:-1]] for ids in write([0, 1])]
    assert ["".join(CANONICAL_RESIDUES[rank] for rank in each) for each in ranks] == sequences(made)


def test_a_sampler_that_there_is_not_is_refused_with_the_mend(tmp_path: Path) -> None:
    for wrong in ("parted", "first-hitting"):
        model = named(tmp_path / wrong, wrong)
        with pytest.raises(UserError, match=f"names the sampler '{wrong}'.*give --sampler, one of"):
            design(model, tmp_path / "a.fasta", num=1, length="20")
        assert not (tmp_path / "a.fasta").exists()
    design(model, tmp_path / "a.fasta", num=1, length="20", sampler="ancestral")
