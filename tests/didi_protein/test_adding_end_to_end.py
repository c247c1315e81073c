"""A new file and its configuration, put into a copy of the packages, are all that is needed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")


def block(language: str, part: int) -> str:
    """The block of a language in the page's part on methods (0) or on samplers (1)."""
    (found,) = re.findall(
        rf"```{language}\n(.*?)```", PAGE.split("\n# Adding a sampler\n")[part], re.DOTALL
    )
    return found


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages, the page's files among them; models are shared with the original."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("didi_core", "didi_protein"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("_models", "*.pyc"))
    (root / "didi_protein" / "_models").symlink_to(ROOT / "didi_protein" / "_models")
    shutil.copytree(ROOT / "configs", root / "configs")
    (root / "didi_core" / "distill" / "mine.py").write_text(block("python", 0))
    (root / "configs" / "method" / "mine.yaml").write_text(block("yaml", 0))
    (root / "didi_core" / "sampling" / "in_order.py").write_text(block("python", 1))
    return root


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program of the copy."""
    command = [
        sys.executable,
        "-c",
        "import sys; from didi_protein.app import main; sys.exit(main())",
    ]
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, *arguments], cwd=copy, env=environment, text=True, capture_output=True
    )
    assert result.returncode == 0, result.stderr
    return result


def test_a_method_of_one_file_and_its_configuration_distils(copy: Path) -> None:
    (copy / "data.fasta").write_text("".join(f">{i}\n{'MKTAYIAKQR' * 4}\n" for i in range(8)))
    settings = "teacher=tiny reference=data data=data.fasta steps=2 tokens_per_batch=256 out=s"
    run(copy, "distill", "method=mine", *settings.split(), "method.kl_kind=backward", "device=cpu")
    assert "mine" in (copy / "s" / "README.md").read_text()
    assert (copy / "s" / "model.safetensors").is_file()
    told = run(copy, "distill", "method=mine", "--help").stdout
    assert "forward, backward or jeffreys divergence" in told


def test_a_sampler_of_one_file_generates(copy: Path) -> None:
    asked = "--model tiny --num 3 --length 20 --steps 4 --sampler in-order"
    options = "--sampler-option start=right --device cpu --out d.fasta"
    run(copy, "generate", *asked.split(), *options.split())
    assert (copy / "d.fasta").read_text().count(
        "sampler=in-order sampler_options=start=right steps=4 nfe=4"
    ) == 3
