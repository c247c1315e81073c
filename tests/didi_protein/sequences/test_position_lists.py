"""Lists of positions: what is read, what is refused, and that both ways agree."""

import random

import pytest

from didi_core.errors import UserError
from didi_protein.sequences.positions import LARGEST, parse_positions, positions_text


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("1", (0,)),
        ("12,15,40-43", (11, 14, 39, 40, 41, 42)),
        (" 3 - 4 , 2,2", (1, 2, 3)),
        ("7-7", (6,)),
        ("007", (6,)),
        (f"{LARGEST}", (LARGEST - 1,)),
    ],
)
def test_lists_are_counted_from_1_and_held_from_0(text: str, positions: tuple[int, ...]) -> None:
    assert parse_positions(text, "--vary") == positions


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "--vary : an empty part"),
        ("3,,4", "--vary 3,,4: an empty part"),
        ("3,", "an empty part"),
        ("0", "no 0"),
        ("0-4", "no 0"),
        ("-4", "'-4'"),
        ("4-", "'4-'"),
        ("9-4", "4-9"),
        ("A12", "'A12'"),
        ("1.5", "'1.5'"),
        ("1 2", "'1 2'"),
        ("١", "'١'"),
        ("1-100000", "100000"),
        ("9" * 5000, f"{LARGEST:,}"),
    ],
)
def test_what_is_no_list_is_refused(text: str, names: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_positions(text, "--vary")
    assert names in str(refused.value)
    assert str(refused.value).startswith("--vary")


def test_a_list_is_read_back_as_it_was_written() -> None:
    for seed in range(200):
        positions = tuple(sorted(random.Random(seed).sample(range(60), seed % 60 + 1)))
        assert parse_positions(positions_text(positions), "--keep") == positions
    assert positions_text(()) == ""
