"""File names made from ids: safe anywhere, and different for different ids.

An id may hold slashes, blanks, `..` or hundreds of letters, and two ids may differ by case alone,
which many file systems do not tell apart.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

MAX_LENGTH = 100
"""Of a name without its suffix; file systems take 255 bytes with it."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._+=@#-]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""
_DIGITS = 10


def safe_names(ids: Iterable[str]) -> dict[str, str]:
    """A name, without suffix, for each id; names differ also where case is not told apart.

    An id that is safe is its own name. Any other gets its safe letters and a digest of the whole
    id. Which ids come later never changes the name of an earlier one.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for each in dict.fromkeys(ids):
        name = _safe_name(each)
        tries = 0
        while name.casefold() in taken:
            name = _with_digest(name, each, tries)
            tries += 1
        taken.add(name.casefold())
        names[each] = name
    return names


def _safe_name(record_id: str) -> str:
    plain = unicodedata.normalize("NFKD", record_id).encode("ascii", "ignore").decode()
    name = _UNSAFE.sub("_", plain).strip("._-")
    safe = name and name == record_id and len(name) <= MAX_LENGTH and not _RESERVED.fullmatch(name)
    return name if safe else _with_digest(name, record_id)


def _with_digest(name: str, record_id: str, tries: int = 0) -> str:
    content = record_id.encode("utf-8", "surrogatepass") + b"\0" * tries
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    stem = name[: MAX_LENGTH - _DIGITS - 1].rstrip("._-") or "id"
    # In front of the first dot Windows still sees a device.
    return f"{stem.replace('.', '_') if _RESERVED.fullmatch(stem) else stem}-{digest}"
