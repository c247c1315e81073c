"""The tables of columns in docs/outputs.md and docs/filter.md, made from the columns' entries.

`make tables` writes them; a test says when they are out of date.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from didi_protein.scoring.columns import ENTRIES

_TABLE = re.compile(r"(<!-- columns: (.+?) -->\n).*?(<!-- end of columns -->)", re.DOTALL)


def with_tables(page: str) -> str:
    """Return a page of documentation with its tables of columns as the entries are now."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{_table(found[2])}\n\n{found[3]}", page)


def _table(topic: str) -> str:
    """Return the rows of a topic; a column of the table in which none says anything is left out."""
    listed = [each for each in ENTRIES if each.topic == topic]
    if not listed:
        raise ValueError(f"no column has the topic {topic}")
    cells: dict[str, list[str]] = {
        "column": [f"`{each.name}`" for each in listed],
        "range": ["; ".join(filter(None, (each.range_and_unit, each.typical))) for each in listed],
        "ranks first": [each.better for each in listed],
        "meaning": [each.meaning for each in listed],
    }
    cells = {title: values for title, values in cells.items() if any(values)}
    rows = [list(cells), ["---"] * len(cells), *map(list, zip(*cells.values(), strict=True))]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write_tables(paths: Sequence[str]) -> Iterator[str]:
    """Write the tables of pages anew, and return those that changed."""
    for path in map(Path, paths):
        old = path.read_text(encoding="utf-8")
        if (new := with_tables(old)) != old:
            path.write_text(new, encoding="utf-8")
            yield str(path)


if __name__ == "__main__":
    print("\n".join(write_tables(sys.argv[1:])))
