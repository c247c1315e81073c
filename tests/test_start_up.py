"""Help is fast: it imports few modules of ours, and none of the large packages."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "pandas", "numpy", "hydra", "Bio", "dnachisel")
MOST_MODULES = 60
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
