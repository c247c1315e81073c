"""The benchmark of 1,000 designs, run on a few: its rule, and its distance to a boundary."""

import json
from pathlib import Path

from benchmarks import designs_1000
from didi_core.sampling.request import SampleSettings
from didi_protein.generate import generate
from didi_protein.generating.options import GenerateOptions
from didi_protein.models.load import open_model
from didi_protein.sequences.fasta import read_records


def test_a_few_designs_pass_and_the_result_says_how(tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "found.json"
    given = ["--num", "6", "--length", "20-40", "--steps", "3", "--batch-tokens", "400"]
    given += ["--other-batch-tokens", "60", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["designs_1000.py", *given])
    assert designs_1000.main() == 0
    found = json.loads(out.read_text())
    assert found["passed"] and found["checks"]["identical_with_other_batches"] == 6
    assert found["checks"]["num_designs"] == 6 and found["settings"]["sampler"] == "ancestral"


def test_a_residue_that_no_draw_explains_is_far_from_every_boundary(tmp_path: Path) -> None:
    model, out = open_model("tiny-student"), tmp_path / "one.fasta"
    options = GenerateOptions(
        model="tiny-student", num=1, length="30", steps=3, sampler="ancestral", out=out
    )
    generate(options, model)
    (design,) = read_records([out])
    settings = SampleSettings(steps=3, seed=0, reveal_exponent=2.0)
    last = design.sequence[-1]
    distances = {
        designs_1000.distance_to_boundary(
            model, settings, 0, design.sequence, design.sequence[:-1] + wrong
        )
        for wrong in "AC"
        if wrong != last
    }
    assert len(distances) == 1  # of the draw, whatever the other run wrote
    assert 0.5 > distances.pop() > designs_1000.BOUNDARY
