"""`--guide`: designs follow a user's function, and what is wrong with one is a sentence."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from generate_fixtures import design, designs, run_program, sequences

from didi_core.errors import UserError
from didi_core.sampling.registry import SAMPLERS
from didi_protein.generating.guides import RESIDUES, ScoreGradient, load_function

SEQUENCES = """
import helper

print("this goes to standard error")

def tryptophans(sequences):
    return [each.count(helper.LETTER) for each in sequences]
"""
PROBABILITIES = """
import torch
from torch import Tensor

def tryptophans(probabilities: Tensor) -> Tensor:
    return probabilities[:, :, 18].sum(-1)

def told(probabilities: "torch.Tensor"):
    assert probabilities.shape[-1] == 20 and probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(probabilities.shape[:2]))
    return probabilities.sum((-1, -2))
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Write a guide of each form."""
    (tmp_path / "helper.py").write_text("LETTER = 'W'\n")
    (tmp_path / "of sequences.py").write_text(SEQUENCES)
    (tmp_path / "soft.py").write_text(PROBABILITIES)
    return tmp_path


def letters(result: Any) -> float:
    found = "".join(sequences(result))
    return found.count("W") / len(found)


def test_residues_are_in_the_order_of_the_alphabet() -> None:
    assert RESIDUES == "ACDEFGHIKLMNPQRSTVWY" and RESIDUES[18] == "W"


@pytest.mark.parametrize(
    ("guide", "calls"), [("of sequences.py", 4), ("soft.py", 1)], ids=["sequences", "gradient"]
)
def test_designs_follow_the_guide_and_say_what_it_cost(
    model: Path, files: Path, guide: str, calls: int
) -> None:
    guide = f"{files / guide}:tryptophans"
    plain = design(model, files / "plain.fasta", num=20)
    guided = design(model, files / "guided.fasta", num=20, guide=guide, guide_scale=3)
    against = design(model, files / "against.fasta", num=20, guide=guide, guide_scale=-3)
    assert letters(against) < letters(plain) < letters(guided)
    assert guided.mean_nfe == plain.mean_nfe, "a guide costs no network call"
    assert guided.guide_calls == calls * guided.calls_made and plain.guide_calls == 0
    summary = json.loads(guided.summary.read_text())
    assert summary["guide_calls"] == guided.guide_calls
    assert summary["settings"]["guide_scale"] == 3
    header = designs(guided)[0].header
    assert header["guide"] == "_".join(Path(guide).name.split())
    assert int(header["guide_calls"]) == calls * int(header["nfe"])


@pytest.mark.parametrize("guide", ["of sequences.py:tryptophans", "soft.py:tryptophans"])
def test_scale_0_is_the_plain_sampler_to_the_letter(model: Path, files: Path, guide: str) -> None:
    plain = design(model, files / "plain.fasta")
    guided = design(model, files / "guided.fasta", guide=str(files / guide), guide_scale=0)
    assert sequences(guided) == sequences(plain) and guided.guide_calls == 0


def test_probabilities_are_those_of_whole_sequences_and_a_flat_score_changes_little(
    model: Path, files: Path
) -> None:
    plain = design(model, files / "plain.fasta", template="___W______:3-9")
    guided = design(
        model, files / "told.fasta", template="___W______:3-9", guide=f"{files / 'soft.py'}:told"
    )
    same = zip(sequences(plain), sequences(guided), strict=True)
    assert sum(a == b for a, b in same) >= 11, "its gradient is the same for all residues"


@pytest.mark.parametrize("guide", ["of sequences.py:tryptophans", "soft.py:tryptophans"])
def test_kept_and_excluded_residues_stay_so(model: Path, files: Path, guide: str) -> None:
    made = design(
        model,
        files / "d.fasta",
        template="____MK____",
        exclude="W",
        unique=True,
        guide=str(files / guide),
        guide_scale=5,
    )
    for each in sequences(made):
        assert each[4:6] == "MK" and "W" not in each


@pytest.mark.parametrize("guide", ["of sequences.py:tryptophans", "soft.py:tryptophans"])
def test_a_redesign_changes_what_it_was_asked_to_and_nothing_else(
    model: Path, files: Path, guide: str
) -> None:
    parent = "WMKTAYIAKQWRQISFVKSW"
    (files / "parent.fasta").write_text(f">p\n{parent}\n")
    own = {"guide": str(files / guide), "guide_scale": 5, "num": 6, "length": None}
    made = design(model, files / "d.fasta", start=str(files / "parent.fasta"), mutate="20%", **own)
    assert made.guide_calls
    for each in sequences(made):
        assert sum(a != b for a, b in zip(each, parent, strict=True)) == 4


def test_shards_and_resumed_runs_give_the_same_designs(model: Path, files: Path) -> None:
    own = {"guide": f"{files / 'of sequences.py'}:tryptophans", "guide_candidates": 2}
    whole = design(model, files / "whole.fasta", **own)
    parts = [design(model, files / f"{i}.fasta", shard=f"{i}/2", **own) for i in (1, 2)]
    found = {each.id: each.sequence for part in parts for each in designs(part)}
    assert found == {each.id: each.sequence for each in designs(whole)}
    assert sum(part.guide_calls for part in parts) == whole.guide_calls
    again = design(model, files / "whole.fasta", resume=True, **own)
    assert again.guide_calls == whole.guide_calls
    place = files / "of sequences.py"
    place.write_text(SEQUENCES + "# changed\n")
    with pytest.raises(UserError, match=r"--resume: .*guide_file was"):
        design(model, files / "whole.fasta", resume=True, **own)


def test_a_file_that_has_not_changed_runs_once(tmp_path: Path) -> None:
    place, ran = tmp_path / "g.py", tmp_path / "ran"
    place.write_text(f"open({str(ran)!r}, 'a').write('x')\ndef f(s): return [0] * len(s)\n")
    for _ in range(3):
        load_function(f"{place}:f")
    assert ran.read_text() == "x"
    place.write_text(place.read_text() + "# changed\n")
    load_function(f"{place}:f")
    assert ran.read_text() == "xx"


def test_a_model_folder_cannot_name_a_guide(model: Path, tmp_path: Path) -> None:
    folder, ran = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(model, folder)
    (folder / "guide.py").write_text(f"open({str(ran)!r}, 'w')\ndef f(s): return [0] * len(s)\n")
    config = json.loads((folder / "config.json").read_text())
    named = {"guide": f"{folder / 'guide.py'}:f", "guide_scale": 1.0}
    own = {**config.get("didi", {}), **named}
    (folder / "config.json").write_text(json.dumps({**config, **named, "didi": own}))
    made = design(folder, tmp_path / "d.fasta", num=1)
    assert not made.guide_calls and not ran.exists()


BAD = """
import sys
import torch
from torch import Tensor
number = 3
def raises(sequences):
    raise KeyError("two\\nlines")
def leaves(sequences):
    sys.exit("bye")
def few(sequences):
    return [0.0]
def words(sequences):
    return ["high"] * len(sequences)
def square(sequences):
    return torch.zeros(len(sequences), 1)
def nan(sequences):
    return [float("nan")] * len(sequences)
def flat(probabilities: Tensor):
    return torch.zeros(len(probabilities))
def numbers(probabilities: Tensor):
    return [0.0] * len(probabilities)
def whole(probabilities: Tensor):
    return probabilities.sum()
def steep(probabilities: Tensor):
    return (probabilities * 0).sqrt().sum((-1, -2))
"""


@pytest.mark.parametrize(
    ("function", "named"),
    [
        ("bad.py", "FILE.py:FUNCTION"),
        ("bad.txt:f", "FILE.py:FUNCTION"),
        ("bad.py:not one", "FILE.py:FUNCTION"),
        ("none.py:f", "none.py"),
        ("broken.py:f", "SyntaxError"),
        ("raising.py:f", "line 2"),
        ("bad.py:number", "raises, leaves"),
        ("bad.py:absent", "absent"),
        ("bad.py:raises", "KeyError (line 7)"),
        ("bad.py:leaves", "SystemExit (line 9): bye"),
        ("bad.py:few", "returned 1 of float"),
        ("bad.py:words", "of str"),
        ("bad.py:square", "1]"),
        ("bad.py:nan", "returned nan for "),
        ("bad.py:flat", "without a gradient"),
        ("bad.py:numbers", "of float"),
        ("bad.py:whole", "shape []"),
        ("bad.py:steep", "its gradient is nan"),
    ],
)
def test_what_is_wrong_with_a_guide_is_one_sentence(
    model: Path, tmp_path: Path, function: str, named: str
) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "raising.py").write_text("\nraise RuntimeError('at once')\n")
    with pytest.raises(UserError) as caught:
        design(model, tmp_path / "d.fasta", guide=str(tmp_path / function))
    message = str(caught.value)
    assert "--guide" in message and named in message and "\n" not in message
    assert not [*tmp_path.glob("d.*")], "nothing that the next run would be refused for"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"guide_scale": 2.0}, "--guide-scale"),
        ({"guide_candidates": 2}, "--guide-candidates"),
        ({"guide": "of sequences.py:tryptophans", "guide_candidates": 1}, "--guide-candidates 1"),
        ({"guide": "of sequences.py:tryptophans", "guide_candidates": 10**12}, "from 2 to 10000"),
        ({"guide": "soft.py:tryptophans", "guide_candidates": 4}, "--guide-candidates 4"),
        ({"guide": "soft.py:tryptophans", "guide_scale": float("nan")}, "--guide-scale nan"),
    ],
)
def test_settings_without_sense_are_refused(
    model: Path, files: Path, changes: dict[str, Any], named: str
) -> None:
    if "guide" in changes:
        changes = {**changes, "guide": str(files / changes["guide"])}
    with pytest.raises(UserError, match=named):
        design(model, files / "d.fasta", **changes)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_samplers_without_a_plan_are_refused(model: Path, files: Path, sampler: str) -> None:
    guide = f"{files / 'soft.py'}:tryptophans"
    if sampler in ("ancestral", "greedy-tail", "first-hitting", "apart", "momentum"):
        assert design(model, files / "d.fasta", num=2, sampler=sampler, guide=guide).guide_calls
        return
    with pytest.raises(UserError, match=f"--sampler {sampler}"):
        design(model, files / "d.fasta", num=2, sampler=sampler, guide=guide)


def test_momentum_is_guided_wherever_its_positions_are(model: Path, files: Path) -> None:
    guide, sampler = f"{files / 'soft.py'}:tryptophans", "momentum(positions=apart)"
    assert design(model, files / "d.fasta", num=2, sampler=sampler, guide=guide).guide_calls


def test_what_a_guide_prints_does_not_reach_standard_output(model: Path, files: Path) -> None:
    guide = f"{files / 'of sequences.py'}:tryptophans"
    asked = ["--num", 2, "--length", 20, "--steps", 2, "--out", files / "d.fasta", "--json"]
    done = run_program("generate", "--model", model, "--guide", guide, *asked)
    assert done.returncode == 0 and json.loads(done.stdout)["guide_calls"] == 16
    assert "this goes to standard error" in done.stderr


def test_the_gradient_of_each_sequence_is_its_own(files: Path) -> None:
    (files / "cubes.py").write_text(
        "from torch import Tensor\ndef f(p: Tensor):\n    return (p**3).sum((-1, -2))\n"
    )
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    given = torch.rand(3, 5, 20, generator=torch.Generator().manual_seed(1))
    found = ScoreGradient(load_function(f"{files / 'cubes.py'}:f"), order).gradient(given)
    torch.testing.assert_close(found, 3 * given**2)
