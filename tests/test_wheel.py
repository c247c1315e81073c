"""The installed package works without the source tree: programs, configuration, bundled files."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from didi_core import __version__

ROOT = Path(__file__).parent.parent
OURS = {"didi_core", "didi_protein", "didi_text"}


def build(target: Path, *kinds: str) -> Path:
    """Build into `target` with the build back-end of this environment; return the wheel."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), *kinds]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True, text=True)
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as an installation from the package index is: a source archive, and from it a wheel."""
    return build(tmp_path_factory.mktemp("from_sdist"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index"]
    command = [*pip, "--target", str(target), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def run_installed(installed: Path, cwd: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run an installed program from `cwd`; only its dependencies come from this environment."""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    program = [sys.executable, str(installed / "bin" / command[0]), *command[1:]]
    return subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True)


def test_a_wheel_is_the_same_with_and_without_a_source_archive(wheel: Path, tmp_path: Path) -> None:
    def contents(path: Path) -> dict[str, int]:
        return {item.filename: item.CRC for item in zipfile.ZipFile(path).infolist()}

    assert contents(build(tmp_path, "--wheel")) == contents(wheel)


def test_only_the_packages_are_installed(installed: Path) -> None:
    names = {path.name for path in installed.iterdir()}
    assert {name for name in names if not name.endswith(".dist-info")} == OURS | {"bin"}


def test_files_that_are_no_code_are_installed(installed: Path) -> None:
    def files(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    assert files(installed / "didi_core" / "_configs") == files(ROOT / "configs")
    ours = ("_templates", "_3dmol", "_models", "_families", "_codons")
    for data in (*(f"didi_protein/{each}" for each in ours), "didi_text/_models"):
        assert files(installed / data) == files(ROOT / data)


def test_the_code_that_runs_is_the_installed_one(installed: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    where = "import didi_core, didi_protein; print(didi_core.__file__, didi_protein.__file__)"
    command = [sys.executable, "-c", where]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert all(path.startswith(str(installed)) for path in done.stdout.split())


@pytest.mark.parametrize("program", ["didi-protein", "didi-text"])
def test_programs_state_their_version(installed: Path, tmp_path: Path, program: str) -> None:
    done = run_installed(installed, tmp_path, program, "--version")
    assert (done.returncode, done.stdout) == (0, f"{program} {__version__}\n")


@pytest.mark.parametrize("package", ["didi_protein", "didi_text"])
def test_packages_are_programs_too(installed: Path, tmp_path: Path, package: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", package, "--version"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[-1:]) == (0, [__version__]), done.stderr


def test_configuration_is_found_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    overrides = ["teacher=x", "out=y", "preset=paper", "method=didi"]
    done = run_installed(installed, tmp_path, "didi-protein", "distill", "--cfg", "job", *overrides)
    assert done.returncode == 0, done.stderr
    assert "teacher: x" in done.stdout
    assert "name: didi" in done.stdout
    assert "steps: 10000" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_text_program_tells_what_is_installed(installed: Path, tmp_path: Path) -> None:
    done = run_installed(installed, tmp_path, "didi-text", "info", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "torch" in done.stdout
    assert "cpu" in done.stdout
