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
TEXT = ["generate", "--model", "tiny", "--length", "20", "--out", "o.jsonl"]
EVALUATE = ["evaluate", "--model", "tiny", "--task", "genppl", "--out", "o.json", "--steps", "4"]
HUGE = str(10**12)
DISTILL = ["distill", "teacher=tiny", "reference=pool", "out=o"]
COMPARE = ["compare", "--teacher", "tiny", "--methods", "dmmd", "--out", "o"]


@dataclass
class Counts:
    num: int | None = 1
    steps: int | None = 1
    pool_size: int = 1


@pytest.mark.parametrize(
    ("program", "arguments", "named"),
    [
        (
            protein,
            ["generate", "--model", "tiny", "--num", "1", "--steps", "1000000000", *SAMPLE],
            "--steps",
        ),
        (
            protein,
            ["generate", "--model", "tiny", "--num", HUGE, "--steps", "8", *SAMPLE],
            f"--num {HUGE}",
        ),
        (protein, [*DISTILL, f"pool_size={HUGE}"], f"pool_size={HUGE}"),
        (protein, [*DISTILL, f"pool_steps={HUGE}"], f"pool_steps={HUGE}"),
        (protein, [*DISTILL, f"tokens_per_batch={HUGE}"], f"tokens_per_batch={HUGE}"),
        (protein, [*COMPARE, "--samplers", "ancestral", "--steps", f"8,{HUGE}"], f"8,{HUGE}"),
        (protein, [*COMPARE, "--steps", "8", "--num", HUGE], f"--num {HUGE}"),
        (protein, [*COMPARE, "--steps", "8", "--pool-size", HUGE], f"--pool-size {HUGE}"),
        (text, [*TEXT, "--num", HUGE, "--steps", "4"], f"--num {HUGE}"),
        (text, [*TEXT, "--num", "1", "--steps", HUGE], f"--steps {HUGE}"),
        (text, [*EVALUATE, "--num", HUGE, "--judge", "tiny-judge"], f"--num {HUGE}"),
    ],
)
def test_a_huge_count_is_refused(
    program, arguments: list[str], named: str, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_program(lambda: program(arguments, standalone_mode=False)) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_fits_passes() -> None:
    assert minimum_errors(Counts(10**6, MOST_STEPS, 10**6), num=1, steps=1, pool_size=1) == []
    assert minimum_errors(Counts(None, None), num=1, steps=1) == []
    room = physical_memory()
    assert room is None or too_many("num", room // BYTES_A_RECORD, "--num") is None
    assert room is None or "--num" in str(too_many("num", room // BYTES_A_RECORD + 1, "--num"))
    assert too_many("seed", 10**18, "--seed") is None
