"""An autoregressive model over residues: `generate` and `compare` take it, others say why not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from generate_fixtures import design, designs, run_program, sequences
from scoring_fixtures import MAX_LENGTH, random_sequences, write_judge, write_masked
from transformers import GPT2Config, GPT2LMHeadModel

from didi_core.errors import UserError
from didi_protein.compare import CompareResult, compare
from didi_protein.comparing.compare import print_result
from didi_protein.comparing.options import CompareOptions
from didi_protein.models.load import open_model
from didi_protein.models.writers import open_writer
from didi_protein.sequences.residues import CANONICAL_RESIDUES

PLAIN = {"steps": None, "length": "10,25", "num": 6}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its vocabulary and layout are those of `pretrain model=judge`."""
    return write_judge(tmp_path_factory.mktemp("models") / "gpt", seed=5)


def test_designs_of_several_lengths_say_how_they_were_made(model: Path, tmp_path: Path) -> None:
    made = design(model, tmp_path / "a.fasta", **PLAIN)
    for number, record in enumerate(designs(made)):
        assert len(record.sequence) == (10, 25)[number % 2]
        assert set(record.sequence) <= set(CANONICAL_RESIDUES)
        assert record.header["sampler"] == "autoregressive" and "steps" not in record.header
        assert record.header["nfe"] == str(len(record.sequence))
    settings = json.loads(made.summary.read_text())["settings"]
    assert (settings["sampler"], settings["steps"]) == ("autoregressive", None)
    # By name, in other batches and resumed it is the same; by another seed it is not.
    named = design(model, tmp_path / "b.fasta", **PLAIN, sampler="autoregressive")
    alone = design(model, tmp_path / "c.fasta", **PLAIN | {"batch_tokens": 1})
    other = design(model, tmp_path / "d.fasta", **PLAIN, seed=1)
    assert sequences(made) == sequences(named) == sequences(alone) != sequences(other)


def test_flags_of_residues_act(model: Path, tmp_path: Path) -> None:
    asked = {**PLAIN, "length": "30"}
    plain = "".join(sequences(design(model, tmp_path / "a.fasta", **asked)))
    without = "".join(sequences(design(model, tmp_path / "b.fasta", **asked, exclude="LAG")))
    assert set("LAG") <= set(plain) and not set("LAG") & set(without)
    cold = "".join(sequences(design(model, tmp_path / "c.fasta", **asked, temperature=0.05)))
    narrow = "".join(sequences(design(model, tmp_path / "d.fasta", **asked, top_p=0.05)))
    assert len(set(narrow)) <= len(set(cold)) < len(set(plain))
    (tmp_path / "bias.json").write_text('{"W": 50}')
    biased = design(model, tmp_path / "e.fasta", **asked, bias=tmp_path / "bias.json")
    assert set("".join(sequences(biased))) == {"W"}


def test_a_beginning_is_kept_and_nothing_else_can_be(model: Path, tmp_path: Path) -> None:
    asked = {"steps": None, "num": 3}
    made = design(model, tmp_path / "a.fasta", **asked, template="MKT:5-9")
    assert all(each.startswith("MKT") and 8 <= len(each) <= 12 for each in sequences(made))
    for record in designs(made):
        assert int(record.header["nfe"]) == len(record.sequence) - 3
    with pytest.raises(UserError, match=r"--template ___MKT: .*from left to right.*Put what is"):
        design(model, tmp_path / "b.fasta", **asked, template="___MKT")
    assert not list(tmp_path.glob("b.*"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"steps": 8}, "--steps 8: --sampler autoregressive, for autoregressive models, takes no"),
        ({"compile": True}, "--compile compiles masked and uniform-state models alone"),
        ({"without_noise": True}, "--without-noise: "),
        ({"sampler": "apart", "steps": 4}, "--sampler apart: "),
        ({"grid": "published"}, "--grid published: "),
        ({"sampler_option": ["eta=1"]}, "no options, but got eta"),
    ],
)
def test_what_cannot_apply_is_refused(
    model: Path, tmp_path: Path, flags: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        design(model, tmp_path / "a.fasta", num=1, length="20", **{"steps": None, **flags})
    assert not list(tmp_path.iterdir())


def test_the_command_and_its_exit_status(model: Path, tmp_path: Path) -> None:
    out, asked = tmp_path / "a.fasta", ("--num", 2, "--length", 12, "--device", "cpu")
    done = run_program("generate", "--model", model, *asked, "--out", out)
    assert done.returncode == 0 and "12.0 network calls each" in done.stdout
    assert out.read_text().count("sampler=autoregressive nfe=12 seed=0") == 2
    past = ("--num", 1, "--length", MAX_LENGTH, "--out", tmp_path / "b.fasta")
    refused = run_program("generate", "--model", model, *past)
    assert refused.returncode == 2 and "past the model's limit of 62" in refused.stderr


def test_a_vocabulary_of_others_need_not_have_a_mask(model: Path, tmp_path: Path) -> None:
    folder = write_judge(tmp_path / "gpt", seed=5)
    lines = (folder / "vocab.txt").read_text().replace("<mask>", "<other>")
    (folder / "vocab.txt").write_text(lines)
    vocabulary = open_writer(str(folder)).vocabulary
    assert vocabulary.mask_id == vocabulary.size - 1 == 33
    made = design(folder, tmp_path / "a.fasta", **PLAIN)
    assert sequences(made) == sequences(design(model, tmp_path / "b.fasta", **PLAIN))
    (folder / "vocab.txt").unlink()
    with pytest.raises(UserError, match=r"--model .*gpt: .* has no vocab\.txt"):
        design(folder, tmp_path / "c.fasta", **PLAIN)


def test_ids_that_a_configuration_takes_from_another_vocabulary_do_not_count(
    tmp_path: Path,
) -> None:
    """GPT-2's own end, 50,256, stands in every configuration that names none."""
    config = GPT2Config(
        vocab_size=23, n_positions=64, n_embd=16, n_layer=1, n_head=2, bos_token_id=50_256
    )
    folder = tmp_path / "gpt"
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokens = ["<cls>", "<eos>", "<pad>", *CANONICAL_RESIDUES]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    vocabulary = open_writer(str(folder)).vocabulary
    assert (vocabulary.bos_id, vocabulary.eos_id, vocabulary.pad_id) == (0, 1, 0)
    made = design(folder, tmp_path / "a.fasta", **PLAIN)
    assert {len(each) for each in sequences(made)} == {10, 25}
    (folder / "vocab.txt").write_text("\n".join([*tokens, "<more>"]) + "\n")
    with pytest.raises(UserError, match=r"--model .*gpt has 23 ids and its vocab\.txt 24 tokens"):
        open_writer(str(folder))


# Compare


@pytest.fixture(scope="module")
def options(model: Path, tmp_path_factory: pytest.TempPathFactory) -> CompareOptions:
    models = tmp_path_factory.mktemp("others")
    return CompareOptions(
        teacher=str(write_masked(models / "teacher", seed=0)),
        out=tmp_path_factory.mktemp("run") / "study",
        students=str(model),
        methods="",
        samplers="ancestral,dplm",
        steps="2",
        teacher_steps="",
        temperatures="0.5,1",
        num=4,
        length="20-40",
        judge=str(model),
        device="cpu",
    )


@pytest.fixture(scope="module")
def finished(options: CompareOptions) -> CompareResult:
    return compare(options)


def test_it_is_one_row_by_its_own_sampler(finished: CompareResult) -> None:
    rows = finished.table[finished.table["model"] == "gpt"]
    assert rows["sampler"].tolist() == ["autoregressive"] and rows["steps"].isna().all()
    made = json.loads((finished.out / "designs" / "gpt_autoregressive.generate.json").read_text())
    assert rows["calls"].item() == pytest.approx(made["mean_nfe"]) and made["mean_nfe"] >= 20
    scores = [
        pd.read_csv(finished.out / "designs" / f"{name}.csv").set_index("id")["judge_perplexity"]
        for name in ("gpt_autoregressive", "teacher_limit")
    ]
    difference = np.log(scores[0]) - np.log(scores[1])
    assert rows["nll_minus_limit"].item() == pytest.approx(difference.mean())
    assert not any("gpt" in reason for reason in finished.left_out)


def test_it_is_heated_and_compared_at_equal_diversity(finished: CompareResult) -> None:
    assert (finished.out / "sweep" / "gpt_autoregressive_t0.5.fasta").is_file()
    curve = json.loads(finished.frontier.read_text())["frontiers"]["gpt_autoregressive"]
    assert [point["temperature"] for point in curve["points"]] == [0.5, 1.0]
    row = finished.table[finished.table["model"] == "gpt"].iloc[0]
    assert row["equal_diversity"] > 0


def test_it_is_printed_and_reported(
    finished: CompareResult, capsys: pytest.CaptureFixture[str]
) -> None:
    print_result(finished, folded=False)
    printed = capsys.readouterr().out
    (line,) = [each for each in printed.splitlines() if "autoregressive" in each]
    assert "limit" not in line
    assert "gpt is also the judge: its own judge NLL is no independent figure" in printed
    if finished.report is not None:
        assert "autoregressive" in finished.report.read_text(encoding="utf-8")


def test_as_a_teacher_it_is_refused_with_the_mend(
    options: CompareOptions, model: Path, tmp_path: Path
) -> None:
    wrong = replace(options, teacher=str(model), students="", out=tmp_path / "study")
    with pytest.raises(UserError, match=r"^--teacher .*gpt is autoregressive.*compare --students"):
        compare(wrong)
    assert not wrong.out.exists()
    with pytest.raises(UserError, match=r"teacher=.* is autoregressive.* cannot be distilled"):
        open_model(model, flag="teacher=")
    out = tmp_path / "student"
    fasta = tmp_path / "natural.fasta"
    fasta.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(random_sequences(4))))
    refused = run_program("distill", f"teacher={model}", f"data={fasta}", f"out={out}")
    assert refused.returncode == 2 and "is autoregressive" in refused.stderr
    assert "Traceback" not in refused.stderr and not out.exists()
