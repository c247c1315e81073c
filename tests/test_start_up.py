"""Help is fast: it imports few modules of ours, and none of the large packages."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "pandas", "numpy", "hydra", "Bio", "dnachisel")
MOST_MODULES = 70
VERBS = {
    "didi_protein": (
        "generate",
        "headroom",
        "scan",
        "score",
        "filter",
        "compare",
        "report",
        "order",
        "merge",
        "info",
        "push",
    ),
    "didi_text": (
        "generate",
        "headroom",
        "evaluate",
        "benchmark",
        "compare",
        "merge",
        "info",
        "push",
    ),
}
SCRIPT = """
import contextlib, io, json, sys
from {program}.app import main
sys.argv = ["program", "{verb}", "--help"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main()
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize(
    ("program", "verb"), [(name, verb) for name, verbs in VERBS.items() for verb in verbs]
)
def test_help_imports_little(program: str, verb: str) -> None:
    script = SCRIPT.format(program=program, verb=verb)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules = json.loads(done.stdout.splitlines()[-1])
    assert not set(HEAVY) & set(modules)
    ours = [name for name in modules if name.startswith("didi_")]
    assert len(ours) <= MOST_MODULES, ours


IMPORTING = """
import json, sys
import didi_protein
{more}
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("more", ["", "didi_protein.load, didi_protein.UserError"])
def test_importing_the_package_imports_little(more: str) -> None:
    """Nor do its functions import a network's packages, until they are called."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING.format(more=more)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    heavy = set(HEAVY) & set(json.loads(done.stdout))
    assert heavy <= ({"Bio", "numpy", "pandas"} if more else set())


RUNNING = """
import contextlib, io, json, sys
from didi_protein.app import main
sys.argv = ["didi-protein", *{arguments}]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main()
print(json.dumps(sorted(sys.modules)))
"""
TRAINING = ("lightning", "torch._dynamo", "transformers.modeling_utils", "scipy")


def loaded_by(*arguments: str) -> set[str]:
    """Return the modules that a run loads from beginning to end."""
    script = RUNNING.format(arguments=list(arguments))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_designs_are_made_and_chosen_without_what_training_needs(tmp_path: Path) -> None:
    """Nor is torch loaded to choose among designs: seconds of every call."""
    designs, table = str(tmp_path / "designs.fasta"), tmp_path / "scores.csv"
    made = ("--model", "tiny-student", "--num", "2", "--length", "75", "--steps", "1")
    assert not loaded_by("generate", *made, "--out", designs) & set(TRAINING)
    table.write_text("id,status,sequence,judge_nll\na,ok,GLGFSIVGG,2.5\nb,ok,GLGFAIVGG,2.6\n")
    assert "torch" not in loaded_by("filter", str(table), "--out", str(tmp_path / "best.fasta"))
