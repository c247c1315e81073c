"""A student with a noise input, from distillation to designs; and a sampler's own options."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from distill_fixtures import student_of
from generate_fixtures import design, sequences

from didi_core.errors import UserError
from didi_core.models.folder import load_denoiser
from didi_core.models.noise import NoiseKeys
from didi_core.sampling.registry import build_predictor


@pytest.fixture(scope="module")
def noisy(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    noise = {"kind": "sequence", "size": 8, "scale": 1.0}
    return student_of(teacher, tmp_path_factory.mktemp("noisy"), {"name": "dmmd", "noise": noise})


def test_the_folder_holds_the_noise_and_says_so(noisy: Path) -> None:
    assert (noisy / "noise.safetensors").is_file()
    assert json.loads((noisy / "config.json").read_text())["didi"]["noise"] == "sequence"
    card = (noisy / "README.md").read_text()
    assert "one latent a sequence" in card and "64 samples in 8 ancestral steps" in card
    table = card[card.index("| samples") :].splitlines()
    rows = [line.split("|")[1:4] for line in table[2:] if line.startswith("|")]
    assert [row[0].strip() for row in rows] == [
        "in ancestral steps, with all of it",
        "without the noise input",
    ]
    assert rows[0][1:] != rows[1][1:], "this much noise changes the samples"


def test_designs_take_the_noise_and_can_be_made_without(noisy: Path, tmp_path: Path) -> None:
    made = design(noisy, tmp_path / "a.fasta", num=6)
    again = design(noisy, tmp_path / "b.fasta", num=6, batch_tokens=4096)
    assert sequences(made) == sequences(again), "the batch does not matter"
    plain = design(noisy, tmp_path / "c.fasta", num=6, without_noise=True)
    assert sequences(plain) != sequences(made)
    settings = [json.loads(each.summary.read_text())["settings"] for each in (made, plain)]
    assert len(settings[0]["noise"]) == 16 and settings[1]["noise"] is None
    with pytest.raises(UserError, match=r"noise was not given, now [0-9a-f]{16}"):
        design(noisy, tmp_path / "c.fasta", num=6, resume=True)


def test_transformers_opens_it_and_gives_what_it_is_without_noise(noisy: Path) -> None:
    model = load_denoiser(noisy)
    network = transformers.AutoModelForMaskedLM.from_pretrained(noisy)
    tokens = torch.tensor([[0, 32, 7, 32, 2]])
    with torch.no_grad():
        logits = network(input_ids=tokens).logits[0]
    at = tokens == 32
    expected = model.vocabulary.log_probs(logits[at[0]])
    lengths = torch.tensor([5])
    keys = NoiseKeys(0, torch.tensor([0]), 0)
    plain = build_predictor(model, with_noise=False)
    found = plain.log_probs(tokens, lengths, at, keys)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    with_it = build_predictor(model).log_probs(tokens, lengths, at, keys)
    assert not torch.allclose(with_it, expected, atol=1e-2)


def test_a_run_without_noise_leaves_no_older_noise_in_the_folder(
    teacher: Path, tmp_path: Path
) -> None:
    folder = student_of(teacher, tmp_path, {"name": "dmmd", "noise": {"kind": "position"}})
    assert (folder / "noise.safetensors").is_file()
    student_of(teacher, tmp_path, {"name": "dmmd"}, overwrite=True)
    assert not (folder / "noise.safetensors").exists()
    assert "Beside the network" not in (folder / "README.md").read_text()
    design(folder, tmp_path / "a.fasta", num=2)
    with pytest.raises(UserError, match="--without-noise"):
        design(folder, tmp_path / "b.fasta", num=2, without_noise=True)


def test_options_of_rgas_act_from_the_command_line(teacher: Path, tmp_path: Path) -> None:
    student = student_of(teacher, tmp_path / "student", {"name": "didi"}, steps=2)

    def guided(name: str, *options: str) -> tuple[list[str], int]:
        result = design(
            student, tmp_path / f"{name}.fasta", sampler="rgas", steps=8, num=12, length="30",
            sampler_option=list(options),
        )  # fmt: skip
        return sequences(result), result.discriminator_calls

    plain, plain_calls = guided("plain")
    off, off_calls = guided("off", "tilt_start=0", "tilt_end=0", "num_candidates=1")
    assert off != plain
    for number, option in enumerate(
        ("tilt_start=1", "gradient_clip=0.001", "rerank_share=0", "num_candidates=2",
         "rerank_positions=all")
    ):  # fmt: skip
        found, calls = guided(f"o{number}", option)
        assert found != plain, option
        if option == "num_candidates=2":
            assert off_calls < calls < plain_calls, "every candidate is judged, and counted"
    for option, message in (
        ("h=3", "no option h; it has tilt_start"),
        ("num_candidates=two", "num_candidates=two must be a whole number"),
        ("rerank_share=2", "rerank_share=2.0 must be from 0 to 1"),
        ("rerank_positions=some", "must be masked or all"),
        ("tilt_start", "must be NAME=VALUE"),
    ):
        with pytest.raises(UserError, match=message):
            guided("wrong", option)
