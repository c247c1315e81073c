"""Options from keywords: what stands for what, and what is refused by the name of its flag."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from didi_core.cli.keyword_options import options_from
from didi_core.errors import UserError
from didi_protein.generating.options import GenerateOptions

NEEDED = {"model": "tiny", "num": 3, "out": "d.fasta"}


def options(**keywords: Any) -> GenerateOptions:
    return options_from(GenerateOptions, {**NEEDED, **keywords}, lambda _, __: None)


@pytest.mark.parametrize(
    ("name", "given", "held"),
    [
        ("length", 100, "100"),
        ("length", [50, 100], "50,100"),
        ("length", "80-120", "80-120"),
        ("length", None, None),
        ("mutate", 0.2, "0.2"),
        ("vary", [12, "40-50"], "12,40-50"),
        ("vary", np.array([12, 15]), "12,15"),
        ("num", np.int64(4), 4),
        ("temperature", 1, 1.0),
        ("temperature", np.float32(0.5), 0.5),
        ("start", "parents.fasta", Path("parents.fasta")),
        ("start", Path("parents.fasta"), Path("parents.fasta")),
        ("out", "~/d.fasta", Path.home() / "d.fasta"),
        ("sampler_option", "a=1", ["a=1"]),
        ("sampler_options", {"a": 1}, {"a": 1}),
        ("unique", True, True),
        ("kept", (0.0, 1.0), (0.0, 1.0)),
    ],
)
def test_what_python_gives_becomes_what_an_option_holds(
    name: str, given: object, held: object
) -> None:
    found = getattr(options(**{name: given}), name)
    assert found == held and type(found) is type(held)


@pytest.mark.parametrize(
    ("name", "given", "named"),
    [
        ("steps", "8", "--steps '8'"),
        ("steps", 8.5, "--steps 8.5"),
        ("num", True, "--num True"),
        ("temperature", "hot", "--temperature 'hot'"),
        ("unique", 1, "--unique 1"),
        ("length", {}, "--length {}"),
        ("length", True, "--length True"),
        ("max_repeat", [0.5], "--max-repeat [0.5]"),
        ("start", 5, "--start 5"),
        ("model", None, "--model None"),
    ],
)
def test_a_wrong_type_is_named_by_its_flag(name: str, given: object, named: str) -> None:
    with pytest.raises(UserError) as error:
        options(**{name: given})
    assert named in str(error.value) and "give " in str(error.value)


def test_all_wrong_types_are_said_at_once_and_a_misspelt_name_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"--num .*--steps "):
        options(num=1.5, steps="x")
    with pytest.raises(TypeError, match="did you mean length="):
        options(lenght=100)
