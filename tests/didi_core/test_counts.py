"""Counts that would fill the memory are refused before anything is made of them."""

from dataclasses import dataclass

import pytest

from didi_core.cli.run import run_program
from didi_core.number_checks import (
    BYTES_A_RECORD,
    MOST_STEPS,
    minimum_errors,
    physical_memory,
    too_many,
)
from didi_protein.app import app as protein
from didi_text.app import app as text

SAMPLE = ["--length", "20", "--out", "o.fasta"]
HUGE = str(10**12)
DISTILL = ["distill", "teacher=tiny", "reference=pool", "out=o"]
COMPARE = ["compare", "--teacher", "tiny", "--methods", "dmmd", "--out", "o"]


@dataclass
class Counts:
    num: int | None = 1
    steps: int | None = 1
    pool_size: int = 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (
            ["generate", "--model", "tiny", "--num", "1", "--steps", "1000000000", *SAMPLE],
            "--steps",
        ),
        (["generate", "--model", "tiny", "--num", HUGE, "--steps", "8", *SAMPLE], f"--num {HUGE}"),
        ([*DISTILL, f"pool_size={HUGE}"], f"pool_size={HUGE}"),
        ([*DISTILL, f"pool_steps={HUGE}"], f"pool_steps={HUGE}"),
        ([*DISTILL, f"tokens_per_batch={HUGE}"], f"tokens_per_batch={HUGE}"),
        ([*COMPARE, "--samplers", "ancestral", "--steps", f"8,{HUGE}"], f"--steps 8,{HUGE}"),
        ([*COMPARE, "--steps", "8", "--num", HUGE], f"--num {HUGE}"),
        ([*COMPARE, "--steps", "8", "--pool-size", HUGE], f"--pool-size {HUGE}"),
    ],
)
def test_a_huge_count_is_refused(
    arguments: list[str], named: str, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_program(lambda: protein(arguments, standalone_mode=False)) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_of_text_too(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    sample = ["generate", "--model", "tiny", "--length", "20", "--out", "o.jsonl"]
    for given in (["--num", HUGE, "--steps", "4"], ["--num", "1", "--steps", HUGE]):
        assert run_program(lambda given=given: text([*sample, *given], standalone_mode=False)) == 2
        assert HUGE in capsys.readouterr().err
    evaluate = ["evaluate", "--model", "tiny", "--task", "genppl", "--out", "o.json"]
    given = ["--num", HUGE, "--steps", "4", "--judge", "tiny-judge"]
    assert run_program(lambda: text([*evaluate, *given], standalone_mode=False)) == 2
    assert f"--num {HUGE}" in capsys.readouterr().err


def test_what_fits_passes() -> None:
    assert minimum_errors(Counts(10**6, MOST_STEPS, 10**6), num=1, steps=1, pool_size=1) == []
    assert minimum_errors(Counts(None, None), num=1, steps=1) == []
    room = physical_memory()
    assert room is None or too_many("num", room // BYTES_A_RECORD, "--num") is None
    assert room is None or "--num" in str(too_many("num", room // BYTES_A_RECORD + 1, "--num"))
    assert too_many("seed", 10**18, "--seed") is None
