"""Dockerfile: what it copies, installs and runs agrees with the package, which a build would show.

It is not built here: that needs a daemon and the network.
"""

import re
import sys
from fnmatch import fnmatch

import pytest
from doc_commands import ROOT
from typer.main import get_command

from didi_protein.app import app

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


RECIPE = _text("Dockerfile")
LINES = [line for line in RECIPE.replace("\\\n", " ").splitlines() if line.strip()]
PROJECT = tomllib.loads(_text("pyproject.toml"))


def instructions(name: str) -> list[str]:
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{name} ")]


def test_everything_the_wheel_is_made_of_is_copied_and_not_ignored() -> None:
    copied = {source for line in instructions("COPY") for source in line.split()[:-1]}
    build = PROJECT["tool"]["hatch"]["build"]["targets"]
    assert set(build["sdist"]["include"]) <= copied
    assert set(build["wheel"]["packages"]) | set(build["wheel"]["force-include"]) <= copied
    assert all((ROOT / each).exists() for each in copied)
    kept = [line[1:] for line in _text(".dockerignore").splitlines() if line.startswith("!")]
    assert all(any(fnmatch(each, pattern) for pattern in kept) for each in copied)


def test_versions_are_those_of_the_package_and_of_the_tested_set() -> None:
    (base,) = instructions("FROM")
    python = re.match(r"python:(3\.\d+)-slim-\w+$", base)
    assert python, "a pinned base"
    low, high = re.findall(r"3\.(\d+)", PROJECT["project"]["requires-python"])
    assert int(low) <= int(python[1].partition(".")[2]) < int(high)
    arguments = dict(line.split("=", 1) for line in instructions("ARG"))
    assert re.search(r"^torch==[\d.]+$", _text("constraints.txt"), re.M), "no build in particular"
    assert arguments["PIP_EXTRA_INDEX_URL"] == "" and "://" not in RECIPE, "no index but pip's own"
    assert set(arguments["EXTRAS"].split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    # As the Makefile and the README install it.
    constrained = "--constraint constraints.txt"
    for text in (instructions("RUN")[0], *(_text(each) for each in ("Makefile", "README.md"))):
        assert constrained in text


def test_it_does_not_run_as_root() -> None:
    (user,) = instructions("USER")
    assert user == "didi" and LINES.index("USER didi") > LINES.index(
        next(line for line in LINES if line.startswith("RUN useradd"))
    )


@pytest.mark.parametrize("verb", re.findall(r"^# docker run.* didi-protein (\S+)$", RECIPE, re.M))
def test_the_commands_of_its_comments_exist(verb: str) -> None:
    assert verb in get_command(app).commands
    assert "didi-protein" in PROJECT["project"]["scripts"]
