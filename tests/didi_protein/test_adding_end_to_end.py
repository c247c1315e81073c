"""What the pages on adding a method and a sampler tell to write, and nothing else, is needed.

Their files are put into a copy of the packages, where none of them replaces another. Then the
programs know the method and the sampler, help and tables name them, and the tests that go through
all methods and samplers pass, as do those that the pages write.
"""

import shutil
from pathlib import Path

import pytest
from doc_commands import ROOT, files_of, run_python

METHOD, SAMPLER = files_of("adding-a-method.md"), files_of("adding-a-sampler.md")
TESTS = [path for path in (*METHOD, *SAMPLER) if path.startswith("tests/")]
CORE = "tests/didi_core"
OF_ALL_ENTRIES = (
    f"{CORE}/test_discovery.py",
    f"{CORE}/distill/test_method_configs.py",
    f"{CORE}/cli/test_settings_help.py::test_the_settings_of_the_method_that_is_named",
    f"{CORE}/commands/comparing/test_chosen_samplers.py",
    f"{CORE}/models/test_noise.py::test_every_sampler_gives_the_noise_and_no_row_depends_on_another",
    f"{CORE}/models/test_noise.py::test_every_sampler_obeys_the_settings_of_a_draw",
    f"{CORE}/models/test_noise.py::test_a_sequence_keeps_its_latent_through_sampling",
    "tests/test_docs.py",
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, the pages' files among it; models are shared with the original."""
    root = tmp_path_factory.mktemp("copy")
    ignore = shutil.ignore_patterns("_models", "*.pyc", "results")
    for name in ("didi_core", "didi_protein", "didi_text", "configs", "docs", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    for name in ("didi_protein/_models", "didi_text/_models", "benchmarks"):
        (root / name).symlink_to(ROOT / name)
    for name in ("pyproject.toml", "mkdocs.yml", "README.md"):
        shutil.copy(ROOT / name, root / name)
    for path, text in (METHOD | SAMPLER).items():
        assert not (root / path).exists(), f"{path} would be an edit, not an addition"
        (root / path).write_text(text, encoding="utf-8")
    return root


def program(copy: Path, *arguments: str) -> str:
    """Run the copy's didi-protein; return what it prints."""
    code = "import sys; from didi_protein.app import main; sys.exit(main())"
    return run_python(copy, "-c", code, *arguments)


def test_a_method_is_a_file_and_its_test() -> None:
    assert list(METHOD) == [
        "didi_core/distill/mine.py",
        "tests/didi_core/distill/test_mine.py",
    ]


def test_a_sampler_is_a_file_and_its_test() -> None:
    assert list(SAMPLER) == [
        "didi_core/sampling/in_order.py",
        "tests/didi_core/sampling/test_in_order.py",
    ]


def test_the_method_distils_and_help_knows_it(copy: Path) -> None:
    (copy / "data.fasta").write_text("".join(f">{i}\n{'MKTAYIAKQR' * 4}\n" for i in range(8)))
    settings = "teacher=tiny reference=data data=data.fasta steps=2 tokens_per_batch=256 out=s"
    chosen = ("method=mine", "method.kl_kind=backward", "device=cpu")
    program(copy, "distill", *settings.split(), *chosen)
    assert "mine" in (copy / "s" / "README.md").read_text()
    assert (copy / "s" / "model.safetensors").is_file()
    told = program(copy, "distill", "method=mine", "--help")
    assert "method=mine: the teacher's law at masked references" in told
    assert "  kl_kind: forward " in told and "forward or backward divergence" in told


def test_the_sampler_generates_and_help_knows_it(copy: Path) -> None:
    asked = "--model tiny --num 3 --length 20 --steps 4 --sampler in-order"
    options = "--sampler-option start=right --device cpu --out d.fasta"
    program(copy, "generate", *asked.split(), *options.split())
    assert (copy / "d.fasta").read_text().count(
        "sampler=in-order sampler_options=start=right steps=4 nfe=4"
    ) == 3
    told = " ".join(program(copy, "generate", "--help").replace("│", " ").split())
    assert "in-order (from one end to the other)" in told


def test_tables_are_written_and_the_tests_of_all_entries_pass(copy: Path) -> None:
    run_python(copy, "docs/tables.py")
    page = (copy / "docs" / "methods.md").read_text(encoding="utf-8")
    assert "| `mine` | masked | the teacher's law at masked references |" in page
    assert "| `in-order` | masked | at most the steps | with a step for every position |" in page
    chosen = ("-k", "mine or in-order or in_order or entries or source_says or every_method")
    run_python(copy, "-m", "pytest", "-q", "-x", *TESTS, *OF_ALL_ENTRIES, *chosen)
