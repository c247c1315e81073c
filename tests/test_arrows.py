"""Imports point one way: front-ends to the core, and in the core from the mathematics upwards."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASE = "base"
"""Single modules of didi_core: errors, progress and the like."""
MAY_IMPORT = {
    BASE: set(),
    "io": set(),
    "data": {"diffusion", "io"},
    "diffusion": {"data"},
    "models": {"data", "diffusion", "io"},
    "sampling": {"data", "diffusion", "io", "models"},
    "distill": {"data", "diffusion", "io", "models", "sampling"},
    "training": {"cli", "data", "diffusion", "io", "models", "sampling", "distill"},
    "evaluation": {"data", "diffusion", "io", "models", "sampling"},
    "cli": {"io"},
    "commands": {
        *("cli", "data", "diffusion", "io", "models", "sampling", "distill"),
        *("training", "evaluation"),
    },
}
"""Parts of the core that each part may import beside itself and the single modules."""
FRONT_ENDS = ("didi_protein", "didi_text")


def part_of(module: str) -> str:
    """`didi_core.sampling.rgas` is in sampling; `didi_core.io.files` is a single module."""
    names = module.split(".")
    is_part = len(names) > 1 and (ROOT / "didi_core" / names[1]).is_dir()
    return names[1] if is_part else BASE


def imported_modules(source: str, package: str) -> Iterator[str]:
    """Every module that `source` imports anywhere, functions included.

    Args:
        package: what relative imports start from.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, node.module or ""]) if node.level else node.module
            # `from didi_core import sampling` names a module only in its list.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def forbidden_in_core(module: str, imported: str) -> bool:
    top = imported.split(".")[0]
    if top in FRONT_ENDS:
        return True
    if top != "didi_core":
        return False
    part, target = part_of(module), part_of(imported)
    return target not in {part, BASE, *MAY_IMPORT[part]}


def forbidden_in_front_end(module: str, imported: str) -> bool:
    return imported.split(".")[0] in set(FRONT_ENDS) - {module.split(".")[0]}


def forbidden(module: str, imported: str) -> bool:
    rule = forbidden_in_core if module.startswith("didi_core.") else forbidden_in_front_end
    return rule(module, imported)


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", ["didi_core", *FRONT_ENDS])
def test_imports_point_one_way(package: str) -> None:
    wrong = []
    for path in files_of(package):
        names = path.relative_to(ROOT).with_suffix("").parts
        module, inside = ".".join(names), ".".join(names[:-1])
        found = imported_modules(path.read_text(encoding="utf-8"), inside)
        wrong += [f"{module} imports {each}" for each in found if forbidden(module, each)]
    assert not wrong


def test_every_part_of_the_core_has_its_rule() -> None:
    found = {part_of(".".join(p.relative_to(ROOT).parts)) for p in files_of("didi_core")}
    assert found == set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("didi_core.io.files", "import didi_protein.sequences.alphabet"),
        ("didi_core.data.batches", "from didi_core.sampling.request import Prior"),
        ("didi_core.diffusion.draws", "from didi_core import training"),
        ("didi_core.models.esm", "def f():\n    from ..sampling import ancestral"),
        ("didi_core.sampling.rgas", "from didi_core.distill.terms import kl"),
        ("didi_core.distill.didi", "import didi_core.training.loop"),
        ("didi_core.training.loop", "from didi_core.evaluation import judge"),
        ("didi_protein.app", "from didi_text.app import main"),
        ("didi_text.app", "import didi_protein"),
    ],
)
def test_a_wrong_arrow_is_seen(module: str, source: str) -> None:
    inside = module.rpartition(".")[0]
    assert any(forbidden(module, each) for each in imported_modules(source, inside))


def import_graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Which modules each imports, functions included, by the sources of all of them."""
    graph = {}
    for module, source in sources.items():
        found = imported_modules(source, module.rpartition(".")[0])
        known = {name for each in found for name in (each, each.rpartition(".")[0])}
        # A package's own file says what it is, and imports nothing.
        graph[module] = {name for name in known & sources.keys() if name != module}
    return graph


def test_no_import_goes_in_a_circle() -> None:
    sources = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text(encoding="utf-8")
        for package in ("didi_core", *FRONT_ENDS)
        for path in files_of(package)
    }
    TopologicalSorter(import_graph(sources)).prepare()


def test_a_circle_is_seen_inside_functions_too() -> None:
    sources = {
        "p.a": "from p import b",
        "p.b": "def f():\n    from p.c import g",
        "p.c": "import p.a",
    }
    with pytest.raises(CycleError):
        TopologicalSorter(import_graph(sources)).prepare()


def doors_of(package: str) -> set[str]:
    """The files of verbs: those that `app` imports."""
    source = (ROOT / package / "app.py").read_text(encoding="utf-8")
    modules = {name.rpartition(".")[0] for name in imported_modules(source, package)}
    return {name for name in modules if name.startswith(f"{package}.")}


@pytest.mark.parametrize("package", FRONT_ENDS)
def test_nothing_in_a_room_imports_a_door(package: str) -> None:
    doors = doors_of(package)
    assert f"{package}.generate" in doors
    rooms = [path for path in files_of(package) if path.parent != ROOT / package]
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in rooms
        for name in imported_modules(path.read_text(encoding="utf-8"), package)
        if doors & {name, name.rpartition(".")[0]}
    ]
    assert not wrong
