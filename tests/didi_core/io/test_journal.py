"""The journal of finished work: what is read again after a cut at any byte, and what is refused."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from didi_core.errors import UserError
from didi_core.io.journal import Journal, partial_path, partials_of, process_path

SETTINGS = {"seed": 3, "model": "tiny", "lengths": [3, 4]}
_MORE = os.environ.get("DIDI_FUZZ_CASES")
HERE = settings(
    max_examples=int(_MORE or 50),
    derandomize=_MORE is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),  # every write waits for the disk
)
# A process that has trained takes subnormal numbers for zero.
NUMBER = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False) | st.integers()


@dataclass(frozen=True)
class Piece:
    name: str
    figures: dict[str, Any]

    @classmethod
    def from_json(cls, line: Any) -> "Piece":
        return cls(line["name"], {**line["figures"]})


PIECES = st.lists(
    st.builds(Piece, st.text(), st.dictionaries(st.text(), NUMBER | st.text() | st.none()))
)


def journal_at(path: Path, command: str = "generate", **changes: Any) -> Journal[Piece]:
    return Journal(path, command, {**SETTINGS, **changes}, Piece.from_json)


def written(path: Path, pieces: list[Piece]) -> bytes:
    """The bytes of a journal of these pieces."""
    journal = journal_at(path)
    journal.begin()
    for piece in pieces:
        journal.append(piece)
    assert journal.entries == pieces
    return path.read_bytes()


@HERE
@given(pieces=PIECES, more=PIECES, data=st.data())
def test_cut_at_any_byte_it_keeps_every_whole_piece(
    tmp_path: Path, pieces: list[Piece], more: list[Piece], data: st.DataObject
) -> None:
    path = tmp_path / "cut"
    content = written(path, pieces)
    header = content.index(b"\n") + 1
    place = data.draw(st.integers(header, len(content)))
    kept = pieces[: content[:place].count(b"\n") - 1]
    path.write_bytes(content[:place])
    other = journal_at(path)
    other.load()  # of another process, which may still be writing
    assert other.entries == kept and path.read_bytes() == content[:place]
    journal = journal_at(path)
    journal.resume()
    assert journal.entries == kept
    for piece in more:
        journal.append(piece)
    again = journal_at(path)
    again.resume()
    assert again.entries == journal.entries == [*kept, *more]
    assert path.read_bytes() == written(tmp_path / "unbroken", [*kept, *more])


@HERE
@given(pieces=PIECES, data=st.data())
def test_a_file_without_a_whole_first_line_is_another_s_and_stays(
    tmp_path: Path, pieces: list[Piece], data: st.DataObject
) -> None:
    path = tmp_path / "cut"
    content = written(path, pieces)
    path.write_bytes(content[: data.draw(st.integers(0, content.index(b"\n")))])
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"--resume: .*cut .*--overwrite"):
        journal_at(path).resume()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"hello\n", "cut"),
        (b"{}\n", "cut"),
        (b'{"settings": {}}\n', "cut"),  # as earlier versions wrote it
        (b'{"command": "generate", "settings": []}\n', "cut"),
        (b'{"command": "generate", "settings": {}}\n[]\n', "cut"),
        (b'{"command": "score", "settings": {}}\n', "cut"),
        (b'{"command": "generate", "settings": {}}\n', "seed was not given, now 3"),
    ],
)
def test_what_is_of_another_request_is_refused_and_stays(
    tmp_path: Path, content: bytes, named: str
) -> None:
    path = tmp_path / "cut"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"--resume: .*{named}.*--overwrite"):
        journal_at(path).resume()
    assert path.read_bytes() == content


def test_the_settings_that_differ_are_named(tmp_path: Path) -> None:
    written(tmp_path / "j", [])
    with pytest.raises(UserError, match=r"seed was 3, now 4; .*top_p was not given, now 0\.9"):
        journal_at(tmp_path / "j", seed=4, top_p=0.9).resume()


def test_it_begins_with_its_first_piece_and_ends_with_the_output(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "j"
    journal = journal_at(path)
    assert not path.parent.exists()
    journal.append(Piece("a", {}))
    assert json.loads(path.read_text().splitlines()[0])["command"] == "generate"
    journal.remove()
    assert not path.exists() and journal.entries == []
    journal.remove()


def test_every_process_has_a_file_and_all_are_found(tmp_path: Path) -> None:
    out = tmp_path / "d.fasta"
    assert partials_of(out) == [] == partials_of(tmp_path / "none" / "d.fasta")
    paths = [process_path(partial_path(out), rank) for rank in (0, 2, 1)]
    for path in paths:
        written(path, [])
    (tmp_path / "other.fasta.partial").touch()
    assert partials_of(out) == [paths[0], paths[2], paths[1]]
