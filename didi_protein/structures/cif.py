"""Read the items of a CIF file by the grammar of CIF 1.1 [1]_: keywords and names in any case.

.. [1] https://www.iucr.org/resources/cif/spec/version1.1/cifsyntax
"""

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?:^;(?P<text>.*?)\n;|'(?P<single>[^\n]*?)'|"(?P<double>[^\n]*?)")(?=\s|\Z)"""
    r"""|(?P<comment>\#[^\n]*)|(?P<bare>\S+)""",
    re.MULTILINE | re.DOTALL,
)
_KEYWORD = re.compile(r"(?:data_|save_|loop_$|stop_$|global_$|_)", re.IGNORECASE)
ABSENT = (".", "?")
"""How CIF writes a value that does not apply, and one that is not known."""


def cif_items(text: str) -> dict[str, list[str]]:
    """Return the values by item, names in lower case, of the one data block that holds atoms.

    Raises:
        ValueError: it is no CIF, is cut off within a loop, or holds atoms in several blocks.
    """
    blocks = list(_blocks(text))
    with_atoms = [block for block in blocks if "_atom_site.cartn_x" in block]
    if not with_atoms:
        raise ValueError("no data block with atoms, _atom_site.Cartn_x")
    if len(with_atoms) > 1:
        raise ValueError(f"{len(with_atoms)} data blocks hold atoms: a file for each is needed")
    return with_atoms[0]


def _blocks(text: str) -> Iterator[dict[str, list[str]]]:
    """Yield the items of each data block, in order."""
    block: dict[str, list[str]] | None = None
    names: list[str] = []
    values: list[str] = []
    in_loop = False
    for token, is_keyword in _tokens(text):
        if not is_keyword:
            values.append(token)
            continue
        word = token.lower()
        if word.startswith("_") and in_loop and not values:
            names.append(word)
            continue
        _store(block, names, values)
        names, values = [word] if word.startswith("_") else [], []
        in_loop = word == "loop_"
        if word.startswith("data_"):
            if block is not None:
                yield block
            block = {}
    _store(block, names, values)
    if block is not None:
        yield block


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each value, keyword and item name, and whether it is one of the latter two."""
    for match in _TOKEN.finditer(text):
        group, token = match.lastgroup, match[match.lastgroup or 0]
        if group == "bare":
            yield token, _KEYWORD.match(token) is not None
        elif group != "comment":
            yield token, False


def _store(block: dict[str, list[str]] | None, names: list[str], values: list[str]) -> None:
    """Add the values of a loop, row by row, or of a single item to a block."""
    if not names and not values:
        return
    if block is None or not names:
        raise ValueError("no CIF: it does not begin with data_, or a value stands without a name")
    if len(values) % len(names):
        raise ValueError(f"the loop of {names[0]} is cut off: {len(values)} values")
    for place, name in enumerate(names):
        if name in block:
            raise ValueError(f"{name} is there twice")
        block[name] = values[place :: len(names)]
