"""What the fuzz tests share: how many cases, damaged bytes, and the rule that a reader keeps.

DIDI_FUZZ_CASES says how many cases each reader gets; `make fuzz` sets it to thousands. Without it
the cases are few and always the same ones. One reader alone: `pytest tests/fuzz -k fasta`.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from didi_core.errors import UserError

_MORE = os.environ.get("DIDI_FUZZ_CASES")
CASES = settings(
    max_examples=int(_MORE or 50),
    derandomize=_MORE is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_subnormal=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@contextmanager
def only_user_errors() -> Iterator[None]:
    """A reader may succeed, or refuse with a message; anything else is a fault of ours."""
    try:
        yield
    except UserError as error:
        assert str(error).strip()


@st.composite
def damaged(draw: Any, *originals: bytes, words: tuple[bytes, ...] = ()) -> bytes:
    """A file with a few bytes changed, cut, repeated, moved or put in; rarely any bytes at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 40)))
        piece = draw(
            st.sampled_from((b"", bytes(content[start:end]) * 2, b"\x00", b"\xff\xfe", *words))
            | st.binary(max_size=8)
        )
        if draw(st.integers(0, 7)) == 0:
            end = len(content)
        content[start:end] = piece
    return bytes(content)


@st.composite
def altered(draw: Any, original: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with some values replaced by anything, left out, or added."""
    changed = json.loads(json.dumps(original))
    for _ in range(draw(st.integers(1, 3))):
        place = changed
        while True:
            key = draw(st.sampled_from([*place, "more"]))
            if isinstance(place.get(key), dict) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            break
        if draw(st.integers(0, 4)) == 0:
            place.pop(key, None)
        else:
            place[key] = draw(JSON | st.sampled_from((0, -1, 10**9, "../x", "/etc/passwd")))
    return changed


def write(folder: Path, name: str, content: bytes | str | dict[str, Any]) -> Path:
    """Replace a file by new content; a dictionary is written as JSON."""
    path = folder / name
    if isinstance(content, dict):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
    return path
