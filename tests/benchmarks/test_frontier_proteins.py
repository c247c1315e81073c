"""The frontier of protein models runs through on bundled models and its own few records."""

import json
import random
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.frontier_proteins import main
from didi_core.errors import UserError
from didi_protein.models.load import BUNDLED_MODELS
from didi_protein.sequences.residues import CANONICAL_RESIDUES
from didi_protein.similarity import mmseqs


def write_sequences(path: Path, seed: int) -> Path:
    generator = random.Random(seed)
    rows = [
        f">s{i}\n{''.join(generator.choices(CANONICAL_RESIDUES, k=generator.randint(30, 34)))}\n"
        for i in range(24)
    ]
    path.write_text("".join(rows))
    return path


@pytest.mark.skipif(not mmseqs.is_available(), reason="MMseqs2 is not installed")
def test_bundled_models_from_designs_to_json_and_figure(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    out = tmp_path / "bundled.json"
    arguments = [
        *("--held-out", str(write_sequences(tmp_path / "held.fasta", 1))),
        *("--training", str(write_sequences(tmp_path / "train.fasta", 2))),
        *("--cells", "tiny:2,tiny-student:2", "--temperatures", "0.2,1.0"),
        *("--num", "16", "--out", str(out)),
    ]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "[4/4] tiny-student:2 at temperature 1\n" in result.output
    assert "not reached" in result.output and "tiny-student:2" in result.output
    record = json.loads(out.read_text())
    assert list(record["frontiers"]) == ["tiny:2", "tiny-student:2"]
    for curve in record["frontiers"].values():
        cold, warm = curve["points"]
        assert cold["nll"]["mean"] < warm["nll"]["mean"]
        assert cold["diversity"]["mean"] < warm["diversity"]["mean"]
        assert {"precision", "recall", "copies"} <= cold.keys() & warm.keys()
    beside = record["beside"]["tiny-student:2"]
    assert beside["kmer_distance"]["n"] == 12  # half of what is held out
    assert beside["gradient_moment"]["plain"] > 0
    assert beside["recall"]["n"] == 24
    assert out.with_suffix(".png").stat().st_size > 5_000
    with pytest.raises(UserError, match="--num 99"):
        CliRunner().invoke(
            app, [*arguments[:-4], "--num", "99", "--out", str(out)], catch_exceptions=False
        )
    for flag, value in (
        ("--cells", "tiny"),
        ("--cells", "tiny:x"),
        ("--temperatures", "0.8,x"),
        ("--diversity", "9"),
    ):
        wrong = list(arguments)
        if flag in wrong:
            wrong[wrong.index(flag) + 1] = value
        else:
            wrong += [flag, value]
        with pytest.raises(UserError, match=f"{flag} {value}"):
            CliRunner().invoke(app, wrong, catch_exceptions=False)
    # More designs than natural sequences: compared at a diversity that is given.
    # Another model in a folder of the same name is another cell.
    shutil.copytree(BUNDLED_MODELS.folder("tiny-student"), tmp_path / "tiny")
    arguments[arguments.index("tiny:2,tiny-student:2")] = f"tiny:2,{tmp_path / 'tiny'}:2"
    arguments[-3:] = ["26", "--out", str(tmp_path / "more.json"), "--diversity", "7.0"]
    more = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert more.exit_code == 0
    record = json.loads((tmp_path / "more.json").read_text())
    assert record["equal_diversity"] == 7.0 and record["frontiers"]["tiny:2"]["n"] == 26
    assert record["beside"]["tiny:2"]["kmer_distance"]["n"] == 12
    first, second = record["frontiers"].values()
    assert first["points"][1]["nll"]["mean"] != second["points"][1]["nll"]["mean"]
    with pytest.raises(
        UserError, match=r"^tiny:2 at temperature 0\.2: .*precision.*another --out starts anew"
    ):  # not the designs of another setting
        CliRunner().invoke(app, [*arguments, "--precision", "bf16"], catch_exceptions=False)
