"""`generate`: what comes out, that every flag acts, and what is refused."""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import torch
from generate_fixtures import LIMIT, design, designs, run_program, sequences, write_tiny_model
from torch import Tensor

from didi_core.errors import UserError
from didi_core.models.esm import EsmDenoiser
from didi_protein import generate
from didi_protein.generating.options import GenerateOptions
from didi_protein.scoring.properties import repeat_fraction
from didi_protein.sequences.fasta import read_records
from didi_protein.sequences.residues import CANONICAL_RESIDUES


def test_the_fasta_file_is_as_the_contract_says(model: Path, tmp_path: Path) -> None:
    result = design(model, tmp_path / "d.fasta", num=3, length="20,30", seed=3)
    lines = (tmp_path / "d.fasta").read_text().splitlines()
    assert len(lines) == 6
    header = rf">design_00000\d length=\d+ model={model} sampler=ancestral steps=4 nfe=[1-4] seed=3"
    for title, sequence, length in zip(lines[::2], lines[1::2], (20, 30, 20), strict=True):
        assert re.fullmatch(header, title)
        assert f"length={length}" in title
        assert len(sequence) == length
    assert [record.id for record in designs(result)] == [f"design_00000{n}" for n in (1, 2, 3)]


def test_a_set_holds_only_residues_unique_ids_and_the_lengths_asked_for(
    model: Path, tmp_path: Path
) -> None:
    result = design(model, tmp_path / "d.fasta.gz", num=200, length="1-60", batch_tokens=2048)
    records = designs(result)
    assert len({record.id for record in records}) == 200
    assert set("".join(record.sequence for record in records)) <= set(CANONICAL_RESIDUES)
    assert all(int(record.header["length"]) == len(record.sequence) for record in records)
    assert {len(record.sequence) for record in records} <= set(range(1, 61))
    assert len({len(record.sequence) for record in records}) > 40


def test_the_summary_says_what_was_made_and_what_it_cost(model: Path, tmp_path: Path) -> None:
    result = design(model, tmp_path / "some.designs.fasta.gz", sampler="first-hitting", num=4)
    assert result.summary == tmp_path / "some.designs.generate.json"
    summary = json.loads(result.summary.read_text())
    lengths = [len(sequence) for sequence in sequences(result)]
    assert summary["num_designs"] == 4
    assert summary["calls_made"] == sum(lengths)
    assert summary["mean_nfe"] == sum(lengths) / 4
    assert summary["discriminator_calls"] == summary["redraws"] == 0
    assert summary["seconds"] > 0
    assert summary["peak_memory"] is None or summary["peak_memory"] > 1e7  # bytes
    assert summary["device"].startswith("cpu" if not torch.cuda.is_available() else "NVIDIA")
    assert summary["settings"]["sampler"] == "first-hitting"
    assert "torch" in summary["versions"]
    assert not list(tmp_path.glob("*.partial"))
    header = designs(result)[0].header
    assert "steps" not in header
    assert header["nfe"] == header["length"]


CHANGES: list[dict[str, Any]] = [
    {"seed": 1},
    {"steps": 5},
    {"sampler": "first-hitting"},
    {"temperature": 0.5},
    {"top_p": 0.5},
    {"exclude": "A"},
    {"draws": "float32"},
    {"precision": "bf16"},
    {"reveal_exponent": 2.0},
    {"sampler": "dplm"},
    {"sampler": "remdm"},
    {"sampler": "saber"},
    {"sampler": "apart", "sampler_options": {"threshold": 0.2}},
    {"num": 11},
    {"length": "20-41"},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_setting_changes_the_designs(
    model: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    usual = design(model, tmp_path / "a.fasta")
    again = design(model, tmp_path / "again.fasta")
    changed = design(model, tmp_path / "b.fasta", **change)
    assert sequences(again) == sequences(usual)
    assert sequences(changed) != sequences(usual)


def test_options_in_brackets_are_those_of_sampler_option(model: Path, tmp_path: Path) -> None:
    asked = {"sampler": "remdm", "sampler_options": {"schedule": "rescale", "eta": "0.9"}}
    design(model, tmp_path / "a.fasta", **asked)
    design(model, tmp_path / "b.fasta", sampler="remdm(schedule=rescale, eta=0.9)")
    written = [(tmp_path / f"{name}.fasta").read_bytes() for name in "ab"]
    assert written[0] == written[1] and b"sampler_options=schedule=rescale,eta=0.9" in written[0]


def test_another_model_makes_other_designs(model: Path, tmp_path: Path) -> None:
    other = write_tiny_model(tmp_path / "other", seed=1)
    usual = design(model, tmp_path / "a.fasta")
    assert sequences(design(other, tmp_path / "b.fasta")) != sequences(usual)


def _pooled(result: Any) -> Counter[str]:
    return Counter("".join(sequences(result)))


def test_temperature_and_top_p_narrow_the_distribution(model: Path, tmp_path: Path) -> None:
    usual = _pooled(design(model, tmp_path / "a.fasta", num=40))
    cold = _pooled(design(model, tmp_path / "b.fasta", num=40, temperature=0.05))
    narrow = _pooled(design(model, tmp_path / "c.fasta", num=40, top_p=0.1))
    share = max(usual.values()) / usual.total()
    assert max(cold.values()) / cold.total() > 2 * share
    assert max(narrow.values()) / narrow.total() > 2 * share


def test_excluded_residues_never_come_out(model: Path, tmp_path: Path) -> None:
    usual = _pooled(design(model, tmp_path / "a.fasta", num=40))
    assert {"C", "M", "W"} <= set(usual)
    changed = _pooled(design(model, tmp_path / "b.fasta", num=40, exclude="C, m,W"))
    assert set(changed) == set(CANONICAL_RESIDUES) - {"C", "M", "W"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.csv", "residue,nats\nW,3\nA,-3\n"),
        ("b.tsv", "residue\tnats\nw\t3\na\t-3\n"),
        ("b.json", '{"W": 3, "A": -3}'),
    ],
)
def test_bias_is_added_in_nats(model: Path, tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    usual = _pooled(design(model, tmp_path / "a.fasta", num=100, steps=1))
    changed = _pooled(design(model, tmp_path / "c.fasta", num=100, steps=1, bias=tmp_path / name))
    # One step from all masks: odds of W to the residues without bias grow by e^3, of A fall.
    rest = sum(usual[each] for each in usual if each not in "WA")
    rest_changed = sum(changed[each] for each in changed if each not in "WA")
    growth = (changed["W"] / rest_changed) / (usual["W"] / rest)
    assert 10 < growth < 40
    assert changed["A"] / rest_changed < 0.2 * usual["A"] / rest


def test_the_published_grid_makes_one_call_more(model: Path, tmp_path: Path) -> None:
    result = design(model, tmp_path / "a.fasta", grid="published", num=3)
    assert [record.header["nfe"] for record in designs(result)] == ["5"] * 3
    assert result.mean_nfe == 5


def test_steps_beyond_the_length_need_no_more_calls(model: Path, tmp_path: Path) -> None:
    result = design(model, tmp_path / "a.fasta", steps=1000, length="10", num=5)
    calls = [int(record.header["nfe"]) for record in designs(result)]
    assert all(8 <= each <= 10 for each in calls)
    assert result.calls_made == sum(calls)


def test_kept_residues_come_out_unchanged(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,template\nmotif,5-9:MKTWWC:3\nother,____C____\n")
    result = design(model, tmp_path / "a.fasta", template=str(path), num=20, exclude="C")
    records = designs(result)
    assert len(records) == 40
    assert [record.header["template"] for record in records] == ["motif"] * 20 + ["other"] * 20
    for record in records[:20]:
        match = re.fullmatch(r"(\w{5,9})MKTWWC(\w{3})", record.sequence)
        assert match
        assert "C" not in match[1] + match[2], "what is excluded is still kept where given"
    assert all(re.fullmatch(r"\w{4}C\w{4}", record.sequence) for record in records[20:])
    assert len({len(record.sequence) for record in records[:20]}) > 2
    named = design(model, tmp_path / "b.fasta", template="__MKT", num=2)
    assert [record.header["template"] for record in designs(named)] == ["__MKT"] * 2


def test_unique_leaves_no_two_alike(model: Path, tmp_path: Path) -> None:
    plain = design(model, tmp_path / "a.fasta", length="2", num=100)
    assert len(set(sequences(plain))) < 100
    unique = design(model, tmp_path / "b.fasta", length="2", num=100, unique=True)
    found = sequences(unique)
    assert len(found) == len(set(found)) == unique.num_designs
    assert unique.redraws > 0
    tries = [int(record.header.get("tries", "1")) for record in designs(unique)]
    assert max(tries) > 1
    summary = json.loads(unique.summary.read_text())
    assert summary["redraws"] == unique.redraws
    assert sum(tries) - len(tries) + 4 * len(unique.failed) == unique.redraws


def test_max_repeat_redraws_and_lists_what_fails(model: Path, tmp_path: Path) -> None:
    plain = design(model, tmp_path / "a.fasta", length="60", num=40, temperature=0.5)
    fractions = sorted(repeat_fraction(each) for each in sequences(plain))
    bound = fractions[len(fractions) // 2]
    assert fractions[0] < bound < fractions[-1], "the bound must divide the designs"
    bounded = design(
        model, tmp_path / "b.fasta", length="60", num=40, temperature=0.5, max_repeat=bound
    )
    assert all(repeat_fraction(each) <= bound for each in sequences(bounded))
    assert bounded.redraws >= 10
    assert bounded.num_designs + len(bounded.failed) == 40
    assert bounded.num_designs > 30


def test_designs_that_cannot_be_made_are_listed(model: Path, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text('{"W": 1000}')
    done = run_program(
        *("generate", "--model", model, "--num", 3, "--length", 20, "--steps", 2),
        *("--bias", tmp_path / "w.json", "--max-repeat", 0.5, "--out", tmp_path / "d.fasta"),
    )
    assert done.returncode == 1, done.stderr
    reason = "the first: design_000001: repeat fraction 1.000 above 0.5"
    assert f"3 of 3 records failed ({reason}); they are listed in" in done.stderr
    summary = json.loads((tmp_path / "d.generate.json").read_text())
    assert summary["failed"][0] == {
        "id": "design_000001",
        "reason": "repeat fraction 1.000 above 0.5",
        "tries": 5,
    }
    assert summary["redraws"] == 12
    assert (tmp_path / "d.fasta").read_text() == ""


def test_the_command_prints_json_and_estimates_the_time(model: Path, tmp_path: Path) -> None:
    done = run_program(
        *("generate", "--model", model, "--num", 5, "--length", 20, "--steps", 2, "--json"),
        *("--out", tmp_path / "d.fasta", "--batch-tokens", 64),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "d.generate.json").read_text())
    # Two rows of width 32 are 64 tokens: the flag decides the number of batches.
    assert re.search(r"About [\w. ]+ for 5 sequences in 3 batches, 2\.0 calls each", done.stderr)
    assert len(read_records([tmp_path / "d.fasta"])) == 5


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"num": 0}, "--num 0 must be at least 1"),
    ({"steps": None}, "--steps is missing"),
    ({"steps": 0}, "--steps 0 must be at least 1"),
    ({"sampler": "first-hitting", "steps": 8}, "takes no --steps"),
    ({"sampler": "nonsense"}, "--sampler nonsense does not exist: choose one of analytic"),
    ({"sampler": "greedytail"}, "does not exist: did you mean greedy-tail? There are analytic"),
    ({"sampler": "remdm(eta)"}, "--sampler remdm: eta: it must be NAME=VALUE"),
    ({"sampler": "remdm(eta=0.1,eta=0.2)"}, "give each option once"),
    ({"sampler": "remdm(eta=0.1"}, "--sampler remdm(eta=0.1"),
    ({"sampler": "remdm(eta=2)"}, "--sampler-option eta=2.0 must be from 0 to 1"),
    ({"temperature": 0.0}, "--temperature 0 must be above 0"),
    ({"temperature": float("nan")}, "--temperature nan"),
    ({"top_p": 0.0}, "--top-p 0 must be above 0"),
    ({"top_p": 1.1}, "--top-p 1.1"),
    ({"max_repeat": 2.0}, "--max-repeat 2 must be from 0 to 1"),
    ({"draws": "float16"}, "--draws float16"),
    ({"grid": "odd"}, "--grid odd"),
    ({"precision": "fp8"}, "fp8"),
    ({"reveal_exponent": 0.0}, "--reveal-exponent 0 must be above 0"),
    ({"sampler": "rgas"}, "--sampler rgas needs a student distilled with method=didi"),
    ({"device": "tpu9"}, "tpu9"),
    ({"batch_tokens": 0}, "--batch-tokens 0"),
    ({"seed": -1}, "--seed -1"),
    ({"shard": "3/2"}, "--shard 3/2"),
    ({"exclude": "AX"}, "--exclude AX: X is no residue"),
    ({"exclude": CANONICAL_RESIDUES}, "no residue is left"),
    ({"length": f"{LIMIT + 1}"}, f"past the model's limit of {LIMIT}"),
    ({"length": "20", "template": "__A"}, "exactly 3 residues"),
    ({"length": None}, "Give --length"),
    ({"sampler_options": {"h": 3}}, "sampler ancestral has no options, but got h"),
    ({"num": 0, "top_p": 3.0}, "--num 0 must be at least 1; --top-p 3"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[each[1] for each in REFUSED])
def test_settings_without_sense_are_refused(
    model: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        design(model, tmp_path / "d.fasta", **{"length": "20", "steps": 4, **change})
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_all_that_is_wrong_is_said_at_once(model: Path, tmp_path: Path) -> None:
    wrong = {
        "num": 0, "exclude": "AX", "bias": tmp_path / "none.csv", "length": "50-20", "steps": 0,
        "device": "tpu9", "precision": "fp8", "shard": "3/2", "max_repeat": 2.0,
    }  # fmt: skip
    with pytest.raises(UserError) as caught:
        design(model, tmp_path / "d.csv", **wrong)
    flags = {f"--{name.replace('_', '-')}" for name in wrong} | {"--out"}
    assert all(f"{flag} " in str(caught.value) for flag in flags)
    assert str(caught.value).count("--device tpu9") == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("b.csv", "residue,nats\nX,1\n", "'X' is no residue"),
        ("b.csv", "residue,nats\nA,1\nA,2\n", "residue A stands there twice"),
        ("b.csv", "residue,nats\nA,-inf\n", "no finite number of nats"),
        ("b.csv", "residue,nats\nA,high\n", "no finite number of nats"),
        ("b.csv", "letter,nats\nA,1\n", "needs the columns residue and nats"),
        ("b.csv", "", "is no table"),
        ("b.csv", "residue,nats\n", "holds no residue"),
        ("b.json", '{"A": 1, "A": 2}', "residue A stands there twice"),
        ("b.json", '["A"]', "must be an object of nats"),
        ("b.json", "{", "is not JSON"),
        ("b.txt", "A 1", "must be a .csv, .tsv or .json file"),
        ("none.csv", None, "cannot be read"),
        ("none.json", None, "cannot be read"),
    ],
)
def test_a_bias_without_sense_is_refused(
    model: Path, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=rf"--bias .*{re.escape(message)}"):
        design(model, tmp_path / "d.fasta", bias=tmp_path / name)


def test_outputs_that_cannot_be_written_are_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--out .* cannot be written"):
        design(model, tmp_path / "file" / "d.fasta")
    with pytest.raises(UserError, match="is a folder"):
        design(model, tmp_path)
    with pytest.raises(UserError, match=r"the name must end in \.fasta"):
        design(model, tmp_path / "d.csv")


def test_an_unknown_model_without_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nobody/nothing"):
        design(Path("nobody/nothing"), tmp_path / "d.fasta", offline=True)


def test_defaults_of_the_command_are_those_of_the_python_interface() -> None:
    options = GenerateOptions(model="tiny", num=1, out=Path("d.fasta"))
    assert (options.sampler, options.draws, options.grid) == (None, "float64", "exact")
    assert (options.seed, options.temperature, options.top_p) == (0, 1.0, 1.0)
    done = run_program("generate", "--help")
    assert done.returncode == 0
    for flag in ("--temperature", "--max-repeat", "--shard", "--offline", "--version"):
        assert flag in done.stdout


def test_lengths_and_templates_are_read_before_the_model_is_opened(tmp_path: Path) -> None:
    missing = tmp_path / "no-such-model"
    for asked, message in (
        ({"length": "9-"}, r"--length 9-: give residues as"),
        ({"length": "from:no.fasta"}, r"no\.fasta: cannot be read"),
        ({"template": "MKT"}, r"--template MKT: nothing to fill"),
    ):
        with pytest.raises(UserError, match=message):
            design(missing, tmp_path / "d.fasta", steps=4, **asked)


def frames_since(function: CodeType) -> list[str]:
    """Names of all Python frames from the one that runs `function` to the caller of this one."""
    names, frame = [], sys._getframe(1)
    while frame.f_code is not function:
        names.append(frame.f_code.co_name)
        assert frame.f_back is not None
        frame = frame.f_back
    return [function.co_name, *reversed(names)]


@pytest.mark.parametrize(
    "chosen", [{}, {"sampler": "greedy-tail"}, {"sampler": "first-hitting", "steps": None}], ids=str
)
def test_a_sequence_reaches_the_network_in_eight_frames(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, Any]
) -> None:
    real, ways = EsmDenoiser.logits_at, set()

    def logits_at(self: EsmDenoiser, *arguments: Any, **named: Any) -> Tensor:
        ways.add(tuple(frames_since(generate.generate.__code__)))
        return real(self, *arguments, **named)

    monkeypatch.setattr(EsmDenoiser, "logits_at", logits_at)
    design(model, tmp_path / "d.fasta", **chosen)
    (way,) = ways
    assert way[0] == "generate" and way[-1] == "logits_at" and len(way) <= 8
